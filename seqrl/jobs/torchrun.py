"""The processes of one training on this machine, started by ``torchrun`` and gone when it is over.

They are told who they are by variables of their environment, and meet in a file: ``torchrun --standalone`` would listen
to every network for that, and read pickles from whoever connects. What they tell each other stays on loopback.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from seqrl.jobs.environment import COMPUTING, python_path
from seqrl.jobs.process import ProcessIdentity

_MOST_ENDING_S = 5.0


class Processes:
    """The processes that ``torchrun`` has started.

    Attributes:
        known: those that have said who they are; they end with this, even if ``torchrun`` was killed.
    """

    def __init__(self, torchrun: subprocess.Popen[bytes]) -> None:
        self._torchrun = torchrun
        self.known: set[ProcessIdentity] = set()

    @property
    def running(self) -> bool:
        """Whether any may still run; ``torchrun`` ends after the last of them."""
        return self._torchrun.poll() is None

    def end(self) -> None:
        """See all of them gone."""
        children = _descendants(self._torchrun.pid) if self.running else []
        self._torchrun.kill()
        self._torchrun.wait()
        known = [identity for identity in self.known if ProcessIdentity.of(identity.pid) == identity]
        for process in {*children, *_processes(identity.pid for identity in known)}:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(_MOST_ENDING_S)


@contextmanager
def torchrun(count: int, module: str, arguments: Sequence[str], folder: Path, log: Path) -> Iterator[Processes]:
    """Start a module in several processes that can talk to each other.

    Args:
        count: how many.
        module: what they run.
        arguments: its arguments.
        folder: an empty one, where they may meet.
        log: what they and ``torchrun`` print is added to this file.
    """
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={count}"]
    command += ["--max-restarts=0", "--rdzv-backend=c10d", "--rdzv-conf=store_type=file"]
    command += [f"--rdzv-endpoint={folder / 'rendezvous'}", f"--log-dir={folder / 'torchrun'}", "-m", module]
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | _variables(),
        )
    processes = Processes(process)
    try:
        yield processes
    finally:
        processes.end()


def _variables() -> dict[str, str]:
    loopback = _loopback()
    return {
        **COMPUTING,
        "PYTHONPATH": python_path(os.environ),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",  # until a process has looked which cores are idle
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # a store that would listen to every network, and is not needed
    }


def _loopback() -> str:
    """The interface of 127.0.0.1: "lo", or "lo0" on a Mac."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.family == socket.AF_INET and address.address == "127.0.0.1" for address in addresses):
            return name
    return "lo"


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _processes(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            yield psutil.Process(pid)
