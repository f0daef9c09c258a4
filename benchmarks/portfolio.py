"""A dataset far larger than memory should hold: 3,941-dimensional states, 394-dimensional actions, no environment.

``python -m benchmarks.portfolio FOLDER [GIGABYTES]`` writes a folder as ``datasets.save_to_disk`` leaves it (one row an
episode), takes it by the command line through everything that a user does with it (`STEPS`), in ``FOLDER/home``, and
says the largest resident set of every step; then how long a batch takes against the same data in memory. Needs about
four times that room on disk, and half an hour. What was measured stays in ``FOLDER/figures.json``: a second call goes
on where the first one ended, and the last one keeps all of it as ``benchmarks/results/portfolio.json``. It is not part
of ``python -m benchmarks``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import Comparison, save, table

STATES, ACTIONS, CONTEXT, BATCH = 3941, 394, 20, 64
LENGTHS = (100, 985)
MOST_GB = 2.0
"""Resident set that is asked for."""

MOST_RATIO = 1.5
"""Time of a batch over that from memory that is asked for."""

IN_MEMORY_BYTES = 5e9
"""Of the data that is held in memory for comparison, and a second time in the kernel's cache."""

_QUICK = ["training.steps=200", "training.validate_every=100"]
_TRAIN = {
    "dt": ["model.embedding_dim=64", "model.layers=2", *_QUICK],
    "bc": ["model.embedding_dim=64", "model.layers=2", *_QUICK],
    "tt": ["model.embedding_dim=64", "model.layers=2", "training.steps=50", "training.validate_every=50"],
}

STEPS: dict[str, list[str]] = {
    "import": ["dataset", "import", "SOURCE", "--format", "hf", "--env", "none", "--name", "portfolio"],
    "train DT on all dimensions": ["train", "--dataset", "portfolio", "--model", "dt", "--name", "dt"],
    "open loop, DT": ["evaluate", "open-loop", "--run", "dt", "--dataset", "portfolio", "--episodes", "16"],
    "keep 12 + 4 dimensions": [
        *["dataset", "filter", "portfolio", "--name", "part"],
        *["--observations", "0:11:1", "--actions", "0:3:1"],
    ],
    "train TT on these": ["train", "--dataset", "part", "--model", "tt", "--name", "tt"],
    "train DT on these": ["train", "--dataset", "part", "--model", "dt", "--name", "dt-part"],
    "train BC on these": ["train", "--dataset", "part", "--model", "bc", "--name", "bc-part"],
    "open loop, TT": ["evaluate", "open-loop", "--run", "tt", "--dataset", "part", "--episodes", "16"],
    "export Parquet": ["dataset", "export", "portfolio", "EXPORT/portfolio.parquet", "--format", "parquet"],
    "export Minari": ["dataset", "export", "portfolio", "EXPORT/portfolio", "--format", "minari"],
}
"""Name → command; ``SOURCE`` and ``EXPORT`` stand for paths, and training gets the settings of `_TRAIN`."""


def write(folder: Path, gigabytes: float, seed: int = 0) -> int:
    """Write episodes until they hold so many bytes of observations; the number of episodes."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(8, STATES)).astype(np.float32)
    policy = 0.1 * generator.normal(size=(8, ACTIONS)).astype(np.float32)
    matrix = pa.list_(pa.list_(pa.float32()))
    schema = pa.schema(
        [
            ("observations", matrix),
            ("actions", matrix),
            ("rewards", pa.list_(pa.float32())),
            ("dones", pa.list_(pa.bool_())),
        ]
    )
    written, episodes = 0, 0
    name = "data-00000-of-00001.arrow"
    with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        while written < gigabytes * 1e9:
            length = int(generator.integers(*LENGTHS, endpoint=True))
            hidden = np.cumsum(generator.normal(size=(length, 8)).astype(np.float32), axis=0) / 10
            noise = generator.random((length, STATES), dtype=np.float32)
            observations = hidden @ mixing + 0.1 * noise
            actions = np.tanh(hidden @ policy)
            rewards = np.abs(hidden[:, 0]).astype(np.float32)
            columns = [
                _matrix(observations),
                _matrix(actions),
                pa.array([rewards]),
                pa.array([np.arange(length) == length - 1]),
            ]
            stream.write_batch(
                pa.RecordBatch.from_arrays(
                    [c.cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
                )
            )
            written += observations.nbytes
            episodes += 1
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}], "_split": None}))
    (folder / "dataset_info.json").write_text("{}")
    return episodes


def command(home: Path, *arguments: str) -> dict[str, float]:
    """Run a command of seqrl; how long it took, and the most memory that it or its worker held, GB.

    Raises:
        RuntimeError: if it failed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "seqrl", "--home", str(home), *arguments, "--json"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
    )
    began, peak = time.time(), [0, 0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    code = process.wait()
    watcher.join()
    if code:
        raise RuntimeError(f"seqrl {' '.join(arguments)} ended with {code}")
    return {"seconds": time.time() - began, "resident": peak[0] / 1e9, "not_in_files": peak[1] / 1e9}


def batches(columns_folder: Path) -> dict[str, float]:
    """Seconds of a training update and of its batch alone: mapped and in memory over some episodes, mapped over all.

    Variants take turns, many updates each: reading ahead would else use the time of its neighbour.
    """
    from dataclasses import replace

    from seqrl.mapped import copied_rows
    from seqrl.store.columns import TAIL_ROWS, Columns

    mapped = Columns.open(columns_folder)
    row_bytes = mapped.observations[0].nbytes + mapped.actions[0].nbytes
    count = int(np.searchsorted(mapped.spans["end"] * row_bytes, IN_MEMORY_BYTES))
    rows = int(mapped.spans["end"][count - 1]) + TAIL_ROWS
    some = replace(mapped, spans=mapped.spans[:count], rewards=mapped.rewards[:rows])
    held = replace(some, observations=_held(mapped.observations, rows), actions=_held(mapped.actions, rows))
    for _ in copied_rows(mapped.observations, np.arange(rows)):
        pass  # what is in memory took the file's place in the kernel's cache
    times = _times({"mapped": some, "in memory": held})
    del held
    return {
        **times,
        **{f"all {name}": seconds for name, seconds in _times({"mapped": mapped}).items()},
        "gigabytes": rows * row_bytes / 1e9,
        "all_gigabytes": mapped.steps * row_bytes / 1e9,
    }


def _held(column: np.ndarray, rows: int) -> np.ndarray:
    """A copy of the first rows, read through the file: a mapping would count twice while it is copied."""
    from seqrl.mapped import copied_rows

    held = np.empty((rows, *column.shape[1:]), column.dtype)
    for start, piece in zip(range(0, rows, 1024), copied_rows(column, np.arange(rows)), strict=True):
        held[start : start + len(piece)] = piece
    return held


def _times(sources: dict[str, Any], rounds: int = 5, updates: int = 20) -> dict[str, float]:
    """Median of the rounds, seconds an update and seconds a batch; the first round only warms up."""
    import torch

    from seqrl.config import RunSpec
    from seqrl.training.loop import Training

    model = {"kind": "dt", "embedding_dim": 128, "layers": 3, "context_length": CONTEXT}
    training = {"batch_size": BATCH, "threads": 1, "validation_fraction": 0}
    spec = RunSpec.model_validate({"name": "run", "dataset": "data", "model": model, "training": training})
    trainings = {name: Training(spec, columns, None) for name, columns in sources.items()}
    plain = {name: running.model.batches(sources[name], None) for name, running in trainings.items()}
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {}
    for turn in range(rounds):
        for name, running in trainings.items():
            began = time.perf_counter()
            for _ in range(updates):
                running.update()
            times.setdefault(name, []).append((time.perf_counter() - began) / updates)
        for name, source in plain.items():
            began = time.perf_counter()
            for batch in range(updates):
                source.sample(BATCH, 0, turn * updates + batch)
            times.setdefault(f"{name}, batch alone", []).append((time.perf_counter() - began) / updates)
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def comparisons(figures: dict[str, dict[str, float]]) -> list[Comparison]:
    """A line for every step, and two for the batches."""
    rows = []
    for name in STEPS:
        found = figures[name]
        notes = f"{found['not_in_files']:.2f} GB of it not in files; {found['seconds']:.0f} s"
        rows.append(Comparison(f"resident set, {name}", "GB", found["resident"], at_most=MOST_GB, notes=notes))
    found = figures["batches"]
    for what, ending in (("update", ""), ("batch alone", ", batch alone")):
        memory = found[f"in memory{ending}"]
        for kind, size in (("mapped", found["gigabytes"]), ("all mapped", found["all_gigabytes"])):
            runs = {name: [1e3 * found[f"{name}{ending}"]] for name in (kind, "in memory")}
            title = f"{what} {BATCH} × {CONTEXT}, {size:.1f} GB mapped over {found['gigabytes']:.1f} GB in memory"
            ratio = found[f"{kind}{ending}"] / memory
            rows.append(Comparison(title, "times", ratio, runs=runs, at_most=MOST_RATIO, notes="runs: milliseconds"))
    return rows


def _matrix(values: np.ndarray) -> pa.Array:
    """One list of lists of equal lengths."""
    rows, width = values.shape
    inner = pa.ListArray.from_arrays(np.arange(0, rows * width + 1, width, dtype=np.int32), pa.array(values.ravel()))
    return pa.ListArray.from_arrays(np.array([0, rows], dtype=np.int32), inner)


def _watch(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    """Keep the largest resident set of a process and its descendants' (each by itself), and of what is not mapped."""
    import psutil

    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for member in family:
                used = member.memory_info()
                peak[0], peak[1] = max(peak[0], used.rss), max(peak[1], used.rss - used.shared)
        except psutil.Error:
            continue
        time.sleep(0.1)


def _arguments(name: str, source: Path, export: Path) -> list[str]:
    """A command of `STEPS` with its paths and settings."""
    words = [word.replace("SOURCE", str(source)).replace("EXPORT", str(export)) for word in STEPS[name]]
    settings = _TRAIN[words[words.index("--model") + 1]] if words[0] == "train" else []
    return words + [part for setting in settings for part in ("--set", setting)]


def main(folder: Path, gigabytes: float) -> None:
    """Everything one after the other, except what was measured before."""
    source, home, export, kept = (folder / name for name in ("portfolio", "home", "export", "figures.json"))
    if not source.exists():
        print(f"{write(source, gigabytes):,} episodes written", flush=True)
    figures = json.loads(kept.read_text()) if kept.exists() else {}
    for name in [*STEPS, "batches"]:
        if name in figures:
            continue
        if name == "batches":
            figures[name] = batches(home / "columns" / "portfolio")
        else:
            export.mkdir(exist_ok=True)
            figures[name] = command(home, *_arguments(name, source, export))
            shutil.rmtree(export)
        kept.write_text(json.dumps(figures, indent=1))
        print(name, {key: round(value, 3) for key, value in figures[name].items()}, flush=True)
    print(f"{table(comparisons(figures))}\n\nin {save('portfolio', comparisons(figures))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 12.0)
