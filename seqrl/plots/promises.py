"""What a planner promised at every step, against what was then collected."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import number
from seqrl.plots.layout import EndLabel, add_end_labels, finite_range, label_margin
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme

_HEIGHT = 440


class PromisedReturnInfo(NamedTuple):
    """Return from every step on, predicted and real.

    Attributes:
        promised: (T,) predicted by the best future at each step, reward units, NaN where nothing was predicted.
        collected: (T,) real rewards from each step on, reward units.
        error: mean distance of promised from collected; NaN when nothing was predicted.
    """

    promised: np.ndarray
    collected: np.ndarray
    error: float


def promised_return_info(promised: np.ndarray, rewards: np.ndarray) -> PromisedReturnInfo:
    """Compare predicted returns with what the environment then paid.

    Args:
        promised: (T,) predicted undiscounted return from each step on, NaN where none was.
        rewards: (T,) real rewards of the episode.
    """
    promised = np.asarray(promised, dtype=np.float64)
    collected = np.cumsum(np.asarray(rewards, dtype=np.float64)[::-1])[::-1]
    known = np.isfinite(promised)
    error = float(np.abs(promised - collected)[known].mean()) if known.any() else math.nan
    return PromisedReturnInfo(promised, collected, error)


def promised_return(info: PromisedReturnInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw both over the steps of the episode; points carry ``customdata = step``."""
    style = Style(theme, present)
    names = ("promised", "collected")
    margin = {"l": 12, "r": label_margin(list(names), style), "t": 16, "b": 12}
    drawing = new_drawing(style, height=_HEIGHT, showlegend=False, margin=margin)
    if not np.isfinite(info.promised).any():
        return note(drawing, style, "No return was predicted in this episode.")
    steps = np.arange(len(info.collected))
    low, high = finite_range(info.promised, info.collected, pad=0.06)
    right = max(float(len(steps) - 1), 1.0)
    ends = []
    for name, values, colour in zip(
        names, (info.promised, info.collected), (style.palette.tt, style.palette.reward), strict=True
    ):
        drawing.add_scatter(
            x=steps,
            y=values,
            mode="lines",
            line={"color": colour, "width": style.sizes.line},
            customdata=steps.tolist(),
            hovertemplate=f"step %{{x}}<br>{name} %{{y:.4~g}}<extra></extra>",
            name=name,
        )
        last = values[np.isfinite(values)][-1]
        ends.append(EndLabel(name, right, float(last), colour))
    drawing.update_xaxes(title_text="time (steps)", range=[0, right], showgrid=False, showline=True)
    drawing.update_yaxes(title_text="return from here on (reward)", range=[low, high])
    pixels = _HEIGHT - 28 - 4.2 * style.sizes.font
    add_end_labels(drawing, ends, style, right=right, y_range=(low, high), pixels=pixels)
    return drawing.figure()


@sentence.register
def _(info: PromisedReturnInfo) -> str:
    known = np.flatnonzero(np.isfinite(info.promised))
    if not len(known):
        return "No return was predicted in this episode."
    first = int(known[0])
    told = (
        f"At step {number(first)} the best future promised {number(info.promised[first])}, and "
        f"{number(info.collected[first])} came"
    )
    return f"{told}; over the episode its promises are off by {number(info.error)} on average."
