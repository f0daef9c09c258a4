"""Rewards of one episode and what is still to come of them at every step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import number
from seqrl.plots.layout import finite_range
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, mix


class ReturnToGoInfo(NamedTuple):
    """An episode's rewards and returns-to-go, and the step that is looked at.

    Attributes:
        rewards: (T,) reward units.
        returns_to_go: (T,) ``Σ_{k≥t} γ^{k−t} r_k``.
        discount: γ.
        step: that is looked at, below T.
        collected: undiscounted reward before that step.
        to_come: undiscounted reward from that step on.
    """

    rewards: np.ndarray
    returns_to_go: np.ndarray
    discount: float
    step: int
    collected: float
    to_come: float


def return_to_go_info(rewards: np.ndarray, discount: float, step: int) -> ReturnToGoInfo:
    """Compute the returns-to-go of one episode.

    Args:
        rewards: (T,) reward units, T at least 1.
        discount: γ in (0, 1].
        step: that is looked at; one past the end counts as the last.

    >>> return_to_go_info(np.array([1.0, 1.0, 5.0]), 0.5, 1).returns_to_go.tolist()
    [2.75, 3.5, 5.0]
    """
    rewards = np.asarray(rewards, dtype=np.float64)
    to_go = np.zeros(len(rewards))
    following = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        following = to_go[t] = rewards[t] + discount * following
    at = min(max(step, 0), len(rewards) - 1)
    return ReturnToGoInfo(rewards, to_go, discount, at, float(rewards[:at].sum()), float(rewards[at:].sum()))


def return_to_go(info: ReturnToGoInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the return-to-go above the rewards, those still to come in full colour."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    drawing = new_drawing(style, height=460, showlegend=False, margin={"l": 12, "r": 16, "t": 20, "b": 12})
    if not len(info.rewards):
        return note(drawing, style, "The episode has no step.")
    steps = np.arange(len(info.rewards))
    faint = mix(palette.background, palette.reward, 0.35)
    drawing.add_bar(
        x=steps,
        y=info.rewards,
        marker={"color": np.where(steps < info.step, faint, palette.reward), "line": {"width": 0}},
        hovertemplate="step %{x}<br>reward %{y:.4~g}<extra></extra>",
        name="reward",
        yaxis="y2",
    )
    drawing.add_scatter(
        x=steps,
        y=info.returns_to_go,
        mode="lines+markers" if len(steps) <= 40 else "lines",
        line={"color": palette.dt, "width": sizes.line},
        marker={"size": sizes.marker * 0.7},
        hovertemplate="step %{x}<br>return-to-go %{y:.4~g}<extra></extra>",
        name="return-to-go",
    )
    here = float(info.returns_to_go[info.step])
    drawing.add_scatter(
        x=[info.step],
        y=[here],
        mode="markers",
        marker={"size": sizes.marker * 1.7, "color": palette.dt, "line": {"color": palette.ink, "width": 2}},
        hoverinfo="skip",
        name="this step",
    )
    drawing.add_vline(x=info.step, line={"color": palette.axis, "width": 1, "dash": "3px,3px"}, layer="below")
    low, high = finite_range([0.0], info.returns_to_go, pad=0.08)
    drawing.update_xaxes(
        title_text="time (steps)", range=[-0.5, len(steps) - 0.5], showgrid=False, zeroline=False, anchor="y2"
    )
    below, above = finite_range([0.0], info.rewards, pad=0.1)
    drawing.update_layout(
        yaxis={"title": {"text": "return-to-go (reward)"}, "domain": [0.36, 1.0], "range": [low, high]},
        yaxis2={
            "title": {"text": "reward"},
            "domain": [0.0, 0.25],
            "range": [below, above],
            "nticks": 3,
            "anchor": "x",
        },
    )
    return drawing.figure()


@sentence.register
def _(info: ReturnToGoInfo) -> str:
    if not len(info.rewards):
        return "The episode has no step."
    start = f"At step {info.step}, {number(info.collected)} is collected and {number(info.to_come)} is still to come"
    if info.discount == 1:
        return f"{start}: its return-to-go."
    here = float(info.returns_to_go[info.step])
    return (
        f"{start}. With γ = {info.discount:g} a reward counts less the later it comes, and the return-to-go is "
        f"{number(here)}."
    )
