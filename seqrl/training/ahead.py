"""Batches that are read from disk while the one before is computed with."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol


class Sampler(Protocol):
    """Batches by their number, as `seqrl.windows.WindowSource` has them."""

    def sample(self, count: int, seed: int, batch: int) -> Any:
        """Batch number ``batch``."""


class BatchesAhead:
    """The same batches as those of a source, the next one read in the background before it is asked for.

    A batch is a function of its number, so training is the same, bit for bit. It is worth a thread where columns are
    larger than memory should hold: reading a batch of wide steps from a disk takes as long as an update.

    Args:
        source: asked by one thread only, here and from now on.
    """

    def __init__(self, source: Sampler) -> None:
        self._source = source
        self._reader = ThreadPoolExecutor(1, "batches")
        self._known: dict[tuple[int, int, int], Future[Any]] = {}

    def sample(self, count: int, seed: int, batch: int) -> Any:
        """Batch number ``batch``, which may be asked for again until another one is.

        Raises:
            OSError: if it cannot be read.
        """
        wanted = [(count, seed, number) for number in (batch, batch + 1)]
        self._known = {key: self._known.get(key) or self._reader.submit(self._source.sample, *key) for key in wanted}
        return self._known[wanted[0]].result()
