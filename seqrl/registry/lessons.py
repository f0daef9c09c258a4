"""What the lessons measured: the specs of their datasets, trainings and sweeps, as data.

The command that builds the bundle carries these out under their own names; "run it yourself" in a lesson carries out
the very same specs under names of the visitor's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from seqrl.config import (
    BeamSweepJob,
    BeamSweepSpec,
    DatasetJob,
    DatasetSpec,
    PlanningSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    RunSpec,
    TrainJob,
)
from seqrl.registry.environments import ENVIRONMENTS
from seqrl.registry.models import MODELS

CONTEXT_LENGTHS = (1, 5, 10, 20)
CONTEXT_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Recipe:
    """An experiment of a lesson: data, trainings on it, and what was measured of them.

    Attributes:
        dataset: what everything learns from.
        runs: the trainings; none where another recipe's are measured.
        sweep: what is measured.
        sweep_seconds: how long the measuring takes on two cores.
        keeps_weights: whether the bundle holds the weights, so that the runs can be asked again.
    """

    dataset: DatasetSpec
    runs: tuple[RunSpec, ...]
    sweep: ReturnSweepSpec | BeamSweepSpec
    sweep_seconds: float
    keeps_weights: bool = True

    def jobs(self) -> list[DatasetJob | TrainJob | ReturnSweepJob | BeamSweepJob]:
        """What has to be carried out, each after those before it."""
        trainings = [TrainJob(spec=run) for run in self.runs]
        return [DatasetJob(spec=self.dataset), *trainings, self.measuring()]

    def measuring(self) -> ReturnSweepJob | BeamSweepJob:
        """The job of the sweep."""
        if isinstance(self.sweep, BeamSweepSpec):
            return BeamSweepJob(spec=self.sweep)
        return ReturnSweepJob(spec=self.sweep)

    def under(self, names: Mapping[str, str]) -> Recipe:
        """The same experiment under other names.

        Args:
            names: old name → new name, of the dataset, runs and sweep; those not named keep theirs.
        """
        dataset = self.dataset.model_copy(update={"name": names.get(self.dataset.name, self.dataset.name)})
        runs = tuple(
            run.model_copy(
                update={"name": names.get(run.name, run.name), "dataset": names.get(run.dataset, run.dataset)}
            )
            for run in self.runs
        )
        renamed: dict[str, Any] = {
            "name": names.get(self.sweep.name, self.sweep.name),
            "runs": tuple(names.get(run, run) for run in self.sweep.runs),
        }
        return replace(self, dataset=dataset, runs=runs, sweep=self.sweep.model_copy(update=renamed))


def _dataset(name: str, environment: str, episodes: int, mix: Mapping[str, float] | None = None) -> DatasetSpec:
    row = ENVIRONMENTS[environment]
    behaviours = row.behaviours(mix or row.default_mix)
    return DatasetSpec(name=name, environment=environment, episodes=episodes, behaviours=behaviours, seed=0)


def _run(
    name: str,
    dataset: str,
    kind: str,
    model: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> RunSpec:
    """The quick preset of a kind, with changes; one thread gives the same weights however busy the machine is."""
    preset = MODELS[kind].presets["quick"]
    values = {
        "name": name,
        "dataset": dataset,
        "model": {"kind": kind, **preset.model, **(model or {})},
        "training": {**preset.training, "threads": 1, **(training or {})},
        "preset": "custom" if model or training else "quick",
        "seed": seed,
    }
    return RunSpec.model_validate(values)


CARTPOLE = _dataset("demo/cartpole", "CartPole-v1", 2000)
WALKS = _dataset("demo/walks", "seqrl/GraphWalk-v0", 4000, {"random": 1.0}).model_copy(
    # Long enough for most walks to arrive: where a walk is cut off, its return-to-go says "nearly there" wherever it
    # is, and a model believes it.
    update={"max_episode_steps": 500}
)
GAMBLE = _dataset("demo/gamble", "seqrl/Gamble-v0", 4000, {"random": 1.0})


def _quick(kind: str) -> RunSpec:
    """The quick preset as the train page offers it."""
    run = _run(f"demo/{kind}", CARTPOLE.name, kind)
    return run.model_copy(update={"training": run.training.model_copy(update={"threads": None})})


DT, BC = _quick("dt"), _quick("bc")
TT = _run("demo/tt", CARTPOLE.name, "tt")


def _asking() -> Recipe:
    """A Decision Transformer and behaviour cloning, asked for low to high returns."""
    runs = (DT, BC)
    sweep = ReturnSweepSpec(
        name="demo/rtg",
        runs=tuple(run.name for run in runs),
        targets=(25.0, *(50.0 * i for i in range(1, 11))),
        episodes=32,
        decodings=("sampled", "greedy"),
    )
    return Recipe(CARTPOLE, runs, sweep, sweep_seconds=15)


def _context() -> Recipe:
    """The same short training with four context lengths and three seeds each."""
    runs = tuple(
        _run(
            f"demo/context-k{length}-seed{seed}",
            CARTPOLE.name,
            "dt",
            {"context_length": length},
            {"steps": 500, "batch_size": 64},
            seed,
        )
        for length in CONTEXT_LENGTHS
        for seed in CONTEXT_SEEDS
    )
    sweep = ReturnSweepSpec(
        name="demo/context",
        runs=tuple(run.name for run in runs),
        targets=(50.0, 150.0, 250.0, 350.0, 450.0),
        episodes=20,
        decodings=("sampled",),
    )
    return Recipe(CARTPOLE, runs, sweep, sweep_seconds=40, keeps_weights=False)


def _cloning() -> Recipe:
    """Imitating everything, imitating the best tenth, and asking."""
    best = BC.model_copy(
        update={"name": "demo/bc-best", "model": BC.model.model_copy(update={"top_fraction": 0.1}), "preset": "custom"}
    )
    sweep = ReturnSweepSpec(
        name="demo/cloning",
        runs=(DT.name, BC.name, best.name),
        targets=(50.0, 150.0, 250.0, 350.0, 450.0),
        episodes=32,
        decodings=("sampled",),
    )
    return Recipe(CARTPOLE, (DT, BC, best), sweep, sweep_seconds=10)


def _stitching() -> Recipe:
    """Random walks on a graph, asked for shorter ways than they took."""
    # -3 and -4 are one exit apart: a small network hears the difference better than one linear map, the more so with
    # a scale of a few steps, and where one is says all that matters here.
    small = {"layers": 2, "heads": 2, "context_length": 1, "embedding": "mlp"}
    training = {"steps": 600, "batch_size": 2048, "learning_rate": 5e-3, "validation_fraction": 0.0}
    runs = (
        _run("demo/walks-dt", WALKS.name, "dt", {**small, "return_scale": 8.0}, training),
        _run("demo/walks-bc", WALKS.name, "bc", small, training),
    )
    sweep = ReturnSweepSpec(
        name="demo/stitching",
        runs=tuple(run.name for run in runs),
        targets=(-80.0, -40.0, -20.0, -15.0, -10.0, -8.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0),
        episodes=60,
        decodings=("sampled", "greedy"),
    )
    return Recipe(WALKS, runs, sweep, sweep_seconds=20)


def _luck() -> Recipe:
    """A bet that loses on average, asked for what only luck brings."""
    small = {"embedding_dim": 32, "layers": 2, "context_length": 5}
    run = _run("demo/gamble-dt", GAMBLE.name, "dt", small, {"steps": 1200, "batch_size": 64, "learning_rate": 1e-3})
    sweep = ReturnSweepSpec(
        name="demo/luck",
        runs=(run.name,),
        targets=tuple(-10.0 + 3.0 * i for i in range(11)),
        episodes=200,
        decodings=("sampled",),
    )
    return Recipe(GAMBLE, (run,), sweep, sweep_seconds=5)


def _planning() -> Recipe:
    """A Trajectory Transformer that imagines futures of different number and length."""
    sweep = BeamSweepSpec(
        name="demo/beam", runs=(TT.name,), widths=(0, 1, 2, 4, 8, 16), horizons=(1, 2, 4), episodes=10
    )
    return Recipe(CARTPOLE, (TT,), sweep, sweep_seconds=180)


def _three_models() -> Recipe:
    """All three models side by side, the Trajectory Transformer planning."""
    sweep = ReturnSweepSpec(
        name="demo/compare",
        runs=(TT.name, DT.name, BC.name),
        targets=tuple(50.0 * i for i in range(1, 11)),
        episodes=10,
        decodings=("sampled",),
        planning=PlanningSpec(beam_width=8, horizon=4),
    )
    return Recipe(CARTPOLE, (TT, DT, BC), sweep, sweep_seconds=90)


RECIPES: dict[str, Recipe] = {
    "asking": _asking(),
    "context": _context(),
    "cloning": _cloning(),
    "stitching": _stitching(),
    "luck": _luck(),
    "planning": _planning(),
    "compare": _three_models(),
}
"""Name of the experiment → what it is made of."""
