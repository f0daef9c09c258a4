"""Training beside one other busy process, against training alone; threads are chosen by what else runs, as jobs do."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.harness import Comparison, seconds
from benchmarks.training import compiled, ours, random_episodes
from seqrl.training.machine import IdleCores

UPDATES, ROUNDS = 10, 3


def measure() -> list[Comparison]:
    """One line: how many times as long an update takes; less is better."""
    before = torch.get_num_threads()
    times: dict[str, list[float]] = {"alone": [], "beside a busy process": []}
    with tempfile.TemporaryDirectory() as folder:
        update = ours(compiled(random_episodes(), Path(folder)), "auto")
        for _ in range(ROUNDS):
            times["alone"].append(_update_s(update))
            neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                time.sleep(0.5)
                times["beside a busy process"].append(_update_s(update))
            finally:
                neighbour.kill()
                neighbour.wait()
    torch.set_num_threads(before)
    alone, beside = (statistics.median(values) for values in times.values())
    title = "DT training beside one busy process: time of an update"
    return [Comparison(title, "× alone", beside / alone, runs=times, at_most=1.6)]


def _update_s(update: object) -> float:
    IdleCores().take()
    assert callable(update)
    update()
    return seconds(update, UPDATES) / UPDATES
