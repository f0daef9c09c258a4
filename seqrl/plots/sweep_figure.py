"""How the sweep chart is drawn; what it shows is computed in `seqrl.plots.sweeps`."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.format import averaged, interval, number
from seqrl.plots.layout import MOST_DIRECT_LABELS, EndLabel, add_end_labels, label_margin, shorten
from seqrl.plots.sweeps import RtgSweepInfo, Series
from seqrl.plots.template import RIBBON_OPACITY, Style, Theme, family_colour, translucent

MOST_SVG_POINTS = 2000
"""With more single episodes than this they are drawn by WebGL."""

_HEIGHT = 560
_FLAT_POINTS = 25  # so that a flat line can be clicked anywhere
_SPIKE = 10.0
_DIAGONAL_NAME = "achieved = target"


def rtg_sweep(info: RtgSweepInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw achieved against target return on equal axes.

    Points of means carry ``customdata = [run, decoding, target]`` (target None where none was asked), dots of
    single episodes carry ``customdata = episode_id``. A diamond is what a model achieves that chose what to ask for.
    """
    style = Style(theme, present)
    if not info.series:
        return note(new_drawing(style, height=_HEIGHT), style, "No point is measured yet.")
    direct = len(info.series) <= MOST_DIRECT_LABELS
    names = [line.label for line in info.series]
    margin = {"l": 12, "t": 12, "b": 12, "r": label_margin(names, style) if direct else 16}
    drawing = new_drawing(style, height=_HEIGHT, showlegend=not direct, margin=margin, uirevision="rtg_sweep")
    _draw_axes(drawing, info, style)
    _draw_data(drawing, info, style)
    for line in info.series:
        _draw_ribbon(drawing, line, info, style)
    for line in info.series:
        _draw_dots(drawing, line, info, style)
    for line in info.series:
        _draw_line(drawing, line, info, style)
    for line in info.series:
        _draw_choice(drawing, line, style)
    if direct:
        ends = [_end(line, info, style) for line in info.series]
        pixels = _plot_pixels(info, style)
        add_end_labels(drawing, ends, style, right=info.axis[1], y_range=info.axis, pixels=pixels)
    return drawing.figure()


def _top(info: RtgSweepInfo) -> float:
    """Share of the height that the main plot takes; the data's density stands above it."""
    return 0.8 if info.data else 1.0


def _plot_pixels(info: RtgSweepInfo, style: Style) -> float:
    return (_HEIGHT - 24 - 4.2 * style.sizes.font) * _top(info)


def _draw_axes(drawing: Drawing, info: RtgSweepInfo, style: Style) -> None:
    ticks = {"range": list(info.axis), "dtick": info.step, "tick0": 0, "constrain": "domain"}
    drawing.update_xaxes(
        title_text=f"target return ({info.unit})", showgrid=False, showline=True, ticks="outside", ticklen=4, **ticks
    )
    drawing.update_layout(
        yaxis={
            "title": {"text": f"achieved return ({info.unit})"},
            "scaleanchor": "x",
            "scaleratio": 1,
            "domain": [0, _top(info)],
            **ticks,
        }
    )
    low, high = info.axis
    drawing.add_shape(
        type="line", x0=low, y0=low, x1=high, y1=high, line={"color": style.palette.ink, "width": 1, "dash": "3px,3px"}
    )
    length = 0.55 * style.sizes.small * len(_DIAGONAL_NAME) / _plot_pixels(info, style)
    x, y = _diagonal_place(info, length, rise=0.6 * style.sizes.small / _plot_pixels(info, style))
    font = {"size": style.sizes.small, "color": style.palette.ink}
    drawing.add_annotation(x=x, y=y, text=_DIAGONAL_NAME, textangle=-45, font=font)


def _diagonal_place(info: RtgSweepInfo, length: float, rise: float) -> tuple[float, float]:
    """Where beside the diagonal its name lies farthest from the lines; length and rise are shares of the axis."""
    low, high = info.axis
    width = high - low
    best, place = -1.0, (low, low)
    for centre in np.linspace(length / 2, 1 - length / 2, 25):
        for side in (1, -1):
            along = centre + np.linspace(-0.35, 0.35, 9) * length
            x, y = low + width * (along - side * rise), low + width * (along + side * rise)
            room = min((_distance(line, x, y) for line in info.series), default=np.inf) / width
            room = min(room, 0.1) + 0.01 * side
            if room > best + 1e-6:
                best, place = room, (float(x[4]), float(y[4]))
    return place


def _distance(line: Series, x: np.ndarray, y: np.ndarray) -> float:
    """Smallest vertical distance of a row of points from a line: 0 if it crosses, infinite where the line is not."""
    if line.flat and not len(line.target):
        return float(np.abs(y - line.flat[0]).min())
    above = np.interp(x, line.target, line.mean, left=np.inf, right=np.inf) - y
    known = above[np.isfinite(above)]
    crosses = len(known) > 0 and known.min() < 0 < known.max()
    return 0.0 if crosses else float(np.abs(above).min())


def _draw_data(drawing: Drawing, info: RtgSweepInfo, style: Style) -> None:
    """Shade targets outside the data, and stand the data's return density on the top margin."""
    palette = style.palette
    for start, end in info.outside:
        drawing.add_shape(
            type="rect",
            x0=start,
            x1=end,
            y0=info.axis[0],
            y1=info.axis[1],
            line_width=0,
            layer="below",
            fillcolor=translucent(palette.warning, palette.warning_opacity),
            name="outside the data",
        )
    if info.data is None:
        return
    edges, filled = info.density_edges, info.density[info.density > 0]
    # one return that half of the episodes share would flatten all others
    rooted = len(filled) > 0 and filled.max() > _SPIKE * np.median(filled)
    spans = [interval(start, end) for start, end in zip(edges[:-1], edges[1:], strict=True)]
    drawing.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=np.sqrt(info.density) if rooted else info.density,
        width=np.diff(edges) * 0.94,
        yaxis="y2",
        marker={"color": palette.data[2], "line": {"width": 0}},
        customdata=[[int(n), span] for n, span in zip(info.density, spans, strict=True)],
        hovertemplate="%{customdata[0]} episodes of the data<br>with a return of %{customdata[1]}<extra></extra>",
        showlegend=False,
        name="episodes in the data",
    )
    drawing.update_layout(
        yaxis2={"domain": [_top(info) + 0.03, 0.95], "visible": False, "fixedrange": True, "anchor": "x"}
    )
    title = "episodes in the data (height: square root)" if rooted else "episodes in the data"
    drawing.add_annotation(x=0, y=0.955, xref="x domain", yref="paper", text=title, xanchor="left", yanchor="bottom")


def _colour(line: Series, style: Style) -> str:
    return family_colour(line.kind, style.theme, *line.place)


def _flat_arrays(line: Series, info: RtgSweepInfo) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, mean, low and high of a line; a run that is asked for nothing crosses the whole plot."""
    if line.flat is None or len(line.target):
        return line.target, line.mean, line.low, line.high
    mean, low, high, _ = line.flat
    x = np.linspace(*info.axis, _FLAT_POINTS)
    return x, np.full(len(x), mean), np.full(len(x), low), np.full(len(x), high)


def _draw_ribbon(drawing: Drawing, line: Series, info: RtgSweepInfo, style: Style) -> None:
    x, _, low, high = _flat_arrays(line, info)
    colour = translucent(_colour(line, style), RIBBON_OPACITY)
    if len(x) == 1:
        x = x[0] + np.array([-0.006, 0.006]) * (info.axis[1] - info.axis[0])
        low, high = np.repeat(low, 2), np.repeat(high, 2)
    drawing.add_ribbon(x, low, high, colour, f"{line.label}, 95% interval", legendgroup=line.label)


def _draw_dots(drawing: Drawing, line: Series, info: RtgSweepInfo, style: Style) -> None:
    """Dots under the marker of a mean cannot be clicked: the marker is, and lists them."""
    if not len(line.dots.achieved):
        return
    covered = _covered(line, info, style)
    for chosen, clickable in ((covered, False), (~covered, True)):
        if chosen.any():
            _add_dots(drawing, line, info, style, np.flatnonzero(chosen), clickable)


def _covered(line: Series, info: RtgSweepInfo, style: Style) -> np.ndarray:
    reach = 0.5 * (style.sizes.marker + style.sizes.line) * (info.axis[1] - info.axis[0]) / _plot_pixels(info, style)
    covered = np.zeros(len(line.dots.achieved), dtype=bool)
    for other in info.series:
        same_target = np.isclose(line.dots.target[:, None], other.target[None, :], rtol=1e-9, atol=0)
        near = np.abs(line.dots.achieved[:, None] - other.mean[None, :]) < reach
        covered |= (same_target & near).any(axis=1)
    return covered


def _add_dots(
    drawing: Drawing, line: Series, info: RtgSweepInfo, style: Style, chosen: np.ndarray, clickable: bool
) -> None:
    dots, width = line.dots, info.axis[1] - info.axis[0]
    target, achieved = dots.target[chosen], dots.achieved[chosen]
    ids, lengths = dots.episode_id[chosen].tolist(), dots.length[chosen]
    unasked = np.isnan(target)
    # low-discrepancy jitter: the same episode always lies at the same place
    place = next(index for index, other in enumerate(info.series) if other is line)
    column = sum(not len(other.target) for other in info.series[:place])
    jitter = (chosen * 0.618034 + 0.37 * place) % 1.0 - 0.5
    x = np.where(unasked, info.axis[0] + width * (0.015 + 0.02 * column), target) + jitter * 0.016 * width
    asked = ["asked for nothing" if none else f"asked for {number(t)}" for none, t in zip(unasked, target, strict=True)]
    steps = ["" if math.isnan(n) else f" in {number(n)} steps" for n in lengths]
    text = [
        f"episode {i}: {line.label}<br>{a}, got {number(y)}{s}"
        for i, a, y, s in zip(ids, asked, achieved, steps, strict=True)
    ]
    crowd = len(dots.achieved) / max(len(line.target), 1)
    opacity = float(np.clip(0.28 * math.sqrt(40 / max(crowd, 40)), 0.06, 0.28)) * (1 if len(info.series) <= 2 else 0.75)
    total = sum(len(other.dots.achieved) for other in info.series)
    drawing.add_scatter(
        webgl=total > MOST_SVG_POINTS,
        x=x,
        y=achieved,
        mode="markers",
        marker={"size": style.sizes.dot, "color": _colour(line, style), "opacity": opacity, "line": {"width": 0}},
        selected={"marker": {"opacity": 1, "size": style.sizes.marker}},
        unselected={"marker": {"opacity": opacity}},
        customdata=ids,
        text=text,
        hovertemplate="%{text}<extra></extra>" if clickable else None,
        hoverinfo="text" if clickable else "skip",
        showlegend=False,
        legendgroup=line.label,
        name=f"{line.label}, single episodes",
    )


def _draw_line(drawing: Drawing, line: Series, info: RtgSweepInfo, style: Style) -> None:
    x, mean, low, high = _flat_arrays(line, info)
    greedy = line.decoding == "greedy"
    colour, sizes = _colour(line, style), style.sizes
    flat = not len(line.target)
    amounts = np.full(len(x), line.flat[3]) if flat and line.flat else line.episodes
    asked = ["asked for nothing" if flat else f"asked for {number(target)}" for target in x]
    text = [
        f"{line.label}<br>{a}, got {number(m)} {averaged(lo, hi, n)}"
        for a, m, lo, hi, n in zip(asked, mean, low, high, amounts, strict=True)
    ]
    drawing.add_scatter(
        x=x,
        y=mean,
        mode="lines" if flat else "lines+markers",
        line={"color": colour, "width": sizes.line, "dash": "7px,5px" if greedy else "solid"},
        marker={
            "size": sizes.marker,
            "color": style.palette.background if greedy else colour,
            "line": {"color": colour, "width": sizes.line * 0.8 if greedy else 0},
            "opacity": 1,
        },
        unselected={"marker": {"opacity": 1}},
        customdata=[[line.run, line.decoding, target] for target in ([None] * len(x) if flat else line.asked.tolist())],
        text=text,
        hovertemplate="%{text}<extra></extra>",
        legendgroup=line.label,
        name=shorten(line.label),
    )


def _draw_choice(drawing: Drawing, line: Series, style: Style) -> None:
    """Where the model chose what to ask for: a diamond with its interval, off the line of targets."""
    if line.choice is None:
        return
    chosen, mean, low, high, episodes = line.choice
    colour, sizes = _colour(line, style), style.sizes
    greedy = line.decoding == "greedy"
    drawing.add_scatter(
        x=[chosen],
        y=[mean],
        error_y={"symmetric": False, "array": [high - mean], "arrayminus": [mean - low], "width": 0, "color": colour},
        mode="markers",
        marker={
            "symbol": "diamond",
            "size": 1.7 * sizes.marker,
            "color": style.palette.background if greedy else colour,
            "line": {"color": colour if greedy else style.palette.ink, "width": sizes.line * 0.6},
        },
        customdata=[[line.run, line.decoding, None]],
        text=[
            f"{line.label}, left to choose<br>asks for {number(chosen)}, got {number(mean)} "
            f"{averaged(low, high, episodes)}"
        ],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        legendgroup=line.label,
        name=f"{line.label}, left to choose",
    )


def _end(line: Series, info: RtgSweepInfo, style: Style) -> EndLabel:
    x, mean, _, _ = _flat_arrays(line, info)
    return EndLabel(line.label, float(x[-1]), float(mean[-1]), _colour(line, style))
