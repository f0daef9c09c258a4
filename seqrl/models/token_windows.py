"""Training windows of the Trajectory Transformer: a dataset tokenised once, gathered by stride."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqrl.mapped import Resident
from seqrl.store.columns import Columns
from seqrl.tokens import TransitionTokenizer, dataset_tokens
from seqrl.windows import MemoryWindows, Places, WindowIndex, WindowSource


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


class TokenWindows(WindowSource[TokenBatch]):
    """Batches of token windows.

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
        spans = columns.spans
        self.tokens = dataset_tokens(
            tokenizer,
            columns.observations,
            columns.actions,
            columns.rewards,
            spans["end"],
            spans["terminated"],
            discount=discount,
            tail=context_length,
            folder=columns.folder,
        )
        super().__init__(WindowIndex(spans["start"], spans["end"]), context_length, self.tokens[:1].nbytes + 1)
        self._windows, self._resident = MemoryWindows(self.tokens, context_length), Resident(self.tokens)
        self._spans = spans

    def subset(self, episodes: np.ndarray) -> TokenWindows:
        """Windows of some episodes only; the tokens are shared."""
        return self.of_episodes(self._spans[episodes])

    def gather(self, places: Places) -> TokenBatch:
        """One gather."""
        self._resident.touch(len(places) * self.context_length)
        tokens = self._windows[places.start]
        if tokens.dtype != np.uint8:  # torch computes with few unsigned types
            tokens = tokens.astype(np.int32)
        real = self._real[np.minimum(places.left, self.context_length)]
        return TokenBatch(torch.from_numpy(tokens), torch.from_numpy(real))
