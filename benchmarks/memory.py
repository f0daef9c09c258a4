"""Resident set of a training over that of a process that only has torch: CartPole and HalfCheetah.

Each training runs in a process of its own (``python -m benchmarks.memory COLUMNS PRESET``) with all that a worker
imports, on 2,000 CartPole episodes and on 200 episodes of 1,000 steps with HalfCheetah's dimensions.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Comparison

LARGEST_MB = {("CartPole", "quick"): 150.0, ("CartPole", "good"): None, ("HalfCheetah", "good"): 400.0}
UPDATES = 60


def measure() -> list[Comparison]:
    """A line for each; less is better."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        columns = {name: _columns(name, Path(folder) / name) for name in ("CartPole", "HalfCheetah")}
        for (name, preset), largest in LARGEST_MB.items():
            command = [sys.executable, "-m", "benchmarks.memory", str(columns[name]), preset]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            baseline, peak = map(float, said.split()[-2:])
            runs = {"torch alone": [baseline], "while training": [peak]}
            title = f"memory of a training over torch alone, {name}, {preset} preset"
            rows.append(Comparison(title, "MB", peak - baseline, runs=runs, at_most=largest))
    return rows


def _columns(name: str, folder: Path) -> Path:
    from benchmarks.training import compiled, random_episodes
    from seqrl.config import DatasetSpec
    from seqrl.datasets import build
    from seqrl.registry import environment_row

    if name == "HalfCheetah":
        folder.mkdir()
        return compiled(random_episodes(), folder).folder
    row = environment_row("CartPole-v1")
    behaviours = row.behaviours(dict(row.default_mix))
    build(DatasetSpec(name="data", environment=row.id, episodes=2000, behaviours=behaviours), folder)
    return folder


def main(folder: Path, preset: str) -> None:
    """Train a little, and print the resident set of torch alone and the largest one since, MB."""
    import psutil
    import torch

    torch.ones(64, 64) @ torch.ones(64, 64)
    process = psutil.Process()
    baseline = peak = process.memory_info().rss / 1e6

    import seqrl.worker.train  # noqa: F401
    from seqrl.config import RunSpec
    from seqrl.registry import MODELS
    from seqrl.store.columns import Columns
    from seqrl.training import train

    settings = MODELS["dt"].presets[preset]
    training = dict(settings.training) | {"steps": UPDATES, "log_every": 1}
    values = {"name": "run", "dataset": "data", "model": {"kind": "dt"} | dict(settings.model), "training": training}
    for _ in train(RunSpec.model_validate(values), Columns.open(folder)):
        peak = max(peak, process.memory_info().rss / 1e6)
    print(baseline, peak)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
