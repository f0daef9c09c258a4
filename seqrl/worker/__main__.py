"""Carry out one job: ``python -m seqrl.worker HOME JOB LOCK``, started by `seqrl.jobs` only."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from seqrl.jobs import Backend, advance, can_resume, clean_up
from seqrl.jobs.backend import OUTCOME_BYTES, OUTCOME_NAME
from seqrl.jobs.process import ProcessIdentity, largest_resident_bytes
from seqrl.store import JobState, Store
from seqrl.worker.context import JobContext, Stopped
from seqrl.worker.sentences import TRACE_NAME, describe, unexpected

# Kind of job → module here and its function of (context, spec), ``run`` if none is named.
MODULES = {
    "dataset": "seqrl.worker.dataset",
    "train": "seqrl.worker.train",
    "policy": "seqrl.worker.policy",
    "sweep_rtg": "seqrl.worker.sweep",
    "sweep_beam": "seqrl.worker.beam",
    "sweep_schedule": "seqrl.worker.schedule",
    "render": "seqrl.worker.render",
    "import": "seqrl.worker.imports:import_",
    "download": "seqrl.worker.imports:download",
    "derive": "seqrl.worker.imports:derive",
    "export": "seqrl.worker.imports:export",
    "import_run": "seqrl.worker.models:import_model",
    "export_run": "seqrl.worker.models:export_model",
    "open_loop": "seqrl.worker.models:open_loop",
}
_NICENESS = 10
_AUTOGROUP = Path("/proc/self/autogroup")


def main(arguments: Sequence[str], backend: Backend | None = None) -> int:
    """Run the job that the launcher has claimed, and move the queue afterwards.

    Args:
        arguments: home folder, id of the job, descriptor of its lock.
        backend: what starts the next job; the one that was chosen by default.

    Returns:
        The exit code, 0 only on success.
    """
    home, job_id, held = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    folder = home / "jobs" / str(job_id)
    _prepare_process(folder, held)
    try:
        return _run(Store(home), job_id, held, backend)
    except Exception as error:  # the boundary of the process: not even the store can be used
        _leave_outcome(folder, describe(error, home) or unexpected(error))
        _keep_trace(folder)
        return 1


def _prepare_process(folder: Path, held: int) -> None:
    """Keep the lock to this process alone, and let the dashboard go first."""
    os.set_inheritable(held, False)
    os.register_at_fork(after_in_child=lambda: os.close(held))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield_to_others()
    with suppress(OSError):
        faulthandler.enable(open(folder / TRACE_NAME, "a"))  # it must stay open


def yield_to_others() -> None:
    """Let the dashboard and whoever works at this machine go first."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    if os.getsid(0) == os.getpid():  # others of a session would be slowed down, too
        with suppress(OSError):  # where every session is a group of its own, as on desktops, only this counts between
            _AUTOGROUP.write_text(str(_NICENESS))


def _run(store: Store, job_id: int, held: int, backend: Backend | None) -> int:
    context = JobContext(store, store.job(job_id))
    signal.signal(signal.SIGTERM, context.stop)
    identity = ProcessIdentity.of(os.getpid())
    if identity is None or not store.set_job(
        job_id, context.job.attempt, pid=identity.pid, process_started=identity.started, boot_id=identity.boot_id
    ):
        return 1  # cancelled, or taken over, before it began
    state, error = carry_out(context)
    saved = finish(context, state, error)
    os.close(held)
    advance(store, backend)
    return 0 if saved and state == "succeeded" else 1


def carry_out(context: JobContext) -> tuple[JobState, str | None]:
    """Do the work; every way in which it can end becomes a state and a sentence."""
    job = context.job
    context.log(f"job {job.id}: {job.kind} {job.name}, attempt {job.attempt}")
    try:
        spec = job.job.spec
        module, _, function = MODULES[job.kind].partition(":")
        getattr(import_module(module), function or "run")(context, spec)
    except Stopped:
        return _stopped(context)
    except Exception as error:  # the boundary of the process: whatever it was becomes its job's outcome
        sentence = describe(error, context.store.home) or unexpected(error)
        _keep_trace(context.store.job_folder(job.id))
        context.log(f"failed: {sentence}")
        return "failed", sentence
    context.log(f"succeeded; at most {largest_resident_bytes() / 1e9:.2f} GB in memory")
    return "succeeded", None


def _keep_trace(folder: Path) -> None:
    """Keep where an error came from, apart from the log, which a page shows."""
    with suppress(OSError), open(folder / TRACE_NAME, "a") as file:
        traceback.print_exc(file=file)


def _leave_outcome(folder: Path, sentence: str) -> None:
    """Say why the job ended where the database cannot; the file's blocks were reserved for this."""
    with suppress(OSError), open(folder / OUTCOME_NAME, "r+b") as file:
        file.write(sentence.encode()[:OUTCOME_BYTES])


def _stopped(context: JobContext) -> tuple[JobState, str | None]:
    job = context.store.job(context.job.id)
    if job.cancel_requested is None and can_resume(context.store, job):
        context.log("interrupted")
        return "interrupted", "its process was asked to end; resume it to go on"
    context.log("cancelled")
    return "cancelled", None


def finish(context: JobContext, state: JobState, error: str | None) -> bool:
    """Record the outcome. Where the database cannot take it, leave the sentence for whoever looks next."""
    store, job = context.store, context.job
    try:
        if state != "succeeded":
            clean_up(store, store.job(job.id))
        values: dict[str, Any] = {"message": ""}
        if state == "succeeded":
            values = {"progress": 1.0, "message": f"at most {largest_resident_bytes() / 1e9:.2f} GB in memory"}
        return store.transition(
            job.id, ["running"], state, attempt=job.attempt, error=error, heartbeat=store.now(), **values
        )
    except (OSError, sqlite3.Error) as failure:
        folder = store.job_folder(job.id)
        _leave_outcome(folder, error or describe(failure, store.home) or unexpected(failure))
        context.log(f"could not record the outcome: {failure}")
        return False


def leave(code: int) -> NoReturn:
    """End the process without taking its modules apart: with torch among them that costs half a second of a processor.

    What was registered for the end (Ray's farewell) is done; the job itself has been recorded already.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
