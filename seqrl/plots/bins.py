"""How numbers become tokens: edges of bins, how full they are, and what is lost by rounding to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import count, interval, percent
from seqrl.plots.layout import finite_range
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme

OVER_WIDE = 10.0
"""A bin this many times as wide as the dimension's middle bin is called over-wide."""

_FINE = 160
_RUG = 0.13


class Binning(NamedTuple):
    """One way to cut a dimension.

    Attributes:
        strategy: "uniform" or "quantile".
        edges: (B+1,).
        occupancy: (B,) steps in each bin; what lies outside is in the outermost.
        unused: bins without a step.
        over_wide: bins much wider than the middle one.
    """

    strategy: str
    edges: np.ndarray
    occupancy: np.ndarray
    unused: tuple[int, ...]
    over_wide: tuple[int, ...]


class BinEdgesInfo(NamedTuple):
    """A dimension's distribution and the ways to cut it, side by side."""

    name: str
    fine_edges: np.ndarray
    fine_counts: np.ndarray
    binnings: tuple[Binning, ...]


def bin_edges_info(values: np.ndarray, edges: Mapping[str, np.ndarray], name: str) -> BinEdgesInfo:
    """Arrange a dimension for `bin_edges`.

    Args:
        values: (N,) of the dimension; what is not finite is left out.
        edges: strategy → (B+1,) increasing, exactly those that a model uses.
        name: of the dimension, with its unit where known.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    low, high = finite_range(values, pad=1e-6)
    fine = np.linspace(low, high, _FINE + 1)
    binnings = tuple(_binning(strategy, np.asarray(cuts, float), values) for strategy, cuts in edges.items())
    return BinEdgesInfo(name, fine, np.histogram(values, fine)[0], binnings)


def _binning(strategy: str, edges: np.ndarray, values: np.ndarray) -> Binning:
    bins = len(edges) - 1
    places = np.clip(np.searchsorted(edges, values, "right") - 1, 0, bins - 1)
    occupancy = np.bincount(places, minlength=bins)
    return Binning(strategy, edges, occupancy, unused_bins(occupancy), over_wide_bins(edges))


def unused_bins(occupancy: np.ndarray) -> tuple[int, ...]:
    """Bins without a step.

    >>> unused_bins(np.array([3, 0, 1]))
    (1,)
    """
    return tuple(np.flatnonzero(np.asarray(occupancy) == 0).tolist())


def over_wide_bins(edges: np.ndarray) -> tuple[int, ...]:
    """Bins more than `OVER_WIDE` times as wide as the middle one.

    >>> over_wide_bins(np.array([0.0, 1.0, 2.0, 50.0]))
    (2,)
    """
    widths = np.diff(edges)
    return tuple(np.flatnonzero(widths > OVER_WIDE * np.median(widths)).tolist()) if len(widths) else ()


def bin_edges(info: BinEdgesInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the distribution once for each strategy: the edges below it, over it what the bins keep of it."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=420, showlegend=False, bargap=0, margin={"l": 12, "r": 16, "t": 40, "b": 12})
    if not info.fine_counts.any() or not info.binnings:
        return note(drawing, style, "The dataset has no step yet.")
    tallest = float(info.fine_counts.max())
    panels = len(info.binnings)
    width = (1.0 - 0.06 * (panels - 1)) / panels
    for place, binning in enumerate(info.binnings):
        axis = "" if place == 0 else str(place + 1)
        left = place * (width + 0.06)
        _draw_cuts(drawing, info, binning, tallest, axis, style)
        drawing.layout[f"xaxis{axis}"] = {
            "domain": [left, left + width],
            "anchor": f"y{axis}",
            "title": {"text": info.name},
            "range": [info.fine_edges[0], info.fine_edges[-1]],
            "showgrid": False,
            "nticks": 6,
        }
        vertical = {"range": [-_RUG * tallest, 1.06 * tallest], "anchor": f"x{axis}", "showgrid": False}
        drawing.layout[f"yaxis{axis}"] = vertical | (
            {"title": {"text": "steps"}} if place == 0 else {"showticklabels": False, "matches": "y"}
        )
        drawing.add_annotation(
            x=left,
            y=1,
            xref="paper",
            yref="paper",
            yshift=6,
            text=f"{binning.strategy}, {count(len(binning.occupancy), 'bin')}",
            xanchor="left",
            yanchor="bottom",
            font={"size": style.sizes.font, "color": style.palette.ink},
        )
    return drawing.figure()


def _draw_cuts(drawing: Drawing, info: BinEdgesInfo, binning: Binning, tallest: float, axis: str, style: Style) -> None:
    drawing.add_bar(
        x=(info.fine_edges[:-1] + info.fine_edges[1:]) / 2,
        y=info.fine_counts,
        width=np.diff(info.fine_edges),
        marker={"color": style.palette.data[2], "line": {"width": 0}},
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        hovertemplate=f"{info.name} about %{{x:.3~g}}<br>%{{y}} steps<extra></extra>",
        name=f"{binning.strategy}, steps",
    )
    drawing.add_scatter(
        x=np.repeat(binning.edges, 3),
        y=np.tile([-_RUG * tallest, -0.02 * tallest, np.nan], len(binning.edges)),
        mode="lines",
        line={"color": style.palette.tt, "width": 1.5 if style.present else 1},
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        hoverinfo="skip",
        name=f"{binning.strategy}, edges",
    )
    width = float(info.fine_edges[1] - info.fine_edges[0])
    seen = np.minimum(binning.occupancy * width / np.maximum(np.diff(binning.edges), 1e-300), 1.05 * tallest)
    drawing.add_scatter(
        x=np.repeat(binning.edges, 2)[1:-1],
        y=np.repeat(seen, 2),
        mode="lines",
        line={"color": style.palette.tt, "width": style.sizes.line * 0.6},
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        hoverinfo="skip",
        name=f"{binning.strategy}, what the bins keep",
    )
    centres = (binning.edges[:-1] + binning.edges[1:]) / 2
    spans = [interval(low, high) for low, high in zip(binning.edges[:-1], binning.edges[1:], strict=True)]
    cells = [[place, span, int(binning.occupancy[place])] for place, span in enumerate(spans)]
    drawing.add_scatter(
        x=centres,
        y=np.full(len(centres), -_RUG / 2 * tallest),
        mode="markers",
        marker={"size": 8, "color": style.palette.tt, "opacity": 0},
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        customdata=cells,
        hovertemplate="bin %{customdata[0]}: %{customdata[1]}<br>%{customdata[2]} steps<extra></extra>",
        name=f"{binning.strategy}, bins",
    )


@sentence.register
def _(info: BinEdgesInfo) -> str:
    if not info.fine_counts.any() or not info.binnings:
        return "The dataset has no step yet."
    total = int(info.fine_counts.sum())
    told = []
    for binning in info.binnings:
        fullest = percent(float(binning.occupancy.max()) / total)
        unused = (
            f" and leaves {count(len(binning.unused), 'bin')} empty" if binning.unused else " and leaves none empty"
        )
        told.append(f"{binning.strategy} puts {fullest} of the steps into its fullest bin{unused}")
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."
