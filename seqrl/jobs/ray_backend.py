"""Jobs on a Ray cluster, chosen by ``SEQRL_BACKEND=ray``.

A job is an actor of the cluster, bound to the machine that holds ``SEQRL_HOME``: it waits in Ray's queue until that
machine has a processor for it, and then starts the very process that `LocalBackend` starts. So there is one store with
one writer's machine, and lock, log, heartbeat, stopping and resuming are the same. What is large about a job goes on to
the whole cluster from there: the cells of return and beam sweeps, and trainings, are tasks (`seqrl.worker.fan_out`,
`seqrl.worker.together`).

The actor is detached: it outlives whoever submitted the job. All that it is told is plain text and numbers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqrl.jobs.backend import WORKER_COMMAND, LocalBackend, lock, put_back
from seqrl.jobs.ray_cluster import NAMESPACE, borrowed, check_installed
from seqrl.store import JobRow, Store
from seqrl.store.rows import WATCHED_KINDS

FANS_OUT = frozenset({"sweep_rtg", "sweep_beam", "train"})
"""Kinds of jobs whose work is done by tasks; they need no processor themselves."""

_FORWARDED = ("SEQRL_", "RAY_", "OMP_", "MKL_", "MUJOCO_", "PYTHONPATH")
"""Beginnings of the variables that a job takes over from whoever submits it; the others are those of its machine."""

_LOOK_EVERY_S = 0.5
_MOST_HELD_S = 10.0


class RayBackend(LocalBackend):
    """Jobs as actors of a Ray cluster. See `LocalBackend`, whose processes they start.

    Args:
        command: what carries a job out, given home, job and lock as further arguments.

    Raises:
        ValueError: if Ray is not installed.
    """

    def __init__(self, command: Sequence[str] = WORKER_COMMAND) -> None:
        check_installed()
        super().__init__(command)

    def start(self, store: Store, job: JobRow, limit: int, on_exit: Callable[[], None]) -> bool:
        """See `Backend.start`. A job that Ray cannot take is put back, with Ray's sentence."""
        held = super().seize(store, job)
        if held is None:
            return False
        try:
            claimed = store.claim(job.id, limit, token=secrets.token_hex(16))
            if claimed is None:
                return False
            try:
                self._hand_over(store, claimed)
            except ValueError as error:
                put_back(store, claimed, str(error))
                return False
        finally:
            self.release(held)
        threading.Thread(target=self._watch, args=(store, claimed, on_exit), daemon=True, name=f"job {job.id}").start()
        return True

    def seize(self, store: Store, job: JobRow) -> int | None:
        """See `Backend.seize`.

        The lock tells of a job's process. Before there is one, the job lives as long as its actor does; an actor that
        still waits for its turn is withdrawn once the job is not wanted any more.
        """
        held = super().seize(store, job)
        if held is None:
            return None
        now = store.job(job.id)
        if now.state == "running" and now.pid is None and self._waits(store, now):
            self.release(held)
            return None
        return held

    def _hand_over(self, store: Store, job: JobRow) -> None:
        with borrowed(store.home) as ray:
            self._create_actor(ray, store, job)

    def _create_actor(self, ray: Any, store: Store, job: JobRow) -> None:
        here = ray.get_runtime_context().get_node_id()
        forwarded = {name: value for name, value in os.environ.items() if name.startswith(_FORWARDED)}
        options: dict[str, Any] = {
            "name": actor_name(job),
            "lifetime": "detached",
            "num_cpus": 0 if job.kind in FANS_OUT or job.kind in WATCHED_KINDS else 1,
            "max_restarts": 0,
            "scheduling_strategy": ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False),
        }
        try:
            actor = ray.remote(Launcher).options(**options)
            actor.remote(str(store.home), job.id, job.attempt, list(self.command), forwarded)
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise ValueError(f"Ray could not take the job: {' '.join(str(error).split())[:200]}") from error

    def _waits(self, store: Store, job: JobRow) -> bool:
        """Whether the actor of a job that has no process yet is there."""
        try:
            with borrowed(store.home, start=False) as ray:
                if ray is None:
                    return False
                actor = ray.get_actor(actor_name(job), namespace=NAMESPACE)
                if job.cancel_requested is not None:
                    ray.kill(actor)
        except ValueError:
            return False  # Ray knows no such actor (any more), or the cluster is gone
        return True

    def _watch(self, store: Store, job: JobRow, on_exit: Callable[[], None]) -> None:
        """Wait until a job's process has ended."""
        while (held := self.seize(store, job)) is None:
            time.sleep(_LOOK_EVERY_S)
        self.release(held)
        on_exit()


class Launcher:
    """The actor: starts the process of a job, lives as long as it does, and holds what the job needs of Ray until then.

    Args:
        home: of the store.
        job_id: the job.
        attempt: the attempt that this is; if another has begun, there is nothing to do.
        command: see `LocalBackend`.
        variables: environment of whoever submitted the job.
    """

    def __init__(
        self, home: str, job_id: int, attempt: int, command: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        self._job = (Path(home), job_id, attempt)
        self._backend = LocalBackend(command, _plain_environment() | dict(variables))
        threading.Thread(target=self._carry_out, daemon=True).start()

    def _carry_out(self) -> None:
        import ray

        try:
            self._launch_and_wait()
        finally:
            ray.get_runtime_context().current_actor.__ray_terminate__.remote()

    def _launch_and_wait(self) -> None:
        home, job_id, attempt = self._job
        store = Store(home)
        held = _patient_lock(store.job_folder(job_id))
        if held is None:
            return
        try:
            job = store.job(job_id)
            wanted = job.state == "running" and job.attempt == attempt
            process = self._backend.launch(store, job, held) if wanted else None
        finally:
            os.close(held)
        if process is not None:
            process.wait()


def actor_name(job: JobRow) -> str:
    """One name an attempt, the same wherever it is asked for; the token itself stays secret."""
    return f"job-{job.id}-{hashlib.sha256(str(job.token).encode()).hexdigest()[:16]}"


def _patient_lock(folder: Path) -> int | None:
    """A job's lock; whoever looks whether the job lives holds it for a moment."""
    deadline = time.monotonic() + _MOST_HELD_S
    while (held := lock(folder)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


def _plain_environment() -> dict[str, str]:
    """This process's environment without what Ray put there for it; a job is a process of its own."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("RAY_") and name != "OMP_NUM_THREADS"
    }
