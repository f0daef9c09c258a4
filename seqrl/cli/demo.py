"""``demo``: make the bundled demo again, from its specs and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from seqrl import jobs
from seqrl.cli.session import AsJson, Session, show
from seqrl.config import (
    BeamSweepJob,
    DatasetJob,
    DatasetSpec,
    Decoding,
    JobSpec,
    RenderJob,
    RenderSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    RunSpec,
    TrainJob,
)
from seqrl.jobs import Backend
from seqrl.registry import RECIPES, Recipe
from seqrl.store import JobRow, Store
from seqrl.store.base import PACKAGED_BUNDLE
from seqrl.store.export import EPISODES_WITH_PROBABILITIES, export_bundle, in_last_point

app = typer.Typer(help="The bundled demo.", no_args_is_help=True)

COMMAND = "python -m seqrl demo build"

SAMPLES = {"demo/cartpole": 40, "demo/walks": 400, "demo/gamble": 4000}
"""Dataset → how many of its episodes the bundle keeps with all steps, for the lessons."""


@dataclass(frozen=True)
class Shown:
    """A point of a return sweep that the pages show as a moving picture."""

    sweep: str
    run: str
    decoding: Decoding
    target: float


@dataclass(frozen=True)
class ShownPlan:
    """The last point of a beam sweep, whose recorded episode its page opens with."""

    sweep: str


@dataclass(frozen=True)
class DemoPlan:
    """Everything that the demo is made of; all names start with ``demo/``.

    Attributes:
        dataset: what the home page's models learn from.
        runs: those models.
        sweeps: what is measured of them.
        shown: points that pages show as moving pictures.
        lessons: further experiments.
        samples: dataset → how many episodes are kept with all steps.
    """

    dataset: DatasetSpec
    runs: tuple[RunSpec, ...]
    sweeps: tuple[ReturnSweepJob | BeamSweepJob, ...]
    shown: tuple[Shown | ShownPlan, ...]
    lessons: tuple[Recipe, ...] = ()
    samples: Mapping[str, int] = field(default_factory=dict)

    def jobs(self) -> list[JobSpec]:
        """What is carried out, in order, before the videos; what a lesson shares with the others only once."""
        jobs: list[JobSpec] = [DatasetJob(spec=self.dataset), *(TrainJob(spec=run) for run in self.runs), *self.sweeps]
        jobs += [job for recipe in self.lessons for job in recipe.jobs()]
        return [job for at, job in enumerate(jobs) if job not in jobs[:at]]


def cartpole_plan() -> DemoPlan:
    """The demo in the package: CartPole; a Decision Transformer, behaviour cloning and a Trajectory Transformer.

    They are asked for returns, and the Trajectory Transformer plans with several beam widths and horizons.
    """
    asking, compare, planning = (RECIPES[name] for name in ("asking", "compare", "planning"))
    asked, compared, beams = asking.sweep, compare.sweep, planning.sweep
    fine = ReturnSweepSpec(
        name="demo/playground",
        runs=("demo/dt",),
        targets=tuple(25.0 * i for i in range(1, 21)),
        episodes=8,
        decodings=("sampled",),
        seed=0,
    )
    shown: tuple[Shown | ShownPlan, ...] = (
        *(Shown(fine.name, "demo/dt", "sampled", target) for target in fine.targets),
        *(Shown(asked.name, "demo/dt", "sampled", target) for target in (50.0, 200.0, 500.0)),
        *(Shown(compared.name, "demo/tt", "sampled", target) for target in (50.0, 200.0, 500.0)),
        ShownPlan(beams.name),
    )
    sweeps = (asking.measuring(), compare.measuring(), ReturnSweepJob(spec=fine), planning.measuring())
    lessons = tuple(RECIPES[name] for name in ("luck", "stitching", "context", "cloning"))
    return DemoPlan(asking.dataset, (*asking.runs, *planning.runs), sweeps, shown, lessons, SAMPLES)


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
        size = build_bundle(cartpole_plan(), work, out)
    else:
        with tempfile.TemporaryDirectory(prefix="seqrl-demo-") as folder:
            size = build_bundle(cartpole_plan(), Path(folder) / "home", out)
    show({"path": str(out), "size_bytes": size}, as_json, f"{out}: {size / 1e6:.2f} MB")


def build_bundle(plan: DemoPlan, home: Path, out: Path, backend: Backend | None = None) -> int:
    """Carry a plan out in a home of its own and write the bundle; returns its size in bytes.

    Raises:
        Failure: if one of its jobs fails; the older bundle is then untouched.
    """
    Store(home).set_setting("authoring", "1")
    here = Session(home, backend)
    jobs = plan.jobs()
    for job in jobs:
        _ensure(here, job)
    media = [(shown.sweep, shown_episode(here.store, shown)) for shown in plan.shown]
    for sweep, episode_id in media:
        _ensure(here, RenderJob(spec=RenderSpec(sweep=sweep, episode_id=episode_id)))
    export_bundle(
        here.store,
        out,
        datasets=[job.spec.name for job in jobs if isinstance(job, DatasetJob)],
        runs=[job.spec.name for job in jobs if isinstance(job, TrainJob)],
        sweeps=[job.spec.name for job in jobs if isinstance(job, ReturnSweepJob | BeamSweepJob)],
        media=media,
        command=COMMAND,
        samples=plan.samples,
        without_weights=[run.name for recipe in plan.lessons if not recipe.keeps_weights for run in recipe.runs],
    )
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def shown_episode(store: Store, shown: Shown | ShownPlan) -> int:
    """The episode of a point whose return is nearest the median there: neither lucky nor unlucky.

    Of a beam sweep, the first episode of the last point: its plans were recorded.
    """
    table = store.sweep_episodes(shown.sweep)
    if isinstance(shown, ShownPlan):
        last = table[in_last_point(table)]
        return int(last.loc[last["episode"].idxmin(), "episode_id"])
    chosen = (table["run"] == shown.run) & (table["decoding"] == shown.decoding) & (table["target"] == shown.target)
    at = table[chosen]
    complete = at[at["episode"] < EPISODES_WITH_PROBABILITIES]
    distance = (complete["achieved_return"] - at["achieved_return"].median()).abs()
    return int(complete.loc[distance.idxmin(), "episode_id"])


def _ensure(here: Session, job: JobSpec) -> None:
    """Carry a job out unless this home has its result already; go on with what was interrupted."""

    def done(row: JobRow) -> None:
        typer.echo(f"{row.kind} {row.name}", err=True)

    jobs.reconcile(here.store, here.backend)
    same = [row for row in here.store.jobs() if row.is_for(job)]
    if any(row.state == "succeeded" for row in same):
        return
    stopped = next((row for row in same if jobs.can_resume(here.store, row)), None)
    if stopped is not None:
        here.follow(jobs.resume(here.store, stopped.id, here.backend), as_json=False, detach=False, on_success=done)
        return
    here.run(job, as_json=False, detach=False, on_success=done)
