"""How good a policy became while it learned online."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import count, number
from seqrl.plots.layout import finite_range
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme

_HEIGHT = 360


class PolicyProgressInfo(NamedTuple):
    """Snapshots of a policy.

    Attributes:
        steps: (S,) environment steps that each has learned from, rising.
        returns: (S,) mean return of each.
        marked: place of a snapshot → what it is as a tier.
    """

    steps: np.ndarray
    returns: np.ndarray
    marked: dict[int, str]


def policy_progress_info(steps: Sequence[int], returns: Sequence[float], best: int, medium: int) -> PolicyProgressInfo:
    """Arrange the snapshots of a policy for `policy_progress`.

    Args:
        steps: (S,) of each snapshot.
        returns: (S,) mean return of each.
        best: steps of the one that is the tier "expert".
        medium: steps of the one that is the tier "medium".
    """
    places = {step: place for place, step in enumerate(steps)}
    marked = {places[medium]: "medium"} | {places[best]: "expert"} if places else {}
    return PolicyProgressInfo(np.asarray(steps, float), np.asarray(returns, float), marked)


def policy_progress(info: PolicyProgressInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw mean return over steps; the snapshots that are tiers are named."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=_HEIGHT, showlegend=False, margin={"l": 12, "r": 24, "t": 30, "b": 12})
    if not len(info.steps):
        return note(drawing, style, "No snapshot is kept yet.")
    colour, sizes = style.palette.reward, style.sizes
    drawing.add_scatter(
        x=info.steps,
        y=info.returns,
        mode="lines+markers",
        line={"color": colour, "width": sizes.line},
        marker={"size": [sizes.marker * (1.6 if place in info.marked else 1) for place in range(len(info.steps))]},
        hovertemplate="after %{x:,} steps<br>mean return %{y:.4~g}<extra></extra>",
        name="mean return",
    )
    for place, tier in info.marked.items():
        drawing.add_annotation(
            x=info.steps[place],
            y=info.returns[place],
            text=tier,
            yanchor="bottom",
            yshift=sizes.marker,
            font={"size": sizes.font, "color": style.palette.ink},
        )
    drawing.update_xaxes(title_text="learned from (steps)", range=list(finite_range(info.steps)), showline=True)
    drawing.update_yaxes(title_text="mean return (reward)", range=list(finite_range(info.returns, pad=0.12)))
    return drawing.figure()


@sentence.register
def _(info: PolicyProgressInfo) -> str:
    if not len(info.steps):
        return "No snapshot is kept yet."
    named = {tier: place for place, tier in info.marked.items()}
    reached = {
        tier: (count(int(info.steps[place]), "step"), number(float(info.returns[place])))
        for tier, place in named.items()
    }
    learned, collected = reached["expert"]
    told = f"Its best snapshot, after {learned}, collects {collected}"
    if "medium" not in reached:
        return f"{told}; there is none of medium quality yet."
    learned, collected = reached["medium"]
    return f"{told}; the medium one, after {learned}, {collected}."
