"""Which process a job is, so that no other is ever signalled."""

from __future__ import annotations

import os
import resource
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from seqrl.store import JobRow

TOKEN_VARIABLE = "SEQRL_JOB_TOKEN"  # noqa: S105 - the name of a variable, not a secret
_MOST_STARTING_S = 1.0
"""A program has its environment microseconds after its process is there, unless it waits for a processor."""
_MOST_DYING_S = 2.0
"""A killed process is gone in milliseconds, except one that the kernel holds up, such as by a dead network disk."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process for certain: numbers are reused, and start times repeat after a reboot.

    Attributes:
        pid: its number.
        started: its start time, in clock ticks since the boot on Linux (unlike a date, it never shifts).
        boot_id: names the boot of the machine.
    """

    pid: int
    started: str
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The identity of a living process, or None if there is none of that number (a zombie is not living)."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, _start_time(process), boot_id())
        except psutil.Error:
            return None


def boot_id() -> str:
    """Names this boot of this machine."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else repr(psutil.boot_time())


def is_worker(job: JobRow) -> bool:
    """Whether the process that a row names is alive and truly this job's worker.

    The number, the start time and the boot must agree, and the process must carry the job's token in its environment:
    no other process does, whatever a row says.
    """
    if job.pid is None:
        return False
    named = ProcessIdentity(job.pid, str(job.process_started), str(job.boot_id))
    deadline = time.monotonic() + _MOST_STARTING_S
    while ProcessIdentity.of(job.pid) == named:
        try:
            if environment := psutil.Process(job.pid).environ():
                return bool(job.token) and environment.get(TOKEN_VARIABLE) == job.token
        except (psutil.Error, OSError):
            return False  # it ended in between, or is somebody else's
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)  # while a process begins, and while it ends, it has no environment
    return False


def ask_to_stop(job: JobRow) -> bool:
    """Send SIGTERM to a job's worker; False if there is no such process."""
    return _signal(job, signal.SIGTERM)


def kill_all(job: JobRow) -> None:
    """Kill a job's worker with its process group, and its descendants that left the group, and see them gone."""
    # found before anything is killed: a dying process has no environment any more
    own = [
        process for process in psutil.process_iter() if process.pid != os.getpid() and _has_token(process, job.token)
    ]
    _signal(job, signal.SIGKILL, group=True)
    for process in own:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + _MOST_DYING_S
    while any(ProcessIdentity.of(process.pid) for process in own) and time.monotonic() < deadline:
        time.sleep(0.005)


def _signal(job: JobRow, number: int, group: bool = False) -> bool:
    if not is_worker(job) or job.pid is None or job.pid == os.getpid():
        return False
    try:
        if group and os.getpgid(job.pid) == job.pid:
            os.killpg(job.pid, number)
        else:
            os.kill(job.pid, number)
    except ProcessLookupError:
        return False
    return True


def _start_time(process: psutil.Process) -> str:
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.exists():
        return repr(process.create_time())
    try:
        return stat.read_text().rpartition(")")[2].split()[19]  # field 22 of proc(5); a name may hold spaces
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error


def _has_token(process: psutil.Process, token: str | None) -> bool:
    try:
        return bool(token) and process.environ().get(TOKEN_VARIABLE) == token
    except (psutil.Error, OSError):
        return False  # gone, or somebody else's


def largest_resident_bytes() -> int:
    """The largest resident set of this process, or of one that it started and that has ended, files mapped included."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        own = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
        return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    except (OSError, StopIteration):  # not Linux; the unit there is a byte
        return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
