"""Folders of Hugging Face ``datasets.save_to_disk``: Arrow streams, one row an episode or a step. No script is run."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from seqrl.datasets.importers.checks import MOST_EPISODES, MOST_JSON_BYTES, ImportRefused, RawEpisode, check_file
from seqrl.datasets.importers.flat import FlatSteps, find_names
from seqrl.datasets.importers.rows import check_names, episodes_of, is_list
from seqrl.datasets.importers.sources import Expected, Source, reading
from seqrl.datasets.importers.tables import StepTable
from seqrl.files import inside, read_capped

_MOST_FILES = 10_000
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_KEEP_RESIDENT_BYTES = 256 * 2**20


@contextmanager
def open_huggingface(folder: Path, expected: Expected) -> Iterator[Source]:
    """Open a saved dataset, or the ``train`` (else only) split of a saved dictionary of datasets.

    Rows are episodes if rewards are lists, else steps, as in Parquet.

    Raises:
        ImportRefused: naming what is missing or malformed.
    """
    with reading(folder):
        files = data_files(folder)
        schema, rows = _looked_through(files)
        if not rows:
            raise ImportRefused("the file has no episodes; give one with at least one")
        names = find_names(schema.names)
        if "rewards" in names and not is_list(schema.field(names["rewards"]).type):
            source = _step_rows(files, schema, rows, expected)
        else:
            source = _episode_rows(files, names, rows, expected)
    yield source


def _looked_through(files: Sequence[Path]) -> tuple[pa.Schema, int]:
    """The schema that all files share, and the number of their rows."""
    schema, rows = None, 0
    for path in files:
        with _stream(path) as (stream, _):
            if schema is not None and not stream.schema.equals(schema):
                raise ImportRefused(f"{path.name} has other columns than {files[0].name}; save the dataset again")
            schema = stream.schema
            rows += sum(_checked(batch).num_rows for batch in stream)
    assert schema is not None  # noqa: S101 - there is at least one file
    return schema, rows


def _episode_rows(files: Sequence[Path], names: dict[str, str], episodes: int, expected: Expected) -> Source:
    check_names(names)
    if episodes > MOST_EPISODES:
        raise ImportRefused(f"there are {episodes:,} episodes; at most {MOST_EPISODES:,} are read")

    def read() -> Iterator[RawEpisode]:
        first = 0
        for path in files:
            with _stream(path) as (stream, mapped):
                touched = 0
                for batch in stream:
                    for episode in episodes_of(_checked(batch), names, first):
                        first += 1
                        touched += episode.observations.nbytes * 2
                        yield episode
                        if touched > _KEEP_RESIDENT_BYTES:  # pages that were read would count as ours until the end
                            mapped.madvise(mmap.MADV_DONTNEED)
                            touched = 0

    return Source("hf", episodes, None, expected.observation, expected.action, read)


def _step_rows(files: Sequence[Path], schema: pa.Schema, steps: int, expected: Expected) -> Source:
    def batches(columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        for path in files:
            with _stream(path) as (stream, mapped):
                touched = 0
                for batch in stream:
                    chosen = _checked(batch).select(list(columns))
                    for start in range(0, chosen.num_rows, rows):
                        yield chosen.slice(start, rows)
                    touched += chosen.nbytes
                    if touched > _KEEP_RESIDENT_BYTES:
                        mapped.madvise(mmap.MADV_DONTNEED)
                        touched = 0

    table = StepTable(schema, steps, batches)
    names = find_names(table.available)
    names.pop("final_observations", None)  # that is one an episode
    flat = FlatSteps(names, table.open_column, expected.max_episode_steps, available=table.available)
    return Source("hf", flat.episodes, flat.steps, expected.observation, expected.action, flat.read)


def data_files(folder: Path) -> list[Path]:
    """The Arrow files of a saved dataset, in order.

    Raises:
        ImportRefused: if the folder is none, or names files outside itself.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not splits or not all(isinstance(split, str) for split in splits):
            raise ImportRefused("dataset_dict.json names no splits; save the dataset again")
        split = "train" if "train" in splits else splits[0]
        if not _PLAIN_NAME.fullmatch(split):
            raise ImportRefused(f"dataset_dict.json names the split {split[:40]!r}; use plain names")
        folder = inside(folder, split)
    if not (folder / "state.json").is_file():
        raise ImportRefused(f"{folder.name} has no state.json; give a folder that datasets.save_to_disk wrote")
    listed = _json(folder / "state.json").get("_data_files")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_FILES:
        raise ImportRefused("state.json lists no data files; save the dataset again")
    files = []
    for entry in listed:
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name) or not name.endswith(".arrow"):
            raise ImportRefused(f"state.json names the data file {str(name)[:40]!r}; it must be a plain .arrow file")
        files.append(check_file(inside(folder, name)))
    return files


def is_huggingface(folder: Path) -> bool:
    """Whether a folder looks as ``save_to_disk`` leaves it."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


@contextmanager
def _stream(path: Path) -> Iterator[tuple[pa.RecordBatchStreamReader, mmap.mmap]]:
    with open(path, "rb") as file:
        # never closed by hand: it goes with the last array that looks at it
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(mapped))) as stream:
        yield stream, mapped


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    batch.validate(full=True)  # offsets of a foreign file may point anywhere
    return batch


def _json(path: Path) -> dict[str, Any]:
    with reading(path):
        values = json.loads(read_capped(path, MOST_JSON_BYTES))
    if not isinstance(values, dict):
        raise ImportRefused(f"{path.name} is no JSON object; save the dataset again")
    return values
