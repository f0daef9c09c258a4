"""The Ray cluster that a home's jobs run on: one of this machine, on loopback, or one that is running already.

``python -m seqrl.jobs.ray_cluster start | status | stop`` for the home in ``SEQRL_HOME``.

A running cluster may be chosen by its address (`seqrl.jobs.choice`); this machine must be one of its nodes. Without one
the first job starts a cluster of this home's own, which outlives whoever started it: it listens on 127.0.0.1 only, asks
for a token that only this user can read, shows no dashboard and reports no usage. ``ray`` is imported here alone, when
somebody asks for it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from seqrl.files import atomic_write_text, new_file
from seqrl.jobs.choice import allowed_workers, cluster_address
from seqrl.jobs.environment import COMPUTING, python_path
from seqrl.jobs.process import TOKEN_VARIABLE, ProcessIdentity
from seqrl.processors import processors
from seqrl.store import Store
from seqrl.store.base import default_home

NAMESPACE = "seqrl"
MOST_RETRIES = 3
"""How often work is given to another worker when one ends."""

QUEUED_A_WORKER = 2
"""Tasks given to Ray for every processor: the next one is there when one ends."""

LOOK_EVERY_S = 0.25
"""Between looks at tasks that run."""

_MOST_STARTING_S, _MOST_STOPPING_S, _MOST_KNOCKING_S = 60.0, 10.0, 5.0
_OBJECT_STORE_BYTES = 2**28
_FOLDER_PREFIX, _ADDRESS_NAME, _LEAD = "seqrl-ray-", "address", "lead"
_LEADER_COMMAND = (sys.executable, "-P", "-m", "seqrl.jobs.ray_cluster", _LEAD)
_connecting = threading.RLock()
_attached: list[str] = []
"""The address that this process is connected to, as it was asked for: Ray may call the same place by another name."""


def check_installed() -> None:
    """Make sure that Ray can be imported, without importing it.

    Raises:
        ValueError: with what to do.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "jobs are to run on Ray but Ray is not installed; pip install -r requirements-ray.txt, or choose local"
        )


def connect(home: Path, start: bool = True) -> Any:
    """The module ``ray``, connected to the cluster of a home.

    Args:
        home: whose jobs run there.
        start: whether a cluster of this machine may be started for it.

    Returns:
        ``ray``; None if there is no cluster and none may be started.

    Raises:
        ValueError: if Ray is missing, or nothing answers at the address.
    """
    check_installed()
    address = _chosen_address(home)
    with _connecting:
        if address is None:
            cluster = start_cluster(home) if start else running_cluster(home)
            if cluster is None:
                return None
            address = cluster.address
            os.environ |= variables(home)
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # of half a minute each; read when ray is imported
        import ray

        if ray.is_initialized():
            if _attached == [address]:
                return ray
            ray.shutdown()
        _attach(ray, address)
        _attached[:] = [address]
        return ray


def workers_of(ray: Any) -> int:
    """How many tasks a cluster carries out at once: what the environment allows, else its processors."""
    return allowed_workers() or max(1, int(ray.cluster_resources().get("CPU", 1)))


def most_queued(workers: int) -> int:
    """How many tasks are given to a cluster at once: those that wait count where the environment sets a limit."""
    return allowed_workers() or QUEUED_A_WORKER * workers


def _chosen_address(home: Path) -> str | None:
    address = cluster_address(Store(home))
    if address is not None:
        _check_address(address)
    return address


def _check_address(address: str) -> None:
    if "://" in address:
        raise ValueError(
            f"the address of the Ray cluster is {address}; give HOST:PORT of a cluster that this machine is a node of, "
            "since the jobs that write into SEQRL_HOME run here"
        )


@contextmanager
def borrowed(home: Path, start: bool = True) -> Iterator[Any]:
    """Like `connect`, for a moment: a connection that was not there before is closed again.

    Ray ends a process a minute after the cluster that it is connected to has gone. A server must not end so.
    """
    with _connecting:
        kept = list(_attached)
        ray = connect(home, start)
        try:
            yield ray
        finally:
            if ray is not None and not kept:
                ray.shutdown()
                _attached.clear()


def worker_variables() -> dict[str, str]:
    """What the environment of processes that Ray starts has to say, for them to find seqrl and to compute its bits."""
    return {"PYTHONPATH": python_path(os.environ), **COMPUTING}


@dataclass(frozen=True)
class Cluster:
    """A cluster of this machine.

    Attributes:
        address: ``127.0.0.1:PORT``; empty until it has started.
        process: the process that leads it; its end is the end of all others.
        folder: name of the folder of its sockets and logs among the temporary ones: paths of sockets must be short.
    """

    address: str
    process: ProcessIdentity
    folder: str

    def remove_files(self) -> None:
        """Remove its sockets and logs; it must have ended."""
        shutil.rmtree(Path(tempfile.gettempdir()) / self.folder, ignore_errors=True)


def running_cluster(home: Path) -> Cluster | None:
    """The cluster that was started for a home, if it still runs.

    Number, start time and boot of its process must agree with what was noted, and its environment must name this
    home's token: no other process is ever taken for it.
    """
    noted = _living_cluster(home)
    return noted if noted is not None and noted.address else None


def _living_cluster(home: Path) -> Cluster | None:
    """Like `running_cluster`, or one whose starter was killed before it had started."""
    noted = noted_cluster(home)
    if noted is None or ProcessIdentity.of(noted.process.pid) != noted.process:
        return None
    try:
        environment = psutil.Process(noted.process.pid).environ()
    except psutil.Error:
        return None  # it ended in between, or is somebody else's
    return noted if variables(home).items() <= environment.items() else None


def start_cluster(home: Path, workers: int | None = None) -> Cluster:
    """The cluster of a home; started if it does not run.

    Args:
        home: its home.
        workers: how many tasks of one processor may run at once; one a processor by default.

    Raises:
        ValueError: if it cannot be started, with the end of what it said.
    """
    check_installed()
    try:
        with _folder_lock(home) as folder:
            running = running_cluster(home)
            if running is not None:
                return running
            _clear(home)
            return _launch(home, folder, workers or processors())
    except OSError as error:
        said = error.strerror or error
        raise ValueError(
            f"a Ray cluster could not be started on this machine ({said}); mend that and try again"
        ) from error


def stop_cluster(home: Path) -> bool:
    """Stop the cluster of a home with everything that it runs; False if there is none.

    Jobs that run on it end as if their machine had: trainings and sweeps go on from what they have saved.
    """
    with _folder_lock(home):
        found = _living_cluster(home) is not None
        if found:
            _clear(home)
        return found


def _clear(home: Path) -> None:
    """End the cluster that is noted down, if it lives, and remove what is left of it."""
    living, noted = _living_cluster(home), noted_cluster(home)
    if living is not None:
        _end(living.process.pid)
    if noted is not None:
        noted.remove_files()
    _note_path(home).unlink(missing_ok=True)


def _attach(ray: Any, address: str) -> None:
    """Connect, and leave this process's handling of SIGTERM as it is: Ray would replace it."""
    knock(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
            runtime_env={"env_vars": worker_variables()},
        )
    except Exception as error:  # ConnectionError, RuntimeError, ValueError and Ray's own: it keeps no contract
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"no Ray cluster answers at {address} ({said}); start it, or choose another address"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def knock(address: str) -> None:
    """Make sure that something listens at an address; Ray would try for minutes.

    Raises:
        ValueError: if nothing does, or it is no address.
    """
    _check_address(address)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_MOST_KNOCKING_S).close()
    except (OSError, ValueError, OverflowError) as error:
        text = f"no Ray cluster answers at {address} ({error}); start it, or choose another address"
        raise ValueError(text) from error


def _launch(home: Path, folder: Path, workers: int) -> Cluster:
    """Start a cluster. It is noted down before it has started, so that one whose starter is killed can be ended."""
    _make_token(folder)
    sockets = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    process = None
    try:
        process = _start_leader(home, folder, sockets, workers)
        identity, address = ProcessIdentity.of(process.pid), None
        if identity is not None:
            _note(home, Cluster("", identity, sockets.name))
            address = _wait_for_address(process, sockets)
        if identity is None or address is None:
            said = " ".join((folder / "log.txt").read_text(errors="replace").split())[-300:]
            raise ValueError(f"a Ray cluster could not be started on this machine; it said: {said}")
        cluster = Cluster(address, identity, sockets.name)
        _note(home, cluster)
    except BaseException:
        if process is not None and process.poll() is None:
            _end(process.pid)
        _note_path(home).unlink(missing_ok=True)
        shutil.rmtree(sockets, ignore_errors=True)
        raise
    threading.Thread(target=process.wait, daemon=True).start()  # no zombie, should it end before us
    return cluster


def _start_leader(home: Path, folder: Path, sockets: Path, workers: int) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}  # or it dies with a job
    with open(folder / "log.txt", "wb") as log:
        return subprocess.Popen(
            [*_LEADER_COMMAND, str(sockets), str(workers)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=sockets,
            env=inherited | variables(home) | worker_variables() | {"RAY_USAGE_STATS_ENABLED": "0"},
        )


def _lead(sockets: Path, workers: int) -> int:
    """Be the process that leads a cluster: start its others, say where it is, and end them when asked to end."""
    import ray

    ended = threading.Event()
    ray.init(
        num_cpus=workers,
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(sockets),
    )
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    atomic_write_text(sockets / _ADDRESS_NAME, ray.get_runtime_context().gcs_address)
    ended.wait()
    ray.shutdown()
    return 0


def _wait_for_address(process: subprocess.Popen[bytes], sockets: Path) -> str | None:
    """Where a cluster is, once everything runs; None if it ends before, or takes too long."""
    deadline = time.monotonic() + _MOST_STARTING_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(FileNotFoundError):
            return (sockets / _ADDRESS_NAME).read_text()
        time.sleep(0.05)
    return None


def _end(leader: int) -> None:
    """End the process that leads a cluster, and see all its descendants gone."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(leader)
        everybody = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(everybody, timeout=_MOST_STOPPING_S)
        for left in alive:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        psutil.wait_procs(alive, timeout=_MOST_STOPPING_S)


def _make_token(folder: Path) -> None:
    """Have a token that only this user can read, whole or not at all."""
    path = folder / "token"
    if path.is_file() and path.stat().st_size:
        return
    path.unlink(missing_ok=True)  # an older version may have been stopped before it had written it
    with new_file(path) as partial:
        partial.chmod(0o600)
        partial.write_text(secrets.token_hex(32))


def variables(home: Path) -> dict[str, str]:
    """What every process of the cluster of a home, and every one that connects to it, has in its environment."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home / "ray" / "token"),
        # Otherwise Ray turns 127.0.0.1 into the machine's address and listens to the network.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def _note_path(home: Path) -> Path:
    return home / "ray" / "cluster.json"


def _note(home: Path, cluster: Cluster) -> None:
    about = {"address": cluster.address, "process": vars(cluster.process), "folder": cluster.folder}
    atomic_write_text(_note_path(home), json.dumps(about, indent=1))


def noted_cluster(home: Path) -> Cluster | None:
    """The cluster that was noted down last; None if there is none, or what is noted is no such thing."""
    try:
        about = json.loads(_note_path(home).read_text())
        process = ProcessIdentity(
            int(about["process"]["pid"]), about["process"]["started"], about["process"]["boot_id"]
        )
        address, folder = str(about["address"]), str(about["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Cluster(address, process, folder) if re.fullmatch(f"{_FOLDER_PREFIX}[a-z0-9_]+", folder) else None


@contextmanager
def _folder_lock(home: Path) -> Iterator[Path]:
    """The folder for the cluster of a home, held: two starters start one."""
    folder = home / "ray"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def main(arguments: Sequence[str]) -> int:
    """``start``, ``status`` or ``stop`` the cluster of the home in ``SEQRL_HOME``."""
    home = default_home()
    try:
        match list(arguments):
            case ["start"]:
                cluster: Cluster | None = start_cluster(home)
            case ["status"]:
                cluster = running_cluster(home)
            case ["stop"]:
                print("stopped" if stop_cluster(home) else "no cluster runs for this home")
                return 0
            case [command, sockets, workers] if command == _LEAD:
                return _lead(Path(sockets), int(workers))
            case _:
                print("usage: python -m seqrl.jobs.ray_cluster start | status | stop", file=sys.stderr)
                return 2
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"a cluster runs at {cluster.address}" if cluster else "no cluster runs for this home")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
