"""What plans promised: the candidates of a decision, and predicted against real reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import number
from seqrl.plots.layout import finite_range, round_step
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme


def candidates(
    scores: np.ndarray,
    actions: np.ndarray,
    returns: np.ndarray,
    *,
    names: Sequence[str] = (),
    ends: np.ndarray | None = None,
) -> pd.DataFrame:
    """The surviving futures of one decision as a table, the best first.

    Args:
        scores: (K,).
        actions: (K, H) or (K, H, A) imagined actions.
        returns: (K,) predicted undiscounted return.
        names: of discrete actions.
        ends: (K, H) probability of a termination after each step.

    Returns:
        Columns rank (from 1), score, behind (distance to the best score), first_action, predicted_return, ends_after
        (steps until an imagined termination, missing where there is none).
    """
    scores = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    first = np.asarray(actions)[:, 0]
    over = None if ends is None else np.asarray(ends) > 0.5
    rows = []
    for rank, row in enumerate(order, start=1):
        value = np.atleast_1d(first[row])
        discrete = np.issubdtype(value.dtype, np.integer) and len(value) == 1
        known = discrete and int(value[0]) < len(names)
        action = names[int(value[0])] if known else ", ".join(number(float(part)) for part in value)
        ended = over is not None and bool(over[row].any())
        rows.append(
            {
                "rank": rank,
                "score": float(scores[row]),
                "behind": float(scores[order[0]] - scores[row]),
                "first_action": action,
                "predicted_return": float(returns[row]),
                "ends_after": int(over[row].argmax()) + 1 if ended and over is not None else None,
            }
        )
    columns = ["rank", "score", "behind", "first_action", "predicted_return", "ends_after"]
    return pd.DataFrame(rows, columns=columns).astype({"ends_after": "Int64"})


class PredictedRewardInfo(NamedTuple):
    """Predicted against real reward at every step of an episode.

    Attributes:
        predicted: (T,).
        real: (T,).
        error: mean distance.
        correlation: Pearson's, NaN when one side is constant.
        axis: lowest and highest value of both axes.
    """

    predicted: np.ndarray
    real: np.ndarray
    error: float
    correlation: float
    axis: tuple[float, float]


def predicted_reward_info(predicted: np.ndarray, real: np.ndarray) -> PredictedRewardInfo:
    """Compare predictions with what the environment paid; steps without a prediction are left out.

    Args:
        predicted: (T,) reward units, NaN where none was made.
        real: (T,) reward units.
    """
    predicted, real = np.asarray(predicted, dtype=np.float64), np.asarray(real, dtype=np.float64)
    known = np.isfinite(predicted) & np.isfinite(real)
    error = float(np.abs(predicted - real)[known].mean()) if known.any() else math.nan
    moving = known.any() and np.ptp(predicted[known]) > 1e-9 and np.ptp(real[known]) > 1e-9
    correlation = float(np.corrcoef(predicted[known], real[known])[0, 1]) if moving else math.nan
    return PredictedRewardInfo(
        np.where(known, predicted, np.nan), real, error, correlation, finite_range(predicted[known], real[known])
    )


def predicted_reward(info: PredictedRewardInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw one dot a step on equal axes; dots carry ``customdata = step``."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=440, showlegend=False)
    known = np.flatnonzero(np.isfinite(info.predicted))
    if not len(known):
        return note(drawing, style, "No reward was predicted in this episode.")
    low, high = info.axis
    line = {"color": style.palette.ink, "width": 1, "dash": "3px,3px"}
    drawing.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=line, name="predicted = real")
    drawing.add_scatter(
        x=info.real[known],
        y=info.predicted[known],
        mode="markers",
        marker={"size": style.sizes.marker * 0.7, "color": style.palette.tt, "opacity": 0.45},
        customdata=known.tolist(),
        hovertemplate="step %{customdata}<br>real %{x:.3~g}<br>predicted %{y:.3~g}<extra></extra>",
        name="steps",
    )
    ticks = {"range": [low, high], "dtick": round_step(high - low, 5), "tick0": 0, "constrain": "domain"}
    drawing.update_xaxes(title_text="real reward", showgrid=False, showline=True, **ticks)
    drawing.update_yaxes(title_text="predicted reward", scaleanchor="x", **ticks)
    return drawing.figure()


@sentence.register
def _(info: PredictedRewardInfo) -> str:
    if not np.isfinite(info.predicted).any():
        return "No reward was predicted in this episode."
    told = f"Predicted rewards are off by {number(info.error)} on average"
    if math.isfinite(info.correlation):
        told += f", with a correlation of {number(info.correlation, 2)}"
    return f"{told}."
