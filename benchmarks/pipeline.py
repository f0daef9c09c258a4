"""From nothing to a calibrated sweep: build 2,000 CartPole episodes, train the quick preset, ask 11 targets × 32 times.

Three jobs in a fresh home, submitted as a person would. The line says how long all of it took, the next how far what
was achieved is from what was asked for (sampled; mean absolute error, of 500).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.acting import TARGETS
from benchmarks.harness import Comparison
from benchmarks.workbench import Workbench
from seqrl import calibration
from seqrl.registry import MODELS, environment_row

EPISODES, ASKED = 2000, 32
LONGEST_S, LARGEST_ERROR = 90.0, 30.0


def measure() -> list[Comparison]:
    """Both lines; less is better."""
    preset = MODELS["dt"].presets["quick"]
    targets = [target for target in TARGETS if target <= 500] + [25.0]
    with tempfile.TemporaryDirectory(prefix="seqrl-pipeline-") as folder:
        bench = Workbench(Path(folder) / "home")
        seconds: dict[str, list[float]] = {}
        started = time.perf_counter()
        bench.dataset("cartpole", "CartPole-v1", EPISODES, dict(environment_row("CartPole-v1").default_mix))
        seconds["dataset"] = [time.perf_counter() - started]
        model = {"kind": "dt"} | dict(preset.model)
        bench.train("dt", "cartpole", model, **dict(preset.training))
        seconds["training"] = [time.perf_counter() - started - seconds["dataset"][0]]
        episodes = bench.sweep("rtg", ["dt"], sorted(targets), ASKED, decodings=("sampled",))
        total = time.perf_counter() - started
        seconds["sweep"] = [total - seconds["dataset"][0] - seconds["training"][0]]
    table = calibration.calibration(calibration.points(episodes))
    error = float(table["mae"].iloc[0])
    return [
        Comparison("from nothing to a calibrated CartPole sweep", "s", total, runs=seconds, at_most=LONGEST_S),
        Comparison("its mean absolute error, of 500", "reward", error, at_most=LARGEST_ERROR),
    ]
