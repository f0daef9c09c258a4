"""How often something is done, against what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import number, percent
from seqrl.plots.layout import EndLabel, add_end_labels, finite_range, label_margin
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme


class SharesInfo(NamedTuple):
    """Shares against a return.

    Attributes:
        shares: name → ((K,) returns, (K,) shares).
        kinds: name → family that decides the colour.
        what: what is counted, such as "bets".
        over: title of the axis of returns.
    """

    shares: dict[str, tuple[np.ndarray, np.ndarray]]
    kinds: dict[str, str]
    what: str
    over: str


def shares_info(
    shares: Mapping[str, tuple[np.ndarray, np.ndarray]], kinds: Mapping[str, str], what: str, over: str
) -> SharesInfo:
    """Arrange shares for `shares`; arguments as in `SharesInfo`."""
    kept = {name: (np.asarray(x, float), np.asarray(y, float)) for name, (x, y) in shares.items() if len(x)}
    return SharesInfo(kept, dict(kinds), what, over)


def shares(info: SharesInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw one line for each name."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    colours = {"dt": palette.dt, "tt": palette.tt, "bc": palette.bc}
    margin = {"l": 12, "r": label_margin(list(info.shares), style), "t": 16, "b": 12}
    drawing = new_drawing(style, height=420, showlegend=False, margin=margin)
    if not info.shares:
        return note(drawing, style, "Nothing is measured yet.")
    ends = []
    for name, (x, y) in info.shares.items():
        colour = colours.get(info.kinds.get(name, ""), palette.muted)
        drawing.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": colour, "width": sizes.line},
            marker={"size": sizes.marker},
            hovertemplate=f"{name}<br>%{{x:.4~g}}: %{{y:.1%}} {info.what}<extra></extra>",
            name=name,
        )
        ends.append(EndLabel(name, float(x[-1]), float(y[-1]), colour))
    low, high = finite_range(*[x for x, _ in info.shares.values()])
    drawing.update_xaxes(title_text=info.over, range=[low, high], showgrid=False, showline=True)
    drawing.update_yaxes(title_text=f"share of {info.what}", range=[-0.03, 1.03], tickformat=".0%")
    pixels = 420 - 28 - 4.2 * sizes.font
    add_end_labels(drawing, ends, style, right=high, y_range=(-0.03, 1.03), pixels=pixels)
    return drawing.figure()


@sentence.register
def _(info: SharesInfo) -> str:
    if not info.shares:
        return "Nothing is measured yet."
    told = [
        f"{name}: {percent(float(y[0]))} {info.what} at {number(float(x[0]))}, fewest ({percent(float(y.min()))}) at "
        f"{number(float(x[y.argmin()]))}, {percent(float(y[-1]))} at {number(float(x[-1]))}"
        for name, (x, y) in info.shares.items()
    ]
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}."
