"""How many processors this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

_CONTROL = Path("/sys/fs/cgroup")


def processors() -> int:
    """Processors that this process may use: those of its affinity, and no more than its container's share of time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _share())))


def idle_processors() -> int:
    """How many of them nothing keeps busy just now; at least one. Takes a fifth of a second to look."""
    machine = os.cpu_count() or 1
    busy = psutil.cpu_percent(interval=0.2) / 100 * machine
    return max(1, min(processors(), round(machine - busy)))


def _share() -> float:
    """Processors' worth of time that the container may take (control groups, version 2 or 1); infinity without limit.

    Inside a container its own group is the root of what it sees.
    """
    for words in (_words("cpu.max"), _words("cpu/cpu.cfs_quota_us") + _words("cpu/cpu.cfs_period_us")):
        if len(words) == 2 and all(word.isdecimal() for word in words):  # no limit is "max", or -1
            return int(words[0]) / int(words[1])
    return math.inf


def _words(name: str) -> list[str]:
    try:
        return (_CONTROL / name).read_text().split()
    except OSError:
        return []
