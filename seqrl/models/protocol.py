"""What training, checkpoints and the worker need of a model, whatever its kind. A new kind of model has these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from seqrl.config import DatasetFacts
from seqrl.models.layers import DropoutNoise
from seqrl.store.columns import Columns


class Batch(Protocol):
    """Training windows of one update; a frozen dataclass of tensors."""

    @property
    def count(self) -> int:
        """Real (not padded) positions that the mean loss is taken over; it weighs batches of a validation."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        ...


class Batches(Protocol):
    """A source of training windows."""

    def __len__(self) -> int:
        """Number of windows to draw from."""
        ...

    def sample(self, count: int, seed: int, batch: int, part: range | None = None) -> Any:
        """Batch number ``batch`` of ``count`` windows, a function of (seed, batch) alone; or a part of its windows."""
        ...

    def cover(self, count: int, limit: int | None = None) -> Iterator[Any]:
        """Batches of up to ``count`` windows that hold every step once, or ``limit`` windows spread evenly."""
        ...


class SequenceModel(Protocol):
    """A network of the registry (and a `torch.nn.Module`).

    Attributes:
        dropout: rate of the masks that training passes in as ``noise``.
    """

    dropout: float

    @classmethod
    def from_columns(cls, spec: Any, columns: Columns, episodes: np.ndarray, seed: int) -> Self:
        """A model with fresh weights; what it needs to know of the data is measured on ``episodes`` alone."""
        ...

    @classmethod
    def from_weights(cls, spec: Any, facts: DatasetFacts, weights: Mapping[str, Tensor]) -> Self:
        """A model with the weights and buffers of a checkpoint (its ``state_dict``)."""
        ...

    @classmethod
    def eligible_episodes(cls, spec: Any, columns: Columns) -> np.ndarray:
        """Indices of the episodes that may be learnt from, before the validation split (%BC leaves most out)."""
        ...

    def batches(self, columns: Columns, episodes: np.ndarray) -> Batches:
        """Windows of these episodes as the model takes them."""
        ...

    def loss(
        self, batch: Any, *, noise: DropoutNoise | None = None, compute: torch.dtype = torch.float32
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the real positions of a batch, and measures of fit by name."""
        ...

    def embedding_norms(self, batch: Any) -> dict[str, float]:
        """Mean length of the tokens by token type."""
        ...
