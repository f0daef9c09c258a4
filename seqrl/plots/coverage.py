"""Where the data is: coverage of two dimensions, and what was done at which return-to-go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import count, interval, number, percent
from seqrl.plots.layout import finite_range, round_step
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, data_greys, sequential

_CELLS = 60
_RETURN_BINS = 24
_ACTION_BINS = 40


class CoverageInfo(NamedTuple):
    """Steps of the data on a grid over two dimensions.

    Attributes:
        names: of the two dimensions.
        x_edges: (X+1,).
        y_edges: (Y+1,).
        counts: (Y, X) steps.
        empty: share of the cells without a step.
    """

    names: tuple[str, str]
    x_edges: np.ndarray
    y_edges: np.ndarray
    counts: np.ndarray
    empty: float


def coverage_info(x: np.ndarray, y: np.ndarray, names: tuple[str, str], *, cells: int = _CELLS) -> CoverageInfo:
    """Count steps on a grid over two dimensions.

    Args:
        x: (N,) values of the first dimension; steps with a non-finite value are left out.
        y: (N,) of the second.
        names: of the two.
        cells: grid cells along each; a dimension with few different values has one cell a value.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    x_edges, y_edges = _grid(x[finite], cells), _grid(y[finite], cells)
    counts = np.histogram2d(y[finite], x[finite], (y_edges, x_edges))[0].astype(np.int64)
    return CoverageInfo(names, x_edges, y_edges, counts, float((counts == 0).mean()))


def _grid(values: np.ndarray, cells: int) -> np.ndarray:
    different = np.unique(values) if len(values) else np.array([0.0])
    if len(different) <= 12 and np.array_equal(different, np.round(different)):
        return np.arange(different[0] - 0.5, different[-1] + 1.0)
    low, high = finite_range(values, pad=1e-9)
    return np.linspace(low, high, cells + 1)


def coverage(info: CoverageInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the grid, darker where more steps are, on a logarithmic scale."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=460)
    if not info.counts.any():
        return note(drawing, style, "The dataset has no step yet.")
    shade = np.where(info.counts > 0, np.log10(np.maximum(info.counts, 1)), np.nan)
    largest = int(info.counts.max())
    powers = list(range(math.floor(math.log10(largest)) + 1))
    drawing.add_heatmap(
        x=info.x_edges,
        y=info.y_edges,
        z=shade,
        customdata=info.counts,
        zmin=-0.35 * max(math.log10(largest), 0.3),
        zmax=max(math.log10(largest), 0.3),
        colorscale=sequential(style.palette.muted, theme),
        hoverongaps=False,
        colorbar={
            "title": {"text": "steps", "side": "right"},
            "thickness": 12,
            "outlinewidth": 0,
            "tickvals": powers,
            "ticktext": [number(10**power) for power in powers],
        },
        hovertemplate=f"{info.names[0]} %{{x:.3~g}}<br>{info.names[1]} %{{y:.3~g}}<br>"
        "%{customdata} steps<extra></extra>",
        name="steps",
    )
    drawing.update_xaxes(title_text=info.names[0], showgrid=False, zeroline=False)
    drawing.update_yaxes(title_text=info.names[1], showgrid=False, zeroline=False)
    return drawing.figure()


def coverage_table(info: CoverageInfo) -> pd.DataFrame:
    """The cells with a step: where each begins and ends in both dimensions, and its steps."""
    y, x = np.nonzero(info.counts)
    return pd.DataFrame(
        {
            f"{info.names[0]} from": info.x_edges[x],
            f"{info.names[0]} to": info.x_edges[x + 1],
            f"{info.names[1]} from": info.y_edges[y],
            f"{info.names[1]} to": info.y_edges[y + 1],
            "steps": info.counts[y, x],
        }
    )


@sentence.register
def _(info: CoverageInfo) -> str:
    total = int(info.counts.sum())
    if not total:
        return "The dataset has no step yet."
    return (
        f"{count(total, 'step')} fill {percent(1 - info.empty)} of this rectangle; "
        "where the picture is blank, a model has seen nothing."
    )


class ActionDistributionInfo(NamedTuple):
    """What was done at which return-to-go.

    Attributes:
        return_edges: (R+1,) edges of return-to-go.
        labels: names of discrete actions, empty for a continuous one.
        action_edges: (A+1,) edges of a continuous action, empty for discrete ones.
        shares: (A, R) share of each action within its column, NaN where no step is.
        steps: (R,) steps in each column.
        name: of the action dimension.
    """

    return_edges: np.ndarray
    labels: tuple[str, ...]
    action_edges: np.ndarray
    shares: np.ndarray
    steps: np.ndarray
    name: str


def action_distribution_info(
    actions: np.ndarray, returns_to_go: np.ndarray, *, labels: Sequence[str] = (), name: str = "action"
) -> ActionDistributionInfo:
    """Distribution of an action at every level of return-to-go.

    Args:
        actions: (N,) whole numbers when ``labels`` are given, else values of one continuous dimension.
        returns_to_go: (N,) at the same steps.
        labels: a name for every discrete action.
        name: of the continuous dimension, as the axis shows it.
    """
    actions, returns_to_go = np.asarray(actions, dtype=np.float64), np.asarray(returns_to_go, dtype=np.float64)
    finite = np.isfinite(actions) & np.isfinite(returns_to_go)
    actions, returns_to_go = actions[finite], returns_to_go[finite]
    edges = _return_edges(returns_to_go)
    grid = np.arange(len(labels) + 1) - 0.5 if labels else _grid_of_actions(actions)
    counts = np.histogram2d(actions, returns_to_go, (grid, edges))[0]
    steps = counts.sum(axis=0)
    shares = np.divide(counts, steps, out=np.full(counts.shape, np.nan), where=steps > 0)
    return ActionDistributionInfo(
        edges, tuple(labels), np.empty(0) if labels else grid, shares, steps.astype(np.int64), name
    )


def _return_edges(returns_to_go: np.ndarray) -> np.ndarray:
    """Edges around every single return-to-go where there are few, else of ranges of a round width."""
    distinct = np.unique(returns_to_go)
    if 1 < len(distinct) <= _RETURN_BINS:
        between, half = (distinct[1:] + distinct[:-1]) / 2, np.diff(distinct).min() / 2
        return np.concatenate([distinct[:1] - half, between, distinct[-1:] + half])
    low, high = finite_range(returns_to_go, pad=0.0)
    width = round_step(high - low, _RETURN_BINS)
    return width * np.arange(math.floor(low / width), math.floor(high / width) + 2)


def _grid_of_actions(actions: np.ndarray) -> np.ndarray:
    low, high = finite_range(actions, pad=1e-9)
    return np.linspace(low, high, _ACTION_BINS + 1)


def action_distribution(info: ActionDistributionInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw stacked shares of discrete actions, or the density of a continuous one, against return-to-go."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=420, barmode="stack", bargap=0)
    if not info.steps.any():
        return note(drawing, style, "The dataset has no step yet.")
    if info.labels:
        _draw_shares(drawing, info, style)
    else:
        _draw_density(drawing, info, style)
    drawing.update_xaxes(title_text="return-to-go (reward)", showgrid=False, zeroline=False)
    return drawing.figure()


def action_distribution_table(info: ActionDistributionInfo) -> pd.DataFrame:
    """One row a level of return-to-go: its steps, and the share of each action or of each range of it."""
    ranges = zip(info.action_edges[:-1], info.action_edges[1:], strict=True)
    between = [f"{info.name} {interval(low, high)}" for low, high in ranges]
    levels = {
        "return_to_go_from": info.return_edges[:-1],
        "return_to_go_to": info.return_edges[1:],
        "steps": info.steps,
    }
    shares = pd.DataFrame(info.shares.T, columns=list(info.labels) or between)
    return pd.concat([pd.DataFrame(levels), shares], axis=1)


def _draw_shares(drawing: Drawing, info: ActionDistributionInfo, style: Style) -> None:
    centres = (info.return_edges[:-1] + info.return_edges[1:]) / 2
    spans = [interval(low, high) for low, high in zip(info.return_edges[:-1], info.return_edges[1:], strict=True)]
    for label, shares, colour in zip(info.labels, info.shares, data_greys(len(info.labels), style.theme), strict=True):
        drawing.add_bar(
            x=centres,
            y=100 * shares,
            width=np.diff(info.return_edges),
            name=label,
            marker={"color": colour, "line": {"color": style.palette.background, "width": 0.7}},
            customdata=[[span, int(steps)] for span, steps in zip(spans, info.steps, strict=True)],
            hovertemplate=f"{label}: %{{y:.3~g}} %<br>"
            "return-to-go %{customdata[0]}, %{customdata[1]} steps<extra></extra>",
        )
    drawing.update_layout(
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
    )
    drawing.update_yaxes(title_text="actions (%)", range=[0, 100], dtick=25, showgrid=False)


def _draw_density(drawing: Drawing, info: ActionDistributionInfo, style: Style) -> None:
    drawing.add_heatmap(
        x=info.return_edges,
        y=info.action_edges,
        z=100 * np.where(info.shares > 0, info.shares, np.nan),
        zmin=0,
        colorscale=sequential(style.palette.muted, style.theme),
        hoverongaps=False,
        colorbar={"title": {"text": "% of the column's steps", "side": "right"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate=f"return-to-go %{{x:.3~g}}<br>{info.name} %{{y:.3~g}}<br>"
        "%{z:.2~g} % of the steps<extra></extra>",
        name="density",
    )
    drawing.update_yaxes(title_text=info.name, showgrid=False, zeroline=False)


@sentence.register
def _(info: ActionDistributionInfo) -> str:
    filled = np.flatnonzero(info.steps >= max(1, 0.01 * info.steps.sum()))
    if not len(filled):
        return "The dataset has no step yet."
    first, last = filled[0], filled[-1]
    low, high = (number((info.return_edges[at] + info.return_edges[at + 1]) / 2) for at in (first, last))
    if info.labels:
        change = np.nan_to_num(info.shares[:, last] - info.shares[:, first])
        most = int(np.abs(change).argmax())
        before, after = info.shares[most, first], info.shares[most, last]
        return (
            f"“{info.labels[most]}” is {percent(before)} of the actions where the return-to-go is about {low}, "
            f"and {percent(after)} where it is about {high}."
        )
    centres = (info.action_edges[:-1] + info.action_edges[1:]) / 2
    before, after = (float(np.nansum(info.shares[:, at] * centres)) for at in (first, last))
    return (
        f"The mean {info.name} is {number(before)} where the return-to-go is about {low}, "
        f"and {number(after)} where it is about {high}."
    )
