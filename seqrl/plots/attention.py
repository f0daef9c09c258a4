"""Where a model attends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import enumerate_words, percent
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, sequential

_KIND_NAMES = {"R": "returns-to-go", "g": "goals", "s": "states", "a": "actions", "r": "rewards", "V": "values"}


class AttentionInfo(NamedTuple):
    """Attention weights and the names of the tokens.

    Attributes:
        weights: (L, H, Q, T); row q says how token ``rows[q]`` spreads its attention, and adds up to one.
        tokens: (T,) names such as "R 12", "s 12", "a 12": kind and timestep.
        rows: (Q,) token that each row belongs to.
        chosen: (layer, head) to show large.
        query: row that is read, the last one by default.
        shares: kind → share of the query's attention.
        back: timesteps from the query to the token that it attends to most.
    """

    weights: np.ndarray
    tokens: tuple[str, ...]
    rows: np.ndarray
    chosen: tuple[int, int]
    query: int
    shares: dict[str, float]
    back: int


def attention_info(
    weights: np.ndarray,
    kinds: Sequence[str],
    timesteps: Sequence[int] | np.ndarray,
    *,
    layer: int = 0,
    head: int = 0,
    query: int = -1,
    names: Sequence[str] = (),
) -> AttentionInfo:
    """Arrange attention weights for `attention`, `attention_heads` and `attention_grid`.

    Args:
        weights: (L, H, Q, T), with a row for every token (Q = T) or for the observation tokens only.
        kinds: (T,) of the tokens: "R" return-to-go, "g" goal, "s" observation, "a" action, "r" reward, "V" value.
        timesteps: (T,) the step that each token belongs to.
        layer: to show.
        head: to show.
        query: row to read; negative ones count from the last.
        names: (T,) of the tokens, such as the dimension that one stands for; their kinds by default.

    Raises:
        ValueError: if kinds or timesteps do not fit, or the layer or head does not exist.
    """
    weights = np.asarray(weights, dtype=np.float64)
    layers, heads, queries, length = weights.shape
    if len(kinds) != length or len(timesteps) != length:
        raise ValueError(f"{len(kinds)} kinds and {len(timesteps)} timesteps for {length} tokens; give one a token")
    observed = [index for index, kind in enumerate(kinds) if kind == "s"]
    if queries not in (length, len(observed)):
        raise ValueError(
            f"{queries} rows for {length} tokens with {len(observed)} states; give a row for each of either"
        )
    if not (0 <= layer < layers and 0 <= head < heads):
        raise ValueError(f"layer {layer}, head {head} of {layers} layers with {heads} heads; choose below that")
    rows = np.arange(length) if queries == length else np.array(observed, dtype=np.int64)
    tokens = tuple(f"{kind} {int(step)}" for kind, step in zip(names or kinds, timesteps, strict=True))
    shares: dict[str, float] = {}
    back, query = 0, query % queries if queries else 0
    if queries:
        row = weights[layer, head, query]
        shares = {kind: float(row[[own == kind for own in kinds]].sum()) for kind in dict.fromkeys(kinds)}
        back = int(timesteps[rows[query]]) - int(timesteps[int(row.argmax())])
    return AttentionInfo(weights, tokens, rows, (layer, head), query, shares, back)


def _seen(info: AttentionInfo, layer: int, head: int) -> np.ndarray:
    """Weights of one head, (Q, T), NaN where a row's future lies."""
    past = np.arange(len(info.tokens))[None, :] <= info.rows[:, None]
    return np.where(past, info.weights[layer, head], np.nan)


def attention(info: AttentionInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw one head's attention; cells carry ``customdata = [attending token, attended token]``."""
    style = Style(theme, present)
    square = len(info.rows) == len(info.tokens)
    drawing = new_drawing(style, height=520 if square else 440, showlegend=False)
    if not len(info.rows):
        return note(drawing, style, "Choose a step to see where the model attends.")
    attending = [info.tokens[row] for row in info.rows]
    drawing.add_heatmap(
        z=_seen(info, *info.chosen),
        x=np.arange(len(info.tokens)),
        y=np.arange(len(attending)),
        zmin=0,
        colorscale=sequential(style.palette.dt, theme),
        hoverongaps=False,
        customdata=[[[row, column] for column in info.tokens] for row in attending],
        hovertemplate="%{customdata[0]} attends to %{customdata[1]}: %{z:.2~f}<extra></extra>",
        colorbar={"title": {"text": "attention", "side": "right"}, "thickness": 12, "outlinewidth": 0, "nticks": 5},
        name="attention",
    )
    shared = {"showgrid": False, "zeroline": False} | ({"constrain": "domain"} if square else {})
    most = 10 if present else 20
    drawing.update_xaxes(
        title_text="attended token", range=[-0.5, len(info.tokens) - 0.5], **shared, **_ticks(info.tokens, most)
    )
    drawing.update_yaxes(
        title_text="attending token",
        scaleanchor="x" if square else None,
        range=[len(attending) - 0.5, -0.5],
        **shared,
        **_ticks(attending, most),
    )
    frame = {"color": style.palette.ink, "width": 1}
    y, last = info.query, int(info.rows[info.query])
    drawing.add_shape(type="rect", x0=-0.5, x1=last + 0.5, y0=y - 0.5, y1=y + 0.5, line=frame, name="query")
    return drawing.figure()


def attention_heads(info: AttentionInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw how every head reads the chosen row: a row a head; cells carry ``customdata = layer * heads + head``."""
    style = Style(theme, present)
    layers, heads, queries, length = info.weights.shape
    drawing = new_drawing(style, height=int(np.clip(200 + 22 * layers * heads, 300, 560)), showlegend=False)
    if not queries:
        return note(drawing, style, "Choose a step to see where the model attends.")
    last = int(info.rows[info.query]) + 1
    rows = info.weights[:, :, info.query, :last].reshape(layers * heads, last)
    names = [f"layer {place // heads + 1}, head {place % heads + 1}" for place in range(layers * heads)]
    places = np.repeat(np.arange(layers * heads)[:, None], last, axis=1)
    said = [[f"{name}<br>{token}" for token in info.tokens[:last]] for name in names]
    drawing.add_heatmap(
        z=rows,
        x=np.arange(last),
        y=np.arange(len(names)),
        zmin=0,
        colorscale=sequential(style.palette.dt, theme),
        customdata=places,
        text=said,
        hovertemplate="%{text}: %{z:.2~f}<extra></extra>",
        colorbar={"title": {"text": "attention", "side": "right"}, "thickness": 12, "outlinewidth": 0, "nticks": 5},
        name="attention",
    )
    shared = {"showgrid": False, "zeroline": False}
    drawing.update_xaxes(
        title_text="attended token", range=[-0.5, last - 0.5], **shared, **_ticks(info.tokens[:last], 20)
    )
    drawing.update_yaxes(range=[len(names) - 0.5, -0.5], tickvals=list(range(len(names))), ticktext=names, **shared)
    chosen = info.chosen[0] * heads + info.chosen[1]
    frame = {"color": style.palette.ink, "width": 1.5}
    box = {"x0": -0.5, "x1": last - 0.5, "y0": chosen - 0.5, "y1": chosen + 0.5}
    drawing.add_shape(type="rect", line=frame, name="chosen", **box)
    return drawing.figure()


def attention_table(info: AttentionInfo) -> pd.DataFrame:
    """The chosen row of every head: one row a head, one column a token."""
    layers, heads, queries, length = info.weights.shape
    table = pd.DataFrame(info.weights[:, :, info.query].reshape(layers * heads, length), columns=list(info.tokens))
    table.insert(0, "layer", np.repeat(np.arange(1, layers + 1), heads))
    table.insert(1, "head", np.tile(np.arange(1, heads + 1), layers))
    return table


def _ticks(tokens: Sequence[str], most: int) -> dict[str, list[int] | list[str]]:
    """A name for every token while there is room, else the state of every few steps."""
    length = len(tokens)
    if length <= most:
        named = list(range(length))
    else:
        states = [index for index, token in enumerate(tokens) if token.startswith("s ")] or list(range(length))
        named = states[:: max(math.ceil(len(states) / (most // 2)), 1)]
    return {"tickvals": named, "ticktext": [tokens[index] for index in named]}


def attention_grid(info: AttentionInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw every head small: a row a layer, a column a head; cells carry ``customdata = layer * heads + head``."""
    style = Style(theme, present)
    layers, heads, queries, length = info.weights.shape
    drawing = new_drawing(
        style, height=int(np.clip(90 + 150 * layers, 420, 560)), margin={"l": 72, "t": 32, "b": 12, "r": 12}
    )
    if not queries:
        return note(drawing, style, "Choose a step to see where the model attends.")
    width, height = (1.0 - 0.03 * (heads - 1)) / heads, (1.0 - 0.05 * (layers - 1)) / layers
    for layer in range(layers):
        for head in range(heads):
            place = layer * heads + head
            axis = "" if place == 0 else str(place + 1)
            left, top = head * (width + 0.03), 1.0 - layer * (height + 0.05)
            drawing.add_heatmap(
                z=_seen(info, layer, head),
                zmin=0,
                colorscale=sequential(style.palette.dt, theme),
                showscale=False,
                hoverongaps=False,
                xaxis=f"x{axis}",
                yaxis=f"y{axis}",
                customdata=np.full((queries, length), place),
                hovertemplate=f"layer {layer + 1}, head {head + 1}<extra></extra>",
                name=f"layer {layer + 1}, head {head + 1}",
            )
            chosen = (layer, head) == info.chosen
            shared = {
                "showticklabels": False,
                "showgrid": False,
                "zeroline": False,
                "showline": True,
                "mirror": True,
                "linecolor": style.palette.ink if chosen else style.palette.axis,
                "linewidth": 2 if chosen else 1,
            }
            drawing.layout[f"xaxis{axis}"] = shared | {"domain": [left, left + width], "anchor": f"y{axis}"}
            drawing.layout[f"yaxis{axis}"] = shared | {
                "domain": [max(top - height, 0.0), top],
                "anchor": f"x{axis}",
                "autorange": "reversed",
            }
            if layer == 0:
                centre = {"x": left + width / 2, "y": 1, "xref": "paper", "yref": "paper"}
                drawing.add_annotation(text=f"head {head + 1}", yanchor="bottom", yshift=4, **centre)
        middle = {"x": 0, "y": top - height / 2, "xref": "paper", "yref": "paper"}
        drawing.add_annotation(text=f"layer {layer + 1}", xanchor="right", xshift=-8, **middle)
    return drawing.figure()


@sentence.register
def _(info: AttentionInfo) -> str:
    if not len(info.rows):
        return "Choose a step to see where the model attends."
    told = [
        f"{percent(share)} {'of its attention ' if place == 0 else ''}to {_KIND_NAMES.get(kind, kind)}"
        for place, (kind, share) in enumerate(sorted(info.shares.items(), key=lambda pair: -pair[1]))
        if share >= 0.005
    ]
    layer, head = info.chosen
    back = "its own step" if info.back == 0 else f"{info.back} steps back" if info.back > 1 else "one step back"
    return (
        f"In layer {layer + 1}, head {head + 1}, {info.tokens[info.rows[info.query]]} gives {enumerate_words(told)}, "
        f"most to a token of {back}."
    )
