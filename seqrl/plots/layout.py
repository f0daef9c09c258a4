"""Where things go in a figure: round ranges, ticks, and labels at line ends that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqrl.plots.drawing import Drawing
from seqrl.plots.format import number
from seqrl.plots.template import PALETTES, Style, Theme

MOST_DIRECT_LABELS = 6
"""With more lines than this a legend takes the place of labels at the line ends."""


def finite_range(*values: np.ndarray | Sequence[float], pad: float = 0.04) -> tuple[float, float]:
    """Smallest and largest finite value, padded so that nothing touches the frame and never of zero width.

    >>> finite_range([0.0, 100.0], pad=0.05)
    (-5.0, 105.0)
    >>> finite_range([3.0])
    (2.5, 3.5)
    """
    parts = [np.asarray(part, dtype=np.float64).ravel() for part in values]
    joined = np.concatenate(parts) if parts else np.empty(0)
    joined = joined[np.isfinite(joined)]
    if len(joined) == 0:
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    width = high - low
    if width <= 1e-9 * max(abs(low), abs(high)):
        half = max(abs(high) * 0.1, 0.5)
        return low - half, high + half
    return low - pad * width, high + pad * width


def round_step(width: float, most: int = 6) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that divides a width into at most that many parts.

    >>> round_step(525), round_step(0.07), round_step(1800)
    (100.0, 0.02, 500.0)
    """
    if not (width > 0 and math.isfinite(width)):
        return 1.0
    power = 10.0 ** math.floor(math.log10(width / most))
    return next(float(f"{factor * power:.6g}") for factor in (1, 2, 2.5, 5, 10, 20) if width / (factor * power) <= most)


def log_ticks(low: float, high: float) -> dict[str, list[Any]]:
    """Few round ticks of a logarithmic axis, as ``tickvals`` and ``ticktext``.

    Args:
        low: exponent of ten at the lower end of the axis.
        high: exponent of ten at its upper end.

    >>> log_ticks(-0.1, 1.1)["tickvals"]
    [1.0, 2.0, 5.0, 10.0]
    """
    decades = high - low
    factors = (1, 1.5, 2, 3, 5, 7) if decades < 0.6 else (1, 2, 5) if decades < 2.2 else (1,)
    stride = max(math.ceil(decades / 7), 1)
    exponents = range(math.floor(low), math.ceil(high) + 1)
    values = [float(f"{f}e{e}") for e in exponents if len(factors) > 1 or e % stride == 0 for f in factors]
    kept = [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]
    return {"tickvals": kept, "ticktext": [number(value) for value in kept]}


def mark(drawing: Drawing, x: float, theme: Theme) -> None:
    """Draw a dotted line over the whole height at the place that a control chose."""
    drawing.add_shape(
        type="line",
        x0=x,
        x1=x,
        y0=0,
        y1=1,
        yref="y domain",
        line={"color": PALETTES[theme].ink, "width": 1.5, "dash": "dot"},
    )


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions as little as possible so that neighbours are a gap apart and all lie inside.

    Least squares under ordering constraints, by pooling neighbours that collide; when there are too many
    to fit, they are spaced evenly.

    Args:
        positions: where the labels would like to be.
        gap: smallest distance between two of them.
        low: lowest place allowed.
        high: highest place allowed.

    Returns:
        New positions in the same order as given.

    >>> spread([10.0, 10.0], 4.0, 0.0, 100.0)
    [8.0, 12.0]
    """
    count = len(positions)
    if count == 0:
        return []
    if gap * (count - 1) > high - low:
        gap = (high - low) / (count - 1)
    order = sorted(range(count), key=lambda index: (positions[index], index))
    shifted = [positions[index] - rank * gap for rank, index in enumerate(order)]
    pools: list[list[float]] = []
    for value in shifted:
        pools.append([value, 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, size), (other, more) = pools[-2], pools[-1]
            pools[-2:] = [[(mean * size + other * more) / (size + more), size + more]]
    highest = high - gap * (count - 1)
    pooled = [min(max(mean, low), highest) for mean, size in pools for _ in range(int(size))]
    placed = [0.0] * count
    for rank, index in enumerate(order):
        placed[index] = pooled[rank] + rank * gap
    return placed


class EndLabel(NamedTuple):
    """A name at the end of a line, in axis coordinates."""

    text: str
    x: float
    y: float
    colour: str


def label_margin(labels: Sequence[str], style: Style) -> int:
    """Pixels to the right of a plot that the longest label needs."""
    longest = max((len(shorten(label)) for label in labels), default=0)
    return round(24 + 0.56 * style.sizes.font * longest)


def shorten(text: str, most: int = 28) -> str:
    """Text of at most that many characters, cut in the middle because names differ at their ends.

    >>> shorten("cartpole-decision-transformer-large", 15)
    'cartpol…r-large'
    """
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def add_end_labels(
    drawing: Drawing,
    labels: Sequence[EndLabel],
    style: Style,
    *,
    right: float,
    y_range: tuple[float, float],
    pixels: float,
    xref: str = "x",
    yref: str = "y",
    log: bool = False,
    leaders: bool = True,
) -> None:
    """Write names in the right margin, each at the height of its line's end, spread so that none overlap.

    A hairline joins a name with a line that ends far away or at another height. The page knows both by their name, and
    spreads them again where it has to draw the chart smaller (`charts.js`).

    Args:
        drawing: gets annotations and shapes.
        labels: one for each line; coordinates on a log axis are decadic logarithms when ``log``.
        style: theme and size.
        right: x coordinate of the plot's right edge.
        y_range: lowest and highest y of the plot.
        pixels: height of the plot in pixels.
        xref: the x axis.
        yref: the y axis.
        log: the y axis is logarithmic, so shapes take powers and annotations take exponents.
        leaders: whether to draw the hairlines.
    """
    low, high = y_range
    unit = (high - low) / pixels
    gap = 1.3 * style.sizes.font * unit
    heights = spread([min(max(label.y, low), high) for label in labels], gap, low + gap / 2, high - gap / 2)
    for label, height in zip(labels, heights, strict=True):
        if leaders and (abs(height - label.y) > 0.6 * gap or right > label.x):
            ends = {"y0": 10**label.y if log else label.y, "y1": 10**height if log else height}
            line = {"color": label.colour, "width": 1, "dash": "dot"}
            drawing.add_shape(
                type="line", x0=label.x, x1=right, line=line, opacity=0.6, layer="below", xref=xref, yref=yref,
                name=f"end of {label.text}", **ends,
            )  # fmt: skip
        font = {"size": style.sizes.font, "color": label.colour}
        drawing.add_annotation(
            x=right, y=height, text=shorten(label.text), font=font, xanchor="left", xshift=8, xref=xref, yref=yref,
            name=f"end of {label.text}",
        )  # fmt: skip
