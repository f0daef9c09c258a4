"""The context of episodes that act in lock step, held in a key/value cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqrl.models.transformer import KeyValueCache

ROWS = 16
"""Rows acting together are padded to a multiple of this: matrix products then give every row the same bits whatever the
batch, so an episode does not depend on the episodes that happen to run beside it."""

COMPACT_BELOW = 0.75
"""Finished rows are computed along until fewer than this share of the rows is needed; moving the cache costs more."""


@dataclass
class ActingState:
    """The context of N episodes that act in lock step.

    Attributes:
        cache: projected keys and values; its rows are a multiple of `ROWS`.
        slots: (N,) int64, the cache row of every running episode.
        max_context: K, the most steps of context.
        steps: steps in context now.
    """

    cache: KeyValueCache
    slots: Tensor
    max_context: int
    steps: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the next step needs a `prefill` instead of a `step`."""
        return self.steps >= self.max_context

    def keep(self, running: Tensor) -> None:
        """Take finished episodes out. ``running``: (N,) bool over the episodes that are still in."""
        self.slots = self.slots[torch.as_tensor(running)]
        if padded_rows(len(self.slots)) < COMPACT_BELOW * self.cache.rows:
            self.compact()

    def compact(self) -> None:
        """Move the running episodes to the front and give the rows of the others back."""
        rows = padded_rows(len(self.slots))
        if rows < self.cache.rows:
            self.cache.keep(torch.cat([self.slots, self.slots[:1].expand(rows - len(self.slots))]))
            self.slots = torch.arange(len(self.slots))

    def spread(self, values: Tensor) -> Tensor:
        """(N, ...) by episode → (rows of the cache, ...); rows without an episode hold zeros."""
        result = values.new_zeros((self.cache.rows, *values.shape[1:]))
        result[self.slots] = values
        return result


def padded_rows(count: int) -> int:
    """The next multiple of `ROWS`, at least one."""
    return max(1, -(-count // ROWS)) * ROWS
