"""``train --grid`` and ``grid``: many trainings at once, and what came of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from seqrl import calibration, grids, jobs
from seqrl.cli.session import AsJson, Detach, Failure, Session, job_values, run_values, session, show, show_table
from seqrl.config import GridSpec, RunSpec, parse_axis
from seqrl.config.grids import check_size
from seqrl.files import new_file
from seqrl.plots.format import with_interval

app = typer.Typer(help="Grids: the same training with several values and seeds.", no_args_is_help=True)

GridName = Annotated[str, typer.Argument(help="The grid.", metavar="GRID")]


def grid_of(base: RunSpec, axes: Sequence[str], seeds: int) -> GridSpec:
    """The grid that ``--grid`` and ``--seeds`` describe around a run's settings.

    Raises:
        ValueError: one sentence on what cannot be read or trained.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; choose at least 1")
    check_size(seeds)
    values: dict[str, Any] = {}
    for text in axes:
        name, found = parse_axis(text)
        if name in values:
            raise ValueError(f"--grid names {name} twice; give all its values at once")
        values[name] = found
    return GridSpec.of(base, values, range(base.seed, base.seed + seeds))


def train_grid(here: Session, spec: GridSpec, *, detach: bool, as_json: bool) -> None:
    """Queue a grid and wait for its runs, or not.

    Raises:
        ValueError: if it does not fit; nothing is queued then.
        Failure: if a run did not succeed.
    """
    done = grids.submit(here.store, spec, here.backend)
    told = f"grid {spec.name}: {len(done.queued)} runs queued"
    if done.present:
        told += f", {len(done.present)} there already"
        ended = [row for row in here.store.grid_runs(spec.name) if row.state in ("failed", "cancelled", "interrupted")]
        if ended:
            told += f" ({len(ended)} of the grid stopped or failed: python -m seqrl grid resume {spec.name})"
    if detach:
        show(grid_values(here, spec.name), as_json, told)
        return
    if not as_json:
        typer.echo(told)
    follow(here, spec.name, as_json=as_json)


def follow(here: Session, name: str, *, as_json: bool) -> None:
    """Wait until no run of a grid waits or runs, and print what came of it.

    Raises:
        Failure: if one did not succeed.
    """
    columns = (
        TextColumn("grid {task.fields[title]}", markup=False),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
    )
    silent = not sys.stderr.isatty()
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True, disable=silent) as bar:
        task = bar.add_task("", total=1.0, title=name)
        for row in here.store.grid_runs(name):
            if row.job_id is None:
                continue

            def draw(job: object) -> None:
                runs = here.store.grid_runs(name)
                told = ", ".join(f"{amount} {state}" for state, amount in grids.states(runs).items())
                bar.update(task, completed=grids.progress(runs), description=told)

            jobs.wait(here.store, row.job_id, None if silent else draw, backend=here.backend)
    runs = here.store.grid_runs(name)
    lost = [row for row in runs if row.state != "succeeded"]
    if lost:
        why = f": {lost[0].message}" if lost[0].message else ""
        raise Failure(
            f"{len(lost)} of {len(runs)} runs of the grid {name} did not succeed, {lost[0].name} {lost[0].state}{why} "
            f"(python -m seqrl grid resume {name})"
        )
    _show_grid(here, name, as_json)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the grids."""
    here = session(context)
    jobs.reconcile(here.store)
    rows = [_summary(here, row.name) for row in here.store.grids()]
    columns = ("name", "settings", "runs", "states", "progress", "best", "best_value")
    show_table(rows, as_json, columns, empty="no grids yet")


@app.command("show")
def show_(
    context: typer.Context,
    name: GridName,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file, which must not exist.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what came of a grid: mean and 95 % interval over the seeds of every combination."""
    here = session(context)
    jobs.reconcile(here.store)
    if csv is not None:
        _, table = _tables(here, name)
        with new_file(csv) as path:
            table.to_csv(path, index=False)
    _show_grid(here, name, as_json)


@app.command("cancel")
def cancel(context: typer.Context, name: GridName, detach: Detach = False, as_json: AsJson = False) -> None:
    """Stop all runs of a grid that wait or run, after they have saved."""
    here = session(context)
    rows = grids.cancel(here.store, name, wait=not detach, backend=here.backend)
    show([job_values(row) for row in rows], as_json, f"grid {name}: {len(rows)} runs are stopped")


@app.command("resume")
def resume(context: typer.Context, name: GridName, detach: Detach = False, as_json: AsJson = False) -> None:
    """Go on with the runs of a grid that were stopped or failed."""
    here = session(context)
    rows = grids.resume(here.store, name, here.backend)
    if detach:
        show([job_values(row) for row in rows], as_json, f"grid {name}: {len(rows)} runs are queued again")
        return
    follow(here, name, as_json=as_json)


def show_runs(here: Session, as_json: bool, archived: bool) -> None:
    """Print the runs, those of a grid together."""
    order = {row.name: place for place, row in enumerate(here.store.grids())}
    rows = here.store.runs(archived)
    grouped = sorted(rows, key=lambda row: (row.grid is not None, order.get(row.grid or "", 0)))
    told = [run_values(row) | {"progress": row.step / max(1, row.steps)} for row in grouped]
    empty = "the archive is empty" if archived else "no runs yet"
    show_table(told, as_json, ("name", "state", "progress", "best_value", "grid"), empty=empty)


def grid_values(here: Session, name: str) -> dict[str, Any]:
    """A grid as plain values: its spec, its runs, and what came of every combination."""
    row, runs = here.store.grid(name), here.store.grid_runs(name)
    _, table = _tables(here, name)
    return {
        "name": name,
        "created": row.created,
        "states": grids.states(runs),
        "progress": grids.progress(runs),
        "combinations": plain_rows(table),
        "runs": [run_values(run) for run in runs],
        "spec": row.spec.model_dump(mode="json"),
    }


def plain_rows(table: Any) -> list[dict[str, Any]]:
    """Rows of a frame as plain values; what is missing is None."""
    rows: list[dict[str, Any]] = table.astype(object).to_dict("records")
    return [{key: None if _is_nan(value) else value for key, value in row.items()} for row in rows]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _tables(here: Session, name: str) -> tuple[Any, Any]:
    """One row a run, and one a combination; with the results of the sweep that measured most of the runs."""
    spec, runs = here.store.grid(name).spec, here.store.grid_runs(name)
    sweep = next(iter(grids.sweeps_of(here.store, runs)), None)
    measured = None
    if sweep is not None:
        _, errors = calibration.summarise(here.store.sweep_episodes(sweep.name), targets=sweep.spec.targets)
        measured = grids.sweep_results(errors)
    table = grids.runs_table(spec, runs, measured)
    return table, grids.aggregate(spec, table)


def _show_grid(here: Session, name: str, as_json: bool) -> None:
    if as_json:
        show(grid_values(here, name), True, "")
        return
    spec = here.store.grid(name).spec
    _, table = _tables(here, name)
    told = []
    for row in table.to_dict("records"):
        values = {setting.rpartition(".")[2]: row[setting] for setting in spec.settings}
        values["finished"] = f"{row['finished']} of {row['runs']}"
        for key, result in grids.RESULTS.items():
            if key in row:
                values[result.title] = with_interval(row[key], row[f"{key}_low"], row[f"{key}_high"])
        told.append(values)
    show_table(told, False, tuple(told[0]) if told else (), empty="the grid has no runs")


def _summary(here: Session, name: str) -> dict[str, Any]:
    spec, runs = here.store.grid(name).spec, here.store.grid_runs(name)
    _, table = _tables(here, name)
    known = table[table[grids.BEST_LOSS].notna()]
    best = known.loc[known[grids.BEST_LOSS].idxmin()] if len(known) else None
    return {
        "name": name,
        "settings": list(spec.settings),
        "seeds": list(spec.seeds),
        "runs": len(runs),
        "states": ", ".join(f"{amount} {state}" for state, amount in grids.states(runs).items()),
        "progress": grids.progress(runs),
        "best": None if best is None else best["combination"],
        "best_value": None if best is None else float(best[grids.BEST_LOSS]),
    }
