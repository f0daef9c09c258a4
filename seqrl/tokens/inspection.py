"""Figures about bins: how full they are, how wide, and what is lost by rounding to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqrl.tokens.discretizer import Discretizer, Strategy, fit_discretizer

OVER_WIDE = 10.0
"""A bin this many times as wide as the dimension's middle bin is called over-wide."""


@dataclass(frozen=True)
class DimensionFigures:
    """What the bins of one dimension do to the data.

    Attributes:
        name: the dimension.
        bins: bins in use.
        occupancy: (bins,) int64, rows in each bin.
        unused: bins without a row.
        over_wide: bins more than `OVER_WIDE` times as wide as the middle one.
        error_rms: root mean square of decoded minus original, units of the dimension.
        error_max: largest absolute error, units of the dimension.
        error_relative: ``error_rms`` over the standard deviation of the data; 0 for constant data.
    """

    name: str
    bins: int
    occupancy: np.ndarray
    unused: tuple[int, ...]
    over_wide: tuple[int, ...]
    error_rms: float
    error_max: float
    error_relative: float


def inspect_tokens(bins: Discretizer, values: np.ndarray) -> list[DimensionFigures]:
    """Figures of every dimension.

    Args:
        bins: fitted bins of D dimensions.
        values: (N, D) data, units of the dimensions.

    Returns:
        One entry a dimension.

    Raises:
        ValueError: if a number is not finite, naming its dimension.
    """
    tokens = bins.encode(values)
    errors = bins.decode(tokens) - values
    return [_figures(bins, d, tokens[:, d], errors[:, d], values[:, d]) for d in range(bins.dimensions)]


def error_by_bins(
    column: np.ndarray, numbers_of_bins: Sequence[int], strategies: Sequence[Strategy] = ("uniform", "quantile")
) -> dict[str, np.ndarray]:
    """Root mean square reconstruction error of one dimension against the number of bins.

    Args:
        column: (N,) data.
        numbers_of_bins: (K,) numbers of bins to try.
        strategies: which kinds of bins.

    Returns:
        Strategy → (K,) float64, units of the dimension.
    """
    table = np.asarray(column, dtype=np.float64)[:, None]
    errors: dict[str, np.ndarray] = {}
    for strategy in strategies:
        fitted = [fit_discretizer(table, count, strategy) for count in numbers_of_bins]
        errors[strategy] = np.array(
            [np.sqrt(np.mean((bins.decode(bins.encode(table)) - table) ** 2)) for bins in fitted]
        )
    return errors


def _figures(
    bins: Discretizer, dimension: int, tokens: np.ndarray, errors: np.ndarray, values: np.ndarray
) -> DimensionFigures:
    count = int(bins.counts[dimension])
    occupancy = np.bincount(tokens, minlength=count)
    widths = np.diff(bins.edges[dimension, : count + 1])
    rms, spread = float(np.sqrt(np.mean(errors**2))), float(np.std(values))
    return DimensionFigures(
        name=bins.names[dimension],
        bins=count,
        occupancy=occupancy,
        unused=tuple(int(i) for i in np.flatnonzero(occupancy == 0)),
        over_wide=tuple(int(i) for i in np.flatnonzero(widths > OVER_WIDE * np.median(widths))),
        error_rms=rms,
        error_max=float(np.abs(errors).max(initial=0.0)),
        error_relative=rms / spread if spread > 0 else 0.0,
    )
