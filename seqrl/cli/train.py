"""``train``: fit a model to a dataset, once or for a grid of settings."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from seqrl.cli.grids import grid_of, train_grid
from seqrl.cli.session import AsJson, Detach, Seed, run_values, session, show
from seqrl.config import RunSpec, TrainJob, apply_overrides
from seqrl.registry import MODELS
from seqrl.store import JobRow


def train(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="The data it learns from.")],
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = "dt",
    preset: Annotated[
        str, typer.Option(help="Named settings: quick or good; for dt also rare, where few episodes are rewarded.")
    ] = "quick",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, such as model.context_length=20 or training.steps=500."),
    ] = None,
    axes: Annotated[
        list[str] | None,
        typer.Option("--grid", help="Try several values, such as model.context_length=1,5,10,20; may be repeated."),
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(help="Train with so many seeds, counted from --seed.")] = 1,
    name: Annotated[
        str | None, typer.Option(help="What to call the run or grid; made from dataset and model if missing.")
    ] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on a dataset, or one for every combination of a grid's values and seeds."""
    here = session(context)
    is_grid = bool(axes) or seeds != 1
    wish = f"{dataset.rpartition('/')[2]}-{model}"
    spec = run_spec(
        dataset=dataset,
        model=model,
        preset=preset,
        seed=seed,
        name=name or here.store.free_name("grids" if is_grid else "runs", f"{wish}-grid" if is_grid else wish),
        overrides=overrides or [],
    )
    if is_grid:
        train_grid(here, grid_of(spec, axes or [], seeds), detach=detach, as_json=as_json)
        return

    def done(job: JobRow) -> None:
        run = here.store.run(spec.name)
        best = "" if run.best_value is None else f", best validation loss {run.best_value:.4f}"
        show(run_values(run), as_json, f"{run.name}: {run.step:,} steps{best}")

    here.run(TrainJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


def run_spec(*, dataset: str, model: str, preset: str, seed: int, name: str, overrides: list[str]) -> RunSpec:
    """The spec that a preset and overrides make.

    Raises:
        ValueError: naming a model or preset that does not exist and those that do.
    """
    if model not in MODELS:
        raise ValueError(f"model is {model!r}; choose one of {', '.join(MODELS)}")
    presets = MODELS[model].presets
    if preset not in presets:
        raise ValueError(f"preset is {preset!r}; choose one of {', '.join(presets)}")
    values: dict[str, Any] = {
        "name": name,
        "dataset": dataset,
        "model": {"kind": model, **presets[preset].model},
        "training": dict(presets[preset].training),
        "preset": preset,
        "seed": seed,
    }
    return RunSpec.model_validate(apply_overrides(values, overrides))
