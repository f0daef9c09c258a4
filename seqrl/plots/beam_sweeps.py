"""What planning buys and costs: return and time per decision against beam width and horizon."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import averaged, duration, number
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
from seqrl.plots.template import RIBBON_OPACITY, Style, Theme, family_colour, translucent

_HEIGHT = 540
_SPLIT = 0.36
_GAP = 0.08
_UNPLANNED = -1.0


class BeamLine(NamedTuple):
    """One horizon of one run; arrays have a row a beam width, sorted."""

    run: str
    horizon: int
    label: str
    kind: str
    place: tuple[int, int]
    width: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seconds: np.ndarray
    episodes: np.ndarray


class BeamSweepInfo(NamedTuple):
    """Points of a beam sweep.

    Attributes:
        lines: one a run and horizon.
        unplanned: run → (mean, low, high, seconds, episodes) without planning (width 0), where measured.
        dots: episode_id, run, horizon, width and achieved return of single episodes.
        references: name → return to compare with, drawn as hairlines.
    """

    lines: tuple[BeamLine, ...]
    unplanned: dict[str, tuple[float, float, float, float, int]]
    dots: pd.DataFrame
    references: dict[str, float]


def beam_sweep_info(
    points: pd.DataFrame,
    *,
    kinds: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    episodes: pd.DataFrame | None = None,
    references: Mapping[str, float] | None = None,
) -> BeamSweepInfo:
    """Arrange the points of a beam sweep, finished or not.

    Args:
        points: run, width, horizon, n, mean, low, high, seconds_per_decision; width 0 is without planning.
        kinds: run → family, "tt" by default.
        labels: run → name in the chart.
        episodes: episode_id, run, width, horizon, achieved_return.
        references: name → return, "the data's mean" for example.
    """
    kinds, labels = kinds or {}, labels or {}
    runs = list(dict.fromkeys(points["run"])) if len(points) else []
    planned = points[points["width"] > 0] if len(points) else points
    pairs = [(run, int(h)) for run in runs for h in sorted(set(planned[planned["run"] == run]["horizon"]))]
    lines = []
    for run, horizon in pairs:
        cells = planned[(planned["run"] == run) & (planned["horizon"] == horizon)].sort_values("width")
        kind = kinds.get(run, "tt")
        family = [pair for pair in pairs if kinds.get(pair[0], "tt") == kind]
        name = labels.get(run, run.removeprefix("demo/"))
        label = f"horizon {horizon}" if len(runs) == 1 else f"{name}, horizon {horizon}"
        columns = [cells[c].to_numpy(float) for c in ("width", "mean", "low", "high", "seconds_per_decision", "n")]
        lines.append(BeamLine(run, horizon, label, kind, (family.index((run, horizon)), len(family)), *columns))
    unplanned = {}
    for row in points[points["width"] == 0].itertuples() if len(points) else ():
        unplanned[str(row.run)] = (row.mean, row.low, row.high, row.seconds_per_decision, int(row.n))
    columns_of_dots = ["episode_id", "run", "horizon", "width", "achieved_return"]
    dots = pd.DataFrame(columns=columns_of_dots) if episodes is None else episodes[columns_of_dots]
    return BeamSweepInfo(tuple(lines), unplanned, dots, dict(references or {}))


def _place(width: np.ndarray | float) -> np.ndarray:
    """Where a width lies on the axis: doubling it is one step to the right, not planning lies left of width 1."""
    widths = np.asarray(width, dtype=np.float64)
    return np.where(widths > 0, np.log2(np.maximum(widths, 1)), _UNPLANNED)


def beam_sweep(info: BeamSweepInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw return above and time per decision below, on one axis of beam widths.

    Points carry ``customdata = [run, width, horizon]``, single episodes ``customdata = episode_id``.
    """
    style = Style(theme, present)
    if not info.lines and not info.unplanned:
        return note(new_drawing(style, height=_HEIGHT), style, "No point is measured yet.")
    direct = len(info.lines) <= MOST_DIRECT_LABELS
    names = [line.label for line in info.lines] + list(info.references)
    margin = {"l": 12, "t": 32, "b": 12, "r": label_margin(names, style) if direct else 16}
    drawing = new_drawing(style, height=_HEIGHT, showlegend=not direct, margin=margin, uirevision="beam_sweep")
    widths = sorted(
        {width for line in info.lines for width in line.width.tolist()} | ({0.0} if info.unplanned else set())
    )
    places = _place(np.array(widths))
    right = float(places.max()) + 0.25
    drawing.update_xaxes(
        title_text="beam width (imagined futures)",
        tickvals=places.tolist(),
        ticktext=["none" if width == 0 else number(width) for width in widths],
        range=[float(places.min()) - 0.35, right],
        anchor="y2",
        showgrid=False,
        zeroline=False,
        showline=True,
    )
    pixels = (_HEIGHT - 44 - 5 * style.sizes.font) * (1 - _SPLIT - _GAP)
    heights = _set_axes(drawing, info, style)
    reach = 0.5 * (style.sizes.marker + style.sizes.dot) * (heights[1] - heights[0]) / pixels
    _draw_dots(drawing, info, style, reach)
    for line in info.lines:
        _draw_line(drawing, line, style)
    _draw_unplanned(drawing, info, style)
    _draw_references(drawing, info, style)
    if direct:
        ends = [
            EndLabel(line.label, float(_place(line.width)[-1]), float(line.mean[-1]), _colour(line, style))
            for line in info.lines
        ]
        ends += [EndLabel(name, right, value, style.palette.muted) for name, value in info.references.items()]
        add_end_labels(drawing, ends, style, right=right, y_range=heights, pixels=pixels)
    return drawing.figure()


def _colour(line: BeamLine, style: Style) -> str:
    return family_colour(line.kind, style.theme, *line.place)


def _set_axes(drawing: Drawing, info: BeamSweepInfo, style: Style) -> tuple[float, float]:
    returns = [part for line in info.lines for part in (line.low, line.high, line.mean)]
    returns += [np.array(row[:3]) for row in info.unplanned.values()]
    returns += [np.array(list(info.references.values())), info.dots["achieved_return"].to_numpy(float)]
    low, high = finite_range(*returns, pad=0.06)
    times = [line.seconds for line in info.lines] + [np.array([row[3]]) for row in info.unplanned.values()]
    positive = [np.log10(part[part > 0]) for part in times]
    fast, slow = finite_range(*positive, pad=0.15)
    ticks = log_ticks(fast, slow)
    drawing.update_layout(
        yaxis={"domain": [_SPLIT + _GAP, 1], "range": [low, high]},
        yaxis2={
            "domain": [0, _SPLIT],
            "type": "log",
            "range": [fast, slow],
            "tickvals": ticks["tickvals"],
            "ticktext": [duration(value) for value in ticks["tickvals"]],
            "anchor": "x",
        },
    )
    for top, title in ((1.0, "achieved return (reward)"), (_SPLIT, "time per decision")):
        drawing.add_annotation(
            x=0, y=top, xref="x domain", yref="paper", text=title, xanchor="left", yanchor="bottom", yshift=2
        )
    return low, high


def _draw_dots(drawing: Drawing, info: BeamSweepInfo, style: Style, reach: float) -> None:
    """Dots within ``reach`` of a mean lie under its marker: that is what can be clicked there."""
    dots = info.dots
    heights: dict[float, list[float]] = {0.0: [row[0] for row in info.unplanned.values()]}
    for line in info.lines:
        for width, mean in zip(line.width, line.mean, strict=True):
            heights.setdefault(float(width), []).append(float(mean))
    covered = np.array(
        [
            any(abs(achieved - mean) < reach for mean in heights.get(float(width), []))
            for width, achieved in zip(dots["width"], dots["achieved_return"], strict=True)
        ],
        dtype=bool,
    )
    for clickable, shown in ((False, dots[covered]), (True, dots[~covered])):
        for line in info.lines:
            own = shown[(shown["run"] == line.run) & (shown["horizon"] == line.horizon) & (shown["width"] > 0)]
            _add_dots(drawing, own, _colour(line, style), line.label, style, clickable)
        _add_dots(drawing, shown[shown["width"] == 0], style.palette.muted, "no planning", style, clickable)


def _add_dots(drawing: Drawing, own: pd.DataFrame, colour: str, label: str, style: Style, clickable: bool) -> None:
    if own.empty:
        return
    jitter = (np.arange(len(own)) * 0.618034 % 1.0 - 0.5) * 0.14
    drawing.add_scatter(
        x=_place(own["width"].to_numpy(float)) + jitter,
        y=own["achieved_return"].to_numpy(float),
        mode="markers",
        marker={"size": style.sizes.dot, "color": colour, "opacity": 0.25, "line": {"width": 0}},
        customdata=own["episode_id"].tolist(),
        hovertemplate=f"episode %{{customdata}}: {label}<br>got %{{y:.4~g}}<extra></extra>" if clickable else None,
        hoverinfo=None if clickable else "skip",
        showlegend=False,
        name=f"{label}, single episodes",
    )


def _draw_line(drawing: Drawing, line: BeamLine, style: Style) -> None:
    colour, x = _colour(line, style), _place(line.width)
    paler = translucent(colour, RIBBON_OPACITY)
    drawing.add_ribbon(x, line.low, line.high, paler, f"{line.label}, 95% interval", legendgroup=line.label)
    cells = [[line.run, int(width), line.horizon] for width in line.width]
    rows = zip(line.width, line.mean, line.low, line.high, line.seconds, line.episodes, strict=True)
    text = [
        f"{line.label}, width {number(w)}<br>got {number(m)} {averaged(lo, hi, n)}<br>{duration(s)} per decision"
        for w, m, lo, hi, s, n in rows
    ]
    for values, axis in ((line.mean, "y"), (line.seconds, "y2")):
        drawing.add_scatter(
            x=x,
            y=values,
            yaxis=axis,
            mode="lines+markers",
            line={"color": colour, "width": style.sizes.line * (1 if axis == "y" else 0.7)},
            marker={"size": style.sizes.marker * (1 if axis == "y" else 0.7), "color": colour},
            customdata=cells,
            text=text,
            hovertemplate="%{text}<extra></extra>",
            showlegend=axis == "y",
            legendgroup=line.label,
            name=shorten(line.label) if axis == "y" else f"{line.label}, time",
        )


def _draw_unplanned(drawing: Drawing, info: BeamSweepInfo, style: Style) -> None:
    for run, (mean, low, high, seconds, episodes) in info.unplanned.items():
        text = f"{run}, no planning<br>got {number(mean)} {averaged(low, high, episodes)}"
        for value, axis in ((mean, "y"), (seconds, "y2")):
            spread = {
                "type": "data",
                "symmetric": False,
                "array": [high - mean],
                "arrayminus": [mean - low],
                "width": 0,
            }
            drawing.add_scatter(
                x=[_UNPLANNED],
                y=[value],
                yaxis=axis,
                mode="markers",
                marker={"size": style.sizes.marker, "color": style.palette.muted, "symbol": "diamond"},
                error_y=spread | {"color": style.palette.muted, "thickness": style.sizes.line} if axis == "y" else None,
                customdata=[[run, 0, 0]],
                hovertemplate=f"{text}<br>{duration(seconds)} per decision<extra></extra>",
                showlegend=False,
                name=f"{run}, no planning",
            )


def _draw_references(drawing: Drawing, info: BeamSweepInfo, style: Style) -> None:
    for name, value in info.references.items():
        drawing.add_shape(
            type="line",
            x0=0,
            x1=1,
            xref="x domain",
            y0=value,
            y1=value,
            line={"color": style.palette.muted, "width": 1, "dash": "3px,3px"},
            layer="below",
            name=name,
        )


@sentence.register
def _(info: BeamSweepInfo) -> str:
    best = _best(info.lines)
    if best is None:
        if not info.unplanned:
            return "No point is measured yet."
        mean = next(iter(info.unplanned.values()))[0]
        return f"Without planning, {number(mean)} on average; no plan is measured yet."
    line, at = best
    told = (
        f"The best is {number(line.mean[at])} on average, with beam width {number(line.width[at])} and "
        f"horizon {line.horizon}, at {duration(line.seconds[at])} per decision"
    )
    if line.run in info.unplanned:
        told += f"; without planning, {number(info.unplanned[line.run][0])}"
    return f"{told}."


def _best(lines: Sequence[BeamLine]) -> tuple[BeamLine, int] | None:
    """The point with the highest mean; of equal ones the fastest."""
    ranked = [
        (float(mean), -float(seconds), place, at)
        for place, line in enumerate(lines)
        for at, (mean, seconds) in enumerate(zip(line.mean, line.seconds, strict=True))
        if math.isfinite(mean)
    ]
    if not ranked:
        return None
    _, _, place, at = max(ranked)
    return lines[place], at
