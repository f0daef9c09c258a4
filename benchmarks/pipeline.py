"""From nothing to a calibrated sweep: build 2,000 CartPole episodes, train the quick preset, ask 11 targets × 32 times.

Three jobs in a fresh home, submitted as a person would. The first line says how long all of it took, the next how far
what was achieved is from what was asked for (sampled; mean absolute error, of 500). The last ones compare what the page
said would be left of the training with what was left.
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.acting import TARGETS
from benchmarks.harness import Comparison
from benchmarks.workbench import Workbench
from seqrl import calibration
from seqrl.registry import MODELS, environment_row
from seqrl.store import JobRow, Store

EPISODES, ASKED = 2000, 32
LONGEST_S, LARGEST_ERROR, LARGEST_MISJUDGEMENT = 90.0, 30.0, 20.0
JUDGED_AFTER_S, JUDGED_UNTIL_S = 10.0, 5.0
_LEFT = re.compile(r" · ([\d.]+) (s|min|h) left$")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


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
        with promises(bench.store.home, "dt") as promised:
            bench.train("dt", "cartpole", model, **dict(preset.training))
        seconds["training"] = [time.perf_counter() - started - seconds["dataset"][0]]
        episodes = bench.sweep("rtg", ["dt"], sorted(targets), ASKED, decodings=("sampled",))
        total = time.perf_counter() - started
        wrong = misjudgements(promised, next(row for row in bench.store.jobs() if row.name == "dt"))
        seconds["sweep"] = [total - seconds["dataset"][0] - seconds["training"][0]]
    table = calibration.calibration(calibration.points(episodes))
    error = float(table["mae"].iloc[0])
    lines = [
        Comparison("from nothing to a calibrated CartPole sweep", "s", total, runs=seconds, at_most=LONGEST_S),
        Comparison("its mean absolute error, of 500", "reward", error, at_most=LARGEST_ERROR),
    ]
    if not wrong:  # the training took no longer than what is not judged
        return lines
    return [
        *lines,
        Comparison(
            "what is left of the training, said after 10 s: wrong by", "%", wrong[0], at_most=LARGEST_MISJUDGEMENT
        ),
        Comparison("the same, the worst until 5 s before its end", "%", max(wrong), at_most=LARGEST_MISJUDGEMENT),
    ]


@contextmanager
def promises(home: Path, name: str) -> Iterator[list[tuple[float, float]]]:
    """What the page says is left of a job while it runs: moments, and seconds to go."""
    seen: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        store = Store(home)
        while not over.wait(0.1):
            for row in store.jobs(["running"]):
                said = _LEFT.search(row.message)
                if row.name == name and said:
                    seen.append((store.now(), float(said[1]) * _SECONDS[said[2]]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def misjudgements(promised: list[tuple[float, float]], job: JobRow) -> list[float]:
    """By how many percent each promise was wrong, from ten seconds after the job began to shortly before it ended."""
    assert job.started is not None and job.finished is not None
    return [
        100 * abs(left / (job.finished - moment) - 1)
        for moment, left in promised
        if moment - job.started >= JUDGED_AFTER_S and job.finished - moment >= JUDGED_UNTIL_S
    ]
