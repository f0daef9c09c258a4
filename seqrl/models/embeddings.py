"""How observations, returns and actions become tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqrl.config import SpaceFacts
from seqrl.models.heads import action_scale
from seqrl.models.layers import ACTIVATIONS, Embedding, Linear


class NumberEmbedding(nn.Module):
    """Numbers to one token: a linear map, or a network with one hidden layer."""

    def __init__(self, inputs: int, width: int, *, mlp: bool) -> None:
        super().__init__()
        self.input = Linear(inputs, width)
        self.output = Linear(width, width) if mlp else None

    def reset(self, generator: torch.Generator) -> None:
        """Weights that keep unit spread."""
        self.input.reset(generator, self.input.weight.shape[1] ** -0.5)
        if self.output is not None:
            self.output.reset(generator, self.output.weight.shape[1] ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) → (..., D)."""
        x = self.input(x)
        return x if self.output is None else self.output(ACTIVATIONS["relu"](x))


class CategoryEmbedding(nn.Module):
    """A discrete action to one token: a learnt vector for every value, summed over components if there are several."""

    offsets: Tensor

    def __init__(self, action: SpaceFacts, width: int) -> None:
        super().__init__()
        self.table = Embedding(sum(action.categories), width)
        self.components = action.kind == "multi_discrete"
        offsets = torch.tensor((0, *action.categories[:-1])).cumsum(0)
        self.register_buffer("offsets", offsets, persistent=False)

    def reset(self, generator: torch.Generator) -> None:
        """Vectors of unit spread."""
        self.table.reset(generator, 1.0)

    def forward(self, actions: Tensor) -> Tensor:
        """(...) int64, or (..., M) for multi-discrete actions → (..., D)."""
        return self.table(actions + self.offsets).sum(-2) if self.components else self.table(actions)


class BoxEmbedding(NumberEmbedding):
    """A continuous action to one token; the network sees it in half ranges around the middle."""

    center: Tensor
    half_range: Tensor

    def __init__(self, action: SpaceFacts, width: int, *, mlp: bool) -> None:
        super().__init__(action.size, width, mlp=mlp)
        center, half_range = action_scale(action)
        self.register_buffer("center", center)
        self.register_buffer("half_range", half_range)

    def forward(self, x: Tensor) -> Tensor:
        """(..., A) in the environment's units → (..., D)."""
        return super().forward((x - self.center) / self.half_range)
