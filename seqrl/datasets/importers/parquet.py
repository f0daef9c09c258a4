"""Parquet: one row a step with an episode column, as seqrl exports it, or one row an episode with lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from seqrl.config import SpaceFacts, explain
from seqrl.datasets.importers.checks import (
    BLOCK_BYTES,
    MOST_DIMENSIONS,
    MOST_EPISODES,
    ImportRefused,
    RawEpisode,
    block_rows,
    check_expansion,
    check_file,
    refuse,
)
from seqrl.datasets.importers.flat import Column, FlatSteps, find_names
from seqrl.datasets.importers.rows import check_names, episodes_of, is_list
from seqrl.datasets.importers.sources import Expected, Source, reading
from seqrl.datasets.importers.spaces import check_facts

METADATA_KEY = b"seqrl"
"""Key of the file's metadata under which an export keeps the spaces and the environment, as JSON."""

ABOUT = ("tier", "policy", "epsilon", "noise_std", "seed")
"""Columns that an export repeats at every step of an episode."""

_MOST_METADATA = 64 * 2**20
_MOST_COLUMNS = 100_000
_MAGIC = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does."""
    with open(path, "rb") as file:
        return file.read(4) == _MAGIC


@contextmanager
def open_parquet(path: Path, expected: Expected) -> Iterator[Source]:
    """Open a file with columns observations, actions and rewards, which may be lists or one column a number.

    Columns ``observation_0 … observation_N`` (and ``action_…``) are read as one field.

    Raises:
        ImportRefused: naming the field.
    """
    check_file(path)
    with reading(path):
        file = pq.ParquetFile(
            path,
            thrift_string_size_limit=_MOST_METADATA,
            thrift_container_size_limit=_MOST_COLUMNS * 10,
            pre_buffer=False,
            memory_map=False,
            buffer_size=2**20,
        )
    with file:
        with reading(path):
            _check_sizes(path, file)
            source = _episode_rows(file, expected) or _step_rows(file, expected)
        yield source


class ParquetColumn:
    """Rows of one field of a Parquet file, read one after the other."""

    def __init__(self, file: pq.ParquetFile, columns: list[str], name: str) -> None:
        self.name = name
        types = {file.schema_arrow.field(column).type for column in columns}
        if len(types) > 1:
            raise refuse(None, name, f"has columns of different types ({', '.join(map(str, types))}); give one")
        self._width = len(columns)
        first = next(file.iter_batches(1, columns=columns, use_threads=False), None)
        value = _numbers(first, columns, name) if first is not None and first.num_rows else np.zeros((0, self._width))
        self.shape, self.dtype = (file.metadata.num_rows, *value.shape[1:]), value.dtype
        rows = block_rows(int(np.prod(self.shape[1:], dtype=np.int64)) * max(8, self.dtype.itemsize))
        self._batches = file.iter_batches(min(rows, 65_536), columns=columns, use_threads=False)
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
            values = _numbers(batch, self._columns, self.name, self._read)
            self._read += len(values)
            if values.shape[1:] != self.shape[1:]:
                raise refuse(None, self.name, f"has {values.shape[1:]} numbers a step, but {self.shape[1:]} at first")
            parts.append(values[:missing])
            self._left, missing = values[missing:], missing - len(values)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _numbers(batch: pa.RecordBatch, columns: list[str], name: str, first: int = 0) -> np.ndarray:
    parts = [_column_array(batch.column(column), name, first) for column in columns]
    return parts[0] if len(columns) == 1 else np.stack(parts, axis=1)


def _column_array(values: pa.Array, name: str, first: int = 0) -> np.ndarray:
    """Rows of a column, the first of which has number ``first``, as one array."""
    if isinstance(values.type, pa.DictionaryType):
        values = values.dictionary_decode()
    shape = [len(values)]
    while is_list(values.type) and len(shape) < 5:
        _check_whole(values, name, first)
        shape.append(_list_length(values, name, first if len(shape) == 1 else None))
        values = values.flatten()
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
    )
    return any(is_kind(data_type) for is_kind in kinds)


def _check_sizes(path: Path, file: pq.ParquetFile) -> None:
    metadata = file.metadata
    if metadata.num_rows == 0:
        raise ImportRefused(f"{path.name} is empty; give at least one step")
    if metadata.num_columns > _MOST_COLUMNS:
        raise ImportRefused(f"{path.name} has {metadata.num_columns:,} columns; at most {_MOST_COLUMNS:,} are read")
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ImportRefused(f"{path.name} has two columns named {twice}; keep one")
    expanded = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if expanded < 0 or metadata.num_rows < 0:
        raise ImportRefused(f"{path.name} claims a negative size; write the file again")
    check_expansion(path.name, path.stat().st_size, expanded)


def _episode_rows(file: pq.ParquetFile, expected: Expected) -> Source | None:
    """The source of a file with one row an episode, or None if rows are steps."""
    schema = file.schema_arrow
    names = find_names(schema.names)
    if "rewards" not in names or not is_list(schema.field(names["rewards"]).type):
        return None
    check_names(names)
    episodes = file.metadata.num_rows
    if episodes > MOST_EPISODES:
        raise ImportRefused(f"there are {episodes:,} episodes; at most {MOST_EPISODES:,} are read")
    expanded = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    at_once = max(1, min(1024, BLOCK_BYTES // max(1, expanded // episodes)))

    def read() -> Iterator[RawEpisode]:
        first = 0
        for batch in file.iter_batches(at_once, columns=sorted(set(names.values())), use_threads=False):
            yield from episodes_of(batch, names, first)
            first += batch.num_rows

    return Source("parquet", episodes, None, expected.observation, expected.action, read)


def _step_rows(file: pq.ParquetFile, expected: Expected) -> Source:
    schema = file.schema_arrow
    groups = _numbered(schema.names)
    available = [*schema.names, *groups]
    names = find_names(available)
    final = names.pop("final_observations", None)
    about = {key: key for key in ABOUT if key in schema.names}

    @contextmanager
    def open_column(name: str) -> Iterator[Column]:
        yield ParquetColumn(file, groups.get(name, [name]), name)

    flat = FlatSteps(names, open_column, expected.max_episode_steps, about, available)
    notes = _notes(file)
    read = flat.read
    if final is not None and "next_observations" not in names:
        read = _with_finals(file, flat, final)
    return Source(
        "parquet",
        flat.episodes,
        flat.steps,
        expected.observation or notes.observation,
        expected.action or notes.action,
        read,
        notes.environment,
    )


def _with_finals(file: pq.ParquetFile, flat: FlatSteps, name: str) -> Callable[[], Iterator[RawEpisode]]:
    """Episodes whose last observation stands in a column that is null but at the last step."""

    def read() -> Iterator[RawEpisode]:
        finals = _not_null(file, name)
        for index, episode in enumerate(flat.read()):
            final = next(finals, None)
            if final is None:
                raise refuse(index, name, "is missing; give one at the last step of each episode")
            episode.observations = np.concatenate([episode.observations[:-1], final[None]])
            yield episode
        if next(finals, None) is not None:
            raise ImportRefused(f"{name} has more values than there are episodes; give one at the last step of each")

    return read


def _not_null(file: pq.ParquetFile, name: str) -> Iterator[np.ndarray]:
    for batch in file.iter_batches(1024, columns=[name], use_threads=False):
        yield from _column_array(batch.column(0).drop_null(), name)


def _numbered(names: list[str]) -> dict[str, list[str]]:
    """Fields that are spread over columns ``NAME_0``, ``NAME_1``, …"""
    groups = {}
    for name in ("observation", "action", "next_observation"):
        if f"{name}_0" in names and name not in names and f"{name}s" not in names:
            count = 1
            while f"{name}_{count}" in names and count < MOST_DIMENSIONS:
                count += 1
            groups[f"{name}s"] = [f"{name}_{i}" for i in range(count)]
    return groups


@dataclass(frozen=True)
class _Notes:
    observation: SpaceFacts | None = None
    action: SpaceFacts | None = None
    environment: str | None = None


def _notes(file: pq.ParquetFile) -> _Notes:
    """What an export wrote down about spaces and environment; ignored where a file has none."""
    text = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    if text is None:
        return _Notes()
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ImportRefused("the metadata seqrl is no JSON object; export the dataset again")
    try:
        observation, action = (
            SpaceFacts.model_validate(values[key]) if key in values else None for key in ("observation", "action")
        )
    except ValidationError as error:
        raise ImportRefused(f"the metadata seqrl is malformed: {explain(error)}") from error
    for what, facts in (("observation", observation), ("action", action)):
        if facts is not None:
            check_facts(facts, what)
    environment = values.get("environment")
    return _Notes(observation, action, environment if isinstance(environment, str) else None)
