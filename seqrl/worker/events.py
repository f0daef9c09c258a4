"""The curves of a run as TensorBoard events, where tensorboard is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqrl.training import Histogram


class EventWriter:
    """Writes events; does nothing where tensorboard is missing.

    Args:
        folder: where the event files go.
        purge_step: events of an earlier attempt after this step are declared void.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        self._writer: Any = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=purge_step + 1 if purge_step else None)

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics of a step."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def histogram(self, step: int, histogram: Histogram) -> None:
        """A histogram that was counted already."""
        if self._writer is None:
            return
        edges, counts = histogram.edges, histogram.counts
        middles = (edges[1:] + edges[:-1]) / 2
        self._writer.add_histogram_raw(
            histogram.name,
            min=float(edges[0]),
            max=float(edges[-1]),
            num=int(counts.sum()),
            sum=float(middles @ counts),
            sum_squares=float(middles**2 @ counts),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )
