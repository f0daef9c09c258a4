"""What every kind of job can do while it runs: say how far it is, and notice that it should stop."""

from __future__ import annotations

import contextlib
import time
from types import FrameType

from seqrl.store import JobRow, Store

_WRITE_EVERY_S = 0.25


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

    def should_stop(self) -> bool:
        """Whether the job was asked to stop; then save, and raise `Stopped`."""
        return self._stop

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask this job to stop; also the handler of SIGTERM."""
        self._stop = True

    def progress(self, fraction: float, message: str, *, now: bool = False) -> None:
        """Keep how far the job is (0 to 1) and what it does; called from its loop, so it is also its heartbeat.

        Written at most four times a second unless ``now``. Notices a request to stop, also where no signal arrives.
        """
        if not now and time.monotonic() - self._written < _WRITE_EVERY_S:
            return
        self._written = time.monotonic()
        fraction = min(max(fraction, 0.0), 1.0)
        ours = self.store.set_job(
            self.job.id, self.job.attempt, progress=fraction, message=message, heartbeat=self.store.now()
        )
        if not ours or self.store.job(self.job.id).cancel_requested is not None:
            self._stop = True

    def log(self, text: str) -> None:
        """Add a line to the job's log. A log that cannot be written must not end the job that it describes."""
        with contextlib.suppress(OSError):
            print(time.strftime("%H:%M:%S"), text, flush=True)
