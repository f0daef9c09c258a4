"""How episode strips are drawn; what they show is computed in `seqrl.plots.episodes`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import Drawing, new_drawing, note
from seqrl.plots.episodes import ActionStrip, EpisodeStripsInfo
from seqrl.plots.layout import finite_range, shorten
from seqrl.plots.template import (
    RIBBON_OPACITY,
    Style,
    Theme,
    family_colour,
    sequential,
    translucent,
)

CURSOR = "cursor"
"""Name of the shape that marks the chosen step."""

_HEIGHT = 540
_MOST_ROWS_NAMED = 6


class _Strip(NamedTuple):
    title: str
    weight: float
    axis: str
    bottom: float
    top: float


def episode_strips(
    info: EpisodeStripsInfo, theme: Theme = "light", present: bool = False, step: int | None = None
) -> go.Figure:
    """Draw the strips under each other on one time axis; lines carry ``customdata = [episode index, step]``.

    Args:
        info: from `episode_strips_info`.
        theme: light or dark.
        present: for a projector.
        step: where the cursor stands; None draws none. `move_cursor` moves it.
    """
    style = Style(theme, present)
    margin = {"l": 12, "t": 8, "b": 12, "r": 20}
    drawing = new_drawing(style, height=_HEIGHT, showlegend=False, margin=margin, uirevision="episode_strips")
    if not info.length:
        return note(drawing, style, "No episode is chosen yet.")
    strips = _strips(info, style)
    for strip in strips:
        drawing.layout[strip.axis.replace("y", "yaxis")] = {
            "domain": [strip.bottom, strip.top],
            "anchor": "x",
            "nticks": 4,
        }
        drawing.add_annotation(
            x=0, y=strip.top, xref="x domain", yref="paper", text=strip.title, xanchor="left", yanchor="bottom"
        )
    drawing.update_xaxes(
        title_text="time (steps)",
        range=[-0.5, max(info.length - 0.5, 0.5)],
        anchor=strips[-1].axis,
        showgrid=False,
        showline=True,
    )
    for strip in strips:
        _draw_strip(drawing, strip, info, style)
    if len(info.traces) > 1:
        _name_episodes(drawing, info, style)
    figure = drawing.figure()
    return move_cursor(figure, step, theme) if step is not None else figure


def move_cursor(figure: go.Figure, step: int, theme: Theme = "light") -> go.Figure:
    """Put the cursor of `episode_strips` at a step, drawing it if there is none."""
    shapes = [shape for shape in figure.layout.shapes if shape.name != CURSOR]
    line = {"color": Style(theme, False).palette.ink, "width": 1.5}
    cursor = {"type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1, "yref": "paper", "line": line, "name": CURSOR}
    figure.layout.shapes = [*shapes, cursor]
    return figure


def _strips(info: EpisodeStripsInfo, style: Style) -> list[_Strip]:
    """Share the height: room for a title above each strip, the return-to-go tallest."""
    wanted: list[tuple[str, float]] = [("return-to-go (reward)", 3.0)] if info.asked else []
    wanted.append(("reward", 1.3 if info.asked else 2.0))
    wanted += [("value (reward)", 1.8)] if info.valued else []
    for strip in info.actions:
        wanted.append((strip.title, 0.6 + 0.35 * min(len(strip.rows), 4) if strip.rows else 1.5))
    gap = 1.75 * style.sizes.small / (_HEIGHT - 20 - 4 * style.sizes.font)
    unit = (1.0 - gap * len(wanted)) / sum(weight for _, weight in wanted)
    strips, top = [], 1.0
    for place, (title, weight) in enumerate(wanted):
        top -= gap
        axis = "y" if place == 0 else f"y{place + 1}"
        strips.append(_Strip(title, weight, axis, max(top - unit * weight, 0.0), top))
        top -= unit * weight
    return strips


def _draw_strip(drawing: Drawing, strip: _Strip, info: EpisodeStripsInfo, style: Style) -> None:
    if strip.title == "return-to-go (reward)":
        _draw_lines(drawing, strip, [trace.returns_to_go for trace in info.traces], info, style)
    elif strip.title == "reward":
        _draw_lines(drawing, strip, [trace.rewards for trace in info.traces], info, style)
    elif strip.title == "value (reward)":
        _draw_lines(drawing, strip, [trace.values for trace in info.traces], info, style)
    else:
        action = next(action for action in info.actions if action.title == strip.title)
        if action.rows:
            _draw_heat_map(drawing, strip, action, info, style)
        else:
            _draw_actions(drawing, strip, action.dimension, info, style)


def _colour(info: EpisodeStripsInfo, index: int, style: Style) -> str:
    return family_colour(info.traces[index].kind, style.theme, *info.places[index])


def _draw_lines(
    drawing: Drawing, strip: _Strip, series: list[np.ndarray | None], info: EpisodeStripsInfo, style: Style
) -> None:
    reward = strip.title == "reward"
    for index, values in enumerate(series):
        if values is None or not np.isfinite(values).any():
            continue
        single = reward and len(info.traces) == 1
        colour = style.palette.reward if single else _colour(info, index, style)
        drawing.add_scatter(
            x=np.arange(len(values)),
            y=values,
            mode="lines" if len(values) > 1 else "markers",
            line={
                "color": colour,
                "width": style.sizes.line * (0.6 if reward else 0.9),
                "shape": "hv" if reward else "linear",
            },
            yaxis=strip.axis,
            customdata=[[index, step] for step in range(len(values))],
            hovertemplate=f"{info.traces[index].label}<br>step %{{x}}<br>{strip.title} %{{y:.4~g}}<extra></extra>",
            name=f"{info.traces[index].label}, {strip.title}",
        )
    finite = [np.asarray(values) for values in series if values is not None]
    low, high = finite_range(*finite, [0.0] if reward else [], pad=0.08)
    drawing.layout[strip.axis.replace("y", "yaxis")]["range"] = [low, high]


def _draw_actions(drawing: Drawing, strip: _Strip, dimension: int, info: EpisodeStripsInfo, style: Style) -> None:
    for index, trace in enumerate(info.traces):
        colour = _colour(info, index, style)
        actions = np.asarray(trace.actions, dtype=np.float64).reshape(len(trace.rewards), -1)[:, dimension]
        times = np.arange(len(actions))
        if trace.action_probabilities is not None:
            mean, std = np.asarray(trace.action_probabilities, dtype=np.float64)[:, :, dimension].T
            name, paler = f"{trace.label}, one standard deviation", translucent(colour, RIBBON_OPACITY)
            drawing.add_ribbon(times, mean - std, mean + std, paler, name, yaxis=strip.axis)
        drawing.add_scatter(
            x=times,
            y=actions,
            mode="lines" if len(times) > 1 else "markers",
            line={"color": colour, "width": style.sizes.line * 0.6},
            yaxis=strip.axis,
            customdata=[[index, step] for step in range(len(times))],
            hovertemplate=f"{trace.label}<br>step %{{x}}<br>{strip.title} %{{y:.3~g}}<extra></extra>",
            name=f"{trace.label}, {strip.title}",
        )


def _draw_heat_map(drawing: Drawing, strip: _Strip, action: ActionStrip, info: EpisodeStripsInfo, style: Style) -> None:
    index = action.episodes[0]
    colour = _colour(info, index, style)
    times = np.arange(action.cells.shape[1])
    what = "of its range" if info.continuous else "probability"
    drawing.add_heatmap(
        x=times,
        y=np.arange(len(action.rows)),
        z=action.cells,
        zmin=0,
        zmax=1,
        colorscale=sequential(colour, style.theme, deep=False),
        showscale=False,
        yaxis=strip.axis,
        customdata=np.repeat(np.array(action.rows)[:, None], len(times), axis=1),
        hovertemplate=f"step %{{x}}<br>%{{customdata}}: %{{z:.2f}} {what}<extra></extra>",
        name=action.title,
    )
    if len(action.chosen):
        drawing.add_scatter(
            x=times,
            y=action.chosen,
            mode="markers",
            marker={"size": 4 if style.present else 3, "color": style.palette.ink, "opacity": 0.7},
            yaxis=strip.axis,
            customdata=[[index, step] for step in range(len(times))],
            text=[action.rows[chosen] for chosen in action.chosen],
            hovertemplate="step %{x}<br>chosen: %{text}<extra></extra>",
            name=f"{info.traces[index].label}, chosen action",
        )
    axis = drawing.layout[strip.axis.replace("y", "yaxis")]
    axis.update(range=[len(action.rows) - 0.5, -0.5], showgrid=False, zeroline=False)
    if len(action.rows) <= _MOST_ROWS_NAMED:
        axis.update(tickvals=list(range(len(action.rows))), ticktext=[shorten(row, 14) for row in action.rows])


def _name_episodes(drawing: Drawing, info: EpisodeStripsInfo, style: Style) -> None:
    """The episodes' names in their colours, at the right above the first strip."""
    names = [
        f'<span style="color:{_colour(info, index, style)}">{shorten(trace.label, 24)}</span>'
        for index, trace in enumerate(info.traces)
    ]
    text = "&nbsp;&nbsp;&nbsp;&nbsp;".join(names)
    font = {"size": style.sizes.font}
    drawing.add_annotation(
        x=1, y=1, xref="x domain", yref="paper", text=text, font=font, xanchor="right", yanchor="top"
    )
