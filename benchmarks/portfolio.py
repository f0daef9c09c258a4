"""A dataset far larger than memory should hold: 3,941-dimensional states, 394-dimensional actions, no environment.

``python -m benchmarks.portfolio FOLDER [GIGABYTES]`` writes a folder as ``datasets.save_to_disk`` leaves it (one row an
episode), imports it by the command line into ``FOLDER/home``, trains a Decision Transformer on it, evaluates it
open-loop, and says the largest resident set of every step, and how long a batch takes against the same data in memory.
Needs about three times that room on disk. It is not part of ``python -m benchmarks``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

STATES, ACTIONS, CONTEXT, BATCH = 3941, 394, 20, 64
LENGTHS = (100, 985)


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


def command(home: Path, *arguments: str) -> None:
    """Run a command of seqrl, and say how long it took and the most memory that it or its worker held."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seqrl", "--home", str(home), *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    began, peak = time.time(), [0, 0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    code = process.wait()
    watcher.join()
    shown = f"resident set at most {peak[0] / 1e9:.2f} GB, of it {peak[1] / 1e9:.2f} GB not in files"
    print(f"{' '.join(arguments[:2])}: {time.time() - began:.0f} s, {shown}, exit code {code}", flush=True)


def batches(columns_folder: Path, most_bytes: float) -> None:
    """Time of a batch from the mapped columns against the same episodes copied into memory."""
    from dataclasses import replace

    from seqrl.store.columns import TAIL_ROWS, Columns
    from seqrl.windows import Windows

    mapped = Columns.open(columns_folder)
    row_bytes = mapped.observations[0].nbytes + mapped.actions[0].nbytes
    count = int(np.searchsorted(mapped.episodes["end"].to_numpy() * row_bytes, most_bytes))
    rows = int(mapped.episodes["end"].iat[count - 1]) + TAIL_ROWS
    held = replace(mapped, observations=np.array(mapped.observations[:rows]), actions=np.array(mapped.actions[:rows]))
    chosen = np.arange(count)
    windows = {
        "mapped": Windows(mapped, CONTEXT, episodes=chosen),
        "in memory": Windows(held, CONTEXT, episodes=chosen),
    }
    times: dict[str, list[float]] = {name: [] for name in windows}
    for batch in range(200):
        for name, source in windows.items():
            began = time.perf_counter()
            source.sample(BATCH, 0, batch)
            times[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(values[20:])) for name, values in times.items()}
    means = {name: float(np.mean(values[20:])) for name, values in times.items()}
    for name in windows:
        print(f"batch {BATCH} × {CONTEXT} {name}: median {1e3 * medians[name]:.1f} ms, mean {1e3 * means[name]:.1f} ms")
    print(
        f"ratio of means {means['mapped'] / means['in memory']:.2f}, over {rows * row_bytes / 1e9:.1f} GB", flush=True
    )


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


def main(folder: Path, gigabytes: float) -> None:
    """Everything one after the other."""
    source, home = folder / "portfolio", folder / "home"
    if not source.exists():
        print(f"{write(source, gigabytes):,} episodes written", flush=True)
    command(home, "dataset", "import", str(source), "--format", "hf", "--env", "none", "--name", "portfolio")
    settings = ["model.embedding_dim=64", "model.layers=2", "training.steps=200", "training.validate_every=100"]
    options = [part for setting in settings for part in ("--set", setting)]
    command(home, "train", "--dataset", "portfolio", "--model", "dt", "--name", "dt", *options)
    command(home, "evaluate", "open-loop", "--run", "dt", "--dataset", "portfolio", "--episodes", "16", "--json")
    batches(home / "columns" / "portfolio", 3e9)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 12.0)
