"""Walks on a graph: the graph with a walk and a shortest path on it, and steps by how far a start is from the goal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import count, enumerate_words, number
from seqrl.plots.layout import EndLabel, add_end_labels, finite_range, label_margin
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, mix, readable_on


class WalkInfo(NamedTuple):
    """A graph with two ways on it.

    Attributes:
        places: (N, 2) of the nodes.
        edges: (M, 2) int, from node to node.
        distances: (N,) steps to the goal, infinite where unreachable.
        goal: the node.
        walk: nodes of a recorded walk.
        way: nodes of a shortest path from the walk's start.
    """

    places: np.ndarray
    edges: np.ndarray
    distances: np.ndarray
    goal: int
    walk: tuple[int, ...]
    way: tuple[int, ...]


def walk_info(
    places: np.ndarray, leads: np.ndarray, distances: np.ndarray, goal: int, walk: Sequence[int], way: Sequence[int]
) -> WalkInfo:
    """Arrange a graph for `walk`.

    Args:
        places: (N, 2) of the nodes.
        leads: (N, A) int, the node that an action leads to, -1 where unknown.
        distances: (N,) steps to the goal.
        goal: the node.
        walk: nodes of a recorded walk.
        way: nodes of a shortest path.
    """
    edges = [(node, int(other)) for node, exits in enumerate(leads) for other in exits if other >= 0]
    return WalkInfo(
        np.asarray(places, dtype=np.float64),
        np.array(edges, dtype=np.int64).reshape(-1, 2),
        np.asarray(distances, dtype=np.float64),
        goal,
        tuple(map(int, walk)),
        tuple(map(int, way)),
    )


def walk_table(info: WalkInfo) -> pd.DataFrame:
    """One row an edge: its nodes, the steps to the goal from where it leads, how often the walk took it, and whether
    the shortest path does.
    """
    taken = Counter(zip(info.walk[:-1], info.walk[1:], strict=True))
    best = set(zip(info.way[:-1], info.way[1:], strict=True))
    pairs = list(dict.fromkeys((int(start), int(end)) for start, end in info.edges))
    return pd.DataFrame(
        {
            "from_node": [start for start, _ in pairs],
            "to_node": [end for _, end in pairs],
            "steps_to_the_goal": [info.distances[end] for _, end in pairs],
            "taken_by_the_walk": [taken[pair] for pair in pairs],
            "on_the_shortest_way": [pair in best for pair in pairs],
        }
    )


def walk(info: WalkInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the graph, stronger nodes nearer to the goal; the recorded walk thin, the shortest path bold."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    drawing = new_drawing(style, height=480, showlegend=False, margin={"l": 8, "r": 8, "t": 8, "b": 8})
    if not len(info.places):
        return note(drawing, style, "No walk is recorded.")
    pairs = list(zip(info.walk[:-1], info.walk[1:], strict=True))
    best = list(zip(info.way[:-1], info.way[1:], strict=True))
    _arrows(drawing, info, list(map(tuple, info.edges)), palette.data[1], 1.2, "edges that some walk took")
    _arrows(drawing, info, pairs, palette.tt, 2.0, "this walk")
    _arrows(drawing, info, best, palette.reward, 1.8 * sizes.line, "shortest path")
    finite = np.where(np.isfinite(info.distances), info.distances, np.nan)
    farthest = np.nanmax(finite, initial=1.0)
    shares = np.nan_to_num(finite / farthest, nan=1.0)
    fills = [mix(palette.reward, palette.background, 0.92 * float(share)) for share in shares]
    names = ["goal" if node == info.goal else str(node) for node in range(len(info.places))]
    starts = [palette.ink if info.walk and node == info.walk[0] else palette.axis for node in range(len(names))]
    drawing.add_scatter(
        x=info.places[:, 0],
        y=info.places[:, 1],
        mode="markers+text",
        marker={
            "size": 2.6 * sizes.marker,
            "color": fills,
            "line": {"width": 2, "color": starts},
        },
        text=names,
        textposition=["bottom center" if node == info.goal else "middle center" for node in range(len(names))],
        textfont={
            "size": style.sizes.small,
            "color": [
                palette.ink if name == "goal" else readable_on(fill, theme)
                for name, fill in zip(names, fills, strict=True)
            ],
        },
        customdata=finite,
        hovertemplate="node %{text}<br>%{customdata} steps to the goal<extra></extra>",
        name="nodes",
    )
    drawing.update_xaxes(visible=False, range=[-1.12, 1.12], constrain="domain")
    drawing.update_yaxes(visible=False, range=[-1.12, 1.12])
    return drawing.figure()


def _arrows(
    drawing: Drawing, info: WalkInfo, pairs: list[tuple[int, int]], colour: str, width: float, name: str
) -> None:
    """All edges of one kind as one line with gaps; an arrow on each, two thirds of the way."""
    x: list[float | None] = []
    y: list[float | None] = []
    symbols: list[float] = []
    for start, end in pairs:
        tail, head = info.places[start], info.places[end]
        middle = tail + (head - tail) * 0.66
        x += [float(tail[0]), float(middle[0]), float(head[0]), None]
        y += [float(tail[1]), float(middle[1]), float(head[1]), None]
        symbols += [0, 4 + 2.2 * width, 0, 0]
    drawing.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"symbol": "arrow", "angleref": "previous", "size": symbols, "color": colour, "line": {"width": 0}},
        hoverinfo="skip",
        name=name,
    )


@sentence.register
def _(info: WalkInfo) -> str:
    if not info.walk:
        return "No walk is recorded."
    steps = len(info.walk) - 1
    end = "reached the goal" if info.walk[-1] == info.goal else "never reached the goal"
    if not info.way:
        return f"From node {info.walk[0]} the walk took {count(steps, 'step')} and {end}; no way to the goal is known."
    return (
        f"From node {info.walk[0]} the random walk took {count(steps, 'step')} and {end}; put together from edges that "
        f"some walk took, the shortest path has {count(len(info.way) - 1, 'step')}."
    )


class WaysInfo(NamedTuple):
    """Steps to the goal against how far away a start is, for several ways of walking.

    Attributes:
        distances: (D,) steps of the shortest path, rising.
        steps: name → (D,) mean steps, NaN where not measured.
        kinds: name → family that decides the colour; "" for what is no model.
    """

    distances: np.ndarray
    steps: dict[str, np.ndarray]
    kinds: dict[str, str]


def ways_info(
    shortest: Mapping[str, np.ndarray], taken: Mapping[str, np.ndarray], kinds: Mapping[str, str]
) -> WaysInfo:
    """Mean steps by distance.

    Args:
        shortest: name → (E,) steps of the shortest path from the start of every episode.
        taken: name → (E,) steps that each took.
        kinds: name → family.

    >>> ways_info({"a": np.array([1, 1, 2])}, {"a": np.array([3, 5, 9])}, {}).steps["a"].tolist()
    [4.0, 9.0]
    """
    distances = np.unique(np.concatenate([np.asarray(v) for v in shortest.values()]))
    steps = {}
    for name, values in taken.items():
        of = [np.asarray(values)[np.asarray(shortest[name]) == distance] for distance in distances]
        steps[name] = np.array([float(group.mean()) if len(group) else np.nan for group in of])
    return WaysInfo(distances.astype(float), steps, dict(kinds))


def ways(info: WaysInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw steps taken against the shortest possible; the diagonal is the best that can be done."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    colours = {"dt": palette.dt, "bc": palette.bc, "search": palette.reward, "data": palette.tt}
    margin = {"l": 12, "r": label_margin(list(info.steps), style), "t": 16, "b": 12}
    drawing = new_drawing(style, height=440, showlegend=False, margin=margin)
    if not len(info.distances):
        return note(drawing, style, "Nothing is measured yet.")
    ends = []
    for name, steps in info.steps.items():
        colour = colours.get(info.kinds.get(name, ""), palette.muted)
        known = np.isfinite(steps)
        drawing.add_scatter(
            x=info.distances[known],
            y=steps[known],
            mode="lines+markers",
            line={"color": colour, "width": sizes.line},
            marker={"size": sizes.marker},
            hovertemplate=f"{name}<br>%{{x}} steps away, took %{{y:.3~g}}<extra></extra>",
            name=name,
        )
        if known.any():
            ends.append(EndLabel(name, float(info.distances[known][-1]), float(steps[known][-1]), colour))
    right = float(info.distances[-1]) + 0.3
    low, high = finite_range([0.0], *info.steps.values())
    drawing.update_xaxes(
        title_text="length of the shortest path (steps)", range=[info.distances[0] - 0.3, right], dtick=1
    )
    drawing.update_yaxes(title_text="steps taken", range=[0, high])
    pixels = 440 - 28 - 4.2 * sizes.font
    add_end_labels(drawing, ends, style, right=right, y_range=(0, high), pixels=pixels)
    return drawing.figure()


@sentence.register
def _(info: WaysInfo) -> str:
    if not len(info.distances):
        return "Nothing is measured yet."
    told = []
    for name, steps in info.steps.items():
        known = np.isfinite(steps)
        if known.any():
            told.append(f"{name} {number(float((steps[known] - info.distances[known]).mean()))}")
    return f"Steps more than needed, on average over the distances: {enumerate_words(told)}."
