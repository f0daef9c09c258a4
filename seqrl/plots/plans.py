"""One plan: the imagined futures over what then happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import count, number
from seqrl.plots.layout import finite_range, round_step
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, translucent

MOST_PANELS = 4
"""Dimensions of an observation that are drawn at once."""

_HEIGHT = 540
_SAME = 0.005


class PlanTreeInfo(NamedTuple):
    """Imagined futures of one decision, over what was observed.

    Attributes:
        start: step of the decision; the imagined observations are those of steps start, start + 1, …
        imagined: (K, H, D) observations of every surviving future, the best first.
        scores: (K,) of the futures.
        strength: (K,) in [0, 1], 1 for the best score and 0 for the worst.
        lengths: (K,) steps until an imagined termination, H where there is none.
        observed: (T, D) what was really observed, NaN where it is not known.
        names: (D,) of the dimensions.
        dimensions: which are drawn.
        error: mean distance of the best future from what happened, over the drawn dimensions and in units of
            their standard deviation in this episode; NaN when nothing is known.
    """

    start: int
    imagined: np.ndarray
    scores: np.ndarray
    strength: np.ndarray
    lengths: np.ndarray
    observed: np.ndarray
    names: tuple[str, ...]
    dimensions: tuple[int, ...]
    error: float


def plan_tree_info(
    imagined: np.ndarray,
    scores: np.ndarray,
    observed: np.ndarray,
    start: int,
    names: Sequence[str],
    *,
    dimensions: Sequence[int] | None = None,
    ends: np.ndarray | None = None,
) -> PlanTreeInfo:
    """Arrange the plan of one decision for `plan_tree`.

    Args:
        imagined: (K, H, D) decoded observations, the first of each being that of the decision.
        scores: (K,) higher is better.
        observed: (T, D) of the whole episode; rows that are not known are NaN.
        start: step of the decision.
        names: of the dimensions of an observation.
        dimensions: to draw, at most four; None takes the first four.
        ends: (K, H) probability of a termination after each imagined step.
    """
    imagined = np.asarray(imagined, dtype=np.float64)
    scores = np.asarray(scores, dtype=np.float64)
    observed = np.asarray(observed, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    imagined, scores = imagined[order], scores[order]
    width = np.ptp(scores) if len(scores) else 0.0
    strength = (scores - scores.min()) / width if width > 0 else np.ones(len(scores))
    horizon = imagined.shape[1]
    lengths = np.full(len(scores), horizon)
    if ends is not None and horizon:
        over = np.asarray(ends)[order] > 0.5
        lengths = np.where(over.any(axis=1), over.argmax(axis=1) + 1, horizon)
    size = imagined.shape[2]
    named = tuple(names[d] if d < len(names) else f"dimension {d}" for d in range(size))
    chosen = tuple(range(min(size, MOST_PANELS))) if dimensions is None else tuple(dimensions)[:MOST_PANELS]
    error = _plan_error(imagined, observed, start, chosen)
    return PlanTreeInfo(start, imagined, scores, strength, lengths, observed, named, chosen, error)


def _plan_error(imagined: np.ndarray, observed: np.ndarray, start: int, dimensions: Sequence[int]) -> float:
    if not len(imagined) or not len(observed) or not dimensions:
        return math.nan
    real = observed[start : start + imagined.shape[1], list(dimensions)]
    distance = np.abs(imagined[0, : len(real), list(dimensions)].T - real)
    known = observed[:, list(dimensions)]
    known = known[np.isfinite(known).all(axis=1)]
    spread = known.std(axis=0) if len(known) else np.ones(len(dimensions))
    relative = distance[1:, spread > 0] / spread[spread > 0]
    return float(np.nanmean(relative)) if np.isfinite(relative).any() else math.nan


def observed_from_plans(plan_observations: np.ndarray, plan_age: np.ndarray) -> np.ndarray:
    """What was observed at every step at which a plan was made, rounded to the model's bins.

    Args:
        plan_observations: (T, K, H, D) as a beam sweep records them.
        plan_age: (T,) steps since the plan was made.

    Returns:
        (T, D), NaN at steps that carried out an older plan.
    """
    first = np.asarray(plan_observations, dtype=np.float64)[:, 0, 0]
    return np.where(np.asarray(plan_age)[:, None] == 0, first, np.nan)


def plan_tree(info: PlanTreeInfo, theme: Theme = "light", present: bool = False, history: int = 12) -> go.Figure:
    """Draw the futures as a tree over what happened, one panel a dimension; beams carry ``customdata = rank``.

    Args:
        info: from `plan_tree_info`.
        theme: light or dark.
        present: for a projector.
        history: steps before the decision to show.
    """
    style = Style(theme, present)
    drawing = new_drawing(style, height=_HEIGHT, showlegend=False, margin={"l": 12, "r": 16, "t": 36, "b": 12})
    if not info.imagined.size or not info.dimensions:
        return note(drawing, style, "Choose a decision whose plan was recorded.")
    horizon = info.imagined.shape[1]
    left, right = info.start - min(history, info.start) - 0.5, info.start + horizon - 0.5
    panels = len(info.dimensions)
    gap = 0.09 if present else 0.07
    height = (1.0 - gap * (panels - 1)) / panels
    for place, dimension in enumerate(info.dimensions):
        axis = "" if place == 0 else str(place + 1)
        top = 1.0 - place * (height + gap)
        _draw_beams(drawing, info, dimension, f"y{axis}", style)
        _draw_observed(drawing, info, dimension, f"y{axis}", (left, right), style)
        inside = info.observed[max(math.ceil(left), 0) : math.floor(right) + 1, dimension]
        low, high = finite_range(info.imagined[:, :, dimension], inside, pad=0.1)
        drawing.layout[f"yaxis{axis}"] = {
            "domain": [max(top - height, 0.0), top],
            "anchor": "x",
            "nticks": 4,
            "range": [low, high],
        }
        drawing.add_annotation(
            x=0, y=top, xref="x domain", yref="paper", text=info.names[dimension], xanchor="left", yanchor="bottom"
        )
    drawing.update_xaxes(
        title_text="time (steps)",
        range=[left, right],
        anchor=f"y{panels if panels > 1 else ''}",
        dtick=max(round_step(right - left, 8), 1),
        tick0=0,
        showgrid=False,
        showline=True,
    )
    line = {"color": style.palette.ink, "width": 1, "dash": "3px,3px"}
    drawing.add_shape(type="line", x0=info.start, x1=info.start, y0=0, y1=1, yref="paper", line=line, name="decision")
    tt, ink = style.palette.tt, style.palette.ink
    text = f'<span style="color:{tt}">imagined</span>&nbsp;&nbsp;&nbsp;<span style="color:{ink}">what happened</span>'
    font = {"size": style.sizes.font}
    drawing.add_annotation(
        x=1, y=1, xref="paper", yref="paper", text=text, font=font, xanchor="right", yanchor="bottom", yshift=4
    )
    return drawing.figure()


def _draw_beams(drawing: Drawing, info: PlanTreeInfo, dimension: int, axis: str, style: Style) -> None:
    """The worst first, so that the best lies on top; opacity follows the score."""
    for rank in reversed(range(len(info.scores))):
        strength = float(info.strength[rank])
        length = int(info.lengths[rank])
        best = rank == 0
        colour = style.palette.tt if best else translucent(style.palette.tt, round(0.15 + 0.45 * strength, 3))
        drawing.add_scatter(
            x=info.start + np.arange(length),
            y=info.imagined[rank, :length, dimension],
            mode="lines",
            line={"color": colour, "width": style.sizes.line * (1.2 if best else 0.7)},
            yaxis=axis,
            customdata=[rank] * length,
            hovertemplate=f"future {rank + 1}, score {number(info.scores[rank], 4)}<br>step %{{x}}<br>"
            f"{info.names[dimension]} %{{y:.3~g}}<extra></extra>",
            name=f"future {rank + 1}",
        )
        if length < info.imagined.shape[1]:
            drawing.add_scatter(
                x=[info.start + length - 1],
                y=[info.imagined[rank, length - 1, dimension]],
                mode="markers",
                marker={"symbol": "x", "size": style.sizes.marker * 0.8, "color": style.palette.warning},
                yaxis=axis,
                hovertemplate=f"future {rank + 1} ends here<extra></extra>",
                name=f"future {rank + 1}, end",
            )


def _draw_observed(
    drawing: Drawing, info: PlanTreeInfo, dimension: int, axis: str, window: tuple[float, float], style: Style
) -> None:
    steps = np.arange(len(info.observed))
    shown = (steps >= window[0]) & (steps <= window[1]) & np.isfinite(info.observed[:, dimension])
    drawing.add_scatter(
        x=steps[shown],
        y=info.observed[shown, dimension],
        mode="lines+markers",
        line={"color": style.palette.ink, "width": style.sizes.line * 0.8},
        marker={"size": style.sizes.dot, "color": style.palette.ink},
        yaxis=axis,
        hovertemplate=f"step %{{x}}, what happened<br>{info.names[dimension]} %{{y:.3~g}}<extra></extra>",
        name="what happened",
    )


@sentence.register
def _(info: PlanTreeInfo) -> str:
    if not info.imagined.size or not info.dimensions:
        return "Choose a decision whose plan was recorded."
    futures = count(len(info.scores), "imagined future")
    ending = int((info.lengths < info.imagined.shape[1]).sum())
    told = f"At step {number(info.start)} the planner keeps {futures}"
    if ending:
        told += f", {number(ending)} of which {'ends' if ending == 1 else 'end'} in a termination"
    told += f"; the best scores {number(info.scores[0], 4)}, the worst {number(info.scores[-1], 4)}"
    if math.isfinite(info.error):
        exact = info.error < _SAME
        told += (
            ". What then happened is what the best imagined"
            if exact
            else (f". What then happened lies {number(info.error, 2)} standard deviations from the best")
        )
        told += ", both rounded to the model's bins"
    return f"{told}."
