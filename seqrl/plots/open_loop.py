"""How far a model's actions are from recorded ones, where nothing can be played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import number, percent
from seqrl.plots.layout import EndLabel, add_end_labels, finite_range, label_margin, round_step, shorten
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, family_colour

Axis = Literal["history", "time"]

_HEIGHT = 420
_BASELINES = {"error": "always the mean action", "mismatch": "always the same action"}
_QUANTITIES = {"error": "error of the action (half ranges)", "mismatch": "share of other actions"}


class ErrorCurve(NamedTuple):
    """One run's error: at every x a mean over n steps."""

    run: str
    kind: str
    x: np.ndarray
    mean: np.ndarray
    n: np.ndarray


class ActionErrorInfo(NamedTuple):
    """Errors of predicted actions on recorded episodes.

    Attributes:
        curves: one a run, with at least one point.
        measure: "error" in half action ranges, or "mismatch", a share of steps.
        baseline: what always answering the same reaches.
        overall: of each curve, over all steps.
        axis: "history", steps of context seen; or "time", steps since the episode began.
    """

    curves: tuple[ErrorCurve, ...]
    measure: str
    baseline: float
    overall: tuple[float, ...]
    axis: Axis


def action_error_info(
    results: Mapping[str, Mapping[str, Any]], *, kinds: Mapping[str, str], axis: Axis = "history"
) -> ActionErrorInfo:
    """Arrange open-loop evaluations of one dataset for `action_error`.

    Args:
        results: run → what `seqrl.open_loop.evaluate` returned; all of one measure.
        kinds: run → dt, tt, bc, %bc or rvs.
        axis: what to draw the error against.
    """
    curves, overall = [], []
    for run, result in results.items():
        rows = result["by_context" if axis == "history" else "by_timestep"]
        if not rows:
            continue
        x = [row["position"] if axis == "history" else (row["timestep"] + row["until"]) / 2 for row in rows]
        mean, n = np.array([row["mean"] for row in rows]), np.array([row["n"] for row in rows])
        curves.append(ErrorCurve(run, kinds.get(run, ""), np.array(x, dtype=np.float64), mean, n))
        overall.append(float(result["overall"]))
    first: Mapping[str, Any] = next(iter(results.values()), {})
    baseline = float(first.get("baseline", float("nan")))
    return ActionErrorInfo(tuple(curves), str(first.get("measure", "error")), baseline, tuple(overall), axis)


def action_error(info: ActionErrorInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw one line a run, and a dashed one for the answer that never changes."""
    style = Style(theme, present)
    names = [shorten(curve.run) for curve in info.curves] + [_BASELINES[info.measure]]
    margin = {"l": 12, "t": 16, "b": 12, "r": label_margin(names, style)}
    drawing = new_drawing(style, height=_HEIGHT, showlegend=False, margin=margin)
    if not info.curves:
        return note(drawing, style, "Nothing was measured yet.")
    left, right = finite_range(*(curve.x for curve in info.curves), pad=0.0)
    _, top = finite_range(*(curve.mean for curve in info.curves), [info.baseline], pad=0.08)
    muted = style.palette.muted
    drawing.add_scatter(
        x=[left, right],
        y=[info.baseline] * 2,
        mode="lines",
        line={"color": muted, "width": 1.5, "dash": "6px,4px"},
        hovertemplate=f"{_BASELINES[info.measure]} %{{y:.3~g}}<extra></extra>",
        name=_BASELINES[info.measure],
    )
    ends = [EndLabel(_BASELINES[info.measure], right, info.baseline, muted)]
    for place, curve in enumerate(info.curves):
        family = [other.run for other in info.curves if other.kind == curve.kind]
        colour = family_colour(curve.kind, theme, family.index(curve.run), len(family))
        drawing.add_scatter(
            x=curve.x,
            y=curve.mean,
            mode="lines+markers" if len(curve.x) <= 60 else "lines",
            line={"color": colour, "width": style.sizes.line},
            marker={"size": style.sizes.marker * 0.7},
            customdata=curve.n,
            hovertemplate="%{x:.4~g}: %{y:.3~g}<br>%{customdata:,} steps<extra></extra>",
            name=names[place],
        )
        ends.append(EndLabel(names[place], float(curve.x[-1]), float(curve.mean[-1]), colour))
    title = "steps of history seen" if info.axis == "history" else "time since the episode began (steps)"
    ticks = {"dtick": max(1.0, round_step(right - left, 6)), "tick0": 0}
    drawing.update_xaxes(title_text=title, range=[left, right], showgrid=False, showline=True, **ticks)
    percentages = {"tickformat": ".0%"} if info.measure == "mismatch" else {}
    drawing.update_yaxes(title_text=_QUANTITIES[info.measure], range=[0, top], **percentages)
    add_end_labels(drawing, ends, style, right=right, y_range=(0, top), pixels=_HEIGHT - 28 - 4.2 * style.sizes.font)
    return drawing.figure()


def action_error_table(info: ActionErrorInfo) -> pd.DataFrame:
    """The points of the figure: run, x, mean and the steps behind it."""
    return pd.concat(
        [pd.DataFrame({"run": c.run, info.axis: c.x, info.measure: c.mean, "steps": c.n}) for c in info.curves]
        or [pd.DataFrame()],
        ignore_index=True,
    )


def worst_dimensions(rows: Sequence[Mapping[str, Any]], measure: str) -> pd.DataFrame:
    """The action dimensions that are predicted worst, as a table to show."""
    show = percent if measure == "mismatch" else number
    return pd.DataFrame(
        {"action": [str(row["name"]) for row in rows], _QUANTITIES[measure]: [show(row["mean"]) for row in rows]}
    )


@sentence.register
def _(info: ActionErrorInfo) -> str:
    if not info.curves:
        return "Nothing was measured yet."
    show = percent if info.measure == "mismatch" else number
    best = int(np.argmin(info.overall))
    run, error, baseline = info.curves[best].run, show(info.overall[best]), show(info.baseline)
    if info.measure == "mismatch":
        told = f"{run} differs from the recorded action at {error} of the steps; always taking the same action differs "
        told += f"at {baseline}"
    else:
        told = f"{run} is off by {error}; always taking the mean action is off by {baseline}"
    if info.overall[best] >= info.baseline:
        return f"{told}: it has learned nothing that helps here."
    curve = info.curves[best]
    if info.axis == "history" and len(curve.mean) > 1:
        change = curve.mean[-1] - curve.mean[0]
        if abs(change) > 0.05 * max(float(curve.mean[0]), 1e-12):
            told += f"; with more history the error {'falls' if change < 0 else 'grows'} from {show(curve.mean[0])} to "
            told += show(curve.mean[-1])
    return f"{told}."
