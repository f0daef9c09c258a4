"""Parquet: one row a step with an episode column, as seqrl exports it, or one row an episode with lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from seqrl.config import SpaceFacts, explain
from seqrl.datasets.importers.checks import (
    BLOCK_BYTES,
    MOST_EPISODES,
    ImportRefused,
    RawEpisode,
    check_expansion,
    check_file,
    refuse,
)
from seqrl.datasets.importers.flat import FlatSteps, find_names
from seqrl.datasets.importers.rows import FIELDS, check_names, episodes_of, is_list, one_row
from seqrl.datasets.importers.sources import Expected, Source, reading
from seqrl.datasets.importers.spaces import check_facts
from seqrl.datasets.importers.tables import StepTable, column_array

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

    Columns ``observation_0 … observation_N`` (and ``obs_…``, ``action_…``) are read as one field.

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
        for batch in file.iter_batches(
            at_once, columns=sorted({names[field] for field in FIELDS if field in names}), use_threads=False
        ):
            yield from episodes_of(batch, names, first)
            first += batch.num_rows

    return Source("parquet", episodes, None, expected.observation, expected.action, read)


def _step_rows(file: pq.ParquetFile, expected: Expected) -> Source:
    def batches(columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        return file.iter_batches(rows, columns=list(columns), use_threads=False)

    table = StepTable(file.schema_arrow, file.metadata.num_rows, batches, remarks=ABOUT)
    names = find_names(table.available)
    final = names.pop("final_observations", None)
    about = {key: key for key in ABOUT if key in table.schema.names}
    flat = FlatSteps(names, table.open_column, expected.max_episode_steps, about, table.available)
    notes = _notes(file)
    read = flat.read
    if final is not None and "next_observations" not in names:
        read = _with_finals(file, flat, final)
    return Source(
        "parquet",
        flat.episodes,
        flat.steps,
        expected.observation or notes.observation,
        notes.action or expected.action,
        read,
        notes.environment,
        notes.environment_kwargs,
    )


def _with_finals(file: pq.ParquetFile, flat: FlatSteps, name: str) -> Callable[[], Iterator[RawEpisode]]:
    """Episodes whose last observation stands in a column that is null but at the last step."""

    def read() -> Iterator[RawEpisode]:
        finals = _not_null(file, name)
        for index, episode in enumerate(flat.read()):
            final = next(finals, None)
            if final is None:
                raise refuse(index, name, "is missing; give one at the last step of each episode")
            steps = episode.observations[:-1]
            episode.observations = np.concatenate([steps, one_row(index, name, final, steps.shape[1:])])
            yield episode
        if next(finals, None) is not None:
            raise ImportRefused(f"{name} has more values than there are episodes; give one at the last step of each")

    return read


def _not_null(file: pq.ParquetFile, name: str) -> Iterator[np.ndarray]:
    for batch in file.iter_batches(1024, columns=[name], use_threads=False):
        yield from column_array(batch.column(0).drop_null(), name)


@dataclass(frozen=True)
class _Notes:
    observation: SpaceFacts | None = None
    action: SpaceFacts | None = None
    environment: str | None = None
    environment_kwargs: dict[str, Any] | None = None


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
    environment, kwargs = values.get("environment"), values.get("environment_kwargs")
    if not isinstance(environment, str) or not isinstance(kwargs, dict | None):
        return _Notes(observation, action)
    return _Notes(observation, action, environment, kwargs)
