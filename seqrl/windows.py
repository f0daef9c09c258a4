"""Returns-to-go, and windows of K steps gathered from the columns of a dataset.

Every step of every episode starts one window, however short the episode. A window is clipped at the end of its episode
and padded on the right: the gather simply runs on into the rows that follow, a mask says which steps are real, causal
attention keeps real steps from seeing padded ones and the loss counts real steps only. Nothing is copied or stored per
window; a batch is one strided gather on each column.

Batches are counter-based: batch ``b`` depends on (seed, b) alone, so the position of the sampler is the step number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqrl.mapped import FileWindows, is_large
from seqrl.store.columns import TAIL_ROWS, Columns


def returns_to_go(rewards: np.ndarray, episode_ends: np.ndarray, discount: float = 1.0) -> np.ndarray:
    """Return-to-go of every step of a concatenation of episodes.

    ``R_t = r_t + discount * R_{t+1}``, restarting after every episode end
    (Chen et al. 2021, section 3; with ``discount < 1`` as in Janner et al. 2021, section 3.1).

    Args:
        rewards: (N,) float, reward units.
        episode_ends: (E,) int, index one past the last step of each episode, increasing, last one N.
        discount: in (0, 1].

    Returns:
        (N,) float64, reward units.

    Raises:
        ValueError: if the ends do not partition the rewards, naming the first offending episode.

    >>> returns_to_go(np.array([1.0, 1.0, 5.0]), np.array([2, 3]))
    array([2., 1., 5.])
    >>> returns_to_go(np.array([1.0, 1.0, 4.0]), np.array([3]), discount=0.5)
    array([2.5, 3. , 4. ])
    """
    rewards, ends = np.asarray(rewards, dtype=np.float64), np.asarray(episode_ends, dtype=np.int64)
    lengths = np.diff(ends, prepend=0)
    if (lengths <= 0).any():
        first = int(np.argmax(lengths <= 0))
        raise ValueError(f"episode {first} ends at step {ends[first]}, {-lengths[first]} before its start")
    total = int(ends[-1]) if len(ends) else 0
    if total != len(rewards):
        raise ValueError(f"episode {len(ends) - 1} ends at step {total} but there are {len(rewards)} rewards")
    if not 0 < discount <= 1:
        raise ValueError(f"discount is {discount}; choose more than 0 and at most 1")
    result = np.empty_like(rewards)
    # All episodes walk backwards from their ends together; sorted by length, those still walking come first.
    longest_first = np.argsort(-lengths, kind="stable")
    last = ends[longest_first] - 1
    walking = np.searchsorted(-lengths[longest_first], -np.arange(lengths.max(initial=0)), side="left")
    running = np.zeros(len(ends))
    for back, count in enumerate(walking):
        rows = last[:count] - back
        running[:count] = rewards[rows] + discount * running[:count]
        result[rows] = running[:count]
    return result


def split_episodes(count: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole episodes for training and for validation; neighbouring windows of one episode would leak.

    Args:
        count: number of episodes.
        fraction: share kept out for validation; if above 0, at least one episode is on each side.
        seed: equal seeds give equal splits.

    Returns:
        Sorted indices of training and of validation episodes, disjoint, together all.

    Raises:
        ValueError: if one episode is to be split.
    """
    if fraction == 0:
        return np.arange(count), np.arange(0)
    if count < 2:
        raise ValueError(f"validation_fraction is {fraction:g} but there is only {count} episode; choose 0")
    held_out = min(max(round(count * fraction), 1), count - 1)
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 0x5117)))).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def top_episodes(achieved_returns: np.ndarray, fraction: float) -> np.ndarray:
    """Indices of the best episodes, for %BC (Chen et al. 2021, section 4); at least one, earlier ones win ties.

    >>> top_episodes(np.array([1.0, 9.0, 5.0, 9.0]), 0.5)
    array([1, 3])
    """
    count = max(1, int(np.ceil(fraction * len(achieved_returns) - 1e-9)))
    return np.sort(np.argsort(-np.asarray(achieved_returns), kind="stable")[:count])


BLOCK = 64
"""Batches whose windows are drawn at once."""


def windowed(column: np.ndarray, length: int) -> np.ndarray:
    """All windows of consecutive rows as a view, so that picking some is one strided copy.

    Args:
        column: (rows, ...).
        length: rows of a window.

    Returns:
        (rows - length + 1, length, ...), read-only.

    >>> windowed(np.arange(10), 3)[[0, 7]]
    array([[0, 1, 2],
           [7, 8, 9]])
    """
    shape = (len(column) - length + 1, length, *column.shape[1:])
    return np.lib.stride_tricks.as_strided(column, shape, (column.strides[0], *column.strides), writeable=False)


@dataclass(frozen=True)
class WindowBatch:
    """B windows of K steps.

    Attributes:
        observations: (B, K, *observation) as stored: not normalised.
        actions: (B, K) int64 discrete, (B, K, M) int64 multi-discrete, or (B, K, A) float32.
        returns_to_go: (B, K) float32, reward units.
        timesteps: (B, K) int64, steps since the episode began; padded steps repeat the last real one.
        mask: (B, K) bool, True where the step belongs to the window's episode. What padded steps hold is undefined.
    """

    observations: Tensor
    actions: Tensor
    returns_to_go: Tensor
    timesteps: Tensor
    mask: Tensor

    @property
    def count(self) -> int:
        """Real steps in the batch."""
        return int(self.mask.sum())

    def to(self, device: torch.device) -> WindowBatch:
        """The same batch on another device."""
        return WindowBatch(**{item.name: getattr(self, item.name).to(device) for item in fields(self)})


class WindowIndex:
    """Where windows start: every step of the chosen episodes.

    Args:
        starts: (E,) int, first step of each chosen episode.
        ends: (E,) int, one past the last step of each.
    """

    def __init__(self, starts: np.ndarray, ends: np.ndarray) -> None:
        self.starts, self.ends = np.asarray(starts, dtype=np.int64), np.asarray(ends, dtype=np.int64)
        self._counts = np.cumsum(self.ends - self.starts)
        self._block: tuple[int, int, int] | None = None
        self._drawn = np.empty((0, 0), dtype=np.int64)

    def __len__(self) -> int:
        return int(self._counts[-1]) if len(self._counts) else 0

    def locate(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Episode (position among the chosen ones) and row in the columns of windows numbered 0 to len − 1."""
        episode = np.searchsorted(self._counts, windows, side="right")
        return episode, self.ends[episode] - (self._counts[episode] - windows)

    def sample(self, count: int, seed: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Episodes and first rows of ``count`` windows drawn uniformly; a function of the arguments alone.

        Numbers are drawn for `BLOCK` batches at once: seeding a generator takes as long as gathering a batch.
        """
        block = (count, seed, batch // BLOCK)
        if block != self._block:
            generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, 0xBA7C4, batch // BLOCK))))
            self._block, self._drawn = block, generator.integers(len(self), size=(BLOCK, count))
        return self.locate(self._drawn[batch % BLOCK])

    def tiles(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Episodes and first rows of windows that cover every step exactly once."""
        counts = -(-(self.ends - self.starts) // length)
        episode = np.repeat(np.arange(len(counts)), counts)
        position = np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
        return episode, self.starts[episode] + position * length


class Windows:
    """Batches of training windows of a dataset.

    Args:
        columns: the dataset.
        context_length: K, steps of a window.
        discount: of the returns-to-go.
        episodes: indices of the episodes to draw from; None takes all.

    Raises:
        ValueError: if the windows are longer than the columns' tail.
    """

    def __init__(
        self, columns: Columns, context_length: int, *, discount: float = 1.0, episodes: np.ndarray | None = None
    ) -> None:
        if context_length > TAIL_ROWS:
            raise ValueError(f"context_length is {context_length}; choose at most {TAIL_ROWS}")
        table = columns.episodes
        chosen = table if episodes is None else table.iloc[episodes]
        self.index = WindowIndex(chosen["start"].to_numpy(), chosen["end"].to_numpy())
        self.context_length = context_length
        self.returns_to_go = np.zeros(columns.steps + TAIL_ROWS, dtype=np.float32)
        self.returns_to_go[: columns.steps] = returns_to_go(
            columns.rewards[: columns.steps], table["end"].to_numpy(), discount
        )
        columns_as_read = (columns.observations, columns.actions, self.returns_to_go)
        self._views: list[Any] = [
            FileWindows(column, context_length) if is_large(column) else windowed(column, context_length)
            for column in columns_as_read
        ]
        self._positions = np.arange(context_length)

    def __len__(self) -> int:
        """Number of windows: the steps of the chosen episodes."""
        return len(self.index)

    def sample(self, count: int, seed: int, batch: int) -> WindowBatch:
        """Batch number ``batch``: ``count`` windows drawn uniformly with replacement."""
        return self._batch(*self.index.sample(count, seed, batch))

    def cover(self, count: int, limit: int | None = None) -> Iterator[WindowBatch]:
        """Batches of up to ``count`` windows that together hold every step exactly once.

        Args:
            count: windows in a batch.
            limit: at most so many windows, evenly spread over the dataset; None takes all.
        """
        episode, start = self.index.tiles(self.context_length)
        if limit is not None and len(start) > limit:
            spread = np.linspace(0, len(start) - 1, limit).round().astype(np.int64)
            episode, start = episode[spread], start[spread]
        for first in range(0, len(start), count):
            yield self._batch(episode[first : first + count], start[first : first + count])

    def _batch(self, episode: np.ndarray, start: np.ndarray) -> WindowBatch:
        steps_left = (self.index.ends[episode] - start)[:, None]
        timestep = (start - self.index.starts[episode])[:, None]
        observations, actions, request = (torch.from_numpy(view[start]) for view in self._views)
        return WindowBatch(
            observations=observations,
            actions=actions,
            returns_to_go=request,
            timesteps=torch.from_numpy(timestep + np.minimum(self._positions, steps_left - 1)),
            mask=torch.from_numpy(self._positions < steps_left),
        )
