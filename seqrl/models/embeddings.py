"""How observations, returns and actions become tokens.

Shape suffixes: N pictures, H height, W width, C channels, D embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


class ImageEmbedding(nn.Module):
    """A picture to one token: convolutions of 3 x 3 pixels with a stride of 2 until little is left, then a linear map.

    A convolution is a product of all its patches with one matrix, so that a picture gets the same bits whatever other
    pictures are computed with it (see `seqrl.models.acting.ROWS`), on any number of threads.

    Args:
        shape: (height, width) or (height, width, channels).
        width: D.

    Raises:
        ValueError: if a picture is smaller than a patch.
    """

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.picture_axes = len(shape)
        height, across, channels = (*shape, 1)[:3]
        if min(height, across) < _PATCH:
            raise ValueError(f"the images are {height} x {across} pixels; seqrl needs at least {_PATCH} x {_PATCH}")
        layers: list[Linear] = []
        while not layers or (max(height, across) > _LAST_SIDE and min(height, across) >= _PATCH):
            layers.append(Linear(_PATCH * _PATCH * channels, min(16 * 2 ** len(layers), 64)))
            channels = layers[-1].weight.shape[0]
            height, across = (-(-(side - _PATCH) // _STRIDE) + 1 for side in (height, across))
        self.convolutions = nn.ModuleList(layers)
        self.output = Linear(height * across * channels, width)

    def reset(self, generator: torch.Generator) -> None:
        """Weights that keep unit spread (He et al. 2015)."""
        for layer in self.convolutions:
            layer.reset(generator, (2 / layer.weight.shape[1]) ** 0.5)  # type: ignore[operator, index]
        self.output.reset(generator, self.output.weight.shape[1] ** -0.5)

    def forward(self, pictures: Tensor) -> Tensor:
        """(..., height, width[, channels]) → (..., D)."""
        before = pictures.shape[: pictures.dim() - self.picture_axes]
        x_NHWC = pictures.reshape(-1, *pictures.shape[len(before) :])
        x_NHWC = x_NHWC[..., None] if self.picture_axes == 2 else x_NHWC
        for layer in self.convolutions:
            below, right = ((_PATCH - side) % _STRIDE for side in x_NHWC.shape[1:3])
            x_NHWC = F.pad(x_NHWC, (0, 0, 0, right, 0, below))  # so that the patches reach the last row and column
            patches = x_NHWC.unfold(1, _PATCH, _STRIDE).unfold(2, _PATCH, _STRIDE)  # (N, h, w, C, 3, 3)
            x_NHWC = torch.relu(layer(patches.flatten(3)))
        return self.output(x_NHWC.flatten(1)).unflatten(0, before)


_PATCH, _STRIDE, _LAST_SIDE = 3, 2, 4


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
