"""The three small tasks that show what return conditioning can and cannot do.

    python -m benchmarks.tasks [--home FOLDER] [graph] [key] [gamble]

* graph: the shortest-path example of the Decision Transformer paper (Chen et al. 2021, figure 2), from random walks.
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
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.harness import RESULTS
from benchmarks.workbench import Workbench, machine, markdown, with_interval
from seqrl.environments.graph_walk import make_graph
from seqrl.environments.making import make_environment
from seqrl.registry import environment_row

_SMALL = {"embedding_dim": 64, "layers": 2, "heads": 2, "dropout": 0.1}
_TRAINING = {"batch_size": 64, "learning_rate": 1e-3, "validation_fraction": 0.0}

_WALKS = 20_000
# A walk's returns-to-go are worth what its neighbours' are not: -3 and -4 are one exit apart. A small network hears
# that better than one linear map, and nothing is random enough to need dropout.
_WALKER = {"embedding_dim": 64, "layers": 2, "heads": 2, "dropout": 0.0, "embedding": "mlp", "context_length": 1}
_WALK_TRAINING = {"batch_size": 2048, "learning_rate": 5e-3, "validation_fraction": 0.0}


def graph(bench: Workbench, steps: int = 1500, episodes: int = 200, walks: int = _WALKS) -> list[dict[str, Any]]:
    """From which share of the start nodes a model finds a shortest way, having seen random walks alone.

    Walks that the time limit cut off are left out: one step before the limit their return-to-go is -1, wherever they
    are. The best return differs between start nodes, so each is asked for its own; "left to choose" knows none.
    """
    limit = environment_row("seqrl/GraphWalk-v0").max_episode_steps or 1
    bench.dataset("walks", "seqrl/GraphWalk-v0", walks, {"random": 1.0})
    bench.derive("arrived", ["walks"], maximum_length=limit - 1)
    scale = {"return_scale": 8.0}
    models: dict[str, dict[str, Any]] = {
        "BC": _WALKER | {"kind": "bc"},
        "%BC, best 10 %": _WALKER | {"kind": "bc", "top_fraction": 0.1},
        "RvS": {"kind": "rvs", "embedding_dim": 256, "layers": 3, "dropout": 0.0} | scale,
        "DT": _WALKER | scale | {"kind": "dt", "return_head": "bins"},
    }
    distances = make_graph().distances
    best = [-float(distance) for distance in range(1, int(distances.max()) + 1)]
    rows = []
    for label, model in models.items():
        run = bench.train(f"walks-{model['kind']}-{len(rows)}", "arrived", model, steps=steps, **_WALK_TRAINING)
        settings = {"decodings": ("greedy",), "model_chooses": "return_head" in model, "optimism": 30.0}
        table = _with_starts(bench.sweep(f"{run}-rtg", [run], best, episodes, **settings))
        if model["kind"] == "bc":
            rows.append(_walks_row(label, table))
            continue
        rows.append(_walks_row(f"{label}, asked for the start's best", table[table["target"] == -table["shortest"]]))
        rows.append(_walks_row(f"{label}, asked for −1", table[table["target"] == -1.0]))
        if "return_head" in model:
            rows.append(_walks_row(f"{label}, left to choose", table[table["target"].isna()]))
    away = np.delete(distances, make_graph().goal)
    shortest = {"shortest way found": "100 %", "goal reached": "100 %", "steps": f"{away.mean():.1f}"}
    return [*rows, {"model": "shortest ways"} | shortest]


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
        "shortest way found": f"{means['solved']:.0%}".replace("%", " %"),
        "goal reached": f"{means['terminated']:.0%}".replace("%", " %"),
        "steps": f"{means['length']:.1f}",
    }


# Two of a hundred random episodes are rewarded, so the request changes the loss in its third decimal: it takes large
# batches to hear it at all, and a small network not to learn twenty lucky episodes by heart.
_DOORS = {"embedding_dim": 32, "layers": 1, "heads": 2, "dropout": 0.1}
_DOOR_TRAINING = {"learning_rate": 1e-2, "validation_fraction": 0.0}


def key(
    bench: Workbench, steps: int = 1500, episodes: int = 200, sizes: Sequence[int] = (1000, 10_000)
) -> list[dict[str, Any]]:
    """Success of models that are asked for the reward, from random episodes alone."""
    models: dict[str, dict[str, Any]] = {
        "DT, K = 1": _DOORS | {"kind": "dt", "rtg_gain": 5.0, "context_length": 1},
        "DT, K = 22": _DOORS | {"kind": "dt", "rtg_gain": 5.0, "context_length": 22},
        "BC": _DOORS | {"kind": "bc", "context_length": 1},
        "RvS": {"kind": "rvs", "embedding_dim": 64, "layers": 2, "return_scale": 0.2},
    }
    rows = []
    for size in sizes:
        facts = bench.dataset(f"rooms-{size}", "seqrl/KeyToDoor-v0", size, {"random": 1.0})
        for number, (label, model) in enumerate(models.items()):
            windows = {"batch_size": max(1, 2048 // model.get("context_length", 1))}
            run = bench.train(f"rooms-{size}-{number}", f"rooms-{size}", model, steps=steps, **_DOOR_TRAINING | windows)
            table = bench.sweep(f"{run}-rtg", [run], [1.0], episodes)
            row = {"model": label, "random episodes": f"{size:,}", "of them rewarded": f"{facts.returns.mean:.1%}"}
            for decoding in ("greedy", "sampled"):
                achieved = table[table["decoding"] == decoding]["achieved_return"]
                row[f"success, {decoding} (%)"] = with_interval(100 * achieved)
            rows.append(row)
    return rows


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


TASKS: dict[str, Callable[[Workbench], list[dict[str, Any]]]] = {"graph": graph, "key": key, "gamble": gamble}


def main() -> None:
    """Measure the tasks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("tasks", nargs="*", choices=[[], *TASKS], help="all if none is named")
    parser.add_argument("--home", type=Path, help="a folder to work in and to keep")
    chosen = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="seqrl-tasks-") as folder:
        bench = Workbench(chosen.home or Path(folder) / "home")
        for name in chosen.tasks or TASKS:
            text = markdown(TASKS[name](bench))
            (RESULTS / f"task_{name}.md").write_text(f"{machine()}\n\n{text}\n")
            print(text, flush=True)


if __name__ == "__main__":
    main()
