"""What a model would do in one state, whatever it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import number
from seqrl.plots.layout import (
    MOST_DIRECT_LABELS,
    EndLabel,
    add_end_labels,
    finite_range,
    label_margin,
    round_step,
    shorten,
)
from seqrl.plots.sentences import sentence
from seqrl.plots.template import RIBBON_OPACITY, Style, Theme, family_colour, translucent

_FROM_TOP_TO_BOTTOM = {"y0": 0, "y1": 1, "yref": "paper"}


class ResponseCurveInfo(NamedTuple):
    """What a model would do in one state, for a range of targets or of what it sees.

    Attributes:
        targets: (G,) returns-to-go that are tried, or values of a dimension of the observation; sorted.
        responses: (G, A) probabilities of discrete actions, or means of continuous ones.
        spreads: (G, A) standard deviations of continuous actions, empty for discrete ones.
        names: (A,).
        kind: family of the model.
        data: the data's lowest and highest return-to-go, or None.
        present: return-to-go that the episode has at this step, or None.
        change: (A,) largest minus smallest response.
        varied: name of the dimension of the observation that is tried; empty for returns-to-go.
        average: whether the responses are means over many recorded steps, and the targets returns of whole episodes.
        discrete: whether there is nothing between the values that are tried, so that no line joins them.
    """

    targets: np.ndarray
    responses: np.ndarray
    spreads: np.ndarray
    names: tuple[str, ...]
    kind: str
    data: tuple[float, float] | None
    present: float | None
    change: np.ndarray
    varied: str = ""
    average: bool = False
    discrete: bool = False


def response_curve_info(
    targets: np.ndarray,
    responses: np.ndarray,
    names: Sequence[str],
    *,
    kind: str = "dt",
    data: tuple[float, float] | None = None,
    present: float | None = None,
    varied: str = "",
    average: bool = False,
    discrete: bool = False,
) -> ResponseCurveInfo:
    """Arrange a model's answers for `response_curve`.

    Args:
        targets: (G,) returns-to-go, reward units.
        responses: (G, A) probabilities of discrete actions, or (G, 2, A) means and standard deviations.
        names: of the actions or their dimensions.
        kind: dt, tt, bc, %bc or rvs.
        data: the data's lowest and highest return-to-go.
        present: return-to-go at this step of the episode, or the value that it sees.
        varied: name of the dimension of the observation that is tried; empty for returns-to-go.
        average: whether the responses are means over many recorded steps, and the targets returns of whole episodes.
        discrete: whether there is nothing between the values that are tried.
    """
    targets, responses = np.asarray(targets, dtype=np.float64), np.asarray(responses, dtype=np.float64)
    order = np.argsort(targets)
    targets, responses = targets[order], responses[order]
    gaussian = responses.ndim == 3
    spreads = responses[:, 1] if gaussian else np.empty((0, 0))
    values = responses[:, 0] if gaussian else responses
    named = tuple(
        names[i] if i < len(names) else f"action {i}" for i in range(values.shape[1] if values.ndim > 1 else 0)
    )
    change = np.ptp(values, axis=0) if len(values) else np.zeros(len(named))
    return ResponseCurveInfo(targets, values, spreads, named, kind, data, present, change, varied, average, discrete)


def response_curve(info: ResponseCurveInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the answer to every target in this state, the present one marked, targets outside the data shaded."""
    style = Style(theme, present)
    count = len(info.names)
    direct = count <= MOST_DIRECT_LABELS
    margin = {"l": 12, "t": 28, "b": 12, "r": label_margin(info.names, style) if direct else 16}
    drawing = new_drawing(style, height=420, showlegend=not direct, margin=margin)
    if not len(info.targets) or not count:
        return note(drawing, style, "Choose a step to see what the model would do for other targets.")
    gaussian = info.spreads.size > 0
    spread = info.spreads if gaussian else np.zeros_like(info.responses)
    low, high = finite_range(info.responses - spread, info.responses + spread) if gaussian else (0.0, 1.0)
    left, right = finite_range(info.targets, pad=0.0)
    if info.discrete:
        left, right = left - 0.5, right + 0.5
    _shade_outside(drawing, info, left, right, style)
    ends = []
    for index, name in enumerate(info.names):
        colour = family_colour(info.kind, theme, index, count)
        if gaussian:
            below, above = ((info.responses + sign * spread)[:, index] for sign in (-1, 1))
            paler = translucent(colour, RIBBON_OPACITY)
            drawing.add_ribbon(info.targets, below, above, paler, f"{name}, one standard deviation")
        drawing.add_scatter(
            x=info.targets,
            y=info.responses[:, index],
            mode="markers" if info.discrete or len(info.targets) == 1 else "lines",
            line={"color": colour, "width": style.sizes.line},
            marker={"color": colour, "size": style.sizes.marker},
            hovertemplate=f"{info.varied or 'asked for'} %{{x:.4~g}}<br>{name} %{{y:.3~g}}<extra></extra>",
            name=shorten(name),
        )
        ends.append(EndLabel(name, right, float(info.responses[-1, index]), colour))
    if info.present is not None and left <= info.present <= right:
        line = {"color": style.palette.ink, "width": 1.5, "dash": "3px,3px"}
        place = {"x0": info.present, "x1": info.present, **_FROM_TOP_TO_BOTTOM}
        drawing.add_shape(type="line", line=line, name="now", **place)
        drawing.add_annotation(
            x=info.present, y=1, yref="paper", text=f"now {number(info.present)}", yanchor="bottom", yshift=4
        )
    ticks = {"dtick": round_step(right - left, 6), "tick0": 0}
    asked = info.varied or ("return asked for (reward)" if info.average else "return-to-go (reward)")
    drawing.update_xaxes(title_text=asked, range=[left, right], showgrid=False, showline=True, **ticks)
    title = "action" if gaussian else "probability of the action"
    title = f"mean {title}" if info.average else title
    drawing.update_yaxes(title_text=title, range=[low, high])
    if direct:
        pixels = 420 - 40 - 4.2 * style.sizes.font
        add_end_labels(drawing, ends, style, right=right, y_range=(low, high), pixels=pixels)
    return drawing.figure()


def response_table(info: ResponseCurveInfo) -> pd.DataFrame:
    """The points of the figure: what was asked for, and the answer of every action; means have no spread."""
    asked = info.varied or ("return" if info.average else "return_to_go")
    table = {asked: info.targets}
    for index, name in enumerate(info.names):
        table[name] = info.responses[:, index]
        if info.spreads.size and not info.average:
            table[f"{name} (standard deviation)"] = info.spreads[:, index]
    return pd.DataFrame(table)


def _shade_outside(drawing: Drawing, info: ResponseCurveInfo, left: float, right: float, style: Style) -> None:
    if info.data is None:
        return
    for start, end in ((left, min(info.data[0], right)), (max(info.data[1], left), right)):
        if end > start:
            drawing.add_shape(
                type="rect",
                x0=start,
                x1=end,
                **_FROM_TOP_TO_BOTTOM,
                line_width=0,
                layer="below",
                fillcolor=translucent(style.palette.warning, style.palette.warning_opacity),
                name="outside the data",
            )


def _told_of_observation(info: ResponseCurveInfo) -> str:
    """What changes when the model sees another number in one dimension."""
    most = int(info.change.argmax())
    low, high = f"{number(info.targets[0])} to {number(info.targets[-1])}", info.responses[-1, most]
    largest = max(float(np.abs(info.responses).max()), 1e-9) if info.spreads.size else 1.0
    if info.change[most] < 0.02 * largest:
        return f"The model does the same whatever {info.varied} is, from {low}."
    name = info.names[most] if info.spreads.size else f"the probability of “{info.names[most]}”"
    first = number(info.responses[0, most], 2)
    return f"With {info.varied} from {low}, {name} goes from {first} to {number(high, 2)}, all else as it was."


@sentence.register
def _(info: ResponseCurveInfo) -> str:
    if not len(info.targets) or not info.names:
        return "Choose a step to see what the model would do for other targets."
    if info.varied:
        return _told_of_observation(info)
    most = int(info.change.argmax())
    low, high = number(info.targets[0]), number(info.targets[-1])
    where = "On these steps" if info.average else "In this state"
    first, last = info.responses[0, most], info.responses[-1, most]
    if info.spreads.size:
        if info.change[most] < 0.02 * max(float(np.abs(info.responses).max()), 1e-9):
            return f"{where} the model does the same whatever is asked, from {low} to {high}."
        return f"Asked for {low}, {info.names[most]} is {number(first)}; asked for {high}, {number(last)}."
    if info.change[most] < 0.02:
        return f"{where} the model does the same whatever is asked, from {low} to {high}."
    return (
        f"Asked for {low}, “{info.names[most]}” has probability {number(first, 2)}; "
        f"asked for {high}, {number(last, 2)}; on the way it varies by {number(info.change[most], 2)}."
    )
