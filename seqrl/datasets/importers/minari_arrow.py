"""Minari datasets whose ``data_format`` is arrow or parquet: one numbered folder an episode, spaces in metadata.json.

Every column has one row more than the episode has steps, and the last row of actions, rewards and flags is padding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gymnasium import Space, spaces

from seqrl.datasets.importers.checks import (
    MOST_EPISODE_BYTES,
    MOST_EPISODE_STEPS,
    MOST_EPISODES,
    MOST_JSON_BYTES,
    ImportRefused,
    RawEpisode,
    check_expansion,
    check_file,
    check_rewards,
    refuse,
)
from seqrl.datasets.importers.images import decode_frames
from seqrl.datasets.importers.sources import Expected, Source, reading
from seqrl.datasets.importers.spaces import space_from_json
from seqrl.environments.spaces import is_image
from seqrl.files import inside, read_capped

METADATA = "metadata.json"
FORMATS = ("arrow", "parquet")
_FIELDS = ("observations", "actions", "rewards", "terminations", "truncations")
_MOST_FILES = 1000


def described(folder: Path) -> Path | None:
    """The ``data`` folder of a Minari dataset in one of these formats, or None if it is none.

    Raises:
        ImportRefused: if it is in a format that nothing here reads.
    """
    for data in (folder / "data", folder):
        if (data / METADATA).is_file():
            with reading(data / METADATA):
                values = json.loads(read_capped(data / METADATA, MOST_JSON_BYTES))
            form = values.get("data_format", "hdf5") if isinstance(values, dict) else None
            if form in FORMATS:
                return data
            if form is not None and form != "hdf5":
                raise ImportRefused(f"the data_format is {str(form)[:20]}; give hdf5, arrow or parquet")
    return None


@contextmanager
def open_minari_arrow(data: Path, expected: Expected, played_in: Mapping[str, Any]) -> Iterator[Source]:
    """Open a dataset that `described` found.

    Raises:
        ImportRefused: naming the episode and the field.
    """
    with reading(data / METADATA):
        metadata = json.loads(read_capped(data / METADATA, MOST_JSON_BYTES))
        count, jpeg = metadata.get("total_episodes"), bool(metadata.get("jpeg_encoding", True))
        if not isinstance(count, int) or not 0 < count <= MOST_EPISODES:
            raise ImportRefused(f"{METADATA} has total_episodes {str(count)[:20]}; give 1 to {MOST_EPISODES:,}")
        space: dict[str, Space] = {}
        for what in ("observation", "action"):
            text = metadata.get(f"{what}_space")
            if not isinstance(text, str):
                raise ImportRefused(f"{METADATA} has no {what}_space; give a dataset that Minari wrote")
            space[what] = space_from_json(text, f"{what}_space")

    def read() -> Iterator[RawEpisode]:
        for index in range(count):
            yield _episode(data / str(index), index, space["observation"], space["action"], metadata, jpeg)

    facts = (expected.observation or space["observation"], expected.action or space["action"])
    yield Source("minari", count, None, *facts, read, **played_in)


def _episode(
    folder: Path, index: int, observation: Space, action: Space, metadata: dict[str, Any], jpeg: bool
) -> RawEpisode:
    table = _table(folder, index, metadata["data_format"])
    columns = {}
    for name in _FIELDS:
        if name not in table.schema.names:
            raise refuse(index, name, "is missing; give a dataset that Minari wrote")
        column = table.column(table.schema.names.index(name))
        columns[name] = column if name == "observations" else column.slice(0, max(len(column) - 1, 0))
    rewards = check_rewards(index, _decode(columns["rewards"], None, index, "rewards", jpeg))
    flags = {name: _decode(columns[name], None, index, name, jpeg) for name in ("terminations", "truncations")}
    for name, values in flags.items():
        if values.shape != rewards.shape or not np.isin(values, (0, 1)).all():
            raise refuse(index, name, f"has shape {values.shape} or other values than 0 and 1; rewards {rewards.shape}")
        if values[:-1].any():
            raise refuse(index, name, f"is set at step {int(np.flatnonzero(values)[0])}, before the last step")
    terminated, truncated = (bool(values[-1]) for values in flags.values())
    return RawEpisode(
        observations=_decode(columns["observations"], observation, index, "observations", jpeg),
        actions=_decode(columns["actions"], action, index, "actions", jpeg),
        rewards=rewards,
        terminated=terminated,
        truncated=truncated or not terminated,
        about=_about(folder),
    )


def _about(folder: Path) -> dict[str, Any]:
    if not (folder / METADATA).is_file():
        return {}
    values = json.loads(read_capped(folder / METADATA, MOST_JSON_BYTES))
    seed = values.get("seed") if isinstance(values, dict) else None
    return {"seed": seed} if isinstance(seed, int) else {}


def _table(folder: Path, index: int, form: str) -> pa.RecordBatch:
    """All rows of an episode."""
    if not folder.is_dir():
        raise refuse(index, folder.name, "is missing; give every episode from 0 on its folder")
    paths = sorted(path for path in folder.iterdir() if path.name != METADATA and path.name[:1] not in "._")
    if not 0 < len(paths) <= _MOST_FILES:
        raise refuse(index, folder.name, f"has {len(paths):,} data files; Minari writes one or a few")
    batches: list[pa.RecordBatch] = []
    for path in paths:
        file = check_file(inside(folder, path.name), MOST_EPISODE_BYTES)
        batches += list(_batches(file, index, form))
    rows = sum(batch.num_rows for batch in batches)
    if not rows:
        raise refuse(index, "rewards", "is empty; an episode has at least one step")
    if rows > MOST_EPISODE_STEPS + 1:
        raise refuse(index, "rewards", f"has {rows:,} steps; at most {MOST_EPISODE_STEPS:,} are read")
    return pa.Table.from_batches(batches).combine_chunks().to_batches(max_chunksize=rows)[0]


def _batches(path: Path, index: int, form: str) -> Iterator[pa.RecordBatch]:
    names = [*_FIELDS]
    if form == "parquet":
        with pq.ParquetFile(path, pre_buffer=False, memory_map=False) as file:
            expanded = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            check_expansion(path.name, path.stat().st_size, expanded)
            present = [name for name in names if name in file.schema_arrow.names]
            yield from file.iter_batches(65_536, columns=present, use_threads=False)
        return
    with pa.OSFile(str(path), "rb") as stream, pa.ipc.open_file(stream) as file:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            if batch.nbytes > MOST_EPISODE_BYTES:
                raise refuse(index, "observations", f"has {batch.nbytes:,} bytes; that is more than is read at once")
            batch.validate(full=True)  # offsets of a foreign file may point anywhere
            yield batch.select([name for name in names if name in batch.schema.names])


def _decode(values: pa.Array, space: Space | None, index: int, field: str, jpeg: bool) -> Any:
    """A column as Minari's spaces have it: dictionaries and tuples of arrays, or one array."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces if isinstance(space, spaces.Dict) else {str(i): s for i, s in enumerate(space.spaces)}
        if not isinstance(values.type, pa.StructType):
            raise refuse(index, field, f"is of type {values.type}; its space is a group of {len(parts)} parts")
        decoded = {}
        for name, part in parts.items():
            if values.type.get_field_index(name) < 0:
                raise refuse(index, field, f"has no part {name!r}; its space has one")
            decoded[name] = _decode(values.field(name), part, index, f"{field}.{name}", jpeg)
        return decoded if isinstance(space, spaces.Dict) else tuple(decoded.values())
    if values.null_count:
        raise refuse(index, field, "has a missing value; give every step its numbers")
    if jpeg and space is not None and is_image(space) and pa.types.is_binary(values.type):
        return decode_frames((value.as_py() for value in values), len(values), tuple(space.shape or ()), index, field)
    return _numbers(values, space, index, field)


def _numbers(values: pa.Array, space: Space | None, index: int, field: str) -> np.ndarray:
    rows, width = len(values), None
    if isinstance(values.type, pa.FixedSizeListType):
        width = int(values.type.list_size)
        values = values.flatten()
        if values.null_count or len(values) != rows * width:
            raise refuse(index, field, "has a missing value; give every step its numbers")
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise refuse(index, field, f"has values of type {values.type}; give numbers")
    array = values.to_numpy(zero_copy_only=False)
    if width is None:
        return array
    shape = tuple(space.shape or ()) if space is not None else (width,)
    if int(np.prod(shape, dtype=np.int64)) != width:
        raise refuse(index, field, f"has {width} numbers a step but its space has {int(np.prod(shape))}")
    return array.reshape(rows, *shape)
