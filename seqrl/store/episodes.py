"""Episode records on disk: part files while a sweep runs, one table and one array per field once it is done.

A *field* is a per-step array of an episode (actions, rewards, ...). Arrays of one field that share dtype and trailing
shape are concatenated into one array, the *block*; the index says which rows of which block belong to an episode.

    parts/00000000-00000031.npz    one atomic file: the episode table and index as JSON, and the blocks
    episodes.parquet, steps/index.parquet, steps/BLOCK.npy    after `merge_parts`; BLOCKs may share one steps.npz

What `merge_parts` wrote never changes, and pages ask for it again and again: the tables of the sweeps that were looked
at last, and blocks that share one file, are read once.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqrl.files import atomic_folder, atomic_write_bytes
from seqrl.store.records import EpisodeRecord
from seqrl.store.rows import NotFound

if TYPE_CHECKING:
    import pandas as pd

EPISODES_NAME = "episodes.parquet"
STEPS_NAME = "steps"
INDEX_NAME = "index.parquet"
PACKED_NAME = "steps.npz"
_PARTS_NAME = "parts"
EPISODE_COLUMNS = {
    "episode_id": "int64",
    "run": "str",
    "decoding": "str",
    "target": "float64",
    "episode": "int64",
    "seed": "int64",
    "achieved_return": "float64",
    "length": "int64",
    "terminated": "bool",
    "truncated": "bool",
}
"""Column → type, of a table without episodes too."""


@dataclass
class Batch:
    """Episodes in the form that is stored.

    Attributes:
        episodes: one mapping an episode, see `read_episodes`.
        index: rows (episode_id, field, block, start, stop).
        blocks: block name → concatenated array.
    """

    episodes: list[dict[str, Any]]
    index: list[tuple[int, str, str, int, int]]
    blocks: dict[str, np.ndarray]


def pack(records: Sequence[EpisodeRecord], first_id: int) -> Batch:
    """Number episodes from ``first_id`` on and concatenate their fields."""
    episodes: list[dict[str, Any]] = []
    index: list[tuple[int, str, str, int, int]] = []
    pieces: dict[str, list[np.ndarray]] = {}
    rows: dict[str, int] = {}
    for episode_id, record in enumerate(records, first_id):
        episodes.append(_episode_row(record, episode_id))
        for field, array in record.step_arrays().items():
            block = _block_name(field, array)
            start = rows.get(block, 0)
            rows[block] = start + len(array)
            pieces.setdefault(block, []).append(array)
            index.append((episode_id, field, block, start, rows[block]))
    return Batch(episodes, index, {block: np.concatenate(arrays) for block, arrays in pieces.items()})


def append_part(folder: Path, records: Sequence[EpisodeRecord]) -> None:
    """Add episodes to a sweep that is not finished; they are all there or none is.

    Only one process may append to a folder, which the job's lock ensures.
    """
    if not records:
        return
    parts = _parts(folder)
    first_id = parts[-1][1] + 1 if parts else 0
    target = folder / _PARTS_NAME / f"{first_id:08d}-{first_id + len(records) - 1:08d}.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(target, encode(records, first_id))


def encode(records: Sequence[EpisodeRecord], first_id: int = 0) -> bytes:
    """Episodes as the bytes of a part file, which hold numbers and JSON only."""
    batch = pack(records, first_id)
    header = json.dumps({"episodes": batch.episodes, "index": batch.index}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, header=np.frombuffer(header, np.uint8), **batch.blocks)
    return buffer.getvalue()


def decode(data: bytes) -> list[EpisodeRecord]:
    """The episodes that `encode` was given."""
    with np.load(io.BytesIO(data), allow_pickle=False) as part:
        header = json.loads(part["header"].tobytes())
        blocks = {name: part[name] for name in part.files if name != "header"}
    steps: dict[int, dict[str, np.ndarray]] = {}
    for episode_id, field, block, start, stop in header["index"]:
        steps.setdefault(episode_id, {})[field] = blocks[block][start:stop]
    return [_record(row, steps[row["episode_id"]]) for row in header["episodes"]]


def has_parts(folder: Path) -> bool:
    """Whether an unfinished sweep has measured anything yet."""
    return bool(_parts(folder))


def read_episodes(folder: Path) -> pd.DataFrame:
    """The episode table, of a finished sweep or of what there is so far.

    Returns:
        One row an episode: episode_id, run, decoding, target (NaN if none), episode, seed, achieved_return, length,
        terminated, truncated, and the columns of the records' cells.
    """
    while True:
        if (folder / EPISODES_NAME).is_file():
            return _table(folder / EPISODES_NAME)
        try:
            rows = [row for path, _ in _parts(folder) for row in _header(path)["episodes"]]
        except FileNotFoundError:
            continue  # merged between the look and the read
        return _episode_frame(rows)


def read_steps(folder: Path, episode_id: int) -> dict[str, np.ndarray]:
    """The per-step arrays of one episode: field → (T, ...).

    Raises:
        NotFound: if there is no such episode.
    """
    while True:
        if (folder / EPISODES_NAME).is_file():
            return _read_merged_steps(folder, episode_id)
        try:
            return _read_part_steps(folder, episode_id)
        except FileNotFoundError:
            continue  # merged between the look and the read


def read_field(folder: Path, field: str) -> dict[int, np.ndarray]:
    """One field of all episodes of a finished sweep: episode → (T, ...); empty while it is not finished.

    Where episodes recorded it in several types or shapes, each has its own.
    """
    if not (folder / EPISODES_NAME).is_file():
        return {}
    index = _table(folder / STEPS_NAME / INDEX_NAME)
    found: dict[int, np.ndarray] = {}
    for block, rows in index[index["field"] == field].groupby("block"):
        array = _block(folder, str(block))
        for row in rows.itertuples():
            found[int(row.episode_id)] = np.array(array[row.start : row.stop], dtype=_block_dtype(str(block)))
    return found


def merge_parts(folder: Path) -> None:
    """Turn the parts into the final table and arrays; does nothing when that was done already.

    The table is written last, so it is there only when everything is; the parts are removed after it.
    """
    import pandas as pd

    if not (folder / EPISODES_NAME).is_file():
        paths = [path for path, _ in _parts(folder)]
        headers = [_header(path) for path in paths]
        with atomic_folder(folder / STEPS_NAME) as steps:
            index = list(_merge_blocks(paths, headers, steps))
            frame = pd.DataFrame(index, columns=["episode_id", "field", "block", "start", "stop"])
            frame.to_parquet(steps / INDEX_NAME, index=False)
        table = _episode_frame([row for header in headers for row in header["episodes"]])
        atomic_write_bytes(folder / EPISODES_NAME, table.to_parquet(index=False))
    shutil.rmtree(folder / _PARTS_NAME, ignore_errors=True)


def _merge_blocks(
    paths: Sequence[Path], headers: Sequence[dict[str, Any]], steps: Path
) -> Iterator[tuple[int, str, str, int, int]]:
    """Write every block as one array, part by part, and yield the shifted index."""
    lengths: dict[str, int] = {}
    shifts: list[dict[str, int]] = []
    for header in headers:
        shifts.append(dict(lengths))
        for episode_id, field, block, start, stop in header["index"]:
            shift = shifts[-1].get(block, 0)
            lengths[block] = max(lengths.get(block, 0), shift + stop)
            yield episode_id, field, block, shift + start, shift + stop
    arrays: dict[str, np.memmap | np.ndarray] = {}
    for path, shift_by_block in zip(paths, shifts, strict=True):
        with np.load(path, allow_pickle=False) as part:
            for block in part.files:
                if block == "header":
                    continue
                piece = part[block]
                if block not in arrays:
                    arrays[block] = _new_array(steps / f"{block}.npy", piece, lengths[block])
                start = shift_by_block.get(block, 0)
                arrays[block][start : start + len(piece)] = piece
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()


def _new_array(path: Path, like: np.ndarray, rows: int) -> np.memmap | np.ndarray:
    shape = (rows, *like.shape[1:])
    if 0 in shape:  # nothing to map
        np.save(path, np.empty(shape, like.dtype), allow_pickle=False)
        return np.empty(shape, like.dtype)
    return np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=shape)


def _read_part_steps(folder: Path, episode_id: int) -> dict[str, np.ndarray]:
    for path, last_id in _parts(folder):
        if episode_id <= last_id:
            with np.load(path, allow_pickle=False) as part:
                header = json.loads(part["header"].tobytes())
                rows = [row for row in header["index"] if row[0] == episode_id]
                return {field: part[block][start:stop] for _, field, block, start, stop in rows}
    raise NotFound("episode", episode_id, ())


def _read_merged_steps(folder: Path, episode_id: int) -> dict[str, np.ndarray]:
    index = _table(folder / STEPS_NAME / INDEX_NAME)
    rows = index[index["episode_id"] == episode_id]
    if not len(rows):
        raise NotFound("episode", episode_id, ())
    return {
        row.field: np.array(_block(folder, row.block)[row.start : row.stop], dtype=_block_dtype(row.block))
        for row in rows.itertuples()
    }


def _block(folder: Path, name: str) -> np.ndarray:
    """A block of a finished sweep; not to be written to."""
    packed = folder / STEPS_NAME / PACKED_NAME
    if packed.is_file():
        return _blocks(packed, *_written(packed))[name]
    array: np.ndarray = np.load(folder / STEPS_NAME / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return array


def _table(path: Path) -> pd.DataFrame:
    """A table of a finished sweep; what the caller does with it changes no other's."""
    return _kept_table(path, *_written(path)).copy(deep=False)


def _written(path: Path) -> tuple[int, int]:
    """What tells a file from one that was there before under its name."""
    about = path.stat()
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=16)
def _kept_table(path: Path, modified_ns: int, size_bytes: int) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(path)


@lru_cache(maxsize=8)
def _blocks(path: Path, modified_ns: int, size_bytes: int) -> Mapping[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as blocks:
        return {name: blocks[name] for name in blocks.files}


def _parts(folder: Path) -> list[tuple[Path, int]]:
    """Part files and the last episode of each, in order."""
    paths = sorted((folder / _PARTS_NAME).glob("*.npz"))
    return [(path, int(path.stem.split("-")[1])) for path in paths if not path.name.startswith(".")]


def _header(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as part:
        header: dict[str, Any] = json.loads(part["header"].tobytes())
    return header


def _episode_row(record: EpisodeRecord, episode_id: int) -> dict[str, Any]:
    values = (
        episode_id,
        record.run,
        record.decoding,
        None if record.target is None else float(record.target),
        int(record.episode),
        int(record.seed),
        float(record.achieved_return),
        int(record.length),
        bool(record.terminated),
        bool(record.truncated),
    )
    cell = {key: value.item() if isinstance(value, np.generic) else value for key, value in record.cell.items()}
    return dict(zip(EPISODE_COLUMNS, values, strict=True)) | cell


def _record(row: dict[str, Any], steps: dict[str, np.ndarray]) -> EpisodeRecord:
    """What `_episode_row` and `EpisodeRecord.step_arrays` were made of."""
    named = ("actions", "rewards", "returns_to_go", "action_probabilities")
    about = {name: row[name] for name in ("run", "decoding", "target", "episode", "seed", "terminated", "truncated")}
    return EpisodeRecord(
        **about,
        actions=steps["actions"],
        rewards=steps["rewards"],
        returns_to_go=steps["returns_to_go"],
        action_probabilities=steps.get("action_probabilities"),
        cell={name: value for name, value in row.items() if name not in EPISODE_COLUMNS},
        extra={name: array for name, array in steps.items() if name not in named},
    )


def _episode_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=None if rows else list(EPISODE_COLUMNS)).astype(EPISODE_COLUMNS)


def _block_name(field: str, array: np.ndarray) -> str:
    """Unique to what can be concatenated, and telling its dtype: ``action_probabilities.float32.2``."""
    return ".".join([field, array.dtype.name, *map(str, array.shape[1:])])


def _block_dtype(block: str) -> np.dtype:
    return np.dtype(block.split(".")[1])
