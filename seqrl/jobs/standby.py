"""Worker processes that are there before their jobs: they have imported what takes longer than a short job does.

A server keeps two (`keep`), one for films and one for models, and its `LocalBackend` gives them the next job of theirs.
Such a process carries from its start the token that its job will be claimed with, and ends when its server does, unless
it has begun a job by then.
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
from typing import Literal, NamedTuple

from seqrl.jobs.environment import COMPUTING, python_path
from seqrl.jobs.process import TOKEN_VARIABLE

Group = Literal["films", "models"]

GROUPS: dict[str, Group] = {
    "render": "films",
    "sweep_rtg": "models",
    "sweep_beam": "models",
    "sweep_schedule": "models",
    "open_loop": "models",
}
"""Kind of job that somebody waits for → what its process imports; films need no torch.

Trainings need an environment from the start, foreign files a process of their own.
"""

HEAD_BYTES = 8
DESCRIPTORS = 2
"""Handed in with a job: its lock and its log."""

_REST_S, _LONGEST_REST_S = 1.0, 15.0
"""After a job, and after one began: a short one does not share the processors with the start of another worker."""


class Standby(NamedTuple):
    """A process that waits for a job.

    Attributes:
        group: what it has imported.
        token: what its job has to be claimed with.
        process: to be waited for by whoever gave it a job.
        door: where the job is handed in.
    """

    group: Group
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
        threading.Thread(target=self.process.wait, daemon=True).start()  # it may be importing still


_lock = threading.Lock()
_waiting: dict[Group, Standby] = {}
_kept = False


def keep() -> None:
    """Have a process of each group stand by from now on, as long as this one lives."""
    global _kept
    _kept = True
    for group in dict.fromkeys(GROUPS.values()):
        _replace(group)


def take(kind: str) -> Standby | None:
    """The process that stands by for a kind of job, if one does; another follows, sooner if `follow` is called."""
    with _lock:
        taken = _waiting.pop(GROUPS[kind], None) if kind in GROUPS else None
    if taken is not None:
        _later(_LONGEST_REST_S, taken.group)
    return taken


def follow(kind: str) -> None:
    """Have another process stand by: a job of this kind has ended."""
    if _kept and kind in GROUPS:
        _later(_REST_S, GROUPS[kind])


def give_back(standby: Standby) -> None:
    """Let a process that was taken wait on: its job was not to be had."""
    with _lock:
        if _kept and standby.group not in _waiting:
            _waiting[standby.group] = standby
            return
    standby.end()


def dismiss() -> None:
    """Keep none any more."""
    global _kept
    with _lock:
        _kept = False
        for standby in _waiting.values():
            standby.end()
        _waiting.clear()


def _later(seconds: float, group: Group) -> None:
    timer = threading.Timer(seconds, _replace, (group,))
    timer.daemon = True
    timer.start()


def _replace(group: Group) -> None:
    with _lock:
        if _kept and group not in _waiting:
            _waiting[group] = _spawn(group)


def _spawn(group: Group) -> Standby:
    """A new one; it prints nowhere until it has a job."""
    ours, theirs = socket.socketpair()
    token = secrets.token_hex(16)
    own = {"PYTHONPATH": python_path(os.environ), "PYTHONUNBUFFERED": "1", TOKEN_VARIABLE: token}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "seqrl.worker.standby", group, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=os.environ | COMPUTING | own,
        )
    return Standby(group, token, process, ours)
