"""What is in a dataset: returns, lengths, return-to-go over time, percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import count, enumerate_words, interval, number, percent
from seqrl.plots.layout import finite_range, round_step
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, data_greys, mix, translucent

_BINS = 40
_FAN = (5, 25, 50, 75, 95)
_MOST_EPISODES = 4000
_MOST_TIMES = 250


class HistogramInfo(NamedTuple):
    """A stacked histogram.

    Attributes:
        edges: (B+1,) bin edges of a round width.
        groups: names from the bottom of the stack to its top.
        counts: (G, B) episodes.
        means: (G,) mean of each group.
        sizes: (G,) episodes of each group.
        mean: over all episodes, NaN without any.
        quantity: "return" or "length".
        unit: "reward" or "steps".
    """

    edges: np.ndarray
    groups: tuple[str, ...]
    counts: np.ndarray
    means: np.ndarray
    sizes: np.ndarray
    mean: float
    quantity: str
    unit: str


def return_histogram_info(returns: np.ndarray, tiers: Sequence[str] | None = None) -> HistogramInfo:
    """Distribution of the episodes' returns, stacked by the tier of the policy that made them.

    Args:
        returns: (E,) undiscounted return of every episode.
        tiers: (E,) name of every episode's tier; the tier with the lowest mean lies at the bottom.
    """
    names = np.asarray(["episodes"] * len(returns) if tiers is None else [str(tier) for tier in tiers])
    return _histogram(np.asarray(returns, dtype=np.float64), names, "return", "reward")


def length_histogram_info(lengths: np.ndarray, truncated: np.ndarray | None = None) -> HistogramInfo:
    """Distribution of the episodes' lengths, those cut off by a time limit on top.

    Args:
        lengths: (E,) steps.
        truncated: (E,) bool, whether an episode was cut off instead of ending by itself.
    """
    cut = np.zeros(len(lengths), dtype=bool) if truncated is None else np.asarray(truncated, dtype=bool)
    names = np.where(cut, "cut off by the time limit", "ended by itself")
    return _histogram(np.asarray(lengths, dtype=np.float64), names, "length", "steps")


def _histogram(values: np.ndarray, names: np.ndarray, quantity: str, unit: str) -> HistogramInfo:
    finite = np.isfinite(values)
    values, names = values[finite], names[finite]
    groups = sorted(set(names.tolist()), key=lambda name: (float(values[names == name].mean()), name))
    edges = _round_edges(values, whole=unit == "steps")
    counts = [np.histogram(values[names == name], edges)[0] for name in groups]
    return HistogramInfo(
        edges=edges,
        groups=tuple(groups),
        counts=np.array(counts).reshape(len(groups), len(edges) - 1),
        means=np.array([values[names == name].mean() for name in groups]),
        sizes=np.array([(names == name).sum() for name in groups], dtype=int),
        mean=float(values.mean()) if len(values) else math.nan,
        quantity=quantity,
        unit=unit,
    )


def _round_edges(values: np.ndarray, whole: bool = False) -> np.ndarray:
    """Edges at multiples of a round width, so that a bin never ends at 12.3; the last value has its own bin."""
    if len(values) == 0:
        return np.array([0.0, 1.0])
    low, high = finite_range(values, pad=0.0)
    width = round_step(high - low, _BINS)
    width = max(math.ceil(width), 1) if whole else width
    first = math.floor(float(values.min()) / width) * width
    bins = math.floor((float(values.max()) - first) / width) + 1
    return first + width * np.arange(bins + 1)


def return_histogram(info: HistogramInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the stacked histogram of returns."""
    return _stacked(info, Style(theme, present))


def length_histogram(info: HistogramInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the stacked histogram of lengths."""
    return _stacked(info, Style(theme, present))


def _stacked(info: HistogramInfo, style: Style) -> go.Figure:
    several = len(info.groups) > 1
    drawing = new_drawing(style, height=420, barmode="stack", bargap=0, showlegend=several, hovermode="x unified")
    if not info.groups:
        return note(drawing, style, "The dataset has no episode yet.")
    centres = (info.edges[:-1] + info.edges[1:]) / 2
    edge = mix(style.palette.data[2], style.palette.ink, 0.12)
    colours = data_greys(len(info.groups), style.theme)
    for name, counts, mean, colour in zip(info.groups, info.counts, info.means, colours, strict=True):
        drawing.add_bar(
            x=centres,
            y=counts,
            width=np.diff(info.edges),
            name=f"{name}, mean {number(mean)}" if several else name,
            marker={"color": colour, "line": {"color": edge, "width": 0.7}},
            hovertemplate="%{y} episodes" + f"<extra>{name}</extra>",
        )
    drawing.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"})
    drawing.update_xaxes(title_text=f"{info.quantity} ({info.unit})", showgrid=False, showline=True)
    drawing.update_xaxes(unifiedhovertitle_text=f"{info.quantity} about %{{x}}")
    drawing.update_yaxes(title_text="episodes", rangemode="tozero")
    return drawing.figure()


@sentence.register
def _(info: HistogramInfo) -> str:
    if not info.groups:
        return "The dataset has no episode yet."
    total = int(info.sizes.sum())
    if info.quantity == "length":
        cut = sum(int(n) for name, n in zip(info.groups, info.sizes, strict=True) if name.startswith("cut off"))
        told = f"Episodes last {number(info.mean)} steps on average"
        if not cut:
            return f"{told}; all of them ended by themselves."
        return (
            f"{told}; {percent(cut / total)} were cut off by the time limit, "
            "so what would have come after the cut is missing from their return."
        )
    if len(info.groups) == 1:
        return f"{count(total, 'episode')} with a mean return of {number(info.mean)}."
    tiers = [f"{name} {number(mean)}" for name, mean in zip(info.groups, info.means, strict=True)]
    return f"{count(total, 'episode')} with a mean return of {number(info.mean)}: {enumerate_words(tiers)}."


class ReturnToGoFanInfo(NamedTuple):
    """Percentiles of the return-to-go over time and a few single episodes.

    Attributes:
        times: (T,) steps.
        percentiles: (5, T) at 5, 25, 50, 75 and 95 %, over the episodes still running at that step.
        running: (T,) episodes still running.
        episodes: single episodes as (episode, steps, returns-to-go).
        total: episodes counted.
    """

    times: np.ndarray
    percentiles: np.ndarray
    running: np.ndarray
    episodes: tuple[tuple[int, np.ndarray, np.ndarray], ...]
    total: int


def return_to_go_fan_info(
    rewards: np.ndarray, ends: np.ndarray, *, discount: float = 1.0, shown: int = 3
) -> ReturnToGoFanInfo:
    """How much reward is still to come, step by step.

    With more than 4,000 episodes every n-th is counted, with more than 250 steps every n-th is.

    Args:
        rewards: (N,) of a concatenation of episodes.
        ends: (E,) index one past the last step of each.
        discount: in (0, 1].
        shown: single episodes to draw, spread over the range of returns.
    """
    ends = np.asarray(ends, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    chosen = np.arange(len(ends))[:: max(math.ceil(len(ends) / _MOST_EPISODES), 1)]
    traces = [_returns_to_go(np.asarray(rewards[starts[i] : ends[i]], dtype=np.float64), discount) for i in chosen]
    longest = max((len(trace) for trace in traces), default=0)
    times = np.arange(0, longest, max(math.ceil(longest / _MOST_TIMES), 1))
    table = np.full((len(traces), len(times)), np.nan)
    for row, trace in zip(table, traces, strict=True):
        inside = times[times < len(trace)]
        row[: len(inside)] = trace[inside]
    percentiles = np.array([np.nanpercentile(column, _FAN) for column in table.T]).T.reshape(len(_FAN), len(times))
    order = sorted(range(len(traces)), key=lambda index: traces[index][0] if len(traces[index]) else -math.inf)
    picks = (
        [order[round((0.1 + 0.8 * k / max(shown - 1, 1)) * (len(order) - 1))] for k in range(shown)] if order else []
    )
    episodes = tuple(
        (int(chosen[index]), *_thin(np.arange(len(traces[index])), traces[index])) for index in dict.fromkeys(picks)
    )
    return ReturnToGoFanInfo(times, percentiles, np.isfinite(table).sum(axis=0), episodes, len(traces))


def _returns_to_go(rewards: np.ndarray, discount: float) -> np.ndarray:
    """``R_t = r_t + discount * R_{t+1}`` of one episode."""
    if discount == 1.0:
        return np.cumsum(rewards[::-1])[::-1]
    result = np.empty_like(rewards)
    running = 0.0
    for step in range(len(rewards) - 1, -1, -1):
        running = rewards[step] + discount * running
        result[step] = running
    return result


def _thin(times: np.ndarray, values: np.ndarray, most: int = 500) -> tuple[np.ndarray, np.ndarray]:
    step = max(math.ceil(len(times) / most), 1)
    return times[::step], values[::step]


def return_to_go_fan(info: ReturnToGoFanInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw percentiles as a fan of greys, single episodes as thin lines; their ``customdata`` is the episode."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=420, showlegend=False)
    if not len(info.times):
        return note(drawing, style, "The dataset has no episode yet.")
    greys = (style.palette.data[0], style.palette.data[1])
    for grey, low, high in zip(greys, (0, 1), (4, 3), strict=True):
        name = f"{_FAN[low]} to {_FAN[high]} % of the episodes"
        drawing.add_ribbon(info.times, info.percentiles[low], info.percentiles[high], grey, name)
    drawing.add_scatter(
        x=info.times,
        y=info.percentiles[2],
        mode="lines",
        line={"color": style.palette.muted, "width": style.sizes.line},
        customdata=[interval(low, high) for low, high in zip(info.percentiles[1], info.percentiles[3], strict=True)],
        hovertemplate="step %{x}<br>median return-to-go %{y:.3~g}<br>half of the episodes %{customdata}<extra></extra>",
        name="median",
    )
    for episode, times, values in info.episodes:
        drawing.add_scatter(
            x=times,
            y=values,
            mode="lines",
            line={"color": translucent(style.palette.ink, 0.75), "width": style.sizes.line * 0.5},
            customdata=[episode] * len(times),
            hovertemplate=f"episode {episode}, step %{{x}}<br>return-to-go %{{y:.3~g}}<extra></extra>",
            name=f"episode {episode}",
        )
    drawing.update_xaxes(title_text="time (steps)", showgrid=False, showline=True, rangemode="tozero")
    drawing.update_yaxes(title_text="return-to-go (reward)")
    return drawing.figure()


def return_to_go_fan_table(info: ReturnToGoFanInfo) -> pd.DataFrame:
    """One row a step: the episodes that still run there, and the percentiles of their return-to-go."""
    shown = zip(_FAN, info.percentiles, strict=True)
    return pd.DataFrame(
        {"step": info.times, "episodes": info.running, **{f"{mark} %": values for mark, values in shown}}
    )


@sentence.register
def _(info: ReturnToGoFanInfo) -> str:
    if not len(info.times):
        return "The dataset has no episode yet."
    first = info.percentiles[:, 0]
    half = (
        len(info.running) - 1 if info.running[-1] * 2 >= info.total else int((info.running * 2 < info.total).argmax())
    )
    return (
        f"At the start half of the episodes have between {number(first[1])} and {number(first[3])} still to come "
        f"(return-to-go), the median {number(first[2])}; half of them have ended by step {number(info.times[half])}."
    )


class PercentileInfo(NamedTuple):
    """Sorted returns: ``returns[i]`` is reached or exceeded by all but ``percentiles[i]`` % of the episodes."""

    percentiles: np.ndarray
    returns: np.ndarray
    marks: tuple[tuple[int, float], ...]


def percentile_curve_info(returns: np.ndarray, marks: Sequence[int] = (10, 50, 90)) -> PercentileInfo:
    """Return against percentile of the episodes.

    Args:
        returns: (E,).
        marks: percentiles that are named in the chart.
    """
    values = np.asarray(returns, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return PercentileInfo(np.empty(0), np.empty(0), ())
    percentiles = np.linspace(0.0, 100.0, 201)
    named = tuple((mark, float(np.percentile(values, mark))) for mark in marks)
    return PercentileInfo(percentiles, np.percentile(values, percentiles), named)


def percentile_curve(info: PercentileInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw return against percentile with a few percentiles marked."""
    style = Style(theme, present)
    drawing = new_drawing(style, height=420, showlegend=False)
    if not len(info.returns):
        return note(drawing, style, "The dataset has no episode yet.")
    drawing.add_scatter(
        x=info.percentiles,
        y=info.returns,
        mode="lines",
        line={"color": style.palette.muted, "width": style.sizes.line},
        hovertemplate="%{x:.3~g} % of the episodes<br>return at most %{y:.4~g}<extra></extra>",
        name="returns",
    )
    drawing.add_scatter(
        x=[mark for mark, _ in info.marks],
        y=[value for _, value in info.marks],
        mode="markers+text",
        marker={"size": style.sizes.marker, "color": style.palette.ink},
        text=[f"{number(value)} " for _, value in info.marks],
        textposition="top left",
        textfont={"size": style.sizes.font},
        cliponaxis=False,
        hoverinfo="skip",
        name="marks",
    )
    low, high = finite_range(info.returns, pad=0.1)
    drawing.update_xaxes(
        title_text="episodes (% at most as good)", range=[0, 100.5], dtick=20, showgrid=False, showline=True
    )
    drawing.update_yaxes(title_text="return (reward)", range=[low, high])
    return drawing.figure()


@sentence.register
def _(info: PercentileInfo) -> str:
    if not info.marks:
        return "The dataset has no episode yet."
    told = [f"{mark} % at most {number(value)}" for mark, value in info.marks]
    return f"Of all episodes, {enumerate_words(told)}."
