"""Small tasks that show what asking for a return, or for a goal, can and cannot do.

    python -m benchmarks.tasks [--home FOLDER] [graph] [goals] [key] [gamble]

* graph: the shortest-path example of the Decision Transformer paper (Chen et al. 2021, figure 2), from random walks.
* goals: the same graph, but another goal in every episode, from random walks with goals in hindsight.
* key: Key-to-Door (section 5.4): the key is rewarded long after it was picked up. The paper reports 71.8 % success
  from 1,000 and 94.6 % from 10,000 random episodes; its environment was not released.
* gamble: asking for a high return selects luck (Paster et al. 2022; Brandfonbrener et al. 2022).

The data is random (graph, key), so no action can be foretold but by the return that follows it; held-out loss then
grows while the model still learns to listen, so all episodes are trained on and the last weights act.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.workbench import Results, Workbench, markdown, with_interval
from seqrl.environments.graph_walk import make_graph
from seqrl.environments.making import make_environment
from seqrl.registry import MODELS, environment_row

_SMALL = {"embedding_dim": 64, "layers": 2, "heads": 2, "dropout": 0.1}
_TRAINING = {"batch_size": 64, "learning_rate": 1e-3, "validation_fraction": 0.0}

# Divided by the longest walk, neighbouring requests near the goal would hardly differ.
_WALK_SCALE = {"return_scale": 3.0}
_WALKER = {"embedding_dim": 64, "layers": 1, "dropout": 0.0}
_WALK_TRAINING = {"learning_rate": 5e-3, "validation_fraction": 0.0, "precision": "fp32"}
_WALKERS: dict[str, dict[str, Any]] = {
    "BC": _WALKER | {"kind": "bc", "context_length": 1},
    "%BC, best 10 %": _WALKER | {"kind": "bc", "context_length": 1, "top_fraction": 0.1},
    "RvS": {"kind": "rvs", "embedding_dim": 128, "layers": 2, "dropout": 0.0} | _WALK_SCALE,
    "DT": _WALKER | _WALK_SCALE | {"kind": "dt", "return_head": "bins", "context_length": 1},
}


def graph(
    bench: Workbench, steps: int = 400, episodes: int = 200, sizes: Sequence[int] = (1000, 10_000)
) -> list[dict[str, Any]]:
    """From which share of the start nodes a model finds a shortest path, having seen random walks alone.

    The best return differs between start nodes, so each is asked for its own; "left to choose" knows none. Walks that
    the time limit cut off are left out: one step before the limit their return-to-go is -1, wherever they are, and
    what a model learns from that is shown in a line of its own.
    """
    limit = environment_row("seqrl/GraphWalk-v0").max_episode_steps or 1
    rows = []
    for size in sizes:
        bench.dataset(f"walks-{size}", "seqrl/GraphWalk-v0", size, {"random": 1.0})
        facts = bench.derive(f"arrived-{size}", [f"walks-{size}"], maximum_length=limit - 1)
        about = {"random walks": f"{size:,}", "of them arrived": f"{facts.episodes:,}"}
        for number, (label, model) in enumerate(_WALKERS.items()):
            rows += [about | row for row in _walks(bench, f"arrived-{size}", number, label, model, steps, episodes)]
        label = "DT"
        kept = _walks(bench, f"walks-{size}", 0, f"{label}, learnt from all walks", _WALKERS[label], steps, episodes)
        rows += [about | row for row in kept]
    away = np.delete(make_graph().distances, make_graph().goal)
    ideal = {"model": "shortest paths", "shortest path found": "100 %", "goal reached": "100 %"}
    return [*rows, {"random walks": "", "of them arrived": ""} | ideal | {"steps": f"{away.mean():.1f}"}]


def _walks(
    bench: Workbench, dataset: str, number: int, label: str, model: dict[str, Any], steps: int, episodes: int
) -> list[dict[str, Any]]:
    """Train a model on walks, ask it, and say from where it found a shortest path."""
    windows = {"batch_size": max(1, 1024 // model.get("context_length", 1))}
    run = bench.train(f"{dataset}-{number}", dataset, model, steps=steps, **_WALK_TRAINING | windows)
    best = [-float(distance) for distance in range(1, int(make_graph().distances.max()) + 1)]
    chooses = "return_head" in model
    settings = {"decodings": ("greedy",), "model_chooses": chooses, "optimism": 30.0}
    table = _with_starts(bench.sweep(f"{run}-rtg", [run], best, episodes, **settings))
    if model["kind"] == "bc":
        return [_walks_row(label, table)]
    rows = [
        _walks_row(f"{label}, asked for the start's best", table[table["target"] == -table["shortest"]]),
        _walks_row(f"{label}, asked for −1", table[table["target"] == -1.0]),
    ]
    return [*rows, _walks_row(f"{label}, left to choose", table[table["target"].isna()])] if chooses else rows


def _with_starts(table: pd.DataFrame) -> pd.DataFrame:
    """The episodes with the node where each began, and how far it is from the goal."""
    env = make_environment("seqrl/GraphWalk-v0")
    starts = np.array([env.reset(seed=int(seed))[0] for seed in table["seed"]])
    env.close()
    return table.assign(start=starts, shortest=make_graph().distances[starts])


def _walks_row(label: str, table: pd.DataFrame) -> dict[str, Any]:
    """Shares of the start nodes; every node counts alike, however often an episode started there."""
    solved = table["terminated"] & (table["length"] == table["shortest"])
    means = table.assign(solved=solved).groupby("start")[["solved", "terminated", "length"]].mean().mean()
    return {
        "model": label,
        "shortest path found": f"{means['solved']:.0%}".replace("%", " %"),
        "goal reached": f"{means['terminated']:.0%}".replace("%", " %"),
        "steps": f"{means['length']:.1f}",
    }


_TOLD = _WALKER | {"kind": "dt", "conditioning": "goal", "context_length": 1}
_GOAL_MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "BC, walks as they were": ("rambles", _WALKER | {"kind": "bc", "context_length": 1}, {}),
    "DT, told the goal": ("wished", _TOLD, {}),
    "DT, told the goal, left to choose the return": ("wished", _WALKERS["DT"], {}),
    "TT, plans 8 futures of 8 steps": (
        "wished",
        {"kind": "tt", "embedding_dim": 64, "layers": 2, "heads": 2, "context_length": 9, "dropout": 0.0},
        {"planning": {"beam_width": 8, "horizon": 8, "context": 1}},
    ),
}


def goals(bench: Workbench, steps: int = 400, episodes: int = 200) -> list[dict[str, Any]]:
    """How often goals are reached that no walk was after, and whether on a shortest path.

    The goals of the random walks were drawn like their starts, so almost every pair of nodes is new to a model.
    """
    bench.dataset("rambles", "seqrl/GraphGoals-v0", 2000, {"random": 1.0})
    facts = bench.derive("wished", ["rambles"], hindsight={"stretches": 8, "mean_steps": 5})
    rows = []
    for number, (label, (dataset, model, settings)) in enumerate(_GOAL_MODELS.items()):
        batch = max(1, 1024 // model["context_length"])
        plans = model["kind"] == "tt"
        training = _WALK_TRAINING | {"batch_size": batch} | ({"learning_rate": 2e-3} if plans else {})
        run = bench.train(f"goals-{number}", dataset, model, steps=steps, **training)
        asked = {"model_chooses": plans or "return_head" in model, "optimism": 30.0}
        decoding = "sampled" if plans else "greedy"
        table = bench.sweep(f"goals-{number}-rtg", [run], [], episodes, decodings=(decoding,), **asked, **settings)
        shortest = table["terminated"] & (table["length"] == table["goal_distance"])
        far = table[table["goal_distance"] >= _FAR]
        rows.append(
            {
                "model": label,
                "goal reached": _percent(table["terminated"]),
                f"{_FAR} steps away or more": _percent(far["terminated"]),
                "on a shortest path": _percent(shortest),
                "steps": f"{table['length'].mean():.1f}",
            }
        )
    ideal = {"model": "shortest paths", "goal reached": "100 %", f"{_FAR} steps away or more": "100 %"}
    mean = f"{table['goal_distance'].mean():.1f}"
    print(f"{facts.episodes:,} stretches of {facts.steps:,} steps", flush=True)
    return [*rows, ideal | {"on a shortest path": "100 %", "steps": mean}]


_FAR = 4
"""Steps; nearer goals are often met by chance."""


def _percent(values: pd.Series) -> str:
    return f"{values.mean():.0%}".replace("%", " %")


# The preset for rare rewards, and the same for the others. The request says in every room what to do, so no step
# before the present one is needed.
_RARE = MODELS["dt"].presets["rare"]
_DOORS = {name: value for name, value in _RARE.model.items() if name != "rtg_gain"}
_DOOR_MODELS: dict[str, dict[str, Any]] = {
    "DT": {"kind": "dt", **_RARE.model},
    "BC": _DOORS | {"kind": "bc"},
    "%BC, best 3 %": _DOORS | {"kind": "bc", "top_fraction": 0.03},
    "RvS": {"kind": "rvs", "embedding_dim": 128, "layers": 2, "dropout": 0.0, "return_scale": 0.2},
}


def key(
    bench: Workbench,
    episodes: int = 200,
    data: Sequence[tuple[int, int]] = ((1000, 4), (10_000, 1)),
) -> list[dict[str, Any]]:
    """Success of models that are asked for the reward, from random episodes alone.

    Args:
        bench: where to work.
        episodes: of every figure and dataset.
        data: (random episodes, datasets of so many, each from a seed of its own).
    """
    rows = []
    for size, seeds in data:
        rewarded = []
        achieved: dict[tuple[str, str], list[float]] = {}
        for seed in range(seeds):
            name = f"rooms-{size}-{seed}"
            rewarded.append(bench.dataset(name, "seqrl/KeyToDoor-v0", size, {"random": 1.0}, seed=seed).returns.mean)
            for number, (label, model) in enumerate(_DOOR_MODELS.items()):
                run = bench.train(f"{name}-{number}", name, model, **_RARE.training)
                table = bench.sweep(f"{run}-rtg", [run], [1.0], episodes)
                for decoding, cell in table.groupby("decoding"):
                    achieved.setdefault((label, str(decoding)), []).append(100 * cell["achieved_return"].mean())
        about = {"random episodes": f"{size:,}, {seeds} seeds", "of them rewarded (%)": _spread(rewarded, 100)}
        for label in _DOOR_MODELS:
            success = {f"success, {way} (%)": _spread(achieved[label, way]) for way in ("greedy", "sampled")}
            rows.append(about | {"model": label} | success)
    return rows


def _spread(values: Sequence[float], scale: float = 1.0) -> str:
    """Mean, and smallest to largest: ``97.5 (94.0 to 100.0)``."""
    scaled = scale * np.asarray(values)
    return f"{scaled.mean():.1f} ({scaled.min():.1f} to {scaled.max():.1f})"


def gamble(bench: Workbench, steps: int = 600, episodes: int = 500) -> list[dict[str, Any]]:
    """What asking for more brings where high returns were luck: keeping always pays 5 in 5 rounds."""
    facts = bench.dataset("bets", "seqrl/Gamble-v0", 2000, {"random": 1.0})
    model = _SMALL | {"kind": "dt", "context_length": 5, "return_head": "bins"}
    run = bench.train("bets-DT", "bets", model, steps=steps, **_TRAINING)
    always = float(_rounds())
    targets = sorted({facts.returns.minimum, always, facts.returns.maximum / 2, facts.returns.maximum})
    table = bench.sweep("bets-rtg", [run], targets, episodes, decodings=("sampled",), model_chooses=True)
    rows = []
    for target, asked in table.groupby("target", dropna=False):
        left = pd.isna(target)
        asks = f"left to choose (asks for {asked['chosen_return'].mean():.1f})" if left else f"{target:g}"
        rows.append({"asked for": asks, "achieved": with_interval(asked["achieved_return"])})
    return [*rows, {"asked for": "never bet", "achieved": f"{always:.1f}"}]


def _rounds() -> int:
    env = make_environment("seqrl/Gamble-v0")
    rounds = int(env.unwrapped.rounds)  # type: ignore[attr-defined]
    env.close()
    return rounds


TASKS: dict[str, Callable[[Workbench], list[dict[str, Any]]]] = {
    "graph": graph,
    "goals": goals,
    "key": key,
    "gamble": gamble,
}


def main() -> None:
    """Measure the tasks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("tasks", nargs="*", choices=[[], *TASKS], help="all if none is named")
    parser.add_argument("--home", type=Path, help="a folder to work in and to keep")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seqrl-tasks-") as folder:
        bench = Workbench(chosen.home or Path(folder) / "home")
        for name in chosen.tasks or TASKS:
            results = Results(f"task_{name}", {}, [name])
            results.measure(name, partial(TASKS[name], bench), again=True)
            print(markdown(results.lines), flush=True)


if __name__ == "__main__":
    main()
