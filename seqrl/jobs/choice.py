"""Where the jobs of a home run: on this machine or on a Ray cluster, and which.

Variables of the environment come first, for whoever runs a server for others: ``SEQRL_BACKEND`` (``local`` or ``ray``),
``SEQRL_RAY_ADDRESS`` (``HOST:PORT``; without it a cluster of this machine) and ``SEQRL_RAY_WORKERS`` (tasks at once at
most). Without them a setting of the home says it, which the sidebar of every page changes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

from seqrl.store import Store

BACKEND_VARIABLE, ADDRESS_VARIABLE, WORKERS_VARIABLE = "SEQRL_BACKEND", "SEQRL_RAY_ADDRESS", "SEQRL_RAY_WORKERS"
BACKEND_SETTING, ADDRESS_SETTING = "backend", "ray_address"
BackendName = Literal["local", "ray"]
_NAMES = get_args(BackendName)


@dataclass(frozen=True)
class Choice:
    """Where jobs run.

    Attributes:
        backend: on this machine, or on a Ray cluster.
        address: of the cluster, None for one of this machine.
        fixed: whether the environment says so, and a setting changes nothing.
    """

    backend: BackendName
    address: str | None = None
    fixed: bool = False


def choice(store: Store) -> Choice:
    """Where the jobs of a home run.

    Raises:
        ValueError: if the environment names a backend that does not exist.
    """
    named = os.environ.get(BACKEND_VARIABLE)
    if named and named not in _NAMES:
        raise ValueError(f"{BACKEND_VARIABLE} is {named!r}; choose local or ray")
    name = named or store.setting(BACKEND_SETTING) or "local"
    if name not in _NAMES:
        store.unreadable[BACKEND_SETTING] = f"it is {name[:40]!r}; set local or ray"
        name = "local"
    if name == "ray":
        return Choice("ray", cluster_address(store), fixed=bool(named))
    return Choice("local", fixed=bool(named))


def cluster_address(store: Store) -> str | None:
    """Where the cluster of a home is, if it is asked for; None for one of this machine."""
    address = os.environ.get(ADDRESS_VARIABLE) or None
    return address if address or os.environ.get(BACKEND_VARIABLE) else store.setting(ADDRESS_SETTING)


def fans_out(store: Store) -> bool:
    """Whether a cluster does the large parts of a home's jobs."""
    return choice(store).backend == "ray"


def allowed_workers() -> int | None:
    """How many tasks of a cluster may run at once at most, if the environment says so.

    Raises:
        ValueError: if it does not say a number.
    """
    setting = os.environ.get(WORKERS_VARIABLE)
    if setting is None:
        return None
    if not setting.isdecimal() or not 1 <= int(setting) <= 100_000:
        raise ValueError(f"{WORKERS_VARIABLE} is {setting!r}; give a whole number from 1 on")
    return int(setting)
