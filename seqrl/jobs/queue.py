"""The life of a job: queued, running, ended, and sometimes queued again."""

from __future__ import annotations

import math
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from seqrl.config import JobSpec
from seqrl.files import atomic_write_text, is_name, remove_partials, remove_partials_of
from seqrl.jobs.backend import LOG_NAME, MOST_LAUNCHES, OUTCOME_BYTES, OUTCOME_NAME, Backend, chosen_backend, rests
from seqrl.jobs.choice import allowed_workers, fans_out
from seqrl.jobs.submission import create_rows
from seqrl.processors import processors
from seqrl.store import DatasetRow, JobRow, JobState, Store
from seqrl.store.episodes import has_parts
from seqrl.store.runs import CHECKPOINT

GRACE_S = 10.0
GRACE_NAME = "grace"
"""How many seconds after the request a job has for saving, in its folder, since any process may have to end it."""
_READ = {"train": "dataset", "open_loop": "dataset", "export": "name", "derive": "sources"}
"""Kind of job → the setting that names the datasets which it reads."""
_RESUMABLE: tuple[JobState, ...] = ("interrupted", "cancelled", "failed")


def job_limit(store: Store) -> int:
    """How many jobs may run at once: the home's own setting, else one less than there are processors.

    Jobs of a cluster that wait for its processors are among them, so there it is the number of its workers if that is
    said.
    """
    setting = store.setting("job_limit")
    if setting is not None and not re.fullmatch(r"[0-9]{1,4}", setting):
        store.unreadable["job_limit"] = f"it is {setting[:40]!r}; set a whole number"
        setting = None
    if setting:
        return max(1, int(setting))
    return _workers(store) or max(1, processors() - 1)


def _workers(store: Store) -> int | None:
    try:
        return allowed_workers() if fans_out(store) else None
    except ValueError:
        return None  # each job that needs the number fails with the sentence


def submit(store: Store, job: JobSpec, backend: Backend | None = None) -> JobRow:
    """Queue a job, and start it if there is room.

    Raises:
        ValueError: one sentence on what does not fit; nothing is queued then.
    """
    backend = backend or chosen_backend(store)
    job_id = create_rows(store, job)
    advance(store, backend)
    return store.job(job_id)


def advance(store: Store, backend: Backend | None = None) -> None:
    """Start queued jobs, first in first out, as long as there is room.

    Those that somebody is watching for, such as a video, take seconds: one of them may run beside the others.
    """
    starter = backend or chosen_backend(store)
    store.fail_damaged_jobs()
    for watched, limit in ((True, 1), (False, job_limit(store))):
        while (job := store.next_queued(watched=watched)) is not None and not rests(store, job):
            if not starter.start(store, job, limit, on_exit=lambda: reconcile(store, starter)):
                break  # no room, another process is just starting it, or no process can be started


def reconcile(store: Store, backend: Backend | None = None) -> None:
    """Notice jobs whose process is gone, end those that outstayed their grace, and move the queue. Cheap."""
    backend = backend or chosen_backend(store)
    store.fail_damaged_jobs()
    for job in store.jobs(["running"]):
        if job.cancel_requested is not None and not 0 <= store.now() - job.cancel_requested <= _granted_s(store, job):
            backend.kill(job)  # a request from the future is of before the clock was set back
        _bury_if_dead(store, job, backend)
    advance(store, backend)


def cancel(
    store: Store, job_id: int, *, grace_s: float = GRACE_S, wait: bool = False, backend: Backend | None = None
) -> JobRow:
    """Stop a job: a queued one at once, a running one after it has saved, or by force when its grace is over.

    Args:
        store: where the job is.
        job_id: which job.
        grace_s: seconds it has for saving, at least 0.
        wait: whether to return only when it has ended; otherwise a thread of this process sees to the force, and
            `reconcile` does so should this process end.
        backend: where the job runs; `chosen_backend` by default.

    Returns:
        The job; still running if it was and ``wait`` is false.

    Raises:
        ValueError: if it has ended already, or the grace is no such number.
    """
    if not 0 <= grace_s < math.inf:
        raise ValueError(f"grace is {grace_s}; choose a finite number of seconds, at least 0")
    backend = backend or chosen_backend(store)
    if store.transition(job_id, ["queued"], "cancelled", message="cancelled before it started"):
        return store.job(job_id)
    job = store.job(job_id)
    requested = job.cancel_requested or store.now()
    with suppress(OSError):  # on a full disk it has `GRACE_S`
        atomic_write_text(store.job_folder(job_id) / GRACE_NAME, str(store.now() - requested + grace_s))
    if not store.set_job(job_id, job.attempt, cancel_requested=requested):
        job = store.job(job_id)
        raise ValueError(f"job {job_id} ({job.kind} {job.name}) has {job.state} already; there is nothing to cancel")
    backend.ask_to_stop(job)
    if wait:
        _enforce(store, job, grace_s, backend)
    else:
        threading.Thread(target=_enforce, args=(store, job, grace_s, backend), daemon=True).start()
    return store.job(job_id)


def resume(store: Store, job_id: int, backend: Backend | None = None) -> JobRow:
    """Queue a training or sweep again that was stopped; it goes on from its checkpoint or its finished cells.

    Raises:
        ValueError: if it is not stopped, or of a kind that starts afresh.
    """
    backend = backend or chosen_backend(store)
    job = store.job(job_id)
    if job.kind != "train" and not job.kind.startswith("sweep_"):
        raise ValueError(f"job {job_id} is a {job.kind} job, which cannot be resumed; start it again")
    if not store.transition(job_id, _RESUMABLE, "queued", message="waiting to resume"):
        raise ValueError(f"job {job_id} is {store.job(job_id).state}; only a stopped job can be resumed")
    advance(store, backend)
    return store.job(job_id)


def wait(
    store: Store,
    job_id: int,
    on_progress: Callable[[JobRow], None] | None = None,
    *,
    poll_s: float = 0.1,
    backend: Backend | None = None,
) -> JobRow:
    """Wait until a job has ended, telling every look at it, and return it."""
    while True:
        reconcile(store, backend)
        job = store.job(job_id)
        if on_progress is not None:
            on_progress(job)
        if job.ended:
            return job
        time.sleep(poll_s)


def log_tail(store: Store, job_id: int, lines: int = 40) -> str:
    """The last lines of a job's log; empty if it has none yet."""
    path = store.job_folder(job_id) / LOG_NAME
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 400 * lines))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def clean_up(store: Store, job: JobRow) -> None:
    """Remove what a job left half done. Call it only as the holder of the job, before its state changes.

    A row that carries no proper name was not written by this program: nothing can belong to it.
    """
    _remove_dataset_files(store, job)
    for name in _read_datasets(job):
        with suppress(ValueError):  # its folder leads out of the home, where nothing is made
            remove_partials_of(store.columns_folder(name))
    shutil.rmtree(store.job_folder(job.id) / "scratch", ignore_errors=True)
    store.remove_partial_exports(job.id)
    if not is_name(job.name) or store.bundled(job.name):
        return
    if job.kind == "train":
        remove_partials(store.run_folder(job.name))
    elif job.kind == "import_run":
        remove_partials_of(store.run_folder(job.name) / CHECKPOINT)
    elif job.kind.startswith("sweep_"):
        remove_partials(store.sweep_folder(job.name))


def can_resume(store: Store, job: JobRow) -> bool:
    """Whether a stopped job has something to go on from."""
    if not is_name(job.name):
        return False
    if job.kind == "train":
        return (store.run_folder(job.name) / CHECKPOINT / "training_state.safetensors").is_file()
    return job.kind.startswith("sweep_") and has_parts(store.sweep_folder(job.name))


def read_outcome(folder: Path) -> str:
    """The last sentence of a worker that could not reach the database; usually empty."""
    path = folder / OUTCOME_NAME
    return path.read_bytes()[:OUTCOME_BYTES].decode(errors="replace").strip("\0 \n") if path.is_file() else ""


def _dataset_is_whole(store: Store, job: JobRow) -> bool:
    """Whether a job ended between declaring its dataset built and saying so of itself."""
    return any(row.job_id == job.id and row.facts is not None for row in _datasets(store))


def _datasets(store: Store) -> list[DatasetRow]:
    """All of them: one may be archived while it is built."""
    return [*store.datasets(), *store.datasets(archived=True)]


def _read_datasets(job: JobRow) -> list[str]:
    """Datasets whose columns a job makes again where they are missing; another job may be doing that, too."""
    spec = job.spec.get("spec")
    read = spec.get(_READ[job.kind]) if isinstance(spec, Mapping) and job.kind in _READ else None
    names = read if isinstance(read, list | tuple) else [read]
    return [name for name in names if isinstance(name, str) and is_name(name)]


def _remove_dataset_files(store: Store, job: JobRow) -> None:
    """Remove the files of a dataset that this job was making; those of a finished one are left alone."""
    unfinished = [row for row in _datasets(store) if row.job_id == job.id and row.facts is None and is_name(row.name)]
    for row in unfinished:
        for folder in (store.columns_folder(row.name), store.minari_dataset_folder(row.name)):
            shutil.rmtree(folder, ignore_errors=True)
            remove_partials_of(folder)


def _granted_s(store: Store, job: JobRow) -> float:
    """Seconds after the request that a job has for saving."""
    try:
        return float((store.job_folder(job.id) / GRACE_NAME).read_text())
    except (OSError, ValueError):  # asked by an older version, or the file is damaged
        return GRACE_S


def _enforce(store: Store, job: JobRow, grace_s: float, backend: Backend) -> None:
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        now = store.job(job.id)
        if now.ended or now.attempt != job.attempt:
            break
        if job.pid is None and now.pid is not None:  # it was just starting when it was asked
            backend.ask_to_stop(now)
            job = now
        _bury_if_dead(store, now, backend)
        time.sleep(0.05)
    now = store.job(job.id)
    if now.state == "running" and now.attempt == job.attempt:
        backend.kill(now)
    while (now := store.job(job.id)).state == "running" and now.attempt == job.attempt:
        _bury_if_dead(store, now, backend)
        time.sleep(0.02)
    advance(store, backend)


def _bury_if_dead(store: Store, job: JobRow, backend: Backend) -> None:
    held = backend.seize(store, job)
    if held is None:
        return
    try:
        now = store.job(job.id)
        if now.state == "running" and now.attempt == job.attempt:
            _bury(store, now, backend)
    finally:
        backend.release(held)


def _bury(store: Store, job: JobRow, backend: Backend) -> None:
    """Give a job whose process is gone the state that it has earned."""
    backend.kill(job)
    if job.pid is None and job.cancel_requested is None and job.attempt < MOST_LAUNCHES:
        # Its launcher died before the worker began: nothing is lost, so it keeps its place.
        store.transition(job.id, ["running"], "queued", attempt=job.attempt, ticket=job.ticket)
        return
    clean_up(store, job)
    said = read_outcome(store.job_folder(job.id))
    state: JobState
    error: str | None
    if _dataset_is_whole(store, job):
        state, error = "succeeded", None
    elif job.cancel_requested is not None:
        state, error = "cancelled", said or ("it did not stop by itself and was ended by force" if job.pid else None)
    else:
        state = "interrupted" if not said and can_resume(store, job) else "failed"
        error = said or "its process was killed or crashed; the end of its log shows how far it was"
    store.transition(job.id, ["running"], state, attempt=job.attempt, error=error)
