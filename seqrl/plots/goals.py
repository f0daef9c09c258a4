"""How often a goal is reached, against how far away it was at the start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import count, enumerate_words, interval, number, percent
from seqrl.plots.layout import MOST_DIRECT_LABELS, EndLabel, add_end_labels, finite_range, label_margin, shorten
from seqrl.plots.sentences import sentence
from seqrl.plots.template import RIBBON_OPACITY, Style, Theme, family_colour, translucent

_HEIGHT = 470
_RANGE = (-0.03, 1.05)


class GoalSeries(NamedTuple):
    """A run under a decoding; arrays have a row for each group of distances, from near to far.

    ``reached``, ``low`` and ``high`` are shares, ``steps`` the mean length of the episodes that reached their goal,
    ``place`` the run's index and the number of runs in its family.
    """

    label: str
    kind: str
    decoding: str
    place: tuple[int, int]
    distance: np.ndarray
    reached: np.ndarray
    low: np.ndarray
    high: np.ndarray
    steps: np.ndarray
    episodes: np.ndarray


class GoalSweepInfo(NamedTuple):
    """Lines of the chart, and the unit of the distance."""

    series: tuple[GoalSeries, ...]
    unit: str


def goal_sweep_info(
    table: pd.DataFrame,
    *,
    kinds: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    unit: str = "",
) -> GoalSweepInfo:
    """Arrange the success of a sweep for `goal_sweep`.

    Args:
        table: as `seqrl.calibration.success` returns it.
        kinds: run → dt, tt, bc, %bc or rvs; decides the colour.
        labels: run → name in the chart; without it the run's own.
        unit: of the distance.
    """
    kinds, labels = kinds or {}, labels or {}
    runs = list(dict.fromkeys(table["run"])) if len(table) else []
    series = []
    for run in runs:
        family = [other for other in runs if kinds.get(other, "") == kinds.get(run, "")]
        rows_of_run = table[table["run"] == run]
        targets = [str(target) for target in rows_of_run["target"].unique()]
        for (decoding, target), rows in rows_of_run.groupby(["decoding", "target"], dropna=False, sort=False):
            asked = "" if math.isnan(target) else f", asked for {number(target)}"
            values = (rows[name].to_numpy(float) for name in ("distance", "reached", "low", "high", "steps", "n"))
            place = (family.index(run) * len(targets) + targets.index(str(target)), len(family) * len(targets))
            label = f"{labels.get(run, run)} {decoding}{asked}"
            series.append(GoalSeries(label, kinds.get(run, ""), str(decoding), place, *values))
    return GoalSweepInfo(tuple(series), unit)


def goal_sweep(info: GoalSweepInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw one line for each run and decoding, with its interval."""
    style = Style(theme, present)
    direct = len(info.series) <= MOST_DIRECT_LABELS
    labels = [line.label for line in info.series] if direct else []
    margin = {"l": 12, "r": label_margin(labels, style) if direct else 16, "t": 16, "b": 12}
    drawing = new_drawing(style, height=_HEIGHT, showlegend=not direct, margin=margin)
    if not info.series:
        return note(drawing, style, "Nothing is measured yet.")
    low, high = finite_range(*[line.distance for line in info.series])
    ends = []
    for line in info.series:
        colour = family_colour(line.kind, style.theme, *line.place)
        _draw(drawing, line, info.unit, colour, style)
        ends.append(EndLabel(line.label, float(line.distance[-1]), float(line.reached[-1]), colour))
    unit = f" ({info.unit})" if info.unit else ""
    drawing.update_xaxes(title_text=f"distance of the goal at the start{unit}", range=[low, high], showline=True)
    drawing.update_yaxes(title_text="share of episodes that reach it", range=list(_RANGE), tickformat=".0%")
    pixels = _HEIGHT - 28 - 4.2 * style.sizes.font
    if direct:
        add_end_labels(drawing, ends, style, right=high, y_range=_RANGE, pixels=pixels)
    return drawing.figure()


def _draw(drawing: Drawing, line: GoalSeries, unit: str, colour: str, style: Style) -> None:
    greedy, sizes = line.decoding == "greedy", style.sizes
    paler = translucent(colour, RIBBON_OPACITY)
    drawing.add_ribbon(line.distance, line.low, line.high, paler, f"{line.label}, 95% interval")
    away = f" {unit}" if unit else ""
    rows = zip(line.distance, line.reached, line.low, line.high, line.episodes, line.steps, strict=True)
    drawing.add_scatter(
        x=line.distance,
        y=line.reached,
        mode="lines+markers",
        line={"color": colour, "width": sizes.line, "dash": "7px,5px" if greedy else "solid"},
        marker={
            "size": sizes.marker,
            "color": style.palette.background if greedy else colour,
            "line": {"color": colour, "width": sizes.line * 0.8 if greedy else 0},
        },
        text=[
            f"{line.label}<br>{number(d)}{away} away: {percent(r)} reach it"
            f"<br>95% interval {interval(100 * lo, 100 * hi)} %, {count(int(n), 'episode')}"
            + ("" if math.isnan(s) else f"<br>in {number(s)} steps on average")
            for d, r, lo, hi, n, s in rows
        ],
        hovertemplate="%{text}<extra></extra>",
        name=shorten(line.label),
    )


@sentence.register
def _(info: GoalSweepInfo) -> str:
    if not info.series:
        return "Nothing is measured yet."
    shares = {line.label: float((line.reached * line.episodes).sum() / line.episodes.sum()) for line in info.series}
    told = enumerate_words([f"{label} {percent(share)}" for label, share in shares.items()])
    if len(shares) > MOST_DIRECT_LABELS:
        worst, best = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        told = f"{percent(shares[worst])} ({worst}) to {percent(shares[best])} ({best})"
        if shares[worst] == shares[best]:
            told = f"all {number(len(shares))} lines alike, {percent(shares[best])}"
    near, far = (f(float(f(line.distance)) for line in info.series) for f in (min, max))
    unit = f" {info.unit}" if info.unit else ""
    return f"Goals {number(near)} to {number(far)}{unit} away are reached by {told}."
