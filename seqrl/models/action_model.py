"""What Decision Transformer, behaviour cloning and RvS share: statistics that normalise, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from seqrl.config import DatasetFacts
from seqrl.models.heads import CategoricalHead, GaussianHead, LinearHead, TanhHead
from seqrl.models.layers import Linear
from seqrl.store.columns import Columns
from seqrl.windows import WindowBatch


class ActionModel(nn.Module):
    """A network that answers an observation with an action.

    Raw observations and returns go in: the statistics that normalise them are buffers, so that they travel with the
    weights. Those of images are one number for every channel.

    Args:
        spec: settings.
        facts: the dataset's spaces and statistics.

    Attributes:
        conditioned: whether it listens to a return.
        discount: of the returns-to-go it was trained on.
        context_length: K, steps that it sees.
        head: the meaning of the outputs.
        predict_action: to the outputs of the head.

    """

    conditioned: bool
    discount: float
    context_length: int
    head: CategoricalHead | TanhHead | LinearHead | GaussianHead
    predict_action: Linear
    observation_mean: Tensor
    observation_std: Tensor

    def __init__(self, spec: Any, facts: DatasetFacts) -> None:
        super().__init__()
        mean, std = torch.tensor(facts.observation_mean), torch.tensor(facts.observation_std)
        if facts.observation.kind in ("discrete", "multi_discrete"):  # one-hot: nothing to normalise
            mean, std = torch.zeros_like(mean), torch.ones_like(std)
        self.register_buffer("observation_mean", mean.float())
        self.register_buffer("observation_std", std.float())

    @classmethod
    def build(cls, spec: Any, facts: DatasetFacts, seed: int) -> Self:
        """A model with fresh weights; equal arguments give equal weights."""
        model = cls(spec, facts)
        model.reset(torch.Generator().manual_seed(seed))
        return model

    @classmethod
    def from_columns(cls, spec: Any, columns: Columns, episodes: np.ndarray, seed: int) -> Self:
        """A model with fresh weights for a dataset; see `build`. The facts say all that it needs of the data."""
        return cls.build(spec, columns.facts, seed)

    @classmethod
    def from_weights(cls, spec: Any, facts: DatasetFacts, weights: Mapping[str, Tensor]) -> Self:
        """A model with the weights and statistics of a checkpoint.

        Raises:
            RuntimeError: if they do not fit the spec (from `torch.nn.Module.load_state_dict`).
        """
        model = cls(spec, facts)
        model.load_state_dict(dict(weights))
        return model

    def reset(self, generator: torch.Generator) -> None:
        """Fresh weights from the generator."""
        raise NotImplementedError

    def forward(self, batch: WindowBatch) -> Tensor:
        """Outputs of the head at every step: (B, L, O) float32."""
        raise NotImplementedError

    def begin(self, n_rows: int, max_context: int | None = None, compute: torch.dtype = torch.float32) -> Any:
        """Empty contexts for episodes that act in lock step; `prefill` and `step` take them."""
        raise NotImplementedError

    def act_logits(
        self,
        observations: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        compute: torch.dtype = torch.float32,
    ) -> Tensor:
        """What the head says at the last step of a window, recomputed from nothing."""
        raise NotImplementedError

    def prefill(
        self, state: Any, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Start a context again with these steps, and say what the head says at the last one."""
        raise NotImplementedError

    def step(
        self, state: Any, observation: Tensor, return_to_go: Tensor, previous_action: Tensor | None, timestep: int
    ) -> Tensor:
        """Add one step to a context that is not full, and say what the head says there."""
        raise NotImplementedError

    def normalise(self, observations: Tensor) -> Tensor:
        """Observations of zero mean and unit spread; one-hot ones stay as they are."""
        return (observations.float() - self.observation_mean) / self.observation_std


def largest_return(facts: DatasetFacts, discount: float) -> float:
    """A bound on the returns-to-go of the data, for scaling: reward units, 1 if nothing is ever paid."""
    largest = max(abs(facts.returns.minimum), abs(facts.returns.maximum))
    if discount < 1:
        largest = min(largest, max(abs(facts.reward_minimum), abs(facts.reward_maximum)) / (1 - discount))
    return largest or 1.0
