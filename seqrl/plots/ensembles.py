"""Data weighted by ``exp(return / temperature)``: what is left of it, and what imitating it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import count, number, percent
from seqrl.plots.layout import MOST_DIRECT_LABELS, EndLabel, add_end_labels, label_margin, log_ticks
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, translucent

_BINS = 40


class EnsembleInfo(NamedTuple):
    """Returns of a dataset, plain, weighted by a temperature, and asked for a target.

    Attributes:
        edges: (B+1,) bin edges of the returns.
        plain: (B,) share of the episodes in each bin.
        weighted: (B,) share of the weight ``exp(G/T)``.
        asked: (B,) share of the weight when a return is asked for.
        means: mean return of the three.
        temperature: T, reward units.
        target: the return asked for.
        effective: effective sample size of the weighted data.
        episodes: number of episodes.
    """

    edges: np.ndarray
    plain: np.ndarray
    weighted: np.ndarray
    asked: np.ndarray
    means: tuple[float, float, float]
    temperature: float
    target: float
    effective: float
    episodes: int


def ensemble_info(
    returns: np.ndarray, weights: np.ndarray, asked: np.ndarray, *, temperature: float, target: float, effective: float
) -> EnsembleInfo:
    """Arrange an ensemble for `ensemble`.

    Args:
        returns: (E,) reward units.
        weights: (E,) summing to 1, of the temperature.
        asked: (E,) summing to 1, of the request.
        temperature: T, reward units.
        target: reward units.
        effective: effective sample size of ``weights``.
    """
    returns = np.asarray(returns, dtype=np.float64)
    low, high = float(returns.min()), float(returns.max())
    distinct = np.unique(returns)
    if len(distinct) <= _BINS:  # every return its own bar
        gap = float(np.diff(distinct).min()) if len(distinct) > 1 else 1.0
        edges = np.arange(low - gap / 2, high + gap, gap)
    else:
        edges = np.linspace(low, high, _BINS + 1)
    plain = np.histogram(returns, edges)[0] / len(returns)
    weighted, of_asked = (np.histogram(returns, edges, weights=w)[0] for w in (weights, asked))
    means = (float(returns.mean()), float(returns @ weights), float(returns @ asked))
    return EnsembleInfo(edges, plain, weighted, of_asked, means, temperature, target, effective, len(returns))


def ensemble(info: EnsembleInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the data's returns in grey, and over them the weight that the temperature and the request give them."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    names = ("the data", "weighted by exp(G/T)", "asked for")
    drawing = new_drawing(
        style,
        height=440,
        bargap=0.02,
        barmode="overlay",
        margin={"l": 12, "r": 16, "t": 44, "b": 12},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    centres, width = (info.edges[:-1] + info.edges[1:]) / 2, np.diff(info.edges)
    drawing.add_bar(
        x=centres,
        y=info.plain,
        width=width,
        marker={"color": palette.data[2], "line": {"width": 0}},
        hovertemplate="return %{x:.4~g}<br>%{y:.2%} of the episodes<extra></extra>",
        name=names[0],
    )
    first, last = info.edges[:1], info.edges[-1:]
    for share, colour, name in ((info.weighted, palette.tt, names[1]), (info.asked, palette.dt, names[2])):
        drawing.add_scatter(
            x=np.concatenate([first, first, centres, last, last]),
            y=np.concatenate([[0.0], share[:1], share, share[-1:], [0.0]]),
            mode="lines",
            line={"color": colour, "width": sizes.line, "shape": "hvh"},
            fill="tozeroy",
            fillcolor=translucent(colour, 0.12),
            hovertemplate=f"return %{{x:.4~g}}<br>%{{y:.2%}} of the weight, {name}<extra></extra>",
            name=name,
        )
    for mean, colour in zip(info.means, (palette.muted, palette.tt, palette.dt), strict=True):
        drawing.add_vline(x=mean, line={"color": colour, "width": 1.5, "dash": "4px,3px"})
    drawing.update_xaxes(title_text="return of an episode (reward)", showgrid=False)
    drawing.update_yaxes(title_text="share", tickformat=".0%", rangemode="tozero")
    return drawing.figure()


@sentence.register
def _(info: EnsembleInfo) -> str:
    plain, weighted, asked = (number(mean) for mean in info.means)
    return (
        f"The data's mean return is {plain}. Weighted with T = {number(info.temperature)} it is {weighted}, but only "
        f"as if {count(max(1, round(info.effective)), 'episode')} of {count(info.episodes, 'episode')} were left "
        f"(effective sample size). Asking for {number(info.target)} picks episodes with a mean of {asked}."
    )


class SampleSizeInfo(NamedTuple):
    """Effective sample size against temperature.

    Attributes:
        temperatures: (K,) reward units, rising.
        sizes: (K,) episodes.
        temperature: the chosen one.
        size: there.
        episodes: E, the most there can be.
    """

    temperatures: np.ndarray
    sizes: np.ndarray
    temperature: float
    size: float
    episodes: int


def sample_size_info(
    temperatures: np.ndarray, sizes: np.ndarray, temperature: float, size: float, episodes: int
) -> SampleSizeInfo:
    """Arrange sample sizes for `sample_size`; arguments as in `SampleSizeInfo`."""
    return SampleSizeInfo(np.asarray(temperatures), np.asarray(sizes), temperature, size, episodes)


def sample_size(info: SampleSizeInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the effective sample size on logarithmic axes, the chosen temperature marked."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    drawing = new_drawing(style, height=420, showlegend=False)
    drawing.add_scatter(
        x=info.temperatures,
        y=info.sizes,
        mode="lines",
        line={"color": palette.tt, "width": sizes.line},
        hovertemplate="T = %{x:.3~g}<br>as if %{y:.3~g} episodes<extra></extra>",
        name="effective sample size",
    )
    drawing.add_scatter(
        x=[info.temperature],
        y=[info.size],
        mode="markers",
        marker={"size": sizes.marker * 1.6, "color": palette.tt, "line": {"color": palette.ink, "width": 2}},
        hoverinfo="skip",
        name="chosen temperature",
    )
    drawing.add_hline(y=info.episodes, line={"color": palette.axis, "width": 1, "dash": "3px,3px"}, layer="below")
    right = math.log10(float(info.temperatures[-1]))
    left = math.log10(float(info.temperatures[0]))
    top = math.log10(info.episodes) + 0.1
    drawing.update_xaxes(title_text="temperature T (reward)", type="log", range=[left, right], **log_ticks(left, right))
    drawing.update_yaxes(
        title_text="effective sample size (episodes)", type="log", range=[-0.05, top], **log_ticks(-0.05, top)
    )
    return drawing.figure()


@sentence.register
def _(info: SampleSizeInfo) -> str:
    worth, share = count(round(info.size), "episode"), percent(info.size / info.episodes)
    return f"At T = {number(info.temperature)} the weights are worth {worth}, {share} of the data."


class ChoicesInfo(NamedTuple):
    """How often an action is chosen in each of a few situations, by several behaviours.

    Attributes:
        situations: (S,) names.
        action: name of the action.
        shares: behaviour → (S,) probability of the action.
        promised: behaviour → mean return of the trajectories it was made from.
        delivered: behaviour → return that it really gets.
    """

    situations: tuple[str, ...]
    action: str
    shares: dict[str, np.ndarray]
    promised: dict[str, float]
    delivered: dict[str, float]


def choices_info(
    situations: list[str],
    action: str,
    shares: Mapping[str, np.ndarray],
    promised: Mapping[str, float],
    delivered: Mapping[str, float],
) -> ChoicesInfo:
    """Arrange behaviours for `choices`; arguments as in `ChoicesInfo`."""
    kept = {name: np.asarray(values, dtype=np.float64) for name, values in shares.items()}
    return ChoicesInfo(tuple(situations), action, kept, dict(promised), dict(delivered))


def choices(info: ChoicesInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the probability of the action in every situation: the data's, the weighted, the asked for."""
    style = Style(theme, present)
    palette, sizes = style.palette, style.sizes
    colours = (palette.bc, palette.tt, palette.dt)
    direct = len(info.shares) <= MOST_DIRECT_LABELS
    drawing = new_drawing(
        style,
        height=420,
        showlegend=not direct,
        margin={"l": 12, "r": label_margin(list(info.shares), style), "t": 16, "b": 12},
    )
    if not info.shares:
        return note(drawing, style, "Nothing is chosen here.")
    place, ends = np.arange(len(info.situations)), []
    for (name, share), colour in zip(info.shares.items(), colours * 3, strict=False):
        drawing.add_scatter(
            x=place,
            y=share,
            mode="lines+markers",
            line={"color": colour, "width": sizes.line},
            marker={"size": sizes.marker},
            text=list(info.situations),
            hovertemplate=f"{name}<br>%{{text}}: %{{y:.1%}}<extra></extra>",
            name=name,
        )
        known = share[np.isfinite(share)]
        if len(known):
            ends.append(EndLabel(name, float(place[-1]), float(known[-1]), colour))
    right = float(place[-1]) + 0.3
    drawing.update_xaxes(tickvals=place, ticktext=list(info.situations), range=[-0.3, right], showgrid=False)
    drawing.update_yaxes(title_text=f"probability of “{info.action}”", range=[-0.03, 1.03], tickformat=".0%")
    pixels = 420 - 28 - 3.0 * sizes.font
    add_end_labels(drawing, ends, style, right=right, y_range=(-0.03, 1.03), pixels=pixels)
    return drawing.figure()


@sentence.register
def _(info: ChoicesInfo) -> str:
    told = [
        f"{name}: {number(info.promised[name])} promised, {number(info.delivered[name])} delivered"
        for name in info.shares
    ]
    return f"Return of {'; '.join(told)}."
