"""Lessons in small worlds: stitching on a graph, and luck at a bet."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.frame import controls, open_store, style, two_columns
from pages.shared.lessons.comparing import sweep_chart
from pages.shared.lessons.lesson import Link, Missing, Told
from pages.shared.lessons.records import command, figures, sample
from seqrl import plots
from seqrl.graphs import WalkedGraph, layout, shortest_way, walked_graph
from seqrl.plots.format import count, number, percent
from seqrl.plots.graphs import walk_table
from seqrl.plots.layout import mark
from seqrl.registry import RECIPES
from seqrl.store import Store
from seqrl.store.samples import Sample

GRAPH = "seqrl/GraphWalk-v0"
GAMBLE = "seqrl/Gamble-v0"


def data_of(store: Store, recipe: str, environment: str) -> tuple[str, Sample]:
    """The dataset of a recipe, else any of its environment whose steps are here.

    Raises:
        Missing: if there is none.
    """
    wanted = RECIPES[recipe].dataset.name
    rows = [row for row in store.datasets() if row.facts is not None and row.facts.environment == environment]
    for row in sorted(rows, key=lambda row: row.name != wanted):
        found = sample(store, row.name)
        if found is not None:
            return row.name, found
    raise Missing("recorded episodes of this small world")


class Walks(NamedTuple):
    """Recorded walks and the graph behind them.

    Attributes:
        graph: edges that some walk took, and steps to the goal.
        places: (N, 2) where to draw the nodes.
        walks: nodes of every walk, its last one included.
    """

    graph: WalkedGraph
    places: np.ndarray
    walks: list[list[int]]


@st.cache_resource(max_entries=4, show_spinner="Reading the walks")
def _walks(home: str, name: str, _sample: Sample) -> Walks:
    nodes, after = _sample.observations.argmax(axis=1), _sample.following().argmax(axis=1)
    ended = _sample.episodes["terminated"].to_numpy()
    goals = after[_sample.episodes["end"].to_numpy()[ended] - 1]
    goal = int(np.bincount(goals).argmax()) if len(goals) else -1
    graph = walked_graph(nodes, _sample.actions, after, goal, _sample.observations.shape[1])
    spans = zip(_sample.episodes["start"], _sample.episodes["end"], strict=True)
    walks = [[*map(int, nodes[start:end]), int(after[end - 1])] for start, end in spans]
    return Walks(graph, layout(graph.leads), walks)


def stitching(store: Store) -> Told:
    """Random walks, the graph that they show together, and a model that is asked for shorter ways."""
    name, some = data_of(store, "stitching", GRAPH)
    walks = _walks(os.environ.get("SEQRL_HOME", ""), f"{name} {some.facts.content_hash}", some)
    graph = walks.graph
    last = len(walks.walks) - 1
    first = next((at for at, walk in enumerate(walks.walks) if 8 <= len(walk) <= 25), 0)
    episode = controls().slider("Recorded walk", 0, last, first, key="stitching.walk", bind="query-params", width=320)
    walk = walks.walks[min(int(episode), last)]
    left, right = two_columns()
    with left:
        way = shortest_way(graph, walk[0])
        info = plots.walk_info(walks.places, graph.leads, graph.distances, graph.goal, walk, way)
        chart(
            plots.walk(info, *style()),
            "lesson-graph",
            "The graph, a walk and the shortest path",
            plots.sentence(info),
            table=lambda: walk_table(info),
        )
    finite = np.isfinite(graph.distances) & (graph.distances > 0)
    starts = np.array([graph.distances[walk[0]] for walk in walks.walks])
    known = np.isfinite(starts)
    taken = np.array([len(walk) - 1 for walk in walks.walks], dtype=float)
    with right:
        distances = graph.distances[finite]
        ways = plots.ways_info(
            {"random walks": starts[known], "search": distances},
            {"random walks": taken[known], "search": distances},
            {"random walks": "data", "search": "search"},
        )
        chart(plots.ways(ways, *style()), "lesson-ways", "Steps against the shortest path", plots.sentence(ways))
    direct = percent(float((taken[known] == starts[known]).mean())) if known.any() else "none"
    told = (
        f"Only {direct} of {count(len(taken), 'random walk')} happened to take a shortest path, yet together they show "
        f"every edge: search over those edges needs {number(float(graph.distances[finite].mean()))} steps on average, "
        f"the walks {number(float(taken.mean()))}."
    )
    links = [Link("Look at the walks", "pages/datasets.py", {"do": "", "dataset": name})]
    try:
        sweep, data = figures(store, "stitching", "stitching")
    except Missing:
        st.info(
            "No model has been asked on this graph yet; run it yourself below to see whether one finds short paths.",
            icon=":material/model_training:",
        )
        return Told(told, tuple(links))
    st.markdown("**And a model that only read these walks?** Asked for −5, it should take five steps.")
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        decoding = st.segmented_control(
            "Actions are", ["Both", "Sampled", "Greedy"], default="Both", required=True, key="stitching.by",
            bind="query-params",
        )  # fmt: skip
        both = st.toggle("All walks and behaviour cloning too", False, key="stitching.bc", bind="query-params")
    asked = [run for run, kind in data.kinds.items() if kind == "dt"]
    runs = None if both or not asked else asked
    sweep_chart(store, sweep, data, "lesson-stitching", runs=runs, decoding=decoding or "Both", density=runs is None)
    listening = data.points[data.points["run"].map(data.kinds) == "dt"].dropna(subset=["target"])
    told += _stitched(listening, float(graph.distances[finite].mean()))
    links.append(Link("Open this sweep", "pages/rtg_sweep.py", {"sweep": sweep.name}, ":material/target:"))
    return Told(told, tuple(links), command(sweep))


def _stitched(points: pd.DataFrame, search: float) -> str:
    """How well a model that was asked for short paths found them, against search; nothing without points."""
    if not len(points):
        return ""
    best = points.loc[points["mean"].idxmax()]
    steps = -float(best["mean"])
    asked = f"{number(float(best['target']))}, {best['decoding']}"
    told = f" Asked for {asked}, the Decision Transformer takes **{number(steps)}**"
    if steps < 1.3 * search:
        told += (
            " steps: nearly as few as search. It does not add pieces up as search does: it does what walkers did there "
            "who arrived that soon."
        )
    else:
        told += " steps: it has read all the pieces, but search puts them together better."
    most = points[points["target"] == points["target"].max()]
    worst = most.loc[most["mean"].idxmin()]
    if -float(worst["mean"]) > 1.5 * steps:
        told += (
            f" Asked for {number(float(worst['target']))}, which hardly any start allows, it takes "
            f"{number(-float(worst['mean']))} steps ({worst['decoding']}): no walk from there ever earned that, so it "
            "is lost."
        )
    return told


@st.cache_data(max_entries=8, show_spinner=False)
def _bets(home: str, sweep: str, size: int) -> dict[int, float]:
    """Episode of a sweep → share of its actions that are bets."""
    return {episode: float(actions.mean()) for episode, actions in open_store().sweep_field(sweep, "actions").items()}


def luck(store: Store) -> Told:
    """A bet that loses on average, and what asking for a high return makes of it."""
    name, some = data_of(store, "luck", GAMBLE)
    returns = some.episodes["achieved_return"].to_numpy()
    rounds = some.episodes["length"].to_numpy()
    bets = np.add.reduceat(some.actions, some.episodes["start"].to_numpy()) / rounds
    distinct = np.unique(returns)
    in_data = (distinct, np.array([bets[returns == value].mean() for value in distinct]))
    kept, risked = some.rewards[some.actions == 0].mean(), some.rewards[some.actions == 1].mean()
    sweep, data = figures(store, "luck", "luck")
    asked = data.episodes[data.episodes["target"].notna()]
    target = controls().select_slider(
        "Ask for a return of", sorted(asked["target"].unique()), value=float(asked["target"].max()), key="luck.target",
        bind="query-params", width=420, format_func=number,
    )  # fmt: skip
    left, right = two_columns()
    with left:
        sweep_chart(store, sweep, data, "lesson-luck", target=float(target))
    shares = _bets(os.environ.get("SEQRL_HOME", ""), sweep.name, len(data.episodes))
    by_target = asked.assign(bets=asked["episode_id"].map(shares)).groupby("target")["bets"].mean()
    with right:
        lines = {
            "the data": in_data,
            "DT": (by_target.index.to_numpy(), by_target.to_numpy()),
        }
        kinds = {"the data": "bc", "DT": "dt"}
        info = plots.shares_info(lines, kinds, "bets", "return, got or asked for")
        figure = plots.shares(info, *style())
        mark(figure, float(target), style()[0])
        chart(figure, "lesson-bets", "Share of bets against the return", plots.sentence(info))
    here = data.points[(data.points["target"] == target)].iloc[0]
    always = float(kept) * float(rounds.mean())
    best = data.points.dropna(subset=["target"]).loc[data.points["mean"].idxmax()]
    chance = percent(float(by_target.loc[target]))
    return Told(
        f"Asked for **{number(float(target))}** it bets in {chance} of the rounds and gets **{number(here['mean'])}**. "
        f"Keeping pays {number(float(kept))} a round and a bet {number(float(risked))} on average, so never betting "
        f"gets {number(always)}. The best request is {number(float(best['target']))} (it gets {number(best['mean'])}): "
        "high returns in the data were luck, and asking for them asks for the bets, not for the luck.",
        (
            Link("Open this sweep", "pages/rtg_sweep.py", {"sweep": sweep.name}, ":material/target:"),
            Link("Look at the data", "pages/datasets.py", {"do": "", "dataset": name}),
        ),
        command(sweep),
    )
