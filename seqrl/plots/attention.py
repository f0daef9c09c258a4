"""Where a model attends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.format import enumerate_words, percent
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, new_figure, note, sequential

_KIND_NAMES = {"R": "returns-to-go", "s": "states", "a": "actions", "r": "rewards", "V": "values"}


class AttentionInfo(NamedTuple):
    """Attention weights and the names of the tokens.

    Attributes:
        weights: (L, H, T, T); row i says how token i spreads its attention over tokens 0…i, and adds up to one.
        tokens: (T,) names such as "R 12", "s 12", "a 12": kind, a space, timestep.
        chosen: (layer, head) to show large.
        query: token whose row is read, the last state's by default.
        shares: kind → share of the query's attention.
        farthest: timesteps between the query and the token it attends to most; 0 when it is its own step.
    """

    weights: np.ndarray
    tokens: tuple[str, ...]
    chosen: tuple[int, int]
    query: int
    shares: dict[str, float]
    farthest: int


def attention_info(
    weights: np.ndarray, tokens: Sequence[str], *, layer: int = 0, head: int = 0, query: int | None = None
) -> AttentionInfo:
    """Arrange attention weights for `attention` and `attention_grid`.

    Args:
        weights: (L, H, T, T), (H, T, T) or (T, T).
        tokens: (T,) names: kind, a space, timestep.
        layer: to show.
        head: to show.
        query: row to read; None takes the last token whose kind is "s", else the last one.

    Raises:
        ValueError: if the number of names is not that of tokens, or the layer or head does not exist.
    """
    weights = np.asarray(weights, dtype=np.float64)
    weights = weights.reshape((1,) * (4 - weights.ndim) + weights.shape)
    layers, heads, _, length = weights.shape
    if len(tokens) != length:
        raise ValueError(f"{len(tokens)} names for {length} tokens; give one name a token")
    if not (0 <= layer < layers and 0 <= head < heads):
        raise ValueError(f"layer {layer}, head {head} of {layers} layers with {heads} heads; choose below that")
    kinds = [token.split(" ")[0] for token in tokens]
    if query is None:
        states = [index for index, kind in enumerate(kinds) if kind == "s"]
        query = states[-1] if states else length - 1
    shares: dict[str, float] = {}
    farthest = 0
    if length:
        row = weights[layer, head, query]
        shares = {kind: float(row[[k == kind for k in kinds]].sum()) for kind in dict.fromkeys(kinds)}
        farthest = _time(tokens[query]) - _time(tokens[int(row.argmax())])
    return AttentionInfo(weights, tuple(tokens), (layer, head), query, shares, farthest)


def _time(token: str) -> int:
    text = token.split(" ")[-1]
    return int(text) if text.lstrip("-").isdigit() else 0


def attention(info: AttentionInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw one head's attention; cells carry ``customdata = [attending token, attended token]``."""
    style = Style(theme, present)
    figure = new_figure(style, height=520, showlegend=False)
    length = len(info.tokens)
    if not length:
        return note(figure, style, "Choose a step to see where the model attends.")
    weights = info.weights[info.chosen]
    seen = np.where(np.tri(length, dtype=bool), weights, np.nan)
    names = list(info.tokens)
    figure.add_heatmap(
        z=seen,
        x=np.arange(length),
        y=np.arange(length),
        zmin=0,
        colorscale=sequential(style.palette.dt, theme),
        hoverongaps=False,
        customdata=[[[row, column] for column in names] for row in names],
        hovertemplate="%{customdata[0]} attends to %{customdata[1]}: %{z:.2~f}<extra></extra>",
        colorbar={"title": {"text": "attention", "side": "right"}, "thickness": 12, "outlinewidth": 0, "nticks": 5},
        name="attention",
    )
    ticks = _ticks(info.tokens, 10 if present else 20)
    figure.update_xaxes(
        title_text="attended token",
        showgrid=False,
        zeroline=False,
        constrain="domain",
        range=[-0.5, length - 0.5],
        **ticks,
    )
    figure.update_yaxes(
        title_text="attending token",
        showgrid=False,
        zeroline=False,
        constrain="domain",
        scaleanchor="x",
        range=[length - 0.5, -0.5],
        **ticks,
    )
    frame = {"color": style.palette.ink, "width": 1}
    y = info.query
    figure.add_shape(type="rect", x0=-0.5, x1=y + 0.5, y0=y - 0.5, y1=y + 0.5, line=frame, name="query")
    return figure


def _ticks(tokens: Sequence[str], most: int) -> dict[str, list[int] | list[str]]:
    """A name for every token while there is room, else the state of every few steps."""
    length = len(tokens)
    if length <= most:
        named = list(range(length))
    else:
        states = [index for index, token in enumerate(tokens) if token.startswith("s")] or list(range(length))
        named = states[:: max(math.ceil(len(states) / (most // 2)), 1)]
    return {"tickvals": named, "ticktext": [tokens[index] for index in named]}


def attention_grid(info: AttentionInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw every head small: a row a layer, a column a head; cells carry ``customdata = [layer, head]``."""
    style = Style(theme, present)
    layers, heads, length, _ = info.weights.shape
    figure = new_figure(
        style, height=int(np.clip(90 + 150 * layers, 420, 560)), margin={"l": 72, "t": 32, "b": 12, "r": 12}
    )
    if not length:
        return note(figure, style, "Choose a step to see where the model attends.")
    width, height = (1.0 - 0.03 * (heads - 1)) / heads, (1.0 - 0.05 * (layers - 1)) / layers
    for layer in range(layers):
        for head in range(heads):
            place = layer * heads + head
            axis = "" if place == 0 else str(place + 1)
            left, top = head * (width + 0.03), 1.0 - layer * (height + 0.05)
            seen = np.where(np.tri(length, dtype=bool), info.weights[layer, head], np.nan)
            figure.add_heatmap(
                z=seen,
                zmin=0,
                colorscale=sequential(style.palette.dt, theme),
                showscale=False,
                hoverongaps=False,
                xaxis=f"x{axis}",
                yaxis=f"y{axis}",
                customdata=[[[layer, head]] * length] * length,
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
            figure.layout[f"xaxis{axis}"] = shared | {"domain": [left, left + width], "anchor": f"y{axis}"}
            figure.layout[f"yaxis{axis}"] = shared | {
                "domain": [max(top - height, 0.0), top],
                "anchor": f"x{axis}",
                "autorange": "reversed",
            }
            if layer == 0:
                centre = {"x": left + width / 2, "y": 1, "xref": "paper", "yref": "paper"}
                figure.add_annotation(text=f"head {head + 1}", yanchor="bottom", yshift=4, **centre)
        middle = {"x": 0, "y": top - height / 2, "xref": "paper", "yref": "paper"}
        figure.add_annotation(text=f"layer {layer + 1}", xanchor="right", xshift=-8, **middle)
    return figure


@sentence.register
def _(info: AttentionInfo) -> str:
    if not len(info.tokens):
        return "Choose a step to see where the model attends."
    told = [
        f"{percent(share)} {'of its attention ' if place == 0 else ''}to {_KIND_NAMES.get(kind, kind)}"
        for place, (kind, share) in enumerate(sorted(info.shares.items(), key=lambda pair: -pair[1]))
        if share >= 0.005
    ]
    layer, head = info.chosen
    back = (
        "its own step"
        if info.farthest == 0
        else f"{info.farthest} steps back"
        if info.farthest > 1
        else "one step back"
    )
    return (
        f"In layer {layer + 1}, head {head + 1}, {info.tokens[info.query]} gives {enumerate_words(told)}, "
        f"most to a token of {back}."
    )
