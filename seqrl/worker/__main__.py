"""Carry out one job: ``python -m seqrl.worker HOME JOB LOCK``, started by `seqrl.jobs` only."""

from __future__ import annotations

import errno
import faulthandler
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from seqrl.config import explain
from seqrl.files import free_bytes
from seqrl.jobs import Backend, LocalBackend, advance, can_resume, clean_up
from seqrl.jobs.backend import OUTCOME_BYTES, OUTCOME_NAME
from seqrl.jobs.process import ProcessIdentity
from seqrl.store import JobState, Store
from seqrl.worker.context import JobContext, Stopped

# Kind of job → module here with ``run(context, spec)``.
MODULES = {
    "dataset": "seqrl.worker.dataset",
    "train": "seqrl.worker.train",
    "sweep_rtg": "seqrl.worker.sweep",
    "sweep_beam": "seqrl.worker.beam",
    "render": "seqrl.worker.render",
}
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_FULL_TEXTS = ("no space left", "disk is full", "file too large", "errno = 28", "errno = 27", "quota exceeded")
_NICENESS = 5


def main(arguments: Sequence[str], backend: Backend | None = None) -> int:
    """Run the job that the launcher has claimed, and move the queue afterwards.

    Args:
        arguments: home folder, id of the job, descriptor of its lock.
        backend: what starts the next job; a process of this machine by default.

    Returns:
        The exit code, 0 only on success.
    """
    home, job_id, held = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    _prepare_process(held)
    store = Store(home)
    context = JobContext(store, store.job(job_id))
    signal.signal(signal.SIGTERM, context.stop)
    identity = ProcessIdentity.of(os.getpid())
    if identity is None or not store.set_job(
        job_id, context.job.attempt, pid=identity.pid, process_started=identity.started, boot_id=identity.boot_id
    ):
        return 1  # cancelled, or taken over, before it began
    state, error = _carry_out(context)
    saved = _finish(context, state, error)
    os.close(held)
    advance(store, backend or LocalBackend())
    return 0 if saved and state == "succeeded" else 1


def _prepare_process(held: int) -> None:
    """Keep the lock to this process alone, leave crashes in the log, and let the dashboard go first."""
    os.set_inheritable(held, False)
    os.register_at_fork(after_in_child=lambda: os.close(held))
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)


def _carry_out(context: JobContext) -> tuple[JobState, str | None]:
    """Do the work; every way in which it can end becomes a state and a sentence."""
    job = context.job
    context.log(f"job {job.id}: {job.kind} {job.name}, attempt {job.attempt}")
    try:
        module = import_module(MODULES[job.kind])
        module.run(context, job.job.spec)
    except Stopped:
        return _stopped(context)
    except Exception as error:  # the boundary of the process: whatever it was becomes its job's outcome
        sentence = describe(error, context.store.home)
        if sentence is None:
            sentence = f"unexpected {type(error).__name__}: {error}; the log shows where"
            context.log(traceback.format_exc())
        context.log(f"failed: {sentence}")
        return "failed", sentence
    context.log("succeeded")
    return "succeeded", None


def describe(error: BaseException, home: Path) -> str | None:
    """The sentence for a failure that has a remedy; None for a mistake of this program."""
    text = str(error)
    code = error.errno if isinstance(error, OSError) else None
    full = code in _DISK_FULL or any(part in text.lower() for part in _DISK_FULL_TEXTS)
    if full and isinstance(error, OSError | sqlite3.Error | RuntimeError):
        return f"the disk is full ({free_bytes(home) / 1e6:,.0f} MB free at {home}); free some space and start again"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "not enough memory" in text):
        return "the memory of this machine is exhausted; choose a smaller batch, model or dataset"
    if isinstance(error, ValidationError):
        return explain(error)
    if isinstance(error, ValueError | ArithmeticError | OSError) and text:
        return text
    return None


def _stopped(context: JobContext) -> tuple[JobState, str | None]:
    job = context.store.job(context.job.id)
    if job.cancel_requested is None and can_resume(context.store, job):
        context.log("interrupted")
        return "interrupted", "its process was asked to end; resume it to go on"
    context.log("cancelled")
    return "cancelled", None


def _finish(context: JobContext, state: JobState, error: str | None) -> bool:
    """Record the outcome. Where the database cannot take it, leave the sentence for whoever looks next."""
    store, job = context.store, context.job
    try:
        if state != "succeeded":
            clean_up(store, store.job(job.id))
        values = {"progress": 1.0, "message": ""} if state == "succeeded" else {"message": ""}
        return store.transition(
            job.id, ["running"], state, attempt=job.attempt, error=error, heartbeat=store.now(), **values
        )
    except (OSError, sqlite3.Error) as failure:
        sentence = error or describe(failure, store.home) or str(failure)
        with open(store.job_folder(job.id) / OUTCOME_NAME, "r+b") as file:
            file.write(sentence.encode()[:OUTCOME_BYTES])
        context.log(f"could not record the outcome: {failure}")
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
