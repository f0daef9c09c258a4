"""Files with one row a step, episodes one after the other: D4RL-style HDF5, NPZ and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from seqrl.datasets.importers.checks import (
    MOST_EPISODE_BYTES,
    MOST_EPISODE_STEPS,
    MOST_EPISODES,
    ImportRefused,
    RawEpisode,
    block_rows,
    check_length,
    check_shape,
    refuse,
)

ALIASES: dict[str, tuple[str, ...]] = {
    "observations": ("observations", "observation", "obs", "states", "state"),
    "actions": ("actions", "action", "acts", "act"),
    "rewards": ("rewards", "reward"),
    "terminated": ("terminals", "terminations", "terminated", "terminal"),
    "truncated": ("timeouts", "truncations", "truncated", "timeout"),
    "dones": ("dones", "done", "episode_terminals"),
    "episode": ("episode", "episode_id", "episode_index", "trajectory", "trajectory_id", "traj_id"),
    "next_observations": ("next_observations", "next_observation", "next_obs", "next_states"),
    "final_observations": ("final_observations", "final_observation"),
}
"""Field → names that files give it, the first one preferred."""


class Column(Protocol):
    """Rows of one field, read one after the other.

    Attributes:
        name: as the file has it.
        shape: (rows, ...).
        dtype: of the numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def take(self, count: int) -> np.ndarray:
        """The next ``count`` rows."""


OpenColumn = Callable[[str], AbstractContextManager[Column]]
"""Opens a column of the file anew, by the name that the file gives it."""


@dataclass
class FlatSteps:
    """The episodes of a file with one row a step.

    Args:
        names: field of `ALIASES` → its name in the file.
        open_column: starts reading a column from its first row.
        max_episode_steps: an episode without another end is cut here, as D4RL does where it has no timeouts.
        about: further columns, by the key under which they are kept of an episode's first row.
        available: every name that the file has, for the sentence when one is missing.
    """

    names: Mapping[str, str]
    open_column: OpenColumn
    max_episode_steps: int | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    available: Sequence[str] = ()
    steps: int = 0
    episodes: int = 0

    def __post_init__(self) -> None:
        for needed in ("observations", "actions", "rewards"):
            if needed not in self.names:
                there = ", ".join(sorted(self.available)[:8]) or "nothing"
                raise ImportRefused(
                    f"{needed} is missing; name it {' or '.join(ALIASES[needed][:3])} (the file has {there})"
                )
        if not self.names.keys() & {"terminated", "truncated", "dones", "episode"} and self.max_episode_steps is None:
            raise ImportRefused("nothing says where episodes end; add terminals, timeouts, dones or episode")
        with self.open_column(self.names["rewards"]) as column:
            check_shape(column.name, column.shape, column.dtype.itemsize)
            if not column.shape:
                raise ImportRefused(f"{self.names['rewards']} is a single number; give one a step")
            self.steps = column.shape[0]
        if not self.steps:
            raise ImportRefused(f"{self.names['rewards']} is empty; give at least one step")
        for name in (*self.names.values(), *self.about.values()):
            with self.open_column(name) as column:
                check_shape(name, column.shape, column.dtype.itemsize)
                if name != self.names.get("final_observations"):
                    why = f"{self.names['rewards']} has {self.steps:,}"
                    check_length(None, name, column.shape[0] if column.shape else 0, self.steps, why)
        self._ends = self._find_ends()
        self.episodes = len(self._ends)

    def read(self) -> Iterator[RawEpisode]:
        """The episodes, one at a time."""
        ends, terminated, truncated = self._ends, self._flag_at_ends("terminated"), self._flag_at_ends("truncated")
        if "terminated" not in self.names:  # dones mean that an episode ended; only timeouts beside them tell why
            terminated = self._flag_at_ends("dones") & ~truncated
        about = {key: self._values_at(name, np.concatenate([[0], ends[:-1]])) for key, name in self.about.items()}
        finals = self._final_observations()
        start = 0
        fields = ("observations", "actions", "rewards")
        with ExitStack() as stack:
            columns = [stack.enter_context(self.open_column(self.names[name])) for name in fields]
            observations, actions, rewards = columns
            for episode, end in enumerate(ends):
                count = int(end) - start
                self._check_size(episode, observations, count)
                rows = observations.take(count)
                # without it the last observation was not recorded; no model here learns from it
                final = next(finals) if finals is not None else rows[-1:]
                if final.shape[1:] != rows.shape[1:]:
                    raise refuse(episode, "next_observations", f"has shape {final.shape[1:]}, not {rows.shape[1:]}")
                if finals is not None and final.dtype.kind == "f" and not np.isfinite(final).all():
                    raise refuse(episode, "next_observations", "holds a number that is not finite at the last step")
                yield RawEpisode(
                    observations=np.concatenate([rows, final]),
                    actions=actions.take(count),
                    rewards=rewards.take(count),
                    terminated=bool(terminated[episode]),
                    truncated=bool(truncated[episode]) or not terminated[episode],
                    about={key: values[episode] for key, values in about.items()},
                )
                start = int(end)

    def _check_size(self, episode: int, observations: Column, count: int) -> None:
        size = count * int(np.prod(observations.shape[1:], dtype=np.int64)) * max(4, observations.dtype.itemsize)
        if count > MOST_EPISODE_STEPS or size > MOST_EPISODE_BYTES:
            raise refuse(episode, "observations", f"has {count:,} steps, {size:,} bytes; more than is read at once")

    def _find_ends(self) -> np.ndarray:
        """(E,) one past the last step of each episode; the last one is the number of steps."""
        if "episode" in self.names:
            ends = self._changes(self.names["episode"])
        else:
            flags = [self.names[name] for name in ("terminated", "truncated", "dones") if name in self.names]
            found = [np.flatnonzero(self._flags(name)) + 1 for name in flags]
            ends = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
            if "truncated" not in self.names and self.max_episode_steps is not None:
                ends = _cut(ends, self.steps, self.max_episode_steps)
        if not len(ends) or ends[-1] != self.steps:
            ends = np.append(ends, self.steps)
        if len(ends) > MOST_EPISODES:
            raise ImportRefused(f"there are {len(ends):,} episodes; at most {MOST_EPISODES:,} are read")
        return ends.astype(np.int64)

    def _changes(self, name: str) -> np.ndarray:
        """Where a column's value changes; a value that comes back later means unsorted rows."""
        seen: set[Any] = set()
        ends: list[int] = []
        previous: Any = None
        position = 0
        for block in self._blocks(name):
            values = block if block.ndim == 1 else block.reshape(len(block), -1)[:, 0]
            changed = np.flatnonzero(values[1:] != values[:-1]) + 1
            firsts = [0, *changed.tolist()]
            for first in firsts:
                value = values[first].item() if isinstance(values[first], np.generic) else values[first]
                if first == 0 and position and value == previous:
                    continue
                if value is None or value != value:
                    raise refuse(len(ends), name, f"has no value at row {position + first:,}; give one a step")
                if value in seen:
                    raise ImportRefused(f"episode {value}: its rows are not together; sort the file by {name}")
                if position + first:
                    ends.append(position + first)
                seen.add(value)
            previous = values[-1].item() if isinstance(values[-1], np.generic) else values[-1]
            position += len(block)
        return np.array(ends, dtype=np.int64)

    def _flags(self, name: str) -> np.ndarray:
        """(N,) bool of a column of zeros and ones."""
        parts: list[np.ndarray] = []
        for block in self._blocks(name):
            if block.dtype.kind not in "biuf" or block.size != len(block):
                raise ImportRefused(f"{name} has shape {block.shape[1:]} and type {block.dtype}; give 0 or 1 a step")
            flags = block.reshape(len(block))
            if flags.dtype.kind != "b" and not np.isin(flags, (0, 1)).all():
                wrong = int(np.flatnonzero(~np.isin(flags, (0, 1)))[0])
                row = sum(map(len, parts)) + wrong
                raise ImportRefused(f"{name} holds {flags[wrong]} at row {row:,}; give 0 or 1 a step")
            parts.append(flags.astype(bool))
        return np.concatenate(parts)

    def _flag_at_ends(self, what: str) -> np.ndarray:
        """(E,) bool, whether a flag is set at the last step of each episode; nowhere else may it be."""
        if what not in self.names:
            return np.zeros(len(self._ends), dtype=bool)
        flags = self._flags(self.names[what])
        at_end = flags[self._ends - 1]
        if flags.sum() != at_end.sum():
            last = np.zeros(len(flags), dtype=bool)
            last[self._ends - 1] = True
            step = int(np.flatnonzero(flags & ~last)[0])
            episode = int(np.searchsorted(self._ends, step, side="right"))
            raise refuse(episode, self.names[what], f"is set at row {step:,}, before the episode's end")
        return at_end

    def _values_at(self, name: str, rows: np.ndarray) -> list[Any]:
        values: list[Any] = []
        position = 0
        for block in self._blocks(name):
            inside = rows[(rows >= position) & (rows < position + len(block))] - position
            values.extend(block[inside].tolist())
            position += len(block)
        return values

    def _final_observations(self) -> Iterator[np.ndarray] | None:
        """Each episode's last observation as one row, or None if the file lacks them."""
        if "final_observations" in self.names:
            return self._one_an_episode(self.names["final_observations"])
        return self._last_rows(self.names["next_observations"]) if "next_observations" in self.names else None

    def _one_an_episode(self, name: str) -> Iterator[np.ndarray]:
        with self.open_column(name) as column:
            rows = column.shape[0] if column.shape else 0
            check_length(None, name, rows, len(self._ends), "it has one row an episode")
            for _ in self._ends:
                yield column.take(1)

    def _last_rows(self, name: str) -> Iterator[np.ndarray]:
        position = 0
        with self.open_column(name) as column:
            for episode, end in enumerate(self._ends):
                self._check_size(episode, column, int(end) - position)
                yield column.take(int(end) - position)[-1:]
                position = int(end)

    def _blocks(self, name: str) -> Iterator[np.ndarray]:
        with self.open_column(name) as column:
            rows = block_rows(int(np.prod(column.shape[1:], dtype=np.int64)) * max(column.dtype.itemsize, 8))
            for start in range(0, self.steps, rows):
                yield column.take(min(rows, self.steps - start))


def find_names(available: list[str]) -> dict[str, str]:
    """Field → the name under which a file has it."""
    present = {name.lower(): name for name in reversed(available)}
    found = {}
    for field_name, aliases in ALIASES.items():
        match = next((present[alias] for alias in aliases if alias in present), None)
        if match is not None:
            found[field_name] = match
    return found


def _cut(ends: np.ndarray, steps: int, limit: int) -> np.ndarray:
    """Further ends wherever an episode would be longer than the time limit."""
    result: list[np.ndarray] = []
    start = 0
    for end in [*ends.tolist(), steps]:
        result.append(np.append(np.arange(start + limit, end, limit), end))
        start = end
    return np.unique(np.concatenate(result))
