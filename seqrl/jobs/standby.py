"""A worker process that is there before its job: it has imported what jobs need, which takes longer than a short job.

A server keeps one (`keep_one`), and its `LocalBackend` gives it the next job of `KINDS`. The process carries from its
start the token that its job will be claimed with, and ends when its server does, unless it has begun a job by then.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seqrl.jobs.environment import COMPUTING, python_path
from seqrl.jobs.process import TOKEN_VARIABLE

KINDS = frozenset({"sweep_rtg", "sweep_beam", "sweep_schedule", "render", "open_loop"})
"""Jobs that somebody waits for. Trainings need an environment from the start, foreign files a process of their own."""

HEAD_BYTES = 8
DESCRIPTORS = 2
"""Handed in with a job: its lock and its log."""

_REST_S = 5.0
"""After one was taken; its job goes first."""


class Standby(NamedTuple):
    """A process that waits for a job.

    Attributes:
        token: what its job has to be claimed with.
        process: to be waited for by whoever gave it a job.
        door: where the job is handed in.
    """

    token: str
    process: subprocess.Popen[bytes]
    door: socket.socket

    def begin(
        self, arguments: Sequence[str], held: int, log: int, folder: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Hand a job in.

        Args:
            arguments: home and number of the job.
            held: descriptor of its lock.
            log: descriptor of the file that it prints to.
            folder: that it works in.
            environment: that it works with; carries the token.

        Raises:
            OSError: if the process is gone; the job has not begun then.
        """
        job = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        body = json.dumps(job).encode()
        with self.door:
            socket.send_fds(self.door, [len(body).to_bytes(HEAD_BYTES, "big")], [held, log])
            self.door.sendall(body)
        return self.process

    def end(self) -> None:
        """Let it end without a job."""
        self.door.close()
        self.process.wait()


_lock = threading.Lock()
_waiting: list[Standby] = []
_kept = False


def keep_one() -> None:
    """Have one process stand by from now on, as long as this one lives."""
    global _kept
    with _lock:
        _kept = True
        if not _waiting:
            _waiting.append(_spawn())


def take() -> Standby | None:
    """The process that stands by, if there is one; another will follow."""
    with _lock:
        if not _waiting:
            return None
        taken = _waiting.pop()
    _follow(_REST_S)
    return taken if taken.process.poll() is None else None


def give_back(standby: Standby) -> None:
    """Let a process that was taken wait on: its job was not to be had."""
    with _lock:
        if _kept and not _waiting:
            _waiting.append(standby)
            return
    standby.end()


def dismiss() -> None:
    """Keep none any more."""
    global _kept
    with _lock:
        _kept = False
        while _waiting:
            _waiting.pop().end()


def _follow(seconds: float) -> None:
    timer = threading.Timer(seconds, _replace)
    timer.daemon = True
    timer.start()


def _replace() -> None:
    with _lock:
        if _kept and not _waiting:
            _waiting.append(_spawn())


def _spawn() -> Standby:
    """A new one; it prints nowhere until it has a job."""
    ours, theirs = socket.socketpair()
    token = secrets.token_hex(16)
    own = {"PYTHONPATH": python_path(os.environ), "PYTHONUNBUFFERED": "1", TOKEN_VARIABLE: token}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "seqrl.worker.standby", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=os.environ | COMPUTING | own,
        )
    return Standby(token, process, ours)
