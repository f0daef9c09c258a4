"""``sweep``: measure what runs achieve."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqrl import calibration
from seqrl.cli.archive import Archived, add_archive
from seqrl.cli.session import AsJson, Detach, Seed, Session, session, show_table
from seqrl.config import (
    BeamSweepJob,
    BeamSweepSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    apply_overrides,
    parse_numbers,
    takes_target,
)
from seqrl.registry import environment_row
from seqrl.store import JobRow, Store, SweepRow

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(help="Sweeps: measure what runs achieve.", no_args_is_help=True)

_DEFAULT_TARGETS = 11
_POINT_COLUMNS = ("run", "decoding", "target", "n", "mean", "std", "low", "high")
_CALIBRATION_COLUMNS = ("run", "decoding", "mae", "bias", "rank_correlation", "best")
_GOAL_COLUMNS = ("run", "decoding", "target", "distance", "n", "reached", "low", "high", "steps")
_DECODINGS = {"sampled": ["sampled"], "greedy": ["greedy"], "both": ["sampled", "greedy"]}

Runs = Annotated[list[str], typer.Option("--run", help="A run to measure; may be repeated.")]
RunsOrGrid = Annotated[list[str] | None, typer.Option("--run", help="A run to measure; may be repeated.")]
Episodes = Annotated[int, typer.Option(help="Episodes for each point.")]
SweepName = Annotated[str | None, typer.Option("--name", help="What to call the sweep; made from the run if missing.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Any further setting, such as temperature=0.8.")]


@app.command("rtg")
def rtg(
    context: typer.Context,
    runs: RunsOrGrid = None,
    grid: Annotated[str | None, typer.Option(help="Measure all finished runs of this grid.")] = None,
    targets: Annotated[
        str | None,
        typer.Option(help="25,50,100 or 50:500:50; if missing 11 over the dataset's returns, or none is asked for."),
    ] = None,
    episodes: Episodes = 10,
    decoding: Annotated[str, typer.Option(help="sampled, greedy or both.")] = "both",
    model_choice: Annotated[
        bool, typer.Option("--model-choice", help="Also let models with a return head choose what to ask for.")
    ] = False,
    seed: Seed = 0,
    name: SweepName = None,
    overrides: Overrides = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Ask for returns, and measure what is achieved; for goals, where observations name one."""
    here = session(context)
    if decoding not in _DECODINGS:
        raise ValueError(f"decoding is {decoding!r}; choose one of {', '.join(_DECODINGS)}")
    runs = _with_grid(here, runs or [], grid)
    values: dict[str, Any] = {
        "name": name or _free_name(here, [grid] if grid else runs, "rtg"),
        "runs": runs,
        "targets": list(parse_numbers(targets) if targets else default_targets(here, runs, model_choice)),
        "episodes": episodes,
        "decodings": _DECODINGS[decoding],
        "model_chooses": model_choice,
        "seed": seed,
    }
    spec = ReturnSweepSpec.model_validate(apply_overrides(values, overrides or []))

    def done(job: JobRow) -> None:
        table = here.store.sweep_episodes(spec.name)
        points, errors = calibration.summarise(table, targets=spec.targets, seed=spec.seed)
        goals = calibration.success(table, seed=spec.seed)
        result = calibration.to_json(_with_scores(here, points), errors, goals)
        if as_json:
            typer.echo(json.dumps(result, indent=2))
            return
        columns = (*_POINT_COLUMNS, *(name for name in ("chosen", "score") if name in result["points"][0]))
        show_table(result["points"], False, columns, empty="nothing was measured")
        show_table(result["calibration"], False, _CALIBRATION_COLUMNS, empty="nothing was measured")
        if "goals" in result:
            show_table(result["goals"], False, _GOAL_COLUMNS, empty="nothing was measured")

    here.run(ReturnSweepJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


@app.command("beam")
def beam(
    context: typer.Context,
    runs: Runs,
    widths: Annotated[str, typer.Option(help="Beam widths; 0 draws actions without planning.")] = "1,2,4,8,16,32",
    horizons: Annotated[str, typer.Option(help="Steps imagined ahead.")] = "5,15",
    episodes: Episodes = 10,
    seed: Seed = 0,
    name: SweepName = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any further setting, such as planning.context=5.")
    ] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Plan with every beam width and horizon, and measure return and time per decision."""
    here = session(context)
    values: dict[str, Any] = {
        "name": name or _free_name(here, runs, "beam"),
        "runs": runs,
        "widths": list(parse_numbers(widths, "widths")),
        "horizons": list(parse_numbers(horizons, "horizons")),
        "episodes": episodes,
        "seed": seed,
    }
    spec = BeamSweepSpec.model_validate(apply_overrides(values, overrides or []))

    def done(job: JobRow) -> None:
        points = beam_points(here, spec)
        columns = ("run", "width", "horizon", "n", "mean", "std", "low", "high", "seconds_per_decision")
        if as_json:
            typer.echo(json.dumps({"points": points}, indent=2))
        else:
            show_table(points, False, columns, empty="nothing was measured")

    here.run(BeamSweepJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


@app.command("list")
def list_(
    context: typer.Context,
    archived: Archived = False,
    as_json: AsJson = False,
) -> None:
    """List the sweeps."""
    rows = [_values(row) for row in session(context).store.sweeps(archived)]
    empty = "the archive is empty" if archived else "no sweeps yet"
    show_table(rows, as_json, ("name", "kind", "state", "progress", "runs"), empty=empty)


add_archive(app, "sweep", Store.archive_sweep, Store.restore_sweep, lambda store, name: _values(store.sweep(name)))


def _values(row: SweepRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "state": row.state,
        "progress": row.progress,
        "runs": list(row.spec.runs),
        "job_id": row.job_id,
        "archived": row.archived,
    }


def beam_points(here: Session, spec: BeamSweepSpec) -> list[dict[str, Any]]:
    """Mean achieved return and seconds per decision of every run, width and horizon."""
    by = ["run", "width", "horizon"]
    episodes = here.store.sweep_episodes(spec.name)
    points = calibration.points(episodes, by=by, seed=spec.seed)
    seconds = episodes.groupby(by, as_index=False)["seconds_per_decision"].mean()
    merged = points.merge(seconds, on=by, how="left")
    columns = [*by, "n", "mean", "std", "low", "high", "seconds_per_decision"]
    return calibration.to_json(merged[columns], merged[:0])["points"]


def _with_scores(here: Session, points: pd.DataFrame) -> pd.DataFrame:
    """Points with the normalised ``score`` of their mean, where an environment has reference returns."""
    references = {
        run: environment_row(here.store.run(run).facts.environment or "").reference_returns
        for run in points["run"].unique()
    }
    scores = [
        math.nan if reference is None else calibration.normalised_score(mean, reference)
        for mean, reference in zip(points["mean"], points["run"].map(references), strict=True)
    ]
    return points.assign(score=scores) if any(references.values()) else points


def default_targets(here: Session, runs: Sequence[str], model_choice: bool = False) -> tuple[float, ...]:
    """Targets evenly over the returns of the data that the first run learned from.

    None where observations name a goal and no run has to be asked for a return.
    """
    rows = [here.store.run(run) for run in runs]
    asked = any(takes_target(row.spec.model) for row in rows) and not model_choice
    if not asked and all(row.facts.observation.goal for row in rows):
        return ()
    returns = rows[0].facts.returns
    width = (returns.maximum - returns.minimum) / (_DEFAULT_TARGETS - 1)
    if width == 0:
        return (returns.maximum,)
    return tuple(float(f"{returns.minimum + i * width:.6g}") for i in range(_DEFAULT_TARGETS))


def _with_grid(here: Session, runs: list[str], grid: str | None) -> list[str]:
    """Runs that were named, then the finished ones of a grid.

    Raises:
        ValueError: if that is none.
    """
    if grid is not None:
        here.store.grid(grid)
        finished = [row.name for row in here.store.grid_runs(grid) if row.state == "succeeded"]
        if not finished:
            raise ValueError(f"no run of the grid {grid} is finished; wait for one: python -m seqrl grid show {grid}")
        runs = list(dict.fromkeys([*runs, *finished]))
    if not runs:
        raise ValueError("there is no run to measure; name one with --run, or a grid of them with --grid")
    return runs


def _free_name(here: Session, runs: Sequence[str], kind: str) -> str:
    return here.store.free_name("sweeps", f"{runs[0].rpartition('/')[2]}-{kind}")
