"""The number format that the models of a sweep act in: settled once, and kept with the sweep."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from seqrl.config import ReturnSweepSpec, RunSpec, ScheduleSweepSpec
from seqrl.config.sweeps import Precision
from seqrl.evaluation import precision_on
from seqrl.store import Store


def settled_precisions(
    store: Store, spec: ReturnSweepSpec | ScheduleSweepSpec, runs: Mapping[str, RunSpec], like: str | None = None
) -> dict[str, Precision]:
    """The number format of every run of a sweep, chosen where it begins: resumed elsewhere, it goes on in the same.

    Args:
        store: keeps what was chosen.
        spec: the sweep.
        runs: specs of its runs.
        like: another sweep, whose choice is taken where ``spec`` leaves it open.
    """
    kept = store.precisions(spec.name)
    if not kept:
        other = store.precisions(like) if like is not None and spec.precision == "auto" else {}
        cpu = torch.device("cpu")
        kept = {name: other.get(name) or precision_on(spec, run, cpu) for name, run in runs.items()}
        store.keep_precisions(spec.name, kept)
    return kept
