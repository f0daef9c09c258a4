"""Achieved against asked return where it should rise: Lunar Lander, Pendulum and Half Cheetah, sampled and greedy.

    python -m benchmarks.curves [--home FOLDER] [ENVIRONMENT ...]

Short trainings on a mixture of each environment's tiers. The table goes to ``benchmarks/results/curves.md``, one line
a target; what stands there is measured again only if it is named, and what a home holds already is not made again.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workbench import Results, Workbench, with_interval
from seqrl.registry import ENVIRONMENTS


@dataclass(frozen=True)
class Curve:
    """How much of an environment is played, learnt and asked.

    Attributes:
        episodes: of the dataset.
        mix: shares of the environment's tiers.
        context_length: K, steps.
        steps: updates of 64 windows.
    """

    episodes: int
    mix: dict[str, float]
    context_length: int = 10
    steps: int = 1500


CURVES = {
    "LunarLander-v3": Curve(600, {"random": 0.25, "poor": 0.25, "medium": 0.25, "expert": 0.25}),
    "Pendulum-v1": Curve(600, {"random": 0.4, "poor": 0.3, "medium": 0.3}),
    "HalfCheetah-v5": Curve(200, {"random": 0.2, "medium": 0.4, "expert": 0.4}),
}


EPISODES = 10
"""Of every figure."""


def measure_curve(bench: Workbench, environment: str, plan: Curve, targets: int = 6) -> list[dict[str, Any]]:
    """Lines of the table: what was achieved at targets between the 5th and the 95th percentile of the data."""
    name = environment.rpartition("/")[2]
    facts = bench.dataset(f"{name}-curve", environment, plan.episodes, plan.mix)
    head = "gaussian" if facts.action.kind == "box" else "auto"
    model = {"kind": "dt", "embedding_dim": 64, "layers": 2, "context_length": plan.context_length}
    training = {"steps": plan.steps, "batch_size": 64, "learning_rate": 2e-3, "validation_fraction": 0.0}
    run = bench.train(f"{name}-curve-dt", f"{name}-curve", model | {"action_head": head, "dropout": 0.0}, **training)
    low, high = facts.returns.percentiles[5], facts.returns.percentiles[95]
    asked = [float(f"{target:.4g}") for target in np.linspace(low, high, targets)]
    table = bench.sweep(f"{name}-curve-rtg", [run], asked, EPISODES)
    rows = []
    for target in asked:
        row: dict[str, Any] = {"environment": f"`{environment}`", "asked for": f"{target:.4g}"}
        for decoding in ("sampled", "greedy"):
            of_cell = table[(table["target"] == target) & (table["decoding"] == decoding)]
            row[decoding] = with_interval(of_cell["achieved_return"], digits=0)
        rows.append(row)
    return rows


def main() -> None:
    """Measure the environments named on the command line, or all three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("environments", nargs="*", help=f"of {', '.join(CURVES)}; all if none is named")
    parser.add_argument("--home", type=Path, help="a folder to work in and to keep")
    chosen = parser.parse_args()
    results = Results("curves", {"episodes a figure": EPISODES}, list(CURVES))
    with tempfile.TemporaryDirectory(prefix="seqrl-curves-") as folder:
        bench = Workbench(chosen.home or Path(folder) / "home")
        for name in chosen.environments or CURVES:
            work = partial(measure_curve, bench, ENVIRONMENTS[name].id, CURVES[name])
            results.measure(name, work, again=bool(chosen.environments))


if __name__ == "__main__":
    main()
