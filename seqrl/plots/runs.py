"""Runs side by side: their settings and what came of them, in parallel coordinates."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import count, interval, number
from seqrl.plots.layout import EndLabel, add_end_labels, label_margin, round_step, shorten
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, family_colour

_HEIGHT = 460
_MOST_TICKS = 8
_WIDE_RATIO = 10.0
_LONGEST_WORD = 14
_MOST_MARKED = 24
"""Runs of a family whose values are dots, too; more dots hide the lines, and take long to draw."""


class Dimension(NamedTuple):
    """One upright: the height of every run in [0, 1], what it stands for, and ticks as (height, text)."""

    name: str
    heights: np.ndarray
    texts: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]


class ParallelRunsInfo(NamedTuple):
    """Settings in which runs differ; the last dimension is the result.

    Attributes:
        runs: their names, the best first.
        kinds: their families, for the colour.
        dimensions: the uprights from left to right: settings, other results, the result.
        settings: how many of them are settings.
        values: (R,) the result.
        value: its name.
        lower_is_better: which way the result is read.
        same: settings that all runs share.
        noun: what a line is: a run, or what several runs have in common.
    """

    runs: tuple[str, ...]
    kinds: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    settings: int
    values: np.ndarray
    value: str
    lower_is_better: bool
    same: tuple[str, ...]
    noun: str


def telling_settings(table: pd.DataFrame, value: str, most: int) -> list[str]:
    """The settings that explain most of a result, in the order of the table.

    A setting cuts the runs into groups; what it explains is the share of the result's variance that lies between them,
    adjusted for their number: ``1 - (1 - R²)(n - 1) / (n - groups)``. Of settings that cut alike only the first counts.

    Args:
        table: as `parallel_runs_info` takes it.
        value: the result.
        most: settings to choose.
    """
    results = pd.to_numeric(table[value], errors="coerce").to_numpy(float)
    known, results = table[np.isfinite(results)], results[np.isfinite(results)]
    explained: dict[tuple[int, ...], tuple[float, str]] = {}
    for name in (str(column) for column in table.columns if column != value):
        groups = pd.factorize(known[name].astype(str))[0]
        if len(set(groups)) > 1:
            explained.setdefault(tuple(groups), (_explained(groups, results), name))
    chosen = {name for _, name in sorted(explained.values(), reverse=True)[:most]}
    return [str(column) for column in table.columns if column in chosen]


def _explained(groups: np.ndarray, results: np.ndarray) -> float:
    """Share of the variance of results that lies between groups, adjusted for their number."""
    total, count = float(((results - results.mean()) ** 2).sum()), len(set(groups))
    if not total or count == len(results):
        return 0.0
    inside = sum(float(((part - part.mean()) ** 2).sum()) for part in (results[groups == g] for g in set(groups)))
    return 1 - (inside / total) * (len(results) - 1) / (len(results) - count)


def parallel_runs_info(
    table: pd.DataFrame,
    value: str,
    *,
    kinds: Mapping[str, str] | None = None,
    lower_is_better: bool = False,
    also: Sequence[str] = (),
    noun: str = "run",
) -> ParallelRunsInfo:
    """Arrange the settings in which runs differ.

    Args:
        table: one row a run, its name in the index, a column a setting, and the column ``value``.
        value: the result, the last upright; runs without a finite one are left out.
        kinds: run → dt, tt, bc, %bc or rvs.
        lower_is_better: True for a loss.
        also: columns that are further results; where they have no value, a run's line is interrupted.
        noun: what a row of the table is.
    """
    results = pd.to_numeric(table[value], errors="coerce").to_numpy(float) if len(table) else np.empty(0)
    table, results = table[np.isfinite(results)], results[np.isfinite(results)]
    order = np.argsort(results if lower_is_better else -results, kind="stable")
    table, results = table.iloc[order], results[order]
    columns = [str(name) for name in table.columns if name != value and name not in also]
    differing = [name for name in columns if len({str(setting) for setting in table[name]}) > 1]
    more = [name for name in also if table[name].notna().any()]
    shown = [*differing, *more, value] if len(table) else []
    runs = tuple(str(run) for run in table.index)
    return ParallelRunsInfo(
        runs=runs,
        kinds=tuple((kinds or {}).get(run, "") for run in runs),
        dimensions=tuple(_dimension(name, table[name], name in more) for name in shown),
        settings=len(differing),
        values=results,
        value=value,
        lower_is_better=lower_is_better,
        same=tuple(name for name in columns if name not in differing),
        noun=noun,
    )


def _dimension(name: str, column: pd.Series, gaps: bool = False) -> Dimension:
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number and (gaps or column.notna().all()):
        return _numbers(name, column.to_numpy(float))
    words = ["yes" if v is True else "no" if v is False else "–" if pd.isna(v) else str(v) for v in column]
    known = sorted(set(words))
    places = {word: (index + 0.5) / len(known) for index, word in enumerate(known)}
    ticks = tuple((place, shorten(word, _LONGEST_WORD)) for word, place in places.items())
    return Dimension(name, np.array([places[word] for word in words]), tuple(words), ticks)


def _numbers(name: str, values: np.ndarray) -> Dimension:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    wide = low > 0 and high / low > _WIDE_RATIO
    scale = np.log10 if wide else np.asarray
    bottom, top = float(scale(low)), float(scale(high))

    def height(value: float) -> float:
        if math.isnan(value):
            return math.nan
        return (float(scale(value)) - bottom) / (top - bottom) if top > bottom else 0.5

    different = np.unique(values[np.isfinite(values)])
    if len(different) <= _MOST_TICKS:
        marks = different
    elif wide:
        marks = 10.0 ** np.arange(math.ceil(bottom), math.floor(top) + 1)
    else:
        step = round_step(high - low, _MOST_TICKS - 1)
        marks = step * np.arange(math.ceil(low / step), math.floor(high / step) + 1)
    ticks = _apart([(height(mark), number(mark)) for mark in marks])
    return Dimension(name, np.array([height(value) for value in values]), tuple(map(number, values)), tuple(ticks))


def _apart(ticks: list[tuple[float, str]], gap: float = 0.05) -> list[tuple[float, str]]:
    """Leave out ticks that would overlap the one below."""
    kept: list[tuple[float, str]] = []
    for height, text in ticks:
        if not kept or height - kept[-1][0] >= gap:
            kept.append((height, text))
    return kept


def parallel_runs(info: ParallelRunsInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw each run as a line across its settings to its result, the best one strongest; ``customdata`` is the run.

    The other runs of a family share one trace, interrupted between them: a trace for each of a hundred runs takes
    Plotly ten times as long.
    """
    style = Style(theme, present)
    aside = 3.2 * style.sizes.font
    top = 20 + 1.3 * style.sizes.font * max([2, *(1 + _title(d).count("<br>") for d in info.dimensions)])
    margin = {"l": aside, "r": label_margin(info.runs[:1], style) + aside, "t": top, "b": 16}
    drawing = new_drawing(style, height=_HEIGHT, margin=margin, showlegend=False, uirevision="parallel_runs")
    if len(info.runs) < 2:
        return note(drawing, style, sentence(info))
    last = len(info.dimensions) - 1
    drawing.update_xaxes(visible=False, range=[0, last] if last else [-1, 0], fixedrange=True)
    drawing.update_yaxes(visible=False, range=[-0.02, 1.02], fixedrange=True)
    for kind in reversed(dict.fromkeys(info.kinds)):
        alike = [index for index in range(1, len(info.runs)) if info.kinds[index] == kind]
        if alike:
            _draw_runs(drawing, info, alike, style)
    _draw_runs(drawing, info, [0], style)
    _draw_uprights(drawing, info.dimensions, style)
    best = float(info.dimensions[-1].heights[0])
    colour = family_colour(info.kinds[0], theme)
    end = [EndLabel(info.runs[0], float(last), best, colour)]
    add_end_labels(drawing, end, style, right=float(last), y_range=(-0.02, 1.02), pixels=_HEIGHT - top - 16)
    drawing.layout["annotations"][-1]["xshift"] = aside
    return drawing.figure()


def _draw_runs(drawing: Drawing, info: ParallelRunsInfo, indices: Sequence[int], style: Style) -> None:
    """Runs of one family as one trace: every run's heights, then a gap."""
    best, uprights = list(indices) == [0], len(info.dimensions)
    runs = [info.runs[index] for index in indices]
    heights = [np.append([dimension.heights[index] for dimension in info.dimensions], np.nan) for index in indices]
    strength = 1.4 if best else 0.7
    drawing.add_scatter(
        x=np.tile(np.arange(uprights + 1), len(indices)),
        y=np.concatenate(heights),
        mode="lines+markers" if len(indices) <= _MOST_MARKED else "lines",
        line={"color": family_colour(info.kinds[indices[0]], style.theme), "width": style.sizes.line * strength},
        marker={"size": style.sizes.marker * (0.8 if best else 0.5)},
        cliponaxis=False,
        opacity=1.0 if best else 0.45,
        customdata=[run for run in runs for _ in range(uprights + 1)],
        text=[_told(info, index) for index in indices for _ in range(uprights + 1)],
        hovertemplate="%{text}<extra></extra>",
        name=runs[0] if len(runs) == 1 else count(len(runs), info.noun),
    )


def _told(info: ParallelRunsInfo, index: int) -> str:
    """What is said of a run where the mouse is over it: its name, and a line for every upright."""
    told = (f"{d.name.split('.')[-1].replace('_', ' ')} {d.texts[index]}" for d in info.dimensions)
    return "<br>".join([info.runs[index], *told])


def _draw_uprights(drawing: Drawing, dimensions: Sequence[Dimension], style: Style) -> None:
    """The uprights with their titles and ticks."""
    line, font = {"color": style.palette.axis, "width": 1}, {"size": style.sizes.font, "color": style.palette.ink}
    for place, dimension in enumerate(dimensions):
        drawing.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, line=line, layer="below")
        drawing.add_annotation(x=place, y=1, yshift=14, text=_title(dimension), font=font, yanchor="bottom")
        for height, text in dimension.ticks:
            beside = {"x": place, "y": height, "xshift": 7, "xanchor": "left"}
            drawing.add_annotation(text=text, bgcolor=style.palette.background, borderpad=1, **beside)


def _title(dimension: Dimension) -> str:
    return "<br>".join(textwrap.wrap(dimension.name.split(".")[-1].replace("_", " "), _LONGEST_WORD))


@sentence.register
def _(info: ParallelRunsInfo) -> str:
    if len(info.runs) < 2:
        return f"Two finished {info.noun}s are needed to compare settings."
    name = info.value.split(".")[-1].replace("_", " ")
    which = "lowest" if info.lower_is_better else "highest"
    differ = count(info.settings, "setting")
    return (
        f"The {name} of {count(len(info.runs), info.noun)} lies at {interval(info.values.min(), info.values.max())}, "
        f"{which} for {info.runs[0]}; they differ in {differ}."
    )
