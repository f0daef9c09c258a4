"""How full the bins of every dimension are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.bins import over_wide_bins, unused_bins
from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import count, enumerate_words, interval
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, mix


class OccupancyInfo(NamedTuple):
    """How full every bin of every dimension is.

    Attributes:
        names: (D,) dimensions.
        shares: (D, B) steps in a bin over the steps that an even spread would put there, NaN past a dimension's bins.
        steps: (D, B) steps.
        spans: (D, B) the bins' intervals as text.
        unused: bins without a step, by dimension.
        over_wide: bins much wider than the middle one, by dimension.
    """

    names: tuple[str, ...]
    shares: np.ndarray
    steps: np.ndarray
    spans: tuple[tuple[str, ...], ...]
    unused: tuple[tuple[int, ...], ...]
    over_wide: tuple[tuple[int, ...], ...]


def occupancy_info(
    occupancies: Sequence[np.ndarray], edges: Sequence[np.ndarray], names: Sequence[str]
) -> OccupancyInfo:
    """Arrange the bins of all dimensions for `occupancy`.

    Args:
        occupancies: for each dimension (B_d,) steps in its bins.
        edges: for each dimension (B_d + 1,).
        names: of the dimensions.
    """
    widest = max((len(steps) for steps in occupancies), default=0)
    shares, table = (np.full((len(names), widest), np.nan) for _ in range(2))
    spans = []
    for row, (steps, cuts) in enumerate(zip(occupancies, edges, strict=True)):
        table[row, : len(steps)] = steps
        shares[row, : len(steps)] = np.asarray(steps, float) * len(steps) / max(float(np.sum(steps)), 1.0)
        own = [interval(low, high) for low, high in zip(cuts[:-1], cuts[1:], strict=True)]
        spans.append(tuple(own + [""] * (widest - len(own))))
    unused = tuple(unused_bins(steps) for steps in occupancies)
    return OccupancyInfo(tuple(names), shares, table, tuple(spans), unused, tuple(map(over_wide_bins, edges)))


def occupancy(info: OccupancyInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw how full bins are; unused ones in the warning colour, over-wide ones ringed.

    Cells carry ``customdata = [dimension, bin, span, steps]``.
    """
    style = Style(theme, present)
    rows, bins = info.shares.shape
    drawing = new_drawing(style, height=int(np.clip(140 + 26 * rows, 420, 560)), showlegend=False)
    if not bins:
        return note(drawing, style, "No bins are fitted yet.")
    palette = style.palette
    with np.errstate(divide="ignore"):
        shade = np.log10(np.where(info.shares > 0, info.shares, np.nan))
    cells = [
        [[d, b, info.spans[d][b], None if math.isnan(info.steps[d, b]) else int(info.steps[d, b])] for b in range(bins)]
        for d in range(rows)
    ]
    hover = "%{y}, bin %{x}<br>%{customdata[2]}<br>%{customdata[3]} steps<extra></extra>"
    scale = [mix(palette.background, palette.tt, 0.12), mix(palette.background, palette.tt, 0.55)]
    scale.append(mix(palette.tt, palette.ink, 0.4))
    drawing.add_heatmap(
        z=shade,
        y=list(info.names),
        x=np.arange(bins),
        zmin=-2,
        zmax=2,
        zmid=0,
        colorscale=[[index / 2, colour] for index, colour in enumerate(scale)],
        hoverongaps=False,
        customdata=cells,
        hovertemplate=hover,
        ygap=2,
        colorbar={
            "title": {"text": "against an even spread", "side": "right"},
            "thickness": 12,
            "outlinewidth": 0,
            "tickvals": [-2, -1, 0, 1, 2],
            "ticktext": ["1 %", "10 %", "even", "10 ×", "100 ×"],
        },
        name="occupancy",
    )
    _mark_faults(drawing, info, cells, hover, style)
    drawing.update_xaxes(title_text="bin", showgrid=False, zeroline=False)
    drawing.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, type="category")
    return drawing.figure()


def _mark_faults(drawing: Drawing, info: OccupancyInfo, cells: list[list[list[Any]]], hover: str, style: Style) -> None:
    bins = info.shares.shape[1]
    empty = np.where(info.steps == 0, 1.0, np.nan)
    if np.isfinite(empty).any():
        warning = mix(style.palette.background, style.palette.warning, 0.35)
        drawing.add_heatmap(
            z=empty,
            y=list(info.names),
            x=np.arange(bins),
            colorscale=[[0.0, warning], [1.0, warning]],
            showscale=False,
            hoverongaps=False,
            customdata=cells,
            hovertemplate="unused: " + hover,
            ygap=2,
            name="unused",
        )
    wide = [(d, b) for d, places in enumerate(info.over_wide) for b in places]
    if wide:
        drawing.add_scatter(
            x=[b for _, b in wide],
            y=[info.names[d] for d, _ in wide],
            mode="markers",
            marker={
                "symbol": "circle-open",
                "size": style.sizes.marker,
                "color": style.palette.ink,
                "line": {"width": 1.5},
            },
            customdata=[cells[d][b] for d, b in wide],
            hovertemplate="over-wide: " + hover,
            name="over-wide",
        )


@sentence.register
def _(info: OccupancyInfo) -> str:
    if not info.shares.size:
        return "No bins are fitted yet."
    told = []
    for what, places in (("unused", info.unused), ("over-wide", info.over_wide)):
        total = sum(map(len, places))
        if total:
            where = [
                f"{len(own)} of {name}"
                for name, own in sorted(zip(info.names, places, strict=True), key=lambda pair: -len(pair[1]))
                if own
            ]
            more = [f"{len(where) - 3} more dimensions"] if len(where) > 4 else []
            shown = where[:3] if more else where
            told.append(f"{count(total, f'{what} bin')}: {enumerate_words([*shown, *more])}")
    if not told:
        return "Every bin of every dimension is used, and none is over-wide."
    return "; ".join(told) + "."
