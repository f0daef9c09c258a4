"""What is lost by rounding to bins, and an episode as the tokens that it becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.drawing import new_drawing, note
from seqrl.plots.format import count, enumerate_words, number, percent
from seqrl.plots.layout import EndLabel, add_end_labels, finite_range, label_margin, log_ticks
from seqrl.plots.sentences import sentence
from seqrl.plots.template import Style, Theme, sequential


class ReconstructionErrorInfo(NamedTuple):
    """Root mean square error of rounding to bins, against their number.

    Attributes:
        name: of the dimension.
        bins: (K,) numbers of bins.
        errors: strategy → (K,), units of the dimension.
        chosen: number of bins in use.
        chosen_errors: strategy → error there, interpolated only between measured numbers of bins.
        spread: standard deviation of the data, NaN when unknown.
    """

    name: str
    bins: np.ndarray
    errors: dict[str, np.ndarray]
    chosen: int
    chosen_errors: dict[str, float]
    spread: float


def reconstruction_error_info(
    bins: Sequence[int], errors: Mapping[str, np.ndarray], chosen: int, name: str, *, spread: float = math.nan
) -> ReconstructionErrorInfo:
    """Arrange errors for `reconstruction_error`.

    Args:
        bins: (K,) increasing numbers of bins; should contain ``chosen``.
        errors: strategy → (K,) root mean square error.
        chosen: number of bins in use.
        name: of the dimension.
        spread: standard deviation of the data, to compare with.
    """
    numbers = np.asarray(bins, dtype=np.float64)
    kept = {strategy: np.asarray(values, dtype=np.float64) for strategy, values in errors.items()}
    inside = len(numbers) > 0 and numbers[0] <= chosen <= numbers[-1]
    at = {s: float(np.interp(chosen, numbers, values)) if inside else math.nan for s, values in kept.items()}
    return ReconstructionErrorInfo(name, numbers, kept, chosen, at, spread)


def reconstruction_error(info: ReconstructionErrorInfo, theme: Theme = "light", present: bool = False) -> go.Figure:
    """Draw the errors on logarithmic axes, with a marker at the number of bins in use."""
    style = Style(theme, present)
    margin = {"l": 12, "r": label_margin(list(info.errors), style), "t": 16, "b": 12}
    drawing = new_drawing(style, height=420, showlegend=False, margin=margin)
    positive = [values[values > 0] for values in info.errors.values()]
    if not any(len(values) for values in positive):
        return note(drawing, style, "Nothing is lost: every value has its own bin.")
    low, high = finite_range(*[np.log10(values) for values in positive], pad=0.08)
    left, right = np.log10(info.bins[0]), np.log10(info.bins[-1])
    right = right if right > left else left + 1
    ends, ring = [], {"color": style.palette.ink, "width": 2}
    for strategy, values in info.errors.items():
        colour = _strategy_colour(strategy, style)
        kept = values > 0
        drawing.add_scatter(
            x=info.bins[kept],
            y=values[kept],
            mode="lines+markers",
            line={"color": colour, "width": style.sizes.line, "dash": "solid" if strategy == "quantile" else "7px,5px"},
            marker={"size": style.sizes.marker * 0.6},
            hovertemplate=f"{strategy}, %{{x}} bins<br>error %{{y:.3~g}}<extra></extra>",
            name=strategy,
        )
        if math.isfinite(info.chosen_errors[strategy]) and info.chosen_errors[strategy] > 0:
            drawing.add_scatter(
                x=[info.chosen],
                y=[info.chosen_errors[strategy]],
                mode="markers",
                marker={"size": style.sizes.marker * 1.4, "color": colour, "line": ring},
                hovertemplate=f"{strategy}, %{{x}} bins, in use<br>error %{{y:.3~g}}<extra></extra>",
                name=f"{strategy}, in use",
            )
        if kept.any():
            ends.append(EndLabel(strategy, right + 0.03, float(np.log10(values[kept][-1])), colour))
    drawing.add_vline(x=info.chosen, line={"color": style.palette.axis, "width": 1, "dash": "3px,3px"}, layer="below")
    ticks = [n for n in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if 10**left <= n <= 10**right]
    drawing.update_xaxes(
        title_text="bins", type="log", range=[left - 0.03, right + 0.03], tickvals=ticks, showgrid=False, showline=True
    )
    drawing.update_yaxes(title_text=f"rms error of {info.name}", type="log", range=[low, high], **log_ticks(low, high))
    pixels = 420 - 28 - 4.2 * style.sizes.font
    # annotations on logarithmic axes take exponents
    add_end_labels(drawing, ends, style, right=right + 0.03, y_range=(low, high), pixels=pixels, leaders=False)
    return drawing.figure()


def _strategy_colour(strategy: str, style: Style) -> str:
    return style.palette.tt if strategy == "quantile" else style.palette.bc


@sentence.register
def _(info: ReconstructionErrorInfo) -> str:
    measured = {strategy: error for strategy, error in info.chosen_errors.items() if math.isfinite(error)}
    told = [f"{number(error)} with {strategy} bins" for strategy, error in measured.items()]
    if not told:
        return f"The error with {count(info.chosen, 'bin')} is not measured."
    text = f"With {count(info.chosen, 'bin')}, rounding {info.name} costs {enumerate_words(told)} (root mean square)"
    if math.isfinite(info.spread) and info.spread > 0:
        best = min(measured.values())
        text += f"; the smaller is {percent(best / info.spread)} of the data's own spread"
    return f"{text}."


class EpisodeTokensInfo(NamedTuple):
    """An episode as tokens.

    Attributes:
        tokens: (T, D) bin of every dimension at every step, −1 where there is none.
        values: (T, D) the numbers behind them, NaN where unknown.
        centres: (T, D) what the tokens decode to.
        names: (D,).
        kinds: (D,) "observation", "action", "reward" or "value".
        bins: (D,) number of bins of each dimension.
    """

    tokens: np.ndarray
    values: np.ndarray
    centres: np.ndarray
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    bins: np.ndarray


def episode_tokens_info(
    tokens: np.ndarray,
    names: Sequence[str],
    kinds: Sequence[str],
    bins: Sequence[int],
    *,
    values: np.ndarray | None = None,
    centres: np.ndarray | None = None,
) -> EpisodeTokensInfo:
    """Arrange an episode for `episode_tokens`.

    Args:
        tokens: (T, D) bins.
        names: of the dimensions.
        kinds: which part of a transition each belongs to.
        bins: of each dimension.
        values: (T, D) the numbers before rounding.
        centres: (T, D) the numbers after it.
    """
    tokens = np.asarray(tokens, dtype=np.int64)
    unknown = np.full(tokens.shape, np.nan)
    return EpisodeTokensInfo(
        tokens,
        unknown if values is None else np.asarray(values, dtype=np.float64),
        unknown if centres is None else np.asarray(centres, dtype=np.float64),
        tuple(names),
        tuple(kinds),
        np.asarray(bins, dtype=np.int64),
    )


def episode_tokens(
    info: EpisodeTokensInfo, theme: Theme = "light", present: bool = False, chosen: tuple[int, int] | None = None
) -> go.Figure:
    """Draw time against dimension, stronger for higher bins; cells carry ``customdata = [step, dimension, bin]``.

    Args:
        info: from `episode_tokens_info`.
        theme: light or dark.
        present: for a projector.
        chosen: (step, dimension) to frame.
    """
    style = Style(theme, present)
    steps, dimensions = info.tokens.shape
    drawing = new_drawing(style, height=int(np.clip(120 + 30 * dimensions, 420, 560)), uirevision="episode_tokens")
    if not info.tokens.size:
        return note(drawing, style, "The episode has no step.")
    rows = _rows(info.kinds)
    height = np.where(info.tokens < 0, np.nan, info.tokens / np.maximum(info.bins - 1, 1))
    cells = [[[t, d, int(info.tokens[t, d])] for t in range(steps)] for d in range(dimensions)]
    text = [[_cell_in_words(info, t, d) for t in range(steps)] for d in range(dimensions)]
    for kind in dict.fromkeys(info.kinds):
        own = [d for d in range(dimensions) if info.kinds[d] == kind]
        drawing.add_heatmap(
            x=np.arange(steps),
            y=[rows[d] for d in own],
            z=height[:, own].T,
            zmin=-0.15,  # the lowest bin is a tint, not the background
            zmax=1,
            colorscale=sequential(style.palette.reward if kind == "reward" else style.palette.tt, theme),
            showscale=False,
            hoverongaps=False,
            ygap=1,
            customdata=[cells[d] for d in own],
            text=[text[d] for d in own],
            hovertemplate="%{text}<extra></extra>",
            name=kind,
        )
    if chosen is not None and 0 <= chosen[0] < steps and 0 <= chosen[1] < dimensions:
        t, y = chosen[0], rows[chosen[1]]
        frame = {"color": style.palette.ink, "width": 2}
        drawing.add_shape(type="rect", x0=t - 0.5, x1=t + 0.5, y0=y - 0.5, y1=y + 0.5, line=frame, name="chosen token")
    drawing.update_xaxes(title_text="time (steps)", showgrid=False, zeroline=False, range=[-0.5, steps - 0.5])
    drawing.update_yaxes(
        tickvals=rows, ticktext=list(info.names), range=[rows[-1] + 0.6, -0.6], showgrid=False, zeroline=False
    )
    return drawing.figure()


def _rows(kinds: Sequence[str]) -> list[float]:
    """Heights of the dimensions, with a little more room between parts of a transition."""
    rows, at = [], 0.0
    for index, kind in enumerate(kinds):
        if index:
            at += 1.0 if kind == kinds[index - 1] else 1.3
        rows.append(at)
    return rows


def _cell_in_words(info: EpisodeTokensInfo, step: int, dimension: int) -> str:
    token = int(info.tokens[step, dimension])
    told = f"step {step}, {info.names[dimension]}<br>bin {token} of {info.bins[dimension]}"
    value, centre = info.values[step, dimension], info.centres[step, dimension]
    if math.isfinite(value) and math.isfinite(centre):
        told += f"<br>{number(value, 4)} becomes {number(centre, 4)}"
    return told


@sentence.register
def _(info: EpisodeTokensInfo) -> str:
    if not info.tokens.size:
        return "The episode has no step."
    steps, dimensions = info.tokens.shape
    return (
        f"{count(steps, 'step')} of {count(dimensions, 'number')} each become {count(steps * dimensions, 'token')}; "
        "a row is a dimension, a stronger colour is a higher bin."
    )
