"""Tokenising 1,000,000 transitions × 25 dimensions into 100 bins, against ``numpy.searchsorted`` on sorted columns.

``searchsorted`` on sorted numbers is as fast as a search can be: every look-up walks where the one before it
walked. Real columns are not sorted; the same search on them is the second peer. No peer transposes or checks for
numbers that are not finite; ours does both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.harness import Comparison, compare, growth, seconds
from seqrl.tokens import Discretizer, fit_discretizer

ROWS, DIMENSIONS, BINS = 1_000_000, 25, 100


def our_rate(bins: Discretizer, table: np.ndarray) -> Callable[[], float]:
    """Millions of numbers a second."""
    return lambda: table.size / 1e6 / seconds(lambda: bins.encode(table))


def search_rate(bins: Discretizer, columns: list[np.ndarray]) -> Callable[[], float]:
    """The same of one search a column."""

    def search() -> None:
        for dimension, column in enumerate(columns):
            np.searchsorted(bins.edges[dimension, 1:-1], column, side="right")

    return lambda: sum(map(len, columns)) / 1e6 / seconds(search)


def growth_with_rows() -> Comparison:
    """Exponent of the time against the number of rows."""
    sizes = (10_000, 100_000, 1_000_000)
    rng = np.random.default_rng(0)
    table = rng.normal(size=(sizes[-1], 5)).astype(np.float32)
    bins = fit_discretizer(table[: sizes[0]], BINS)
    variants = {size: lambda size=size: seconds(lambda: bins.encode(table[:size])) for size in sizes}
    return growth("tokenising time against rows", variants)


def measure() -> list[Comparison]:
    """All lines of this benchmark."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
    lines = []
    for strategy in ("quantile", "uniform"):
        bins = fit_discretizer(table, BINS, strategy)
        ordered = [np.sort(table[:, d]).astype(np.float64) for d in range(DIMENSIONS)]
        unordered = [table[:, d].astype(np.float64) for d in range(DIMENSIONS)]
        line = compare(
            f"tokenising 1,000,000 × 25 into 100 {strategy} bins",
            "M numbers/s",
            "seqrl",
            {
                "seqrl": our_rate(bins, table),
                "searchsorted, sorted columns": search_rate(bins, ordered),
                "searchsorted, as they come": search_rate(bins, unordered),
            },
            at_least=1 / 1.5,
        )
        lines.append(line)
    return [*lines, growth_with_rows()]
