"""Bins of every dimension: numbers to tokens and back.

A bin ``i`` of a dimension holds the numbers ``edges[i] <= x < edges[i + 1]``; what lies outside the outermost
edges belongs to the outermost bins. A bin decodes to its middle, or to the one value that it was made for
(categories, constant columns, values that repeat so often that they earn a bin of their own).

The quantile code that people copy takes equally spaced quantiles as edges: repeated values then give bins of zero
width, and some numbers of samples an index past the end. Here a bin is a run of *distinct* values, closed when
its share of the rows is reached, so every bin has a width and at least one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

Strategy = Literal["uniform", "quantile"]
Dimensions = slice | Sequence[int] | np.ndarray | None

MAX_FIT_ROWS = 1_000_000
"""Edges are fitted on at most so many evenly spaced rows (and the extremes); more changes nothing visible."""

_GRID_CELLS = 4096
_CHUNK_ROWS = 8192
_FEW_ROWS = 256


@dataclass(frozen=True)
class Discretizer:
    """Bins of D dimensions, at most W each.

    Attributes:
        names: a name for every dimension, used in errors and figures.
        counts: (D,) int64, bins in use of each dimension.
        edges: (D, W + 1) float64, units of the dimension; increasing up to ``counts``, then the last edge repeated.
        values: (D, W) float64, what each bin decodes to; after ``counts`` the last value repeated.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    edges: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        used = np.arange(self.width) < self.counts[:, None]
        if not (np.isfinite(self.edges).all() and (np.diff(self.edges, axis=1)[used] > 0).all()):
            raise ValueError("the edges of a discretizer must be finite and increasing; fit it again")

    @property
    def dimensions(self) -> int:
        """How many dimensions there are."""
        return len(self.names)

    @property
    def width(self) -> int:
        """Bins of the dimension that has most."""
        return self.values.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every token."""
        return smallest_type(self.width)

    def encode(self, values: Any, dimensions: Dimensions = None) -> Any:
        """Tokens of numbers; the outermost bins take what lies outside the edges.

        Args:
            values: (..., D') numbers, numpy or torch; D' dimensions as selected.
            dimensions: which dimensions the last axis holds; None for all.

        Returns:
            (..., D') unsigned integers of the smallest type (torch in, torch int64 out, on the same device).

        Raises:
            ValueError: if a number is not finite or the last axis has another length, naming the dimension.
        """
        if _is_torch(values):
            import torch

            tokens = self.encode(values.detach().cpu().numpy(), dimensions)
            return torch.from_numpy(tokens.astype(np.int64)).to(values.device)
        array = np.asarray(values)
        chosen = self._chosen(dimensions, array.shape)
        rows = array.reshape(-1, len(chosen))
        tokens = np.empty(rows.shape, self.dtype)
        for start in range(0, len(rows), _CHUNK_ROWS):
            chunk = np.ascontiguousarray(rows[start : start + _CHUNK_ROWS].T, dtype=np.float64)
            encoded = self._encode_columns(chunk, chosen)
            if encoded is None:
                self._refuse_non_finite(rows, chosen)
            tokens[start : start + _CHUNK_ROWS] = np.asarray(encoded).T
        return tokens.reshape(array.shape)

    def decode(self, tokens: Any, dimensions: Dimensions = None) -> Any:
        """What the bins stand for.

        Args:
            tokens: (..., D') integers, numpy or torch.
            dimensions: which dimensions the last axis holds; None for all.

        Returns:
            (..., D') float64, units of each dimension (torch in: float32 on the same device).

        Raises:
            ValueError: if a token is not one of its dimension's, naming the dimension.
        """
        if _is_torch(tokens):
            import torch

            decoded = self.decode(tokens.detach().cpu().numpy(), dimensions)
            return torch.from_numpy(decoded.astype(np.float32)).to(tokens.device)
        indices = np.asarray(tokens)
        chosen = self._chosen(dimensions, indices.shape)
        wrong = (indices < 0) | (indices >= self.counts[chosen])
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0])
            dimension = int(chosen[where[-1]])
            raise ValueError(
                f"{self.names[dimension]} has tokens 0 to {self.counts[dimension] - 1} but got {indices[where]}"
            )
        return self.values[chosen, indices]

    def expectation(self, probabilities: Any, dimensions: Dimensions = None) -> Any:
        """Mean of the decoded value under bin probabilities; the probabilities are only read.

        Args:
            probabilities: (..., D', W) that sum to 1 over the last axis, numpy or torch.
            dimensions: which dimensions the axis before the last holds; None for all.

        Returns:
            (..., D') mean value, units of each dimension.

        Raises:
            ValueError: if the axes do not fit.
        """
        chosen = self._chosen(dimensions, probabilities.shape[:-1])
        if probabilities.shape[-1] != self.width:
            raise ValueError(f"probabilities cover {probabilities.shape[-1]} bins but there are {self.width}")
        values = self.values[chosen]
        if _is_torch(probabilities):
            import torch

            table = torch.as_tensor(values, dtype=probabilities.dtype, device=probabilities.device)
            return (probabilities * table).sum(-1)
        return (np.asarray(probabilities) * values).sum(-1)

    def select(self, dimensions: Dimensions) -> Discretizer:
        """The same bins for some of the dimensions."""
        chosen = np.arange(self.dimensions)[_index(dimensions)]
        return Discretizer(
            tuple(self.names[d] for d in chosen), self.counts[chosen], self.edges[chosen], self.values[chosen]
        )

    def _chosen(self, dimensions: Dimensions, shape: Sequence[int]) -> np.ndarray:
        chosen = np.arange(self.dimensions)[_index(dimensions)]
        if not shape or shape[-1] != len(chosen):
            got = shape[-1] if shape else "a single number"
            raise ValueError(f"expected {len(chosen)} dimensions ({', '.join(self.names)}) in the last axis, got {got}")
        return chosen

    def _encode_columns(self, columns: np.ndarray, chosen: np.ndarray) -> np.ndarray | None:
        """Tokens (D', n) of contiguous float64 columns (D', n), or None if a number is not finite."""
        if not np.isfinite(columns).all():
            return None
        tokens = np.empty(columns.shape, self.dtype)
        few = columns.shape[1] <= _FEW_ROWS
        for row, dimension in enumerate(chosen):
            if few:
                inner = self.edges[dimension, 1 : self.counts[dimension]]
                tokens[row] = np.searchsorted(inner, columns[row], side="right")
            else:
                self._grids[dimension].encode(columns[row], tokens[row])
        return tokens

    def _refuse_non_finite(self, rows: np.ndarray, chosen: np.ndarray) -> None:
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"{self.names[chosen[column]]} is {rows[row, column]} at row {row}; "
            "tokens need finite numbers, remove or replace it"
        )

    @cached_property
    def _grids(self) -> list[_Grid]:
        return [_Grid(self.edges[d, : self.counts[d] + 1], self.dtype) for d in range(self.dimensions)]


class _Grid:
    """Looks a number's bin up in equal cells, then corrects it against the edges that share its cell.

    The cell of a number is a monotone function of it, also in floating point. So an edge in an earlier cell lies
    below the number and an edge in a later cell above it; only edges of the very same cell are compared. The
    result is exactly ``numpy.searchsorted(edges[1:-1], x, side="right")``.
    """

    def __init__(self, edges: np.ndarray, dtype: np.dtype[Any]) -> None:
        inner = edges[1:-1]
        self.low, self.high = float(edges[0]), float(edges[-1])
        with np.errstate(over="ignore"):
            self.scale = min(_GRID_CELLS / (self.high - self.low), np.finfo(np.float64).max)
        cells = self._cells(inner.copy())
        self.inner = inner
        self.first = np.searchsorted(cells, np.arange(_GRID_CELLS), side="left").astype(dtype)
        # The edge above bin i; +inf above the last one ends the correction there.
        self.upper = np.append(inner, np.inf)
        self.corrections = int(np.bincount(cells).max(initial=0)) if len(inner) else 0

    def _cells(self, values: np.ndarray) -> np.ndarray:
        """Cell of each number; overwrites the argument."""
        np.subtract(values, self.low, out=values)
        np.multiply(values, self.scale, out=values)
        np.clip(values, 0, _GRID_CELLS - 1, out=values)
        return values.astype(np.int32)

    def encode(self, values: np.ndarray, out: np.ndarray) -> None:
        if self.corrections > 4:  # edges so crowded that one cell holds many of them
            out[:] = np.searchsorted(self.inner, values, side="right")
            return
        if not len(self.inner):
            out[:] = 0
            return
        np.take(self.first, self._cells(values.copy()), out=out, mode="clip")
        for _ in range(self.corrections):
            out += values >= self.upper.take(out, mode="clip")


def fit_discretizer(
    values: np.ndarray,
    bins: int,
    strategy: Strategy = "quantile",
    *,
    names: Sequence[str] | None = None,
    categories: Sequence[int | None] | None = None,
) -> Discretizer:
    """Bins fitted to the columns of a table.

    Args:
        values: (N, D) numbers, N >= 1.
        bins: most bins of a dimension that is not categorical.
        strategy: ``uniform`` for equal widths, ``quantile`` for equal numbers of rows. A column with at most
            ``bins`` distinct values gets one bin a value (``uniform``: only if they are whole numbers).
        names: (D,) names; generic ones if None.
        categories: (D,) the number of values 0, 1, ... of a categorical dimension, None for a numeric one.

    Returns:
        The discretizer; it has ``max(bins, *categories)`` columns.

    Raises:
        ValueError: if there is nothing to fit, or a number is not finite, naming the dimension.
    """
    table = np.asarray(values)
    if table.ndim != 2 or not table.shape[0]:
        raise ValueError(f"bins need a table of at least one row, got shape {table.shape}")
    if bins < 1:
        raise ValueError(f"bins is {bins}; choose at least 1")
    names = tuple(names) if names is not None else tuple(f"dimension {d}" for d in range(table.shape[1]))
    categories = list(categories) if categories is not None else [None] * table.shape[1]
    if len(names) != table.shape[1] or len(categories) != table.shape[1]:
        raise ValueError(f"{table.shape[1]} columns but {len(names)} names and {len(categories)} categories")
    width = max([bins, *(count for count in categories if count)])
    edges, centres, counts = np.empty((len(names), width + 1)), np.empty((len(names), width)), []
    for d, count in enumerate(categories):
        if count:
            column_edges, column_values = _one_bin_a_value(np.arange(count, dtype=np.float64))
        else:
            column_edges, column_values = _fit_column(_fit_rows(table[:, d], names[d]), bins, strategy)
        counts.append(len(column_values))
        edges[d] = np.pad(column_edges, (0, width + 1 - len(column_edges)), mode="edge")
        centres[d] = np.pad(column_values, (0, width - len(column_values)), mode="edge")
    return Discretizer(names, np.array(counts, dtype=np.int64), edges, centres)


def smallest_type(count: int) -> np.dtype[Any]:
    """The smallest unsigned integer type for ``count`` tokens."""
    return np.dtype(np.uint8 if count <= 2**8 else np.uint16 if count <= 2**16 else np.uint32)


def _fit_rows(column: np.ndarray, name: str) -> np.ndarray:
    """The rows that edges are fitted on: float64, finite, evenly spaced when there are very many."""
    column = column.astype(np.float64)
    if not np.isfinite(column).all():
        row = int(np.argmin(np.isfinite(column)))
        raise ValueError(f"{name} is {column[row]} at row {row}; bins need finite numbers, remove or replace it")
    if len(column) > MAX_FIT_ROWS:
        stride = -(-len(column) // MAX_FIT_ROWS)
        return np.concatenate([column[::stride], [column.min(), column.max()]])
    return column


def _fit_column(column: np.ndarray, bins: int, strategy: Strategy) -> tuple[np.ndarray, np.ndarray]:
    """Edges and decoded values of one numeric column."""
    distinct, rows = np.unique(column, return_counts=True)
    if len(distinct) <= bins and (strategy == "quantile" or (distinct == np.round(distinct)).all()):
        return _one_bin_a_value(distinct)
    if strategy == "uniform":
        share = np.linspace(0, 1, bins + 1)
        edges = distinct[0] * (1 - share) + distinct[-1] * share
        edges[[0, -1]] = distinct[0], distinct[-1]
        if (np.diff(edges) > 0).all():
            return edges, edges[:-1] / 2 + edges[1:] / 2
    return _equal_shares(distinct, rows, bins) if len(distinct) > bins else _one_bin_a_value(distinct)


def _one_bin_a_value(distinct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A bin around each value, with borders halfway to its neighbours."""
    inner = _between(distinct[:-1], distinct[1:])
    if len(distinct) == 1:
        below = above = max(0.5, 2 * float(np.spacing(abs(distinct[0]))))
    else:
        below, above = distinct[1] / 2 - distinct[0] / 2, distinct[-1] / 2 - distinct[-2] / 2
    low = min(distinct[0] - below, np.nextafter(distinct[0], -np.inf))
    high = max(distinct[-1] + above, np.nextafter(distinct[-1], np.inf))
    return np.concatenate([[low], inner, [high]]), distinct


def _equal_shares(distinct: np.ndarray, rows: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bins with about equal numbers of rows, each of whole distinct values; more distinct values than bins.

    What a heavily repeated value takes beyond its share is spread over the bins that are left.
    """
    below = np.concatenate([[0], np.cumsum(rows)])  # rows below each distinct value
    starts = [0]
    for left in range(bins, 1, -1):
        first = starts[-1]
        wanted = below[first] + (below[-1] - below[first]) / left
        end = int(np.searchsorted(below, wanted))
        if end > first + 1 and wanted - below[end - 1] < below[end] - wanted:
            end -= 1
        starts.append(min(max(end, first + 1), len(distinct) - left + 1))
    begin = np.array(starts)
    last = np.append(begin[1:], len(distinct)) - 1
    edges = np.concatenate([distinct[:1], _between(distinct[last[:-1]], distinct[begin[1:]]), distinct[-1:]])
    edges[-1] = max(edges[-1], np.nextafter(edges[-2], np.inf))
    middle = edges[:-1] / 2 + edges[1:] / 2
    return edges, np.where(begin == last, distinct[begin], middle)


def _between(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Halfway between neighbours, always above the lower one."""
    middle = lower / 2 + upper / 2
    return np.where(middle > lower, middle, upper)


def _is_torch(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] == "torch"


def _index(dimensions: Dimensions) -> Any:
    return slice(None) if dimensions is None else dimensions
