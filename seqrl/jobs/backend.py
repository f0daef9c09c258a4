"""Where jobs run. The queue decides when; a backend starts, watches and stops.

Which one is said in `seqrl.jobs.choice`: ``local`` (the default) starts processes of this machine, ``ray`` lets a
cluster account for them and do the large parts of their work (`seqrl.jobs.ray_backend`, imported only then).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from seqrl.files import atomic_write_text
from seqrl.jobs import standby
from seqrl.jobs.choice import ADDRESS_SETTING, BACKEND_SETTING, BACKEND_VARIABLE, BackendName, choice
from seqrl.jobs.environment import environment
from seqrl.jobs.process import ProcessIdentity, ask_to_stop, kill_all
from seqrl.jobs.standby import Standby
from seqrl.store import JobRow, Store

LOCK_NAME = "lock"
LOG_NAME = "log.txt"
PROCESSES_LOG_NAME = "processes.txt"
"""What the processes that a job starts print."""
OUTCOME_NAME = "outcome"
OUTCOME_BYTES = 4096
MOST_LAUNCHES = 8
"""Tries to start a job, all its attempts counted. With the rests between them they last three minutes."""
_LONGEST_REST_S = 64.0
_NOT_STARTED = "not started yet: "
WORKER_COMMAND = (sys.executable, "-P", "-m", "seqrl.worker")


class Backend(Protocol):
    """Starts, watches and stops the processes of jobs."""

    def start(self, store: Store, job: JobRow, limit: int, on_exit: Callable[[], None]) -> bool:
        """Claim a queued job and start it, if it is first in the queue and fewer than ``limit`` run.

        Args:
            store: where the job is queued.
            job: the job.
            limit: how many jobs may run at once.
            on_exit: called some time after the job's process ended, if this process is still there.

        Returns:
            Whether it was started; where its process could not be, it was put back, see `put_back`.
        """

    def seize(self, store: Store, job: JobRow) -> int | None:
        """Become the holder of a job whose process is gone; None while it lives. Pass the result to `release`."""

    def release(self, held: int) -> None:
        """Let go of what `seize` returned."""

    def ask_to_stop(self, job: JobRow) -> bool:
        """Ask a running job to save and end; False if it cannot be reached."""

    def kill(self, job: JobRow) -> None:
        """End a running job and everything that it started, at once."""


class LocalBackend:
    """Processes of this machine, each leading its own process group.

    A job that somebody waits for goes to the process that stands by, if this one keeps one, see `seqrl.jobs.standby`.

    A job is alive as long as its ``lock`` is held. The launcher takes it before the job is claimed and hands it over to
    the worker, so that there is no moment in which a running job is not held; the kernel lets go on any death.

    Args:
        command: what carries a job out, given home, job and lock as further arguments.
        variables: the environment that its process begins with; that of this process by default.

    Attributes:
        uses_standby: whether its jobs can be carried out by a process that stands by, which has neither of these.
    """

    def __init__(self, command: Sequence[str] = WORKER_COMMAND, variables: Mapping[str, str] | None = None) -> None:
        self.command = tuple(command)
        self.variables = variables
        self.uses_standby = self.command == WORKER_COMMAND and variables is None

    def start(self, store: Store, job: JobRow, limit: int, on_exit: Callable[[], None]) -> bool:
        """See `Backend.start`."""
        folder = store.job_folder(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        held = lock(folder)
        if held is None:
            return False
        try:
            waiting = standby.take(job.kind) if self.uses_standby else None
            claimed = store.claim(job.id, limit, token=waiting.token if waiting else secrets.token_hex(16))
            if claimed is None:
                if waiting:
                    standby.give_back(waiting)
                return False
            process = self.launch(store, claimed, held, waiting)
        finally:
            self.release(held)
        if process is not None:
            ended = (process, job.kind, on_exit)
            threading.Thread(target=_reap, args=ended, daemon=True, name=f"job {job.id}").start()
        return process is not None

    def launch(
        self, store: Store, job: JobRow, held: int, waiting: Standby | None = None
    ) -> subprocess.Popen[bytes] | None:
        """Start the process of a claimed job and hand its lock over.

        Args:
            store: where the job is.
            job: the job, running.
            held: its lock, see `lock`; the caller closes it afterwards.
            waiting: a process that stands by with the token of the job.

        Returns:
            The process; None if it could not be started, and the job was put back.
        """
        try:
            process = self._spawn(store, job, held, waiting)
        except OSError as error:
            put_back(store, job, f"the worker process could not be started: {error.strerror or error}")
            if waiting is not None:
                waiting.end()
            return None
        _note_identity(store, job, process.pid)
        return process

    def seize(self, store: Store, job: JobRow) -> int | None:
        """See `Backend.seize`."""
        folder = store.job_folder(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        return lock(folder)

    def release(self, held: int) -> None:
        """See `Backend.release`."""
        os.close(held)

    def ask_to_stop(self, job: JobRow) -> bool:
        """See `Backend.ask_to_stop`."""
        return ask_to_stop(job)

    def kill(self, job: JobRow) -> None:
        """See `Backend.kill`."""
        kill_all(job)

    def _spawn(self, store: Store, job: JobRow, held: int, waiting: Standby | None) -> subprocess.Popen[bytes]:
        folder = store.job_folder(job.id)
        atomic_write_text(folder / "spec.json", json.dumps(dict(job.spec), indent=2))
        # Room for a last sentence, so that a full disk cannot swallow it.
        (folder / OUTCOME_NAME).write_bytes(b" " * OUTCOME_BYTES)
        arguments = [str(store.home), str(job.id)]
        own = environment(store, job, os.environ if self.variables is None else self.variables)
        with open(folder / LOG_NAME, "ab") as log:
            if waiting is not None:
                with suppress(OSError):  # it has ended: a fresh process does as well
                    return waiting.begin(arguments, held, log.fileno(), folder, own)
            return subprocess.Popen(
                [*self.command, *arguments, str(held)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(held,),
                start_new_session=True,
                cwd=folder,
                env=own,
            )


def chosen_backend(store: Store) -> Backend:
    """The backend that was chosen for a home, see `seqrl.jobs.choice`.

    Raises:
        ValueError: if there is no such backend, or what it needs is not installed.
    """
    if choice(store).backend == "local":
        return LocalBackend()
    from seqrl.jobs.ray_backend import RayBackend

    return RayBackend()


def choose(store: Store, backend: BackendName, address: str | None = None) -> None:
    """Have the jobs of a home run elsewhere from now on; those that run stay where they are.

    Args:
        store: the home.
        backend: ``local`` or ``ray``.
        address: ``HOST:PORT`` of a running cluster; None for one of this machine, started with the first job.

    Raises:
        ValueError: if the environment says where jobs run, Ray is not installed, or nothing answers at the address.
    """
    if choice(store).fixed:
        raise ValueError(f"{BACKEND_VARIABLE} is set where this server was started; unset it there to choose here")
    if backend == "ray":
        from seqrl.jobs.ray_cluster import check_installed, knock

        check_installed()
        if address is not None:
            knock(address)
    store.set_setting(ADDRESS_SETTING, address if backend == "ray" else None)
    store.set_setting(BACKEND_SETTING, backend)


def lock(folder: Path) -> int | None:
    """A descriptor that holds a job's lock until it and all its copies are closed; None if somebody holds it."""
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def put_back(store: Store, job: JobRow, fault: str) -> None:
    """Queue a claimed job again whose process could not be started: it keeps its place, and fails only in the end.

    The fault is rarely the job's own, and all that wait behind it would share it.
    """
    if store.job(job.id).cancel_requested is not None:
        store.transition(job.id, ["running"], "cancelled", attempt=job.attempt)
    elif job.attempt < MOST_LAUNCHES:
        kept = {"ticket": job.ticket, "message": f"{_NOT_STARTED}{fault}"}
        store.transition(job.id, ["running"], "queued", attempt=job.attempt, **kept)
    else:
        store.transition(job.id, ["running"], "failed", attempt=job.attempt, error=fault)


def was_put_back(job: JobRow) -> bool:
    """Whether a job waits because its process could not be started; its message says why."""
    return job.state == "queued" and job.message.startswith(_NOT_STARTED)


def rests(store: Store, job: JobRow) -> bool:
    """Whether a job was put back a moment ago: every look at the queue would be a try otherwise."""
    rest_s = min(2.0**job.attempt, _LONGEST_REST_S)
    return was_put_back(job) and job.started is not None and 0 <= store.now() - job.started < rest_s


def _note_identity(store: Store, job: JobRow, pid: int) -> None:
    identity = ProcessIdentity.of(pid)
    if identity is not None:
        store.set_job(job.id, job.attempt, pid=pid, process_started=identity.started, boot_id=identity.boot_id)


def _reap(process: subprocess.Popen[bytes], kind: str, on_exit: Callable[[], None]) -> None:
    process.wait()
    on_exit()
    standby.follow(kind)
