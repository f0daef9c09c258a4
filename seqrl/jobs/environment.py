"""The environment variables of processes that compute."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import seqrl
from seqrl.jobs.process import TOKEN_VARIABLE
from seqrl.store import JobRow, Store

_PACKAGE_ROOT = Path(seqrl.__file__).parents[1]

KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**28), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""An update frees what the next one takes; given back in between, its pages cost a tenth of a training's time."""


COMPUTING = {
    # Threads that wait look for some microseconds, then sleep: with a sleep at once a plan takes twice as long on
    # an idle machine, and endless looking made a sweep 30 times slower beside one busy neighbour.
    "GOMP_SPINCOUNT": "2000",
    # Products of matrices have the same bits whatever the number of threads; measured, it costs nothing.
    "MKL_CBWR": "AUTO,STRICT",
}
"""What the environment of every process that computes begins with."""


def python_path(variables: Mapping[str, str]) -> str:
    """The ``PYTHONPATH`` with which a process of such an environment finds this seqrl."""
    given = variables.get("PYTHONPATH", "")
    if given.split(os.pathsep)[0] == str(_PACKAGE_ROOT):
        return given  # a worker starts the next job with its own environment
    return os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), given]))


def environment(store: Store, job: JobRow, variables: Mapping[str, str]) -> dict[str, str]:
    """That of a job's process, from that of whoever starts it."""
    return {
        **variables,
        "PYTHONPATH": python_path(variables),
        "PYTHONUNBUFFERED": "1",
        "SEQRL_HOME": str(store.home),
        **COMPUTING,
        TOKEN_VARIABLE: str(job.token),
        **(KEEP_FREED_MEMORY if job.kind == "train" else {}),
    }
