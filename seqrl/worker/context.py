"""What every kind of job can do while it runs: say how far it is, and notice that it should stop."""

from __future__ import annotations

import contextlib
import time
from types import FrameType

from seqrl.store import JobRow, Store

_WRITE_EVERY_S = 0.25
_ESTIMATED_AFTER_S, _ESTIMATED_AFTER = 2.0, 0.01


class Stopped(Exception):
    """The job was asked to stop, and what it had is saved."""


class JobContext:
    """A running job as seen by the code that carries it out.

    Args:
        store: where it is kept.
        job: its row, as claimed.
    """

    def __init__(self, store: Store, job: JobRow) -> None:
        self.store = store
        self.job = job
        self._stop = False
        self._written = 0.0
        self._began: tuple[float, float] | None = None

    def should_stop(self) -> bool:
        """Whether the job was asked to stop; then save, and raise `Stopped`."""
        return self._stop

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask this job to stop; also the handler of SIGTERM."""
        self._stop = True

    def progress(self, fraction: float, message: str, *, now: bool = False) -> None:
        """Keep how far the job is (0 to 1) and what it does; called from its loop, so it is also its heartbeat.

        The first call says where the work begins; from then on it is told how long the rest will take.
        Written at most four times a second unless ``now``. Notices a request to stop, also where no signal arrives.
        """
        self._began = self._began or (time.monotonic(), fraction)
        if not now and time.monotonic() - self._written < _WRITE_EVERY_S:
            return
        self._written = time.monotonic()
        fraction = min(max(fraction, 0.0), 1.0)
        message += self._left(*self._began, fraction)
        ours = self.store.set_job(
            self.job.id, self.job.attempt, progress=fraction, message=message, heartbeat=self.store.now()
        )
        if not ours or self.store.job(self.job.id).cancel_requested is not None:
            self._stop = True

    @staticmethod
    def _left(began: float, first: float, fraction: float) -> str:
        """How long it takes if it goes on as it did, start-up and earlier attempts apart; nothing while unknown."""
        elapsed, done = time.monotonic() - began, fraction - first
        if elapsed < _ESTIMATED_AFTER_S or done < _ESTIMATED_AFTER or fraction >= 1:
            return ""
        return f" · {about(elapsed * (1 - fraction) / done)} left"

    def log(self, text: str) -> None:
        """Add a line to the job's log. A log that cannot be written must not end the job that it describes."""
        with contextlib.suppress(OSError):
            print(time.strftime("%H:%M:%S"), text, flush=True)


def about(seconds: float) -> str:
    """An estimated time span, no more exact than an estimate is.

    >>> about(4.6), about(130), about(3500), about(9000)
    ('5 s', '2.2 min', '58 min', '2.5 h')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.2g} min" if minutes < 99.5 else f"{minutes / 60:.2g} h"
