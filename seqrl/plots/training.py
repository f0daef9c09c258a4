"""How training went: curves of several runs, and sparklines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import duration, enumerate_words, number
from seqrl.plots.layout import (
    MOST_DIRECT_LABELS,
    EndLabel,
    add_end_labels,
    finite_range,
    label_margin,
    log_ticks,
    shorten,
)
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, family_colour, translucent

MOST_POINTS = 1500
"""Longer curves are thinned, keeping the extremes of every stretch."""

_MOST_COMPARED = 2
_HEIGHT = 440
_TIME_UNITS = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))
_TITLES = {
    "loss": "loss",
    "validation_loss": "validation loss",
    "accuracy": "accuracy (share of actions predicted right)",
    "validation_accuracy": "validation accuracy (share of actions predicted right)",
    "learning_rate": "learning rate",
    "action_error": "error of predicted actions",
    "gradient_norm": "gradient norm",
    "steps_per_second": "speed (steps per second)",
}


class Curve(NamedTuple):
    """One run's curve: x in steps or in ``TrainingCurvesInfo.unit``, y as measured and smoothed.

    Its values are compared with those of curves that have the same ``within``.
    """

    run: str
    kind: str
    label: str
    place: tuple[int, int]
    x: np.ndarray
    raw: np.ndarray
    smooth: np.ndarray
    within: str


class TrainingCurvesInfo(NamedTuple):
    """Curves of one metric.

    Attributes:
        curves: those that have a value, in the order of the given runs.
        metric: its name.
        title: as the axis names it.
        axis: "step" or "time".
        unit: "steps", "s", "min" or "h".
        lower_is_better: True for losses, False for accuracies and returns, None when neither.
    """

    curves: tuple[Curve, ...]
    metric: str
    title: str
    axis: Literal["step", "time"]
    unit: str
    lower_is_better: bool | None


def training_curves_info(
    metrics: Mapping[str, pd.DataFrame],
    metric: str,
    *,
    kinds: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    within: Mapping[str, str] | None = None,
    axis: Literal["step", "time"] = "step",
    smoothing: float = 0.0,
) -> TrainingCurvesInfo:
    """Arrange one metric of several runs.

    Args:
        metrics: run → frame with ``step``, ``time_s`` and a column a metric; missing values are left out.
        metric: which column.
        kinds: run → dt, tt, bc, %bc or rvs; decides the colour.
        labels: run → name in the chart.
        within: run → the runs that it can be compared with, in words ("demo/cartpole"); without it, all can be.
        axis: steps, or the seconds since the training began.
        smoothing: 0 shows what was measured; towards 1 an exponential average over about
            ``1 / (1 − smoothing)`` points, without the pull towards zero at its beginning.

    Raises:
        ValueError: if the smoothing is not in [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing:g}; choose at least 0 and less than 1")
    kinds, labels, within = kinds or {}, labels or {}, within or {}
    measured = {run: frame.dropna(subset=[metric]) for run, frame in metrics.items() if metric in frame}
    runs = [run for run, frame in measured.items() if len(frame)]
    longest = max((float(measured[run]["time_s"].max()) for run in runs), default=0.0) if axis == "time" else 0.0
    divisor, unit = next(((size, name) for size, name in reversed(_TIME_UNITS) if longest >= 2 * size), _TIME_UNITS[0])
    curves = []
    for run in runs:
        frame, kind = measured[run], kinds.get(run, "")
        family = [other for other in runs if kinds.get(other, "") == kind]
        x = frame["step"].to_numpy(float) if axis == "step" else frame["time_s"].to_numpy(float) / divisor
        raw = frame[metric].to_numpy(float)
        kept = _thin(raw)
        smooth = smoothed(raw, smoothing)[kept]
        place = (family.index(run), len(family))
        label = labels.get(run, run.removeprefix("demo/"))
        curves.append(Curve(run, kind, label, place, x[kept], raw[kept], smooth, within.get(run, "")))
    title = _TITLES.get(metric, metric.replace("_", " ").replace("/", ", "))
    unit = unit if axis == "time" else "steps"
    return TrainingCurvesInfo(tuple(curves), metric, title, axis, unit, _better(metric))


def _better(metric: str) -> bool | None:
    if "loss" in metric or "error" in metric:
        return True
    return False if "accuracy" in metric or "return" in metric or "per_second" in metric else None


def smoothed(values: np.ndarray, smoothing: float) -> np.ndarray:
    """Exponential average whose weights add up to one from the first value on (as in Adam's bias correction).

    >>> smoothed(np.array([4.0, 4.0, 8.0]), 0.5).round(3)
    array([4.   , 4.   , 6.286])
    """
    values = np.asarray(values, dtype=np.float64)
    if smoothing == 0:
        return values
    result, running, weight = np.empty_like(values), 0.0, 0.0
    for index, value in enumerate(values):
        if math.isfinite(value):
            running = smoothing * running + (1 - smoothing) * value
            weight = smoothing * weight + (1 - smoothing)
        result[index] = running / weight if weight else math.nan
    return result


def _thin(values: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Indices of at most that many values: the smallest and the largest of every stretch, the first and the last."""
    if len(values) <= most:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), most // 2 - 1):
        part = values[stretch]
        kept |= (
            {int(stretch[np.nanargmin(part)]), int(stretch[np.nanargmax(part)])} if np.isfinite(part).any() else set()
        )
    return np.array(sorted(kept))


def training_curves(
    info: TrainingCurvesInfo, theme: Theme = "light", present: bool = False, log: bool = False
) -> go.Figure:
    """Draw the smoothed curves over the raw ones; zoom survives new data as long as the metric stays.

    Args:
        info: from `training_curves_info`.
        theme: light or dark.
        present: for a projector.
        log: logarithmic y axis; values that are not positive are left out there.
    """
    style = Style(theme, present)
    curves = [_positive(curve) for curve in info.curves] if log else list(info.curves)
    curves = [curve for curve in curves if len(curve.x)]
    direct = len(curves) <= MOST_DIRECT_LABELS
    margin = {"l": 12, "t": 16, "b": 12, "r": label_margin([c.label for c in curves], style) if direct else 16}
    revision = f"{info.metric} {info.axis} {log}"
    # So many names stand above each other without a scroll bar.
    height = _HEIGHT if direct else max(_HEIGHT, round(100 + 2.1 * style.sizes.font * len(curves)))
    drawing = new_drawing(style, height=height, showlegend=not direct, margin=margin, uirevision=revision)
    if not curves:
        return note(drawing, style, "Nothing is measured yet; the first point comes after “log every” steps.")
    for curve in curves:
        _draw_curve(drawing, curve, info, style)
    left, right = _x_range(curves)
    low, high = finite_range(*[_height(part, log) for curve in curves for part in (curve.raw, curve.smooth)])
    drawing.update_xaxes(
        title_text="step" if info.axis == "step" else f"time ({info.unit})",
        range=[left, right],
        showgrid=False,
        showline=True,
    )
    drawing.update_yaxes(title_text=info.title, type="log" if log else "linear", range=[low, high])
    if log:
        drawing.update_yaxes(**log_ticks(low, high))
    if direct:
        ends = [_end(curve, log, style) for curve in curves]
        pixels = _HEIGHT - 28 - 4.2 * style.sizes.font
        add_end_labels(drawing, ends, style, right=right, y_range=(low, high), pixels=pixels, log=log)
    return drawing.figure()


def _positive(curve: Curve) -> Curve:
    kept = (curve.raw > 0) & (curve.smooth > 0)
    return curve._replace(x=curve.x[kept], raw=curve.raw[kept], smooth=curve.smooth[kept])


def _height(values: np.ndarray, log: bool) -> np.ndarray:
    return np.log10(values) if log else values


def _x_range(curves: Sequence[Curve]) -> tuple[float, float]:
    last = max(float(curve.x[-1]) for curve in curves)
    first = min(0.0, *(float(curve.x[0]) for curve in curves))
    return first, last if last > first else first + 1.0


def _draw_curve(drawing: Drawing, curve: Curve, info: TrainingCurvesInfo, style: Style) -> None:
    colour = family_colour(curve.kind, style.theme, *curve.place)
    is_smooth = not np.array_equal(curve.raw, curve.smooth, equal_nan=True)
    if is_smooth:
        drawing.add_scatter(
            x=curve.x,
            y=curve.raw,
            mode="lines",
            line={"color": translucent(colour, 0.28), "width": style.sizes.line * 0.5},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=curve.run,
            name=f"{shorten(curve.label)}, raw",
        )
    where = "step %{x}" if info.axis == "step" else f"%{{x:.3~g}} {info.unit}"
    drawing.add_scatter(
        x=curve.x,
        y=curve.smooth,
        mode="lines" if len(curve.x) > 1 else "markers",
        line={"color": colour, "width": style.sizes.line},
        marker={"color": colour, "size": style.sizes.marker},
        customdata=curve.raw,
        hovertemplate=f"{curve.label}<br>{where}<br>{info.title} %{{y:.4~g}}"
        + ("<br>measured %{customdata:.4~g}" if is_smooth else "")
        + "<extra></extra>",
        legendgroup=curve.run,
        name=shorten(curve.label),
    )


def _end(curve: Curve, log: bool, style: Style) -> EndLabel:
    finite = np.flatnonzero(np.isfinite(curve.smooth))
    last = int(finite[-1]) if len(finite) else len(curve.x) - 1
    colour = family_colour(curve.kind, style.theme, *curve.place)
    height = float(_height(curve.smooth[last : last + 1], log)[0])
    return EndLabel(curve.label, float(curve.x[last]), height if math.isfinite(height) else 0.0, colour)


@sentence.register
def _(info: TrainingCurvesInfo) -> str:
    if not info.curves:
        return "Nothing is measured yet."
    title = info.title.split(" (")[0]
    told = [f"{curve.label} at {number(curve.smooth[-1])}" for curve in info.curves]
    if len(told) == 1:
        curve = info.curves[0]
        change = f", from {number(curve.smooth[0])}" if len(curve.x) > 1 else ""
        where = f"step {number(curve.x[-1])}" if info.axis == "step" else duration(curve.x[-1] * _divisor(info.unit))
        return f"After {where} the {title} of {curve.label} is {number(curve.smooth[-1])}{change}."
    finite = [curve for curve in info.curves if math.isfinite(curve.smooth[-1])]
    if not finite:
        return f"The {title} ends without a number."
    if info.lower_is_better is None or len(finite) == 1:
        return f"The {title} ends with {enumerate_words(told)}."
    groups: dict[str, list[Curve]] = {}
    for curve in finite:
        groups.setdefault(curve.within, []).append(curve)
    largest = sorted(groups.values(), key=len, reverse=True)[:_MOST_COMPARED]
    compared = [_best(alike, info.lower_is_better) for alike in largest if len(alike) > 1]
    if not compared:
        return (
            f"The {title} ends with {enumerate_words(told)}. They learned from other data or to predict other things, "
            "so these figures cannot be compared."
        )
    apart = "; runs on other data, or that predict other things, cannot be compared with these"
    return f"The {title} ends {', and '.join(compared)}{apart if len(groups) > 1 else ''}."


def _best(curves: Sequence[Curve], lower_is_better: bool) -> str:
    """Which of some curves that can be compared ends best, as the end of a sentence."""
    best = min(curves, key=lambda curve: curve.smooth[-1] if lower_is_better else -curve.smooth[-1])
    which, where = "lowest" if lower_is_better else "highest", f" on {best.within}" if best.within else ""
    return f"{which} for {best.label}, at {number(best.smooth[-1])}, of {len(curves)} runs{where}"


def _divisor(unit: str) -> float:
    return next(size for size, name in _TIME_UNITS if name == unit)


def sparkline(values: Sequence[float] | np.ndarray, points: int = 40) -> list[float]:
    """A curve in at most that many numbers, for a cell of a table; each is the mean of its stretch.

    >>> sparkline([1.0, 3.0, 5.0, 7.0], 2)
    [2.0, 6.0]
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) <= points:
        return [float(value) for value in finite]
    return [float(part.mean()) for part in np.array_split(finite, points)]
