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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.harness import RESULTS
from benchmarks.workbench import Workbench, machine, markdown, with_interval
from seqrl.environments.graph_walk import make_graph
from seqrl.environments.making import make_environment

_SMALL = {"embedding_dim": 64, "layers": 2, "heads": 2, "dropout": 0.1}
_PLAIN = {"kind": "rvs", "embedding_dim": 256, "layers": 2}
_TRAINING = {"batch_size": 64, "learning_rate": 1e-3, "validation_fraction": 0.0}


def graph(bench: Workbench, steps: int = 1200, episodes: int = 200) -> list[dict[str, Any]]:
    """From which share of the start nodes a model finds a shortest way, having seen 1,000 random walks."""
    bench.dataset("walks", "seqrl/GraphWalk-v0", 1000, {"random": 1.0})
    # divided by the longest walk, neighbouring requests would differ by 0.02; they have to be told apart near the goal
    scale = {"return_scale": 10.0}
    sequence = _SMALL | {"context_length": 10}
    models: dict[str, dict[str, Any]] = {
        "BC": sequence | {"kind": "bc"},
        "%BC, best 10 %": sequence | {"kind": "bc", "top_fraction": 0.1},
        "RvS": _PLAIN | scale,
        "DT": sequence | scale | {"kind": "dt", "return_head": "bins"},
    }
    rows = []
    for label, model in models.items():
        batch = {"batch_size": 1024} if model["kind"] == "rvs" else {}
        run = bench.train(
            f"walks-{label.split(',')[0].strip('%')}-{len(rows)}", "walks", model, steps=steps, **_TRAINING | batch
        )
        chooses = "return_head" in model
        settings = {"decodings": ("greedy",), "model_chooses": chooses, "optimism": 30.0}
        table = bench.sweep(f"{run}-rtg", [run], [-1.0], episodes, **settings)
        asked = table[table["target"].notna()] if model["kind"] != "bc" else table
        rows.append(_walks_row(f"{label}, asked for −1" if model["kind"] != "bc" else label, asked))
        if chooses:
            rows.append(_walks_row(f"{label}, left to choose", table[table["target"].isna()]))
    shortest = make_graph().distances
    away = np.delete(shortest, make_graph().goal)
    return [
        *rows,
        {
            "model": "shortest ways",
            "shortest way found": "100 %",
            "goal reached": "100 %",
            "steps": f"{away.mean():.1f}",
        },
    ]


def _walks_row(label: str, table: pd.DataFrame) -> dict[str, Any]:
    """Shares of the start nodes; every node counts alike, however often an episode started there."""
    env, distances = make_environment("seqrl/GraphWalk-v0"), make_graph().distances
    starts = np.array([env.reset(seed=int(seed))[0] for seed in table["seed"]])
    env.close()
    solved = pd.Series(table["length"].to_numpy() == distances[starts]) & table["terminated"].to_numpy()
    by_node = pd.DataFrame(
        {
            "node": starts,
            "solved": solved,
            "reached": table["terminated"].to_numpy(),
            "steps": table["length"].to_numpy(),
        }
    )
    means = by_node.groupby("node").mean()
    return {
        "model": label,
        "shortest way found": f"{means['solved'].mean():.0%}".replace("%", " %"),
        "goal reached": f"{means['reached'].mean():.0%}".replace("%", " %"),
        "steps": f"{means['steps'].mean():.1f}",
    }


def key(bench: Workbench, steps: int = 3000, episodes: int = 200) -> list[dict[str, Any]]:
    """Success of models that are asked for the reward, from random episodes alone."""
    rows = []
    for size in (1000, 10_000):
        facts = bench.dataset(f"rooms-{size}", "seqrl/KeyToDoor-v0", size, {"random": 1.0})
        sequence = _SMALL | {"context_length": 22}
        models = {"DT": sequence | {"kind": "dt"}, "BC": sequence | {"kind": "bc"}, "RvS": _PLAIN}
        for label, model in models.items():
            batch = {"batch_size": 1024} if model["kind"] == "rvs" else {}
            run = bench.train(f"rooms-{size}-{label}", f"rooms-{size}", model, steps=steps, **_TRAINING | batch)
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
