"""Every environment of the registry: dataset, Decision Transformer, sweep, video, from its row alone.

    python -m benchmarks.tour [--home FOLDER] [ENVIRONMENT ...]

It shows that nothing anywhere assumes an environment, with trainings that are far too short to be good. The table goes
to ``benchmarks/results/tour.md``; what a home holds already is not made again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.workbench import Workbench, machine, markdown, with_interval
from seqrl.registry import ENVIRONMENTS, EnvironmentRow

STEPS = 300
"""Updates of every training."""

DATA_STEPS = 20_000
"""Environment steps of every dataset, about."""


def visit(bench: Workbench, row: EnvironmentRow, steps: int = STEPS) -> dict[str, Any]:
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
    episodes = bench.sweep(f"{name}-rtg", [run], targets, 5, decodings=("sampled",), model_chooses=True)
    asked = {target: episodes[episodes["target"] == target] for target in targets}
    chosen = episodes[episodes["target"].isna()]
    film = bench.video(f"{name}-rtg", int(asked[targets[-1]]["episode_id"].iloc[0]))
    return {
        "environment": f"`{row.id}`",
        "episodes": facts.episodes,
        "steps": f"{facts.steps:,}",
        "returns of the data": f"{low:.4g} to {high:.4g}",
        "asked for the lowest": with_interval(asked[targets[0]]["achieved_return"]),
        "asked for the highest": with_interval(asked[targets[-1]]["achieved_return"]),
        "left to choose": with_interval(chosen["achieved_return"]),
        "video": f"{film.stat().st_size / 1000:.0f} kB",
        "seconds": f"{time.perf_counter() - started:.0f}",
    }


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
    rows = [row for row in (ENVIRONMENTS[name] for name in chosen.environments or ENVIRONMENTS) if is_installed(row)]
    with tempfile.TemporaryDirectory(prefix="seqrl-tour-") as folder:
        bench = Workbench(chosen.home or Path(folder) / "home")
        lines = []
        for row in rows:
            lines.append(visit(bench, row, chosen.steps))
            write(lines, chosen.steps)


def write(lines: list[dict[str, Any]], steps: int) -> None:
    """Keep the table of what was visited so far."""
    RESULTS.mkdir(exist_ok=True)
    about = f"{steps} updates each; 5 episodes a figure, sampled, with bootstrap 95 % intervals. {machine()}."
    (RESULTS / "tour.md").write_text(f"{about}\n\n{markdown(lines)}\n")


if __name__ == "__main__":
    main()
