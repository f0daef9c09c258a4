"""A dataset as flat, memory-mapped columns: one row a step, episodes one after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.files import atomic_write_text
from seqrl.mapped import Resident, copied_rows, is_large
from seqrl.store.rows import reading_stored

if TYPE_CHECKING:
    import pandas as pd

TAIL_ROWS = 1024
"""Zero rows after the last step of every per-step column, so that a window never leaves the file."""

VERSION = 1
"""Layout of the folder; columns of another version count as missing and are rebuilt."""

_STEP_COLUMNS = ("observations", "actions", "rewards")
_COLUMNS = (*_STEP_COLUMNS, "final_observations")
_SPANS_NAME = "spans.npy"


SPAN = np.dtype([("start", "i8"), ("end", "i8"), ("achieved_return", "f8"), ("terminated", "?")])
"""One episode: its first row, the one past its last, what it paid (reward units), whether it ended by itself."""


class ColumnsMissing(FileNotFoundError):
    """The folder holds no columns of this version; build them again from the Minari dataset."""


class Episode(NamedTuple):
    """The steps of one episode of T steps; views into the columns, not copies."""

    observations: np.ndarray  # (T + 1, *observation)
    actions: np.ndarray  # (T,) or (T, A)
    rewards: np.ndarray  # (T,) float64, reward units


@dataclass(frozen=True, eq=False)
class Columns:
    """Read access to compiled columns; nothing is read before it is used.

    Attributes:
        folder: where the files are.
        facts: what was measured when the columns were compiled.
        observations: (N + TAIL_ROWS, *observation) float32, or uint8 for images; the row of step t is the
            observation that the action of step t was taken in.
        actions: (N + TAIL_ROWS,) int64 discrete, (N + TAIL_ROWS, M) int64 multi-discrete, or
            (N + TAIL_ROWS, A) float32. Discrete values count from zero, whatever the space starts at.
        rewards: (N + TAIL_ROWS,) float64, reward units.
        final_observations: (E, *observation), the observation after the last step of each episode.
        spans: (E,) with the fields of `SPAN`: what training needs to know of the episodes. The whole table is
            `episodes`; the library that reads it takes more memory than most trainings.
        table: what `episodes` gives, if it does not lie in the folder.
    """

    folder: Path
    facts: DatasetFacts
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    final_observations: np.ndarray
    spans: np.ndarray
    table: pd.DataFrame | None = None

    @cached_property
    def episodes(self) -> pd.DataFrame:
        """E rows: episode, start, end (one past the last step), length, achieved_return, terminated, truncated, tier,
        policy, epsilon, noise_std, seed.
        """
        import pandas as pd

        return self.table if self.table is not None else pd.read_parquet(self.folder / "episodes.parquet")

    @property
    def steps(self) -> int:
        """N, the steps of all episodes together (the tail rows are not steps)."""
        return len(self.rewards) - TAIL_ROWS

    @classmethod
    def open(cls, folder: Path) -> Columns:
        """Map the columns of a folder into memory.

        Raises:
            ColumnsMissing: if there are none, or of another version.
            ValueError: if a file is damaged.
        """
        folder = Path(folder)
        if not (folder / "columns.json").is_file():
            raise ColumnsMissing(f"{folder} holds no columns; build them from the Minari dataset")
        what, remedy = f"what {folder} holds", "delete that folder to have it built again, or import it again"
        with reading_stored(what, remedy):
            header = dict(json.loads((folder / "columns.json").read_text()))
        if (version := header.get("version")) != VERSION:
            raise ColumnsMissing(f"{folder} has columns of version {version}, not {VERSION}; rebuild them")
        with reading_stored(what, remedy):
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _COLUMNS}
            facts = DatasetFacts.model_validate(header["facts"])
            return cls(folder=folder, facts=facts, spans=_spans(folder), **arrays)

    @cached_property
    def resident(self) -> Resident:
        """Gives pages of the steps back that were read; whoever passes over all of them says so here."""
        return Resident(self.observations, self.actions)

    @property
    def large(self) -> bool:
        """Whether the observations are more than should become resident in memory."""
        return is_large(self.observations)

    def returns(self, discount: float = 1.0) -> np.ndarray:
        """The return of every episode from its start, discounted by the steps since: (E,) float64, reward units."""
        starts = self.spans["start"]
        since_start = np.arange(self.steps) - np.repeat(starts, self.spans["end"] - starts)
        return np.asarray(np.add.reduceat(self.rewards[: self.steps] * discount**since_start, starts))

    def pieces(self, name: Literal["observations", "actions"], rows: np.ndarray) -> Iterator[np.ndarray]:
        """Copies of some steps of a column, piece by piece; see `seqrl.mapped.copied_rows`."""
        return copied_rows(getattr(self, name), rows)

    def episode(self, index: int) -> Episode:
        """The steps of episode ``index``, its last observation included.

        Raises:
            IndexError: if there is no such episode.
        """
        if not 0 <= index < len(self.spans):
            raise IndexError(f"episode is {index} but there are {len(self.spans)}; choose 0 to less than that")
        start, end = (int(self.spans[name][index]) for name in ("start", "end"))
        self.resident.touch(end - start)
        observations = np.concatenate([self.observations[start:end], self.final_observations[index : index + 1]])
        return Episode(observations, self.actions[start:end], self.rewards[start:end])


class ColumnsWriter:
    """Appends episodes to the files of a folder; memory does not grow with the steps.

    Use it as a context manager on a temporary folder; `close` completes the columns, without it they stay unreadable.
    Then write the facts with `write_facts`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        observation_shape: tuple[int, ...],
        observation_dtype: np.typing.DTypeLike,
        action_shape: tuple[int, ...],
        action_dtype: np.typing.DTypeLike,
    ) -> None:
        self.folder = Path(folder)
        self._layout: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            "observations": (tuple(observation_shape), np.dtype(observation_dtype)),
            "actions": (tuple(action_shape), np.dtype(action_dtype)),
            "rewards": ((), np.dtype(np.float64)),
            "final_observations": (tuple(observation_shape), np.dtype(observation_dtype)),
        }
        self._hashes = {name: hashlib.sha256() for name in _COLUMNS}
        self._rows: list[dict[str, Any]] = []
        self._steps = 0
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        for name in _COLUMNS:
            self._files[name] = self._stack.enter_context(open(self.folder / f"{name}.npy", "wb"))
            self._write_header(name, 0)

    def __enter__(self) -> ColumnsWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def append(
        self, observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, about: Mapping[str, Any]
    ) -> None:
        """Add one episode of T steps.

        Args:
            observations: (T + 1, *observation).
            actions: (T,) or (T, A).
            rewards: (T,).
            about: terminated, truncated, tier, policy, epsilon, noise_std, seed.

        Raises:
            ValueError: if the lengths do not fit together.
        """
        length = len(rewards)
        if length == 0 or len(observations) != length + 1 or len(actions) != length:
            raise ValueError(
                f"episode {len(self._rows)} has {len(observations)} observations, {len(actions)} actions and {length} "
                "rewards; an episode of T steps has T + 1 observations and T actions and rewards, T at least 1"
            )
        self._write("observations", observations[:-1])
        self._write("actions", actions)
        self._write("rewards", rewards)
        self._write("final_observations", observations[-1:])
        self._rows.append(
            {
                "episode": len(self._rows),
                "start": self._steps,
                "end": self._steps + length,
                "length": length,
                "achieved_return": float(np.sum(rewards, dtype=np.float64)),
                **about,
            }
        )
        self._steps += length

    def content_hash(self) -> str:
        """SHA-256 over observations, actions, rewards and episode ends."""
        ends = np.array([row["end"] for row in self._rows], dtype="<i8")
        whole = hashlib.sha256(ends.tobytes())
        for name in _COLUMNS:
            whole.update(self._hashes[name].digest())
        return whole.hexdigest()

    def _write(self, name: str, values: np.ndarray) -> None:
        shape, dtype = self._layout[name]
        data = np.ascontiguousarray(np.asarray(values, dtype=dtype).reshape(-1, *shape))
        self._files[name].write(data.data)
        self._hashes[name].update(data.data)

    def _write_header(self, name: str, rows: int) -> None:
        # numpy leaves room for the first axis to grow, so the header of the final size takes the same bytes
        shape, dtype = self._layout[name]
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, *shape)}
        np.lib.format.write_array_header_1_0(self._files[name], header)

    def close(self) -> None:
        """Complete the files: tail rows, final sizes, and the table of episodes.

        Raises:
            ValueError: if there is no episode.
        """
        if not self._rows:
            raise ValueError("there is no episode to write; a dataset has at least one")
        for name, file in self._files.items():
            rows = len(self._rows)
            if name in _STEP_COLUMNS:
                shape, dtype = self._layout[name]
                file.write(np.zeros((TAIL_ROWS, *shape), dtype).tobytes())
                rows = self._steps + TAIL_ROWS
            file.seek(0)
            self._write_header(name, rows)
        self._stack.close()
        import pandas as pd

        table = pd.DataFrame(self._rows)
        table.to_parquet(self.folder / "episodes.parquet", index=False)
        np.save(self.folder / _SPANS_NAME, spans_of(table))


def spans_of(table: pd.DataFrame) -> np.ndarray:
    """(E,) of `SPAN` from a table of episodes."""
    spans = np.empty(len(table), SPAN)
    for name in SPAN.names or ():
        spans[name] = table[name]
    return spans


def _spans(folder: Path) -> np.ndarray:
    """As written, or from the table where the columns are older than this file."""
    try:
        return np.load(folder / _SPANS_NAME)
    except FileNotFoundError:
        import pandas as pd

        return spans_of(pd.read_parquet(folder / "episodes.parquet"))


def write_facts(folder: Path, facts: DatasetFacts) -> None:
    """Make the files of a folder complete columns: without facts they count as missing."""
    header = {"version": VERSION, "facts": facts.model_dump(mode="json")}
    atomic_write_text(Path(folder) / "columns.json", json.dumps(header, indent=1, sort_keys=True))


def chunks(array: np.ndarray, steps: int, rows: int = 65_536) -> Iterator[np.ndarray]:
    """The first ``steps`` rows of a column in pieces of at most ``rows``, so that a pass over it stays small."""
    resident = Resident(array)
    for start in range(0, steps, rows):
        resident.touch(rows)
        yield array[start : min(start + rows, steps)]
