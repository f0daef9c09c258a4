"""Tables with one row a step, of Parquet or Arrow: a field may be a column of numbers or lists, or several columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from seqrl.datasets.importers.checks import MOST_DIMENSIONS, block_rows, refuse
from seqrl.datasets.importers.flat import ALIASES, Column
from seqrl.datasets.importers.rows import is_list

_MOST_ROWS = 65_536


@dataclass(frozen=True)
class StepTable:
    """A table that is read from its first row, some of its columns at a time.

    Attributes:
        schema: of the whole table.
        rows: how many there are.
        batches: columns and a number of rows → pieces of at most so many rows, in order.
        remarks: columns of which nothing is computed; values may be missing there.
    """

    schema: pa.Schema
    rows: int
    batches: Callable[[Sequence[str], int], Iterator[pa.RecordBatch]]
    remarks: Collection[str] = ()

    @property
    def available(self) -> list[str]:
        """Names of the columns, and of the fields that are spread over several."""
        return [*self.schema.names, *self._spread]

    @contextmanager
    def open_column(self, name: str) -> Iterator[Column]:
        """Start reading a field from its first row."""
        yield TableColumn(self, self._spread.get(name, [name]), name)

    @property
    def _spread(self) -> dict[str, list[str]]:
        """Fields that are spread over columns ``NAME_0``, ``NAME_1``, …"""
        names = set(self.schema.names)
        groups: dict[str, list[str]] = {}
        for field in ("observations", "actions", "next_observations"):
            if names.isdisjoint(ALIASES[field]):
                stem = next((alias for alias in ALIASES[field] if f"{alias}_0" in names), None)
                if stem is not None:
                    count = next(i for i in range(1, MOST_DIMENSIONS) if f"{stem}_{i}" not in names)
                    groups[field] = [f"{stem}_{i}" for i in range(count)]
        return groups


class TableColumn:
    """Rows of one field of a table, read one after the other."""

    def __init__(self, table: StepTable, columns: list[str], name: str) -> None:
        self.name = name
        types = {table.schema.field(column).type for column in columns}
        if len(types) > 1:
            raise refuse(None, name, f"has columns of different types ({', '.join(map(str, types))}); give one")
        self._width = len(columns)
        first = next(table.batches(columns, 1), None)
        self._gaps = name in table.remarks
        value: np.ndarray = np.zeros((0, self._width))
        if first is not None and first.num_rows:
            value = _numbers(first, columns, name, 0, self._gaps)
        self.shape, self.dtype = (table.rows, *value.shape[1:]), value.dtype
        rows = block_rows(int(np.prod(self.shape[1:], dtype=np.int64)) * max(8, self.dtype.itemsize))
        self._batches = table.batches(columns, min(rows, _MOST_ROWS))
        self._columns = columns
        self._left, self._read = value[:0], 0

    def take(self, count: int) -> np.ndarray:
        """The next ``count`` rows."""
        parts, missing = [self._left[:count]], count - len(self._left)
        self._left = self._left[count:]
        while missing > 0:
            batch = next(self._batches, None)
            if batch is None:
                raise refuse(None, self.name, f"ends {missing:,} rows too early; the file is cut short")
            values = _numbers(batch, self._columns, self.name, self._read, self._gaps)
            self._read += len(values)
            if values.shape[1:] != self.shape[1:]:
                raise refuse(None, self.name, f"has {values.shape[1:]} numbers a step, but {self.shape[1:]} at first")
            parts.append(values[:missing])
            self._left, missing = values[missing:], missing - len(values)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _numbers(batch: pa.RecordBatch, columns: list[str], name: str, first: int, gaps: bool) -> np.ndarray:
    parts = [column_array(batch.column(column), name, first, gaps) for column in columns]
    return parts[0] if len(columns) == 1 else np.stack(parts, axis=1)


def column_array(values: pa.Array, name: str, first: int = 0, gaps: bool = False) -> np.ndarray:
    """Rows of a column, the first of which has number ``first``, as one array; with ``gaps``, values may be missing."""
    if isinstance(values.type, pa.DictionaryType):
        values = values.dictionary_decode()
    shape = [len(values)]
    while is_list(values.type) and len(shape) < 5:
        _check_whole(values, name, first)
        shape.append(_list_length(values, name, first if len(shape) == 1 else None))
        values = values.flatten()
    if not gaps:
        _check_whole(values, name, first if len(shape) == 1 else None)
    if not _is_plain(values.type):
        raise refuse(None, name, f"has values of type {values.type}; give numbers")
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _check_whole(values: pa.Array, name: str, first: int | None) -> None:
    if values.null_count:
        where = "" if first is None else f" at row {first + int(np.argmax(values.is_null().to_numpy(False))):,}"
        raise refuse(None, name, f"has a missing value{where}; give every step its numbers")


def _list_length(values: pa.Array, name: str, first: int | None) -> int:
    """The length that all lists share: a total that fits is not enough."""
    if isinstance(values.type, pa.FixedSizeListType):
        return int(values.type.list_size)
    if not len(values):
        return 0
    lengths = np.diff(values.offsets.to_numpy())
    other = np.flatnonzero(lengths != lengths[0])
    if len(other):
        where = "" if first is None else f" at row {first + int(other[0]):,}"
        raise refuse(None, name, f"has {lengths[other[0]]} numbers{where} but {lengths[0]} before; give as many a step")
    return int(lengths[0])


def _is_plain(data_type: pa.DataType) -> bool:
    """Numbers; and text, which may name an episode or a tier."""
    kinds = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    return any(is_kind(data_type) for is_kind in kinds)
