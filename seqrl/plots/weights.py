"""Inside a run: histograms of weights and gradients over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import interval, number
from seqrl.plots.layout import shorten
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, sequential

_GRID = 61


class StepHistogram(Protocol):
    """A histogram at a step of training, as the store keeps it: ``len(edges) == len(counts) + 1``."""

    @property
    def step(self) -> int:
        """Optimizer updates done."""

    @property
    def name(self) -> str:
        """What was counted."""

    @property
    def edges(self) -> Sequence[float]:
        """Of the bins."""

    @property
    def counts(self) -> Sequence[float]:
        """In the bins."""


class WeightHistogramsInfo(NamedTuple):
    """Density of weights or gradients over training, on one grid of values.

    Attributes:
        name: what was counted.
        steps: (S,) when.
        edges: (V+1,) common grid of values.
        density: (V, S) share of the numbers in each cell, columns add up to one.
        spread: (S,) standard deviation, estimated from the bins.
    """

    name: str
    steps: np.ndarray
    edges: np.ndarray
    density: np.ndarray
    spread: np.ndarray


def weight_histograms_info(histograms: Sequence[StepHistogram], name: str) -> WeightHistogramsInfo:
    """Bring the histograms of one name to one grid; counts are taken as spread evenly over their bin."""
    chosen = sorted((h for h in histograms if h.name == name and sum(h.counts) > 0), key=lambda h: h.step)
    if not chosen:
        return WeightHistogramsInfo(name, np.empty(0), np.array([0.0, 1.0]), np.empty((1, 0)), np.empty(0))
    reach = [_reach(np.asarray(h.edges, float), np.asarray(h.counts, float)) for h in chosen]
    low, high = min(r[0] for r in reach), max(r[1] for r in reach)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _GRID + 1)
    columns, spread = [], []
    for histogram in chosen:
        counts = np.asarray(histogram.counts, float) / sum(histogram.counts)
        own = np.asarray(histogram.edges, float)
        columns.append(np.diff(np.interp(edges, own, np.concatenate([[0.0], np.cumsum(counts)]))))
        centres = (own[:-1] + own[1:]) / 2
        spread.append(float(np.sqrt((counts * centres**2).sum() - (counts * centres).sum() ** 2)))
    steps = np.array([h.step for h in chosen])
    return WeightHistogramsInfo(name, steps, edges, np.stack(columns, axis=1), np.array(spread))


def _reach(edges: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Where all but the outermost 0.1 % on either side lie: one far outlier shall not flatten the picture."""
    share = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    low, high = np.interp([0.001, 0.999], share, edges)
    return float(low), float(high)


def weight_histograms(info: WeightHistogramsInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the densities as a heat map over training, darker where more of the numbers are."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=420, uirevision=info.name)
    if not len(info.steps):
        return note(drawing, style, "No histogram is written yet.")
    widest = np.where(info.density > 0, info.density, np.nan)
    drawing.add_heatmap(
        x=[f"{step:,}".replace(",", "\u2009") for step in info.steps],
        y=(info.edges[:-1] + info.edges[1:]) / 2,
        z=np.sqrt(widest),
        customdata=100 * info.density,
        colorscale=sequential(style.palette.dt, theme),
        zmin=0,
        showscale=False,
        hoverongaps=False,
        hovertemplate="step %{x}<br>about %{y:.3~g}: %{customdata:.2~g} % of the numbers<extra></extra>",
        name=info.name,
    )
    drawing.update_xaxes(title_text="step", type="category", showgrid=False, nticks=8)
    kind, _, parameter = info.name.rpartition("/")
    title = f"{kind}, {shorten(parameter, 30)}" if kind else shorten(info.name, 40)
    drawing.update_yaxes(title_text=title.replace("_", " "), showgrid=False, zeroline=False)
    return drawing.figure()


@sentence.register
def _(info: WeightHistogramsInfo) -> str:
    if not len(info.steps):
        return "No histogram is written yet."
    first, last = number(info.spread[0]), number(info.spread[-1])
    if len(info.steps) == 1:
        return f"At step {number(info.steps[0])} the spread (standard deviation) is {first}."
    return (
        f"The spread (standard deviation) went from {first} to {last} between steps {interval(*info.steps[[0, -1]])}."
    )
