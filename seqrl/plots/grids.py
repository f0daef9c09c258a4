"""What a grid of trainings achieved against one of its settings, with the interval over the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import NO_VALUE, count, number, with_interval
from seqrl.plots.layout import MOST_DIRECT_LABELS, EndLabel, add_end_labels, finite_range, label_margin
from seqrl.plots.sentences import sentence
from seqrl.plots.template import RIBBON_OPACITY, Style, Theme, family_colour, translucent

_HEIGHT = 440
_DIGITS = 6
MOST_RIBBONS = 6
"""With more lines the intervals would cover each other; bars stand in their place."""


class GridLine(NamedTuple):
    """The combinations that share all settings but the one of the axis.

    Attributes:
        label: what they share.
        places: (P,) on the axis.
        means: (P,) over the seeds.
        low: (P,) end of the 95 % interval, NaN for a single run.
        high: (P,) its other end.
        counts: (P,) runs behind each mean.
        dots: (place, value) of every single run.
    """

    label: str
    places: np.ndarray
    means: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    dots: tuple[tuple[float, float], ...]


class GridInfo(NamedTuple):
    """A result against a setting.

    Attributes:
        lines: one for each combination of the other settings.
        ticks: the values of the setting, as text, from left to right; the places are 0, 1, ...
        setting: what the axis shows.
        value: what the result is called.
        lower_is_better: which way it is read.
        kind: the family of all its runs, for the colour.
        best: combination and mean, low, high, runs of the best; empty without a finished run.
        second: the same of the second best.
    """

    lines: tuple[GridLine, ...]
    ticks: tuple[str, ...]
    setting: str
    value: str
    lower_is_better: bool
    kind: str
    best: tuple[str, float, float, float, int] | None
    second: tuple[str, float, float, float, int] | None


def grid_info(
    means: pd.DataFrame,
    runs: pd.DataFrame,
    setting: str,
    others: Sequence[str],
    value: str,
    *,
    title: str,
    kind: str,
    lower_is_better: bool,
) -> GridInfo:
    """Arrange a result of a grid against one of its settings.

    Args:
        means: one row a combination: ``combination``, a column a setting, ``value``, ``value_low``, ``value_high``.
        runs: one row a run: ``combination`` and ``value``.
        setting: the axis.
        others: the other settings that vary.
        value: the result; combinations without one are left out.
        title: what the result is called.
        kind: dt, tt, bc, %bc or rvs.
        lower_is_better: True for a loss.
    """
    known = means[means[value].notna()]
    ticks = tuple(dict.fromkeys(_told(value) for value in sorted(known[setting].tolist(), key=_order)))
    place = {text: float(index) for index, text in enumerate(ticks)}
    singles = runs[runs[value].notna()]
    lines = []
    groups = known.groupby([known[name].map(_told) for name in others], sort=False) if others else [((), known)]
    for shared, group in groups:
        group = group.assign(_place=group[setting].map(_told).map(place)).sort_values("_place")
        told = zip(others, shared if isinstance(shared, tuple) else (shared,), strict=True)
        of = singles[singles["combination"].isin(group["combination"])]
        where = dict(zip(group["combination"], group["_place"], strict=True))
        dots = tuple(zip(of["combination"].map(where).astype(float), of[value].astype(float), strict=True))
        places, mean, low, high = (
            group[name].to_numpy(float) for name in ("_place", value, f"{value}_low", f"{value}_high")
        )
        counts = np.array([int((of["combination"] == name).sum()) for name in group["combination"]])
        label = ", ".join(f"{setting_name(name)} {text}" for name, text in told)
        lines.append(GridLine(label, places, mean, low, high, counts, dots))
    ranked = known.sort_values(value, ascending=lower_is_better, kind="stable")
    top = [_top(row, singles, [setting, *others], value) for _, row in ranked.head(2).iterrows()]
    best, second = (*top, None, None)[:2]
    return GridInfo(tuple(lines), ticks, setting, title, lower_is_better, kind, best, second)


def _top(
    row: pd.Series, singles: pd.DataFrame, settings: Sequence[str], value: str
) -> tuple[str, float, float, float, int]:
    told = ", ".join(f"{setting_name(name)} {_told(row[name])}" for name in settings)
    amount = int((singles["combination"] == row["combination"]).sum())
    return told, float(row[value]), float(row[f"{value}_low"]), float(row[f"{value}_high"]), amount


def setting_name(name: str) -> str:
    """A setting in words.

    >>> setting_name("model.context_length")
    'context length'
    """
    return name.rpartition(".")[2].replace("_", " ")


def _order(value: object) -> tuple[bool, float, str]:
    """Nothing first, then numbers by size, then words by letters."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return False, -math.inf if math.isnan(value) else float(value), ""
    return value is not None, -math.inf, str(value)


def _told(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None:
        return NO_VALUE
    return number(float(value), _DIGITS) if isinstance(value, int | float | np.number) else str(value)


def grid(info: GridInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw every finished run as a dot, the means as lines, and the 95 % interval over the seeds around them."""
    style = Style(theme, present)
    lines = info.lines
    labelled = len(lines) > 1
    direct = labelled and len(lines) <= MOST_DIRECT_LABELS
    right = label_margin([line.label for line in lines], style) if direct else 16
    drawing = new_drawing(
        style,
        height=_HEIGHT,
        showlegend=labelled and not direct,
        margin={"l": 12, "t": 16, "b": 12, "r": right},
        uirevision=f"grid {info.setting} {info.value}",
    )
    if not lines:
        return note(drawing, style, "No run is finished yet.")
    for index, line in enumerate(lines):
        _draw_line(drawing, info, line, family_colour(info.kind, theme, index, len(lines)), style)
    last = len(info.ticks) - 1
    drawing.update_xaxes(
        title_text=setting_name(info.setting),
        tickvals=list(range(len(info.ticks))),
        ticktext=list(info.ticks),
        range=[-0.3, last + 0.3],
        showgrid=False,
        zeroline=False,
        showline=True,
    )
    heights = [part for line in lines for part in (line.means, line.low, line.high, [y for _, y in line.dots])]
    low, high = finite_range(*heights, pad=0.08)
    drawing.update_yaxes(title_text=info.value, range=[low, high])
    if direct:
        colours = [family_colour(info.kind, theme, index, len(lines)) for index in range(len(lines))]
        ends = [
            EndLabel(line.label, float(line.places[-1]), float(line.means[-1]), colour)
            for line, colour in zip(lines, colours, strict=True)
        ]
        pixels = _HEIGHT - 28 - 4.2 * style.sizes.font
        add_end_labels(drawing, ends, style, right=last + 0.3, y_range=(low, high), pixels=pixels)
    return drawing.figure()


def _draw_line(drawing: Drawing, info: GridInfo, line: GridLine, colour: str, style: Style) -> None:
    known = np.isfinite(line.low) & np.isfinite(line.high)
    ribbons = len(info.lines) <= MOST_RIBBONS and known.sum() > 1
    if ribbons:
        shade = translucent(colour, RIBBON_OPACITY)
        drawing.add_ribbon(line.places[known], line.low[known], line.high[known], shade, f"95 % interval, {line.label}")
    drawing.add_scatter(
        x=[x for x, _ in line.dots],
        y=[y for _, y in line.dots],
        mode="markers",
        marker={"size": style.sizes.dot * 1.2, "color": translucent(colour, 0.5)},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=line.label,
        name=f"single runs, {line.label}",
    )
    bars = None
    if not ribbons:
        ends = {"array": np.nan_to_num(line.high - line.means), "arrayminus": np.nan_to_num(line.means - line.low)}
        bars = {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4, **ends}
    told = [
        with_interval(mean, low, high) + f" over {count(amount, 'run')}"
        for mean, low, high, amount in zip(line.means, line.low, line.high, line.counts, strict=True)
    ]
    head = f"{line.label}<br>" if line.label else ""
    drawing.add_scatter(
        x=line.places,
        y=line.means,
        error_y=bars,
        mode="lines+markers",
        line={"color": colour, "width": style.sizes.line},
        marker={"size": style.sizes.marker, "color": colour},
        text=[
            f"{setting_name(info.setting)} {info.ticks[int(place)]}<br>{text}"
            for place, text in zip(line.places, told, strict=True)
        ],
        hovertemplate=f"{head}%{{text}}<extra></extra>",
        legendgroup=line.label,
        name=line.label or "mean over the seeds",
    )


@sentence.register
def _(info: GridInfo) -> str:
    if info.best is None:
        return "No run is finished yet."
    told, mean, low, high, runs = info.best
    noun = info.value.removeprefix("best ").removeprefix("highest ")
    which = "lowest" if info.lower_is_better else "highest"
    best = f"The {which} {noun} is {with_interval(mean, low, high)}, with {told}"
    if info.second is None:
        return f"{best}."
    _, other, other_low, other_high, other_runs = info.second
    if runs < 2 or other_runs < 2:
        return f"{best}; one run of each combination does not tell it from luck, more seeds would."
    second = f"the next has {with_interval(other, other_low, other_high)}"
    if low > other_high or high < other_low:
        return f"{best}; {second}: the intervals over {count(runs, 'seed')} do not overlap."
    return f"{best}; {second}: over {count(runs, 'seed')} the two are not told apart."
