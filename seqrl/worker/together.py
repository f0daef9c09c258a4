"""Training in other processes: several of this machine by ``torchrun``, or workers of a cluster.

There one worker is a task, several are those of Ray's ``TorchTrainer``. The job's process starts them, keeps what they
say and tells them to stop; it computes nothing. So the store has one writer, wherever the processes run, and what they
run is the same (`seqrl.worker.rank`).
"""

from __future__ import annotations

import socketserver
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from seqrl.config import RunSpec
from seqrl.jobs.backend import PROCESSES_LOG_NAME
from seqrl.jobs.choice import fans_out
from seqrl.jobs.process import ProcessIdentity
from seqrl.jobs.ray_cluster import connect
from seqrl.jobs.torchrun import Processes, torchrun
from seqrl.store.columns import Columns
from seqrl.training.group import ALONE, Group
from seqrl.training.records import StepRecord, decode
from seqrl.worker.context import JobContext
from seqrl.worker.rank import ASSIGNMENT_NAME, HEAD_BYTES, POST_NAME, STOP, Assignment, Letter, Post, train_share

_LOOK_EVERY_S = 0.05


class WorkersGone(ValueError):
    """A training cannot go on where it was.

    Attributes:
        stay: whether it needs files that only the store's machine has.
    """

    def __init__(self, sentence: str, stay: bool) -> None:
        super().__init__(sentence)
        self.stay = stay


class Workplace(Protocol):
    """Where the processes of a training run."""

    def running(self) -> bool:
        """Whether any of them may still run."""

    def letters(self) -> list[Letter]:
        """What they have said since the last time."""

    def stop(self) -> None:
        """Ask them to save and end."""


class Office:
    """Where processes leave their letters and hear whether to stop; an object of this process, or an actor of Ray's."""

    def __init__(self) -> None:
        self._letters: deque[bytes] = deque()
        self._stopping = False

    def put(self, letter: bytes) -> bool:
        """Leave a letter; says whether to stop."""
        self._letters.append(letter)
        return self._stopping

    def take(self) -> list[bytes]:
        """The letters since the last time."""
        return [self._letters.popleft() for _ in range(len(self._letters))]

    def stop(self) -> None:
        """From now on, say that it is time to stop."""
        self._stopping = True


def train_together(
    context: JobContext, spec: RunSpec, columns: Columns, resumes: bool, stay: bool = False
) -> Iterator[StepRecord]:
    """Train a run in ``spec.training.processes`` processes.

    Args:
        context: its job.
        spec: the run.
        columns: its data.
        resumes: whether it goes on from its checkpoint.
        stay: whether workers of a cluster have to be on this machine.

    Yields:
        The records of `seqrl.training.train`.

    Raises:
        ValueError: if a process fails, with its sentence.
        WorkersGone: if one was killed, or lacks the files of the store.
    """
    assignment = Assignment(
        spec=spec,
        columns=str(columns.folder),
        content_hash=columns.facts.content_hash,
        run_folder=str(context.store.run_folder(spec.name)),
        resumes=resumes,
    )
    ends: dict[int, Letter] = {}
    with _workplace(context, assignment, stay) as workplace:
        asked = False
        while True:
            running = workplace.running()  # before the letters: the last ones are not missed
            for letter in workplace.letters():
                if letter.kind == "record":
                    yield decode(letter.body)
                else:
                    ends[letter.rank] = letter
            if not running:
                break
            if context.should_stop() and not asked:
                asked = True
                workplace.stop()
            time.sleep(_LOOK_EVERY_S)
    _check(ends, spec.training.processes)


def _workplace(context: JobContext, assignment: Assignment, stay: bool) -> AbstractContextManager[Workplace]:
    return _on_cluster(context, assignment, stay) if fans_out(context.store) else _here(context, assignment)


def _check(ends: dict[int, Letter], processes: int) -> None:
    """Raise what kept the processes from coming to a good end."""
    for letter in ends.values():
        if letter.kind == "failed":
            sentence, trace = letter.about["sentence"], RuntimeError(letter.about["trace"])
            raise (WorkersGone(sentence, stay=True) if letter.about["missing"] else ValueError(sentence)) from trace
    for rank in range(processes):
        if rank not in ends:
            raise WorkersGone(
                f"process {rank + 1} of {processes} of the training was killed or crashed; {PROCESSES_LOG_NAME} in "
                "the job's folder, or Ray's logs, show what it said",
                stay=False,
            )


# --- on this machine -------------------------------------------------------------------------------


class _Here:
    """Processes of this machine."""

    def __init__(self, office: Office, processes: Processes) -> None:
        self._office, self._processes = office, processes

    def running(self) -> bool:
        return self._processes.running

    def letters(self) -> list[Letter]:
        letters = [Letter.unpack(packed) for packed in self._office.take()]
        self._processes.known |= {ProcessIdentity(**letter.about) for letter in letters if letter.kind == "begun"}
        return [letter for letter in letters if letter.kind != "begun"]

    def stop(self) -> None:
        self._office.stop()


@contextmanager
def _here(context: JobContext, assignment: Assignment) -> Iterator[_Here]:
    log = context.store.job_folder(context.job.id) / PROCESSES_LOG_NAME
    office = Office()
    with tempfile.TemporaryDirectory(prefix="seqrl-train-") as name:  # paths of sockets must be short
        folder = Path(name)
        (folder / ASSIGNMENT_NAME).write_text(assignment.model_dump_json())
        with _Server(str(folder / POST_NAME), office) as server:
            threading.Thread(target=server.serve_forever, args=(_LOOK_EVERY_S,), daemon=True).start()
            with torchrun(assignment.spec.training.processes, "seqrl.worker.rank", [name], folder, log) as processes:
                yield _Here(office, processes)
            server.shutdown()


class _Server(socketserver.ThreadingUnixStreamServer):
    """Takes letters in through a socket that only this user can reach."""

    daemon_threads = True

    def __init__(self, path: str, office: Office) -> None:
        super().__init__(path, _Counter)
        self.office = office


class _Counter(socketserver.StreamRequestHandler):
    """Serves one process: a length and a letter come in, one byte goes back."""

    server: _Server

    def handle(self) -> None:
        """Serve until it has ended."""
        while head := self.rfile.read(HEAD_BYTES):
            size = int.from_bytes(head, "big")
            letter = self.rfile.read(size)
            if len(letter) < size:
                return  # it was killed as it wrote
            self.wfile.write(STOP if self.server.office.put(letter) else b"\0")


# --- on a cluster ----------------------------------------------------------------------------------


class _OnCluster:
    """Workers of a cluster, and the task that runs their trainer."""

    def __init__(self, ray: Any, office: Any, trainer: Any) -> None:
        self._ray, self._office, self._trainer = ray, office, trainer

    def running(self) -> bool:
        return not self._ray.wait([self._trainer], timeout=0)[0]

    def letters(self) -> list[Letter]:
        return [Letter.unpack(packed) for packed in self._ray.get(self._office.take.remote())]

    def stop(self) -> None:
        self._ray.get(self._office.stop.remote())


@contextmanager
def _on_cluster(context: JobContext, assignment: Assignment, stay: bool) -> Iterator[_OnCluster]:
    processes = assignment.spec.training.processes
    context.log(f"asking the cluster for {processes} worker{'s' if processes > 1 else ''}")
    ray = connect(context.store.home)
    near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    options = {"num_cpus": 0, "scheduling_strategy": near}
    office = ray.remote(Office).options(**options).remote()
    gpus = ray.cluster_resources().get("GPU", 0) >= processes
    text = assignment.model_dump_json()
    with tempfile.TemporaryDirectory(prefix="seqrl-train-") as folder:
        if processes == 1:
            wanted = {"num_cpus": 1, "num_gpus": int(gpus), "scheduling_strategy": near if stay else "SPREAD"}
            trainer = ray.remote(train_alone).options(max_retries=0, **wanted).remote(text, office)
        else:
            trainer = ray.remote(fit).options(max_retries=0, **options).remote(text, office, processes, gpus, folder)
        try:
            yield _OnCluster(ray, office, trainer)
        finally:
            ray.kill(office)


def fit(assignment_json: str, office: Any, processes: int, gpus: bool, folder: str) -> None:
    """Run Ray's trainer; a task of the cluster, near the store.

    Args:
        assignment_json: an `Assignment`.
        office: the actor that takes letters.
        processes: how many workers.
        gpus: whether each gets a GPU.
        folder: for what Ray writes; nothing of it is kept.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        train_on_worker,
        train_loop_config={"assignment": assignment_json, "office": office},
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpus),
        run_config=RunConfig(name="training", storage_path=folder),
    ).fit()


def train_on_worker(config: dict[str, Any]) -> None:
    """What each worker of Ray's trainer runs; Ray has connected them already.

    Raises:
        RuntimeError: if it failed, so that Ray ends the other workers; why is in its letter.
    """
    if not train_share(config["assignment"], Group.of_environment(), _post_to(config["office"])):
        raise RuntimeError("this worker has failed")


def train_alone(assignment_json: str, office: Any) -> None:
    """Train in one process; a task of the cluster."""
    train_share(assignment_json, ALONE, _post_to(office))


def _post_to(office: Any) -> Post:
    import ray

    return lambda letter: bool(ray.get(office.put.remote(letter)))
