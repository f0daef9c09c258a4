"""Batches that are read from disk while the one before is computed with."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol


class Sampler(Protocol):
    """Batches by their number, as `seqrl.windows.WindowSource` has them."""

    def sample(self, count: int, seed: int, batch: int, part: range | None = None) -> Any:
        """Batch number ``batch``, or a part of its windows."""


class BatchesAhead:
    """The same batches as those of a source, the next one read in the background before it is asked for.

    A batch is a function of its number, so training is the same, bit for bit. It is worth a thread where columns are
    larger than memory should hold: reading a batch of wide steps from a disk takes as long as an update.

    Args:
        source: asked by one thread only, here and from now on.
        parts: of every batch, in the order in which they are asked for.
    """

    def __init__(self, source: Sampler, parts: Sequence[range | None] = (None,)) -> None:
        self._source = source
        self._after = dict(zip(parts, (*parts[1:], parts[0]), strict=True))
        self._last = parts[-1]
        self._reader = ThreadPoolExecutor(1, "batches")
        self._known: dict[tuple[int, int, int, range | None], Future[Any]] = {}

    def sample(self, count: int, seed: int, batch: int, part: range | None = None) -> Any:
        """Batch number ``batch``, or a part of it, which may be asked for again until another one is.

        Raises:
            OSError: if it cannot be read.
        """
        following = (count, seed, batch + (part == self._last), self._after[part])
        wanted = [(count, seed, batch, part), following]
        self._known = {key: self._known.get(key) or self._reader.submit(self._source.sample, *key) for key in wanted}
        return self._known[wanted[0]].result()
