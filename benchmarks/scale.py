"""What more workers bring to a sweep: measured with one and two, simulated from these figures up to 512.

``python -m benchmarks.scale`` needs Ray (``pip install -r requirements-ray.txt``), two idle cores and about a
minute. It sweeps CartPole with the bundled Decision Transformer and is not part of ``python -m benchmarks``.

Measured: how long pieces of a sweep take, by how many episodes they hold; what Ray and the sweep's own process spend on
a task and on an episode; how long a new worker takes to answer; the same sweep on one and two workers.

Simulated (`simulate`), and assumed for it:

* All workers have the measured core; a piece takes what one of the nearest measured size took, drawn from those and
  in proportion to the sizes.
* The sweep's process does one thing at a time: hand out a task, or take in and write the episodes of one that ended.
  Nothing is handed out ahead (the real one keeps a second task ready for every worker), so waiting is overestimated.
* A message takes `LATENCY_S`; nodes of `WORKERS_A_NODE` workers fetch the checkpoint one after the other, at
  `BYTES_A_SECOND`; all workers start at the same time, and take as long as the one measured.
* Nothing fails, and nobody else uses the cluster. Renting a node and starting it are left out.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import RESULTS
from seqrl.checkpoints import read_about, read_files
from seqrl.config import DatasetFacts, ReturnSweepJob, ReturnSweepSpec, RunSpec
from seqrl.evaluation import LARGEST_CHUNK, sweep_cells
from seqrl.jobs.choice import WORKERS_VARIABLE
from seqrl.jobs.ray_cluster import connect, start_cluster, stop_cluster
from seqrl.store import Store
from seqrl.store.episodes import append_part, decode
from seqrl.worker.context import JobContext
from seqrl.worker.fan_out import FanOut
from seqrl.worker.pieces import ReturnPiece, digest, measure, points_of, return_pieces, rows_of_a_piece, versions

RUN = "demo/dt"
ROWS = (16, 64, 256, 512)
MEASURED = ReturnSweepSpec(
    name="measured", runs=(RUN,), targets=tuple(range(25, 501, 25)), episodes=32, decodings=("sampled",)
)
SIMULATED = (8, 16, 32, 64, 128, 256, 512)
SIMULATED_EPISODES = 200_000
IN_FLIGHT = 1024
LATENCY_S, BYTES_A_SECOND, WORKERS_A_NODE = 0.001, 125e6, 16
DOLLARS_A_CORE_HOUR = 0.04


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        piece_s: episodes of a piece → seconds of pieces of that size, on one core.
        task_s: the sweep's process and Ray, for a task that does nothing, while many are on their way.
        episode_s: the sweep's process, for taking in and writing an episode.
        worker_s: from asking for a worker that does not run yet to its first answer.
        checkpoint_bytes: what a node fetches.
    """

    piece_s: Mapping[int, Sequence[float]]
    task_s: float
    episode_s: float
    worker_s: float
    checkpoint_bytes: int


def simulate(figures: Figures, episodes: int, workers: int, seed: int = 0) -> float:
    """Seconds that a sweep takes; what is assumed stands at the top of this file.

    Args:
        figures: what was measured.
        episodes: of the whole sweep.
        workers: how many measure.
        seed: of the draws.
    """
    chance = random.Random(seed)
    rows = rows_of_a_piece(episodes, workers, LARGEST_CHUNK)
    left = [min(rows, episodes - start) for start in range(0, episodes, rows)]
    ready = figures.worker_s + math.ceil(workers / WORKERS_A_NODE) * figures.checkpoint_bytes / BYTES_A_SECOND
    free = [(ready, worker, 0) for worker in range(workers)]  # when a worker is free, and what it then brings
    heapq.heapify(free)
    process_s = end = 0.0  # when the sweep's process is free
    while free:
        arrived, worker, brought = heapq.heappop(free)
        process_s = max(process_s, arrived + LATENCY_S * bool(brought)) + brought * figures.episode_s
        end = max(end, process_s) if brought else end
        if left:
            size = left.pop()
            process_s += figures.task_s
            heapq.heappush(free, (process_s + LATENCY_S + _drawn(figures.piece_s, size, chance), worker, size))
    return end


def measured_figures(store: Store) -> Figures:
    """Time the parts that a sweep on a cluster consists of."""
    about, weights = read_files(store.run_folder(RUN))
    chance = random.Random(0)
    _timed_piece(store, ROWS[0], about, weights, chance)  # loads the model
    piece_s = {rows: [_timed_piece(store, rows, about, weights, chance)[0] for _ in range(2)] for rows in ROWS}
    encoded = _timed_piece(store, ROWS[-1], about, weights, chance)[1]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        append_part(Path(folder), decode(encoded))
        episode_s = (time.perf_counter() - started) / ROWS[-1]
    ray = connect(store.home)
    nothing = ray.remote(_nothing).options(num_cpus=1, max_retries=0)
    started = time.perf_counter()
    ray.get(nothing.remote("", about, weights))
    worker_s = time.perf_counter() - started
    task_s = _task_seconds(ray, nothing, (ray.put(about), ray.put(weights)))
    return Figures(piece_s, task_s, episode_s, worker_s, len(about) + len(weights))


def _task_seconds(ray: Any, nothing: Any, files: tuple[Any, Any]) -> float:
    """Seconds a task that does nothing, handed out and waited for as `FanOut` does it for `IN_FLIGHT` at once.

    Two workers carry them out, whose time is part of it: what 512 workers cost the sweep's process is at most this.
    """
    ended, running = 0, [nothing.remote("", *files) for _ in range(IN_FLIGHT)]
    started = time.perf_counter()
    while ended < IN_FLIGHT:
        ready, running = ray.wait(running)
        more, running = ray.wait(running, num_returns=len(running), timeout=0)
        ended += len(ready) + len(more)
        running += [nothing.remote("", *files) for _ in range(len(ready) + len(more))]
    taken = time.perf_counter() - started
    ray.get(running)
    return taken / ended


def sweep_seconds(store: Store, workers: int, name: str) -> float:
    """Seconds of `MEASURED` on the cluster, its workers running already; what it measures is written."""
    os.environ[WORKERS_VARIABLE] = str(workers)
    spec = MEASURED.model_copy(update={"name": name})
    job_id = store.add_job(ReturnSweepJob(spec=spec), name)
    store.add_sweep(spec, "sweep_rtg", job_id)
    job = store.claim(job_id, 1, token=name)
    assert job is not None  # noqa: S101 - nothing else runs in this home
    fan = FanOut(JobContext(store, job), spec.runs, (), spec.episodes)
    runs = {RUN: _run(store)}
    started = time.perf_counter()
    planned = len(sweep_cells(spec, runs)) * spec.episodes
    for records in fan.measure(list(return_pieces(spec, runs, fan.checkpoints, (), fan.workers)), planned):
        store.append_episodes(name, records)
    taken = time.perf_counter() - started
    store.transition(job_id, ["running"], "succeeded")
    return taken


def main() -> None:
    """Measure, simulate, print two tables and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--price", type=float, default=DOLLARS_A_CORE_HOUR, help="dollars for a core and an hour")
    parser.add_argument("--rounds", type=int, default=2, help="how often the real sweep is measured")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the cluster is stopped then too
    with tempfile.TemporaryDirectory(prefix="seqrl-scale-") as folder:
        store = Store(Path(folder) / "home")
        start_cluster(store.home, workers=2)
        try:
            figures = measured_figures(store)
            print(json.dumps(asdict(figures)), flush=True)
            sweep_seconds(store, 2, "warm")
            taken: dict[int, list[float]] = {1: [], 2: []}
            for number in range(chosen.rounds):
                for workers, seconds in taken.items():
                    seconds.append(sweep_seconds(store, workers, f"measured-{workers}-{number}"))
                    print(f"{workers} workers: {seconds[-1]:.2f} s", flush=True)
        finally:
            connect(store.home).shutdown()  # Ray would end this process with the cluster
            stop_cluster(store.home)
    episodes = len(MEASURED.targets) * MEASURED.episodes
    rows = [
        _row(workers, episodes, statistics.median(seconds), chosen.price, "measured")
        for workers, seconds in taken.items()
    ]
    rows += [
        _row(
            workers,
            SIMULATED_EPISODES,
            simulate(figures, SIMULATED_EPISODES, workers),
            chosen.price,
            "simulated",
        )
        for workers in (1, 2, *SIMULATED)
    ]
    print(_table(rows))
    RESULTS.mkdir(exist_ok=True)
    about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    kept = {"about": about, "figures": asdict(figures), "seconds": taken, "rows": rows}
    (RESULTS / "scale.json").write_text(json.dumps(kept, indent=1))


def _row(workers: int, episodes: int, seconds: float, price: float, how: str) -> dict[str, object]:
    return {
        "workers": workers,
        "how": how,
        "seconds": round(seconds, 2),
        "episodes a second": round(episodes / seconds, 1),
        "dollars per 1,000 episodes": f"{workers * seconds / 3600 * price / episodes * 1000:.6f}",
    }


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row.values())) + " |" for row in rows)])


def _timed_piece(store: Store, rows: int, about: bytes, weights: bytes, chance: random.Random) -> tuple[float, bytes]:
    """Seconds of one piece of so many episodes of `MEASURED`, from anywhere in it, and the episodes."""
    planned = [
        (cell, episode) for cell in sweep_cells(MEASURED, {RUN: _run(store)}) for episode in range(MEASURED.episodes)
    ]
    start = chance.randrange(len(planned) - rows + 1)
    points = points_of(planned[start : start + rows])
    spec = MEASURED.model_copy(update={"precision": "fp32"})
    piece = ReturnPiece(
        sweep=spec, run=RUN, points=points, checkpoint=digest(about, weights), versions=versions()
    ).model_dump_json()
    started = time.perf_counter()
    encoded = measure(piece, about, weights)
    return time.perf_counter() - started, encoded


def _drawn(piece_s: Mapping[int, Sequence[float]], rows: int, chance: random.Random) -> float:
    """Seconds of a piece: those of a measured one of the nearest size, in proportion to the sizes."""
    nearest = min(piece_s, key=lambda size: abs(size - rows))
    return chance.choice(piece_s[nearest]) * rows / nearest


def _run(store: Store) -> tuple[RunSpec, DatasetFacts]:
    about = read_about(store.run_folder(RUN))
    return RunSpec.model_validate(about["spec"]), DatasetFacts.model_validate(about["facts"])


def _nothing(piece: str, about: bytes, weights: bytes) -> bytes:
    """A task that does nothing, in a worker that has loaded what a real one needs."""
    import seqrl.worker.pieces  # noqa: F401

    return b""


if __name__ == "__main__":
    main()
