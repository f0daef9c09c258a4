"""Training windows of the Trajectory Transformer: a dataset tokenised once, gathered by stride."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqrl.mapped import Resident
from seqrl.store.columns import TAIL_ROWS, Columns
from seqrl.tokens import TransitionTokenizer, dataset_tokens
from seqrl.windows import WindowIndex, windowed


@dataclass(frozen=True)
class TokenBatch:
    """B windows of L transitions of D tokens.

    Attributes:
        tokens: (B, L, D) unsigned integers as stored; what padded transitions hold is undefined.
        mask: (B, L) bool, True where the transition belongs to the window's episode.
    """

    tokens: Tensor
    mask: Tensor

    @property
    def count(self) -> int:
        """Predicted tokens: all of the real transitions but the first of each window."""
        return int(self.mask.sum()) * self.tokens.shape[2] - int(self.mask[:, 0].sum())

    def to(self, device: torch.device) -> TokenBatch:
        """The same batch on another device."""
        return TokenBatch(self.tokens.to(device), self.mask.to(device))


class TokenWindows:
    """Batches of token windows; the same protocol as `seqrl.windows.Windows`.

    Args:
        columns: the dataset.
        tokenizer: fitted bins.
        context_length: L, transitions of a window.
        discount: of the value tokens, as in the fit.

    Raises:
        ValueError: if the windows are longer than the columns' tail.
    """

    def __init__(
        self,
        columns: Columns,
        tokenizer: TransitionTokenizer,
        context_length: int,
        *,
        discount: float,
    ) -> None:
        if context_length > TAIL_ROWS:
            raise ValueError(f"context_length is {context_length}; choose at most {TAIL_ROWS}")
        table = columns.episodes
        self.tokens = dataset_tokens(
            tokenizer,
            columns.observations,
            columns.actions,
            columns.rewards,
            table["end"].to_numpy(),
            table["terminated"].to_numpy(),
            discount=discount,
            tail=context_length,
            folder=columns.folder,
        )
        self._resident = Resident(self.tokens)
        self.context_length = context_length
        self._positions = np.arange(context_length)
        self._table = table
        self.index = WindowIndex(table["start"].to_numpy(), table["end"].to_numpy())

    def subset(self, episodes: np.ndarray) -> TokenWindows:
        """Windows of some episodes only; the tokens are shared."""
        chosen = self._table.iloc[episodes]
        other = copy(self)
        other.index = WindowIndex(chosen["start"].to_numpy(), chosen["end"].to_numpy())
        return other

    def __len__(self) -> int:
        """Number of windows: the steps of the chosen episodes."""
        return len(self.index)

    def sample(self, count: int, seed: int, batch: int) -> TokenBatch:
        """Batch number ``batch``: ``count`` windows drawn uniformly with replacement."""
        return self._batch(*self.index.sample(count, seed, batch))

    def cover(self, count: int, limit: int | None = None) -> Iterator[TokenBatch]:
        """Batches of up to ``count`` windows that together hold every step exactly once.

        Args:
            count: windows in a batch.
            limit: at most so many windows, evenly spread over the dataset; None takes all.
        """
        episode, start = self.index.tiles(self.context_length)
        if limit is not None and len(start) > limit:
            spread = np.linspace(0, len(start) - 1, limit).round().astype(np.int64)
            episode, start = episode[spread], start[spread]
        for first in range(0, len(start), count):
            yield self._batch(episode[first : first + count], start[first : first + count])

    def _batch(self, episode: np.ndarray, start: np.ndarray) -> TokenBatch:
        self._resident.touch(len(start) * self.context_length)
        mask = self._positions < (self.index.ends[episode] - start)[:, None]
        tokens = windowed(self.tokens, self.context_length)[start]
        if tokens.dtype != np.uint8:  # torch computes with few unsigned types
            tokens = tokens.astype(np.int32)
        return TokenBatch(torch.from_numpy(tokens), torch.from_numpy(mask))
