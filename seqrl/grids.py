"""Grids of trainings: queue all runs or none, stop and resume them together, and sum them up over their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from seqrl import jobs
from seqrl.calibration import bootstrap_interval
from seqrl.config import GridSpec, RunSpec, TrainJob, check_run, extended, short_settings, short_value, value_at
from seqrl.config.grids import check_size
from seqrl.jobs.submission import create_rows, usable_dataset
from seqrl.store import ACTIVE_STATES, GridRow, JobRow, JobState, RunRow, Store, SweepRow

BEST_LOSS = "best_value"
CALIBRATION_ERROR = "calibration_error"
BEST_RETURN = "best_return"


class Result(NamedTuple):
    """What runs of a grid are compared by."""

    title: str
    lower_is_better: bool


RESULTS = {
    BEST_LOSS: Result("best validation loss", True),
    CALIBRATION_ERROR: Result("calibration error", True),
    BEST_RETURN: Result("highest achieved return", False),
}
"""Column → what it says: the second is the mean distance between what was asked for and achieved, in a sweep."""

_NOT_STARTED = "cancelled before it started"


class Submitted(NamedTuple):
    """What became of a grid that was asked for.

    Attributes:
        grid: as it is kept now.
        queued: its runs that were queued.
        present: its runs that were there before, with the same settings.
    """

    grid: GridRow
    queued: tuple[str, ...]
    present: tuple[str, ...]


class Plan(NamedTuple):
    """What a grid would queue.

    Attributes:
        spec: the grid as it would be kept, with what it had before.
        missing: the runs that would be queued.
        present: those that are there already, with the same settings.
    """

    spec: GridSpec
    missing: tuple[RunSpec, ...]
    present: tuple[str, ...]


def plan(store: Store, spec: GridSpec) -> Plan:
    """Check every run of a grid, before anything is queued.

    A grid that exists already may be asked for again, with the same values and seeds or with others: runs that are
    there are left as they are.

    Raises:
        ValueError: one sentence with the value and the remedy, about the first run that cannot be trained, a name that
            something else has, or a grid of that name that shares other settings.
    """
    store.check_writable(spec.name)
    facts = usable_dataset(store, spec.base.dataset)
    whole = extended(store.grid(spec.name).spec, spec) if store.has_grid(spec.name) else spec
    missing: list[RunSpec] = []
    present: list[RunSpec] = []
    for cell in spec.cells():
        check_run(cell, facts)
        (present if _is_there(store, spec.name, cell) else missing).append(cell)
    others = {row.name for row in store.grid_runs(spec.name)} - {cell.name for cell in present}
    check_size(len(others) + len(present) + len(missing))
    return Plan(whole, tuple(missing), tuple(cell.name for cell in present))


def submit(store: Store, spec: GridSpec, backend: jobs.Backend | None = None) -> Submitted:
    """Queue the runs of a grid that are not there yet: all of them, or none.

    Raises:
        ValueError: see `plan`; nothing is queued then.
    """
    with store.database.transaction():
        planned = plan(store, spec)
        for cell in planned.missing:
            create_rows(store, TrainJob(spec=cell))
        store.put_grid(planned.spec, [cell.name for cell in planned.missing])
    jobs.advance(store, backend=backend)
    return Submitted(store.grid(spec.name), tuple(cell.name for cell in planned.missing), planned.present)


def _is_there(store: Store, grid: str, cell: RunSpec) -> bool:
    """Whether a grid has this very run.

    Raises:
        ValueError: if its name belongs to anything else.
    """
    if not store.has_run(cell.name):
        return False
    row = store.run(cell.name)
    if row.grid != grid:
        raise ValueError(
            f"a run named {cell.name} exists already outside of the grid; choose another name for the grid"
        )
    if row.archived:
        raise ValueError(f"the run {cell.name} is in the archive; restore it, or choose another name for the grid")
    if row.spec.model_copy(update={"preset": cell.preset}) != cell:
        raise ValueError(f"the run {cell.name} has other settings; choose another name for the grid")
    return True


def cancel(store: Store, name: str, *, wait: bool = False, backend: jobs.Backend | None = None) -> list[JobRow]:
    """Stop all runs of a grid that wait or run; those that wait first, so that none of them begins meanwhile.

    Returns:
        The jobs that were stopped, or asked to.

    Raises:
        ValueError: if there is nothing to stop, or no such grid.
    """
    active = [job for job in _jobs_of(store, name) if not job.ended]
    if not active:
        raise ValueError(f"no run of the grid {name} waits or runs; there is nothing to cancel")
    waiting = [job.id for job in active if store.transition(job.id, ["queued"], "cancelled", message=_NOT_STARTED)]
    for job in active:
        if job.id not in waiting and not store.job(job.id).ended:
            try:
                jobs.cancel(store, job.id, wait=wait, backend=backend)
            except ValueError:
                if not store.job(job.id).ended:  # it may have ended by itself in this moment
                    raise
    return [store.job(job.id) for job in active]


def resume(store: Store, name: str, backend: jobs.Backend | None = None) -> list[JobRow]:
    """Queue the runs of a grid again that were stopped, failed or interrupted; each goes on from its checkpoint.

    Raises:
        ValueError: if there is none, or no such grid.
    """
    stopped = [job for job in _jobs_of(store, name) if job.ended and job.state != "succeeded"]
    if not stopped:
        raise ValueError(f"no run of the grid {name} was stopped or failed; there is nothing to resume")
    return [jobs.resume(store, job.id, backend=backend) for job in stopped]


def _jobs_of(store: Store, name: str) -> list[JobRow]:
    store.grid(name)
    return [store.job(row.job_id) for row in store.grid_runs(name) if row.job_id is not None]


# --- what came of it -------------------------------------------------------------------------------


def states(runs: Sequence[RunRow]) -> dict[JobState, int]:
    """How many runs are in each state that there is."""
    found: dict[JobState, int] = {}
    for row in runs:
        found[row.state] = found.get(row.state, 0) + 1
    return found


def progress(runs: Sequence[RunRow]) -> float:
    """Share of the work of some runs that is done, 0 to 1; what ended early has nothing left to do."""
    if not runs:
        return 0.0
    done = [row.step / max(1, row.steps) if row.state in ACTIVE_STATES else 1.0 for row in runs]
    return float(np.clip(done, 0, 1).mean())


def label(spec: GridSpec, run: RunSpec) -> str:
    """A combination of values in short: ``cl5-lr0.001``; the grid's name where nothing varies but the seed."""
    short = short_settings(spec.settings)
    return "-".join(short_value(short[name], value_at(run, name)) for name in spec.settings) or spec.name


def runs_table(spec: GridSpec, runs: Sequence[RunRow], measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row a run: its combination and values, seed, state, and what came of it where it is finished.

    Args:
        spec: the grid.
        runs: of the grid.
        measured: one row a run, named in the index, with further results such as `sweep_results` gives.

    Returns:
        Columns ``run``, ``combination``, one a setting, ``seed``, ``state``, `BEST_LOSS` and those of ``measured``;
        NaN where there is none. Runs that did not finish have none.
    """
    rows = []
    for row in runs:
        done = row.state == "succeeded"
        values: dict[str, Any] = {"run": row.name, "combination": label(spec, row.spec)}
        values |= {name: value_at(row.spec, name) for name in spec.settings}
        best = math.nan if row.best_value is None or not done else row.best_value
        values |= {"seed": row.spec.seed, "state": row.state, BEST_LOSS: best}
        rows.append(values)
    columns = ["run", "combination", *spec.settings, "seed", "state", BEST_LOSS]
    table = pd.DataFrame(rows, columns=columns)
    if measured is not None:
        table = table.join(measured, on="run")
    return table


def aggregate(spec: GridSpec, table: pd.DataFrame) -> pd.DataFrame:
    """One row a combination of values, its results summed up over the seeds.

    Args:
        spec: the grid.
        table: as `runs_table` gives it.

    Returns:
        Columns ``combination``, one a setting, ``runs``, ``finished``, and for every result ``R``, ``R_low`` and
        ``R_high``: the mean over the runs that have it and its 95 % bootstrap interval over them (missing for a single
        run, which tells nothing of its like).
    """
    results = [name for name in RESULTS if name in table]
    rows = []
    for combination, cell in table.groupby("combination", sort=False):
        row = {"combination": combination, **{name: cell[name].iloc[0] for name in spec.settings}}
        row |= {"runs": len(cell), "finished": int((cell["state"] == "succeeded").sum())}
        for name in results:
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), _mean(cell[name].to_numpy(float)), strict=True))
        rows.append(row)
    columns = ["combination", *spec.settings, "runs", "finished"]
    columns += [column for name in results for column in (name, f"{name}_low", f"{name}_high")]
    return pd.DataFrame(rows, columns=columns)


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return math.nan, math.nan, math.nan
    if len(values) == 1:
        return float(values[0]), math.nan, math.nan
    low, high = bootstrap_interval(values[:, None])
    return float(values.mean()), float(low[0]), float(high[0])


def sweeps_of(store: Store, runs: Sequence[RunRow]) -> list[SweepRow]:
    """The finished return sweeps that measured some of these runs; those of the most of them first."""
    names = {row.name for row in runs}
    found = [
        row
        for row in store.sweeps()
        if row.kind == "sweep_rtg" and row.state == "succeeded" and names & set(row.spec.runs)
    ]
    return sorted(found, key=lambda row: (-len(names & set(row.spec.runs)), -row.created))


def sweep_results(calibration: pd.DataFrame) -> pd.DataFrame:
    """What a sweep says of its runs: `CALIBRATION_ERROR` and `BEST_RETURN`, one row a run, named in the index.

    Of actions that were drawn where they were, else of greedy ones; the calibration error is missing where nothing was
    asked for.

    Args:
        calibration: of the sweep, the second table of `seqrl.calibration.summarise`.
    """
    drawn = calibration.sort_values("decoding", ascending=False, kind="stable").drop_duplicates("run").set_index("run")
    table = drawn[["mae", "best"]].astype(float)
    return table.rename(columns={"mae": CALIBRATION_ERROR, "best": BEST_RETURN})
