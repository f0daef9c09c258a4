"""How far from its request a model lands, for several settings and several seeds of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import count, interval, number
from seqrl.plots.layout import finite_range
from seqrl.plots.sentences import sentence
from seqrl.plots.template import RIBBON_OPACITY, Style, Theme, translucent


class SeedsInfo(NamedTuple):
    """A figure of merit for several settings, each measured with several seeds.

    Attributes:
        settings: (S,) in ascending order.
        values: one array of (seeds,) for every setting.
        means: (S,) over the seeds.
        setting: what is varied, such as "context length K (steps)".
        value: what is measured, such as "mean absolute error (reward)".
        unit: behind a setting in the sentence, such as "step".
    """

    settings: np.ndarray
    values: tuple[np.ndarray, ...]
    means: np.ndarray
    setting: str
    value: str
    unit: str


def seeds_info(
    settings: Sequence[float], values: Sequence[float], *, setting: str, value: str, unit: str = "step"
) -> SeedsInfo:
    """Group measurements by their setting.

    Args:
        settings: (N,) the setting of every run.
        values: (N,) what was measured of it.
        setting: what is varied, with its unit.
        value: what was measured, with its unit.
        unit: noun of one unit of the setting.

    >>> seeds_info([1, 5, 1], [4.0, 1.0, 2.0], setting="K", value="error").means.tolist()
    [3.0, 1.0]
    """
    where, what = np.asarray(settings, dtype=np.float64), np.asarray(values, dtype=np.float64)
    distinct = np.unique(where)
    groups = tuple(what[where == s] for s in distinct)
    return SeedsInfo(distinct, groups, np.array([group.mean() for group in groups]), setting, value, unit)


def seeds(info: SeedsInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw every run as a dot, the means as a line, and the range of the seeds as a ribbon."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    drawing = new_drawing(style, height=440, showlegend=False)
    if not len(info.settings):
        return note(drawing, style, "Nothing is measured yet.")
    place = np.arange(len(info.settings), dtype=np.float64)
    lowest, highest = (np.array([end(group) for group in info.values]) for end in (np.min, np.max))
    paler = translucent(palette.dt, RIBBON_OPACITY)
    drawing.add_ribbon(place, lowest, highest, paler, "from the best seed to the worst")
    for at, setting, group in zip(place, info.settings, info.values, strict=True):
        drawing.add_scatter(
            x=np.full(len(group), at),
            y=group,
            mode="markers",
            marker={"size": sizes.marker, "color": translucent(palette.dt, 0.45)},
            hovertemplate=f"{number(setting)}: %{{y:.3~g}}<extra></extra>",
            name=f"single runs at {number(setting)}",
        )
    drawing.add_scatter(
        x=place,
        y=info.means,
        mode="lines+markers",
        line={"color": palette.dt, "width": sizes.line},
        marker={"size": sizes.marker * 1.2, "color": palette.dt},
        text=[number(setting) for setting in info.settings],
        hovertemplate="%{text}: %{y:.3~g} on average<extra></extra>",
        name="mean over seeds",
    )
    labels = [number(setting) for setting in info.settings]
    drawing.update_xaxes(
        title_text=info.setting, tickvals=place, ticktext=labels, range=[-0.4, len(place) - 0.6], showgrid=False
    )
    _, top = finite_range([0.0], highest, pad=0.08)
    drawing.update_yaxes(title_text=info.value, range=[0, top])
    return drawing.figure()


@sentence.register
def _(info: SeedsInfo) -> str:
    if not len(info.settings):
        return "Nothing is measured yet."
    told = [
        f"With {count(setting, info.unit)} of context it is off by {number(mean)} on average "
        f"({interval(float(group.min()), float(group.max()))} over {count(len(group), 'seed')})"
        for setting, mean, group in zip(info.settings, info.means, info.values, strict=True)
    ]
    first, last = info.values[0], info.values[-1]
    if len(told) == 1:
        return f"{told[0]}."
    separate = first.min() > last.max() or last.min() > first.max()
    verdict = (
        "Even the worst seed of the better one beats the best seed of the other."
        if separate
        else "The seeds overlap: a single run of each would not tell them apart."
    )
    at, mean = number(float(info.settings[-1])), number(float(info.means[-1]))
    return f"{told[0]}; with {at}, by {mean} ({interval(float(last.min()), float(last.max()))}). {verdict}"
