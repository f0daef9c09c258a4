"""Every environment of the registry: dataset, Decision Transformer, sweep, video, from its row alone.

    python -m benchmarks.tour [--home FOLDER] [ENVIRONMENT ...]

It shows that nothing anywhere assumes an environment, with trainings that are far too short to be good. The table goes
to ``benchmarks/results/tour.md``. A tour that was stopped goes on where it was: an environment that stands in the table
is visited again only if it is named, and what a home holds already is not made again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from benchmarks.workbench import Results, Workbench, with_interval
from seqrl.registry import ENVIRONMENTS, EnvironmentRow

STEPS = 300
"""Updates of every training."""

DATA_STEPS = 20_000
"""Environment steps of every dataset, about."""

EPISODES = 5
"""Of every figure."""


def visit(bench: Workbench, row: EnvironmentRow, steps: int = STEPS) -> list[dict[str, Any]]:
    """Dataset, training, sweep and video of one environment; a line of the table."""
    started = time.perf_counter()
    name = row.id.rpartition("/")[2]
    limit = row.max_episode_steps or 1000
    facts = bench.dataset(name, row.id, min(max(DATA_STEPS // limit, 20), 500), dict(row.default_mix))
    head = "gaussian" if facts.action.kind == "box" else "auto"
    model = {"kind": "dt", "embedding_dim": 64, "layers": 2, "context_length": min(20, limit), "action_head": head}
    run = bench.train(f"{name}-dt", name, model | {"return_head": "bins"}, steps=steps, batch_size=64)
    low, high = facts.returns.minimum, facts.returns.maximum
    targets = [low, high] if high > low else [high]
    episodes = bench.sweep(f"{name}-rtg", [run], targets, EPISODES, decodings=("sampled",), model_chooses=True)
    asked = {target: episodes[episodes["target"] == target] for target in targets}
    chosen = episodes[episodes["target"].isna()]
    film = bench.video(f"{name}-rtg", int(asked[targets[-1]]["episode_id"].iloc[0]))
    line = {
        "environment": f"`{row.id}`",
        "episodes": facts.episodes,
        "steps": f"{facts.steps:,}",
        "returns of the data": f"{low:.4g} to {high:.4g}",
        "asked for the lowest": with_interval(asked[targets[0]]["achieved_return"]),
        "asked for the highest": with_interval(asked[targets[-1]]["achieved_return"]),
        "left to choose": with_interval(chosen["achieved_return"]),
        "video": f"{film.stat().st_size / 1000:.0f} kB",
        "shades": shades(film),
        "seconds": f"{time.perf_counter() - started:.0f}",
    }
    return [line]


def shades(film: Path) -> int:
    """Different grey values in the first picture of a video: 1 if it is black, or of any one colour."""
    frames = imageio_ffmpeg.read_frames(str(film), pix_fmt="gray", bits_per_pixel=8)
    next(frames)  # what is known of the video
    return len(np.unique(np.frombuffer(next(frames), dtype=np.uint8)))


def is_installed(row: EnvironmentRow) -> bool:
    """Whether the package of an environment is there; says so where it is not."""
    found = row.module is None or find_spec(row.module) is not None
    if not found:
        print(f"{row.id} is left out: it needs {row.package}", flush=True)
    return found


def main() -> None:
    """Visit the environments named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("environments", nargs="*", help="ids of the registry; all if none is named")
    parser.add_argument("--home", type=Path, help="a folder to work in and to keep")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of every training")
    chosen = parser.parse_args()
    rows = [ENVIRONMENTS[name] for name in chosen.environments or ENVIRONMENTS]
    results = Results("tour", {"updates": chosen.steps, "episodes a figure": EPISODES}, list(ENVIRONMENTS))
    with tempfile.TemporaryDirectory(prefix="seqrl-tour-") as folder:
        bench = Workbench(chosen.home or Path(folder) / "home")
        for row in filter(is_installed, rows):
            results.measure(row.id, partial(visit, bench, row, chosen.steps), again=bool(chosen.environments))


if __name__ == "__main__":
    main()
