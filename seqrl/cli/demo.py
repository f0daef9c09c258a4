"""``demo``: make the bundled demo again, from its specs and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from seqrl.cli.session import AsJson, Session, show
from seqrl.cli.train import run_spec
from seqrl.config import (
    DatasetJob,
    DatasetSpec,
    JobSpec,
    RenderJob,
    RenderSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    TrainJob,
)
from seqrl.registry import environment_row
from seqrl.store import Store
from seqrl.store.base import PACKAGED_BUNDLE
from seqrl.store.export import export_bundle

app = typer.Typer(help="The bundled demo.", no_args_is_help=True)

DATASET = "demo/cartpole"
MODELS = {"demo/dt": "dt", "demo/bc": "bc"}
RETURN_SWEEP = "demo/rtg"
TARGETS = (25.0, *(50.0 * i for i in range(1, 11)))
EPISODES = 32
SHOWN_RUN = "demo/dt"
SHOWN_TARGETS = (50.0, 200.0, 500.0)
COMMAND = "python -m seqrl demo build"


@app.command("build")
def build(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The bundle to write.")] = PACKAGED_BUNDLE,
    work: Annotated[
        Path | None, typer.Option(help="A home to work in; what it holds already is not made again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the dataset, train, sweep and render, and replace the bundle."""
    if work is not None:
        size = _build(Session(work), out)
    else:
        with tempfile.TemporaryDirectory(prefix="seqrl-demo-") as folder:
            size = _build(Session(Path(folder) / "home"), out)
    show({"path": str(out), "size_bytes": size}, as_json, f"{out}: {size / 1e6:.2f} MB")


def _build(here: Session, out: Path) -> int:
    here.store.set_setting("authoring", "1")
    here = Session(here.home)
    for job in _jobs_before_videos():
        _ensure(here, job)
    shown = [_shown_episode(here.store, target) for target in SHOWN_TARGETS]
    for episode_id in shown:
        _ensure(here, RenderJob(spec=RenderSpec(sweep=RETURN_SWEEP, episode_id=episode_id)))
    export_bundle(
        here.store,
        out,
        datasets=[DATASET],
        runs=list(MODELS),
        sweeps=[RETURN_SWEEP],
        media=[(RETURN_SWEEP, episode_id) for episode_id in shown],
        command=COMMAND,
    )
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def _jobs_before_videos() -> list[JobSpec]:
    row = environment_row("CartPole-v1")
    dataset = DatasetSpec(
        name=DATASET, environment=row.id, episodes=2000, behaviours=row.behaviours(row.default_mix), seed=0
    )
    runs = [
        run_spec(dataset=DATASET, model=model, preset="quick", seed=0, name=name, overrides=[])
        for name, model in MODELS.items()
    ]
    sweep = ReturnSweepSpec(name=RETURN_SWEEP, runs=tuple(MODELS), targets=TARGETS, episodes=EPISODES, seed=0)
    return [DatasetJob(spec=dataset), *(TrainJob(spec=run) for run in runs), ReturnSweepJob(spec=sweep)]


def _ensure(here: Session, job: JobSpec) -> None:
    """Carry a job out unless this home has its result already."""
    done = [row for row in here.store.jobs(["succeeded"]) if row.job == job]
    if not done:
        here.run(job, as_json=False, detach=False, on_success=lambda row: typer.echo(f"{row.kind} {row.name}"))


def _shown_episode(store: Store, target: float) -> int:
    """The episode at a target whose return is nearest the median there: neither lucky nor unlucky."""
    table = store.sweep_episodes(RETURN_SWEEP)
    at = table[(table["run"] == SHOWN_RUN) & (table["decoding"] == "sampled") & (table["target"] == target)]
    with_probabilities = at[at["episode"] < 4]
    distance: pd.Series = (with_probabilities["achieved_return"] - at["achieved_return"].median()).abs()
    return int(with_probabilities.loc[distance.idxmin(), "episode_id"])
