"""Returns-to-go, and windows of K steps gathered from the columns of a dataset.

Every step of every episode starts one window, however short the episode. A window is clipped at the end of its episode
and padded on the right: the gather simply runs on into the rows that follow, a mask says which steps are real, causal
attention keeps real steps from seeing padded ones and the loss counts real steps only. Nothing is copied or stored per
window; a batch is one strided gather on each column.

Batches are counter-based: batch ``b`` depends on (seed, b) alone, so the position of the sampler is the step number.
A few batches are gathered at once, as many as stay in a processor's cache: the calls cost more than the copying.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from seqrl.config.models import best_count
from seqrl.mapped import FileWindows, is_large
from seqrl.store.columns import TAIL_ROWS, Columns

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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
    count = best_count(len(achieved_returns), fraction)
    return np.sort(np.argsort(-np.asarray(achieved_returns), kind="stable")[:count])


BLOCK = 64
"""Batches whose windows are drawn at once."""

GATHERED_BYTES = 2 * 2**20
"""Batches of up to so many bytes together are gathered at once."""


def _power_of_two(number: int) -> int:
    """The largest power of two up to a number, between 1 and `BLOCK`.

    >>> [_power_of_two(number) for number in (0, 1, 7, 1000)]
    [1, 1, 4, 64]
    """
    return 1 << min(max(number, 1), BLOCK).bit_length() - 1


class MemoryWindows:
    """Windows of consecutive rows of a column in memory: ``windows[starts]`` is (B, length, ...), a copy.

    A window is one opaque item to NumPy, which is copied as one piece: half the time of a copy number by number.

    Args:
        column: (rows, ...), contiguous.
        length: rows of a window.

    >>> MemoryWindows(np.arange(10), 3)[np.array([0, 7])]
    array([[0, 1, 2],
           [7, 8, 9]])
    """

    def __init__(self, column: np.ndarray, length: int) -> None:
        self._shape, self._dtype = (length, *column.shape[1:]), column.dtype
        item = np.dtype((np.void, length * column.strides[0]))
        rows = len(column) - length + 1
        self._windows: np.ndarray = np.ndarray(rows, item, column, strides=column.strides[:1])

    def __getitem__(self, starts: np.ndarray) -> np.ndarray:
        """Copies of the windows that begin at these rows."""
        return self._windows[starts].view(self._dtype).reshape(len(starts), *self._shape)


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


@dataclass(frozen=True)
class Places:
    """Where B windows lie, a number each.

    Attributes:
        episode: position among the chosen episodes.
        start: first row in the columns.
        timestep: steps between the episode's begin and the window's.
        left: steps from the window's first one to the episode's end, at least 1.
    """

    episode: np.ndarray
    start: np.ndarray
    timestep: np.ndarray
    left: np.ndarray

    def __getitem__(self, chosen: Any) -> Places:
        """Some of them."""
        return Places(self.episode[chosen], self.start[chosen], self.timestep[chosen], self.left[chosen])

    def __len__(self) -> int:
        return len(self.start)


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
        self._drawn = self.locate(np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return int(self._counts[-1]) if len(self._counts) else 0

    def locate(self, windows: np.ndarray) -> Places:
        """Windows numbered 0 to len − 1."""
        episode = np.searchsorted(self._counts, windows, side="right")
        left = self._counts[episode] - windows if len(self._counts) else windows
        return self._places(episode, self.ends[episode] - left)

    def sample(self, count: int, seed: int, batch: int, batches: int = 1) -> Places:
        """``count`` windows drawn uniformly for each of so many batches; a function of the arguments alone.

        Windows are drawn for `BLOCK` batches at once: that takes hardly longer than drawing for one. The batches asked
        for must lie in one block.
        """
        block = (count, seed, batch // BLOCK)
        if block != self._block:
            generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, 0xBA7C4, batch // BLOCK))))
            self._block, self._drawn = block, self.locate(generator.integers(len(self), size=BLOCK * count))
        first = batch % BLOCK * count
        return self._drawn[first : first + batches * count]

    def tiles(self, length: int) -> Places:
        """Windows that cover every step exactly once."""
        counts = -(-(self.ends - self.starts) // length)
        episode = np.repeat(np.arange(len(counts)), counts)
        position = np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._places(episode, self.starts[episode] + position * length)

    def _places(self, episode: np.ndarray, start: np.ndarray) -> Places:
        return Places(episode, start, start - self.starts[episode], self.ends[episode] - start)


Batch = TypeVar("Batch", bound="DataclassInstance")


def split_batch(batch: Batch, count: int) -> list[Batch]:
    """Batches of ``count`` windows each, views of one that holds a multiple of them."""
    parts = [getattr(batch, item.name).split(count) for item in fields(batch)]
    return [type(batch)(*tensors) for tensors in zip(*parts, strict=True)]


class WindowSource(ABC, Generic[Batch]):
    """Batches of the windows of a dataset.

    Args:
        index: where the windows start.
        context_length: steps of a window.
        step_bytes: what a step of a window takes in a batch.

    Attributes:
        index: where the windows start.
        context_length: steps of a window.
    """

    def __init__(self, index: WindowIndex, context_length: int, step_bytes: int) -> None:
        if context_length > TAIL_ROWS:
            raise ValueError(f"context_length is {context_length}; choose at most {TAIL_ROWS}")
        self.index, self.context_length = index, context_length
        self._window_bytes = step_bytes * context_length
        self._gathered: tuple[tuple[int, int, int], list[Batch]] | None = None
        # by the number of steps that are left: which of a window's are real
        self._real = np.arange(context_length) < np.arange(context_length + 1)[:, None]

    def __len__(self) -> int:
        """Number of windows: the steps of the chosen episodes."""
        return len(self.index)

    def sample(self, count: int, seed: int, batch: int, part: range | None = None) -> Batch:
        """Batch number ``batch``: ``count`` windows drawn uniformly with replacement. It is not to be written to.

        Args:
            count: windows in a batch.
            seed: equal seeds give equal batches.
            batch: its number.
            part: the windows of the batch that are wanted; None for all of them.
        """
        if part is not None:
            return self.gather(self.index.sample(count, seed, batch)[part.start : part.stop])
        together = _power_of_two(GATHERED_BYTES // (count * self._window_bytes))
        block = (count, seed, batch // together)
        if self._gathered is None or self._gathered[0] != block:
            places = self.index.sample(count, seed, batch - batch % together, together)
            self._gathered = block, split_batch(self.gather(places), count)
        return self._gathered[1][batch % together]

    def of_episodes(self, spans: np.ndarray) -> Self:
        """The same columns, windows of these episodes only."""
        other = copy(self)
        other.index, other._gathered = WindowIndex(spans["start"], spans["end"]), None
        return other

    def cover(self, count: int, limit: int | None = None) -> Iterator[Batch]:
        """Batches of up to ``count`` windows that together hold every step exactly once.

        Args:
            count: windows in a batch.
            limit: at most so many windows, evenly spread over the dataset; None takes all.
        """
        places = self.index.tiles(self.context_length)
        if limit is not None and len(places) > limit:
            places = places[np.linspace(0, len(places) - 1, limit).round().astype(np.int64)]
        for first in range(0, len(places), count):
            yield self.gather(places[first : first + count])

    @abstractmethod
    def gather(self, places: Places) -> Batch:
        """The windows that lie there."""


class Windows(WindowSource[WindowBatch]):
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
        chosen = columns.spans if episodes is None else columns.spans[episodes]
        step_bytes = sum(column.nbytes // len(column) for column in (columns.observations, columns.actions))
        step_bytes += 4 + 8 + 1  # return-to-go, time step, mask
        super().__init__(WindowIndex(chosen["start"], chosen["end"]), context_length, step_bytes)
        self.returns_to_go = np.zeros(columns.steps + TAIL_ROWS, dtype=np.float32)
        self.returns_to_go[: columns.steps] = returns_to_go(
            columns.rewards[: columns.steps], columns.spans["end"], discount
        )
        columns_as_read = (columns.observations, columns.actions, self.returns_to_go)
        self._views: list[FileWindows | MemoryWindows] = [
            FileWindows(column, context_length) if is_large(column) else MemoryWindows(column, context_length)
            for column in columns_as_read
        ]
        # by the number of steps that are left: steps since the window's first one, padded steps repeat the last
        self._since = np.minimum(np.arange(context_length), np.arange(-1, context_length)[:, None].clip(0))

    def gather(self, places: Places) -> WindowBatch:
        """One gather from each column; the masks and time steps come from tables."""
        left = np.minimum(places.left, self.context_length)
        observations, actions, request = (torch.from_numpy(view[places.start]) for view in self._views)
        return WindowBatch(
            observations=observations,
            actions=actions,
            returns_to_go=request,
            timesteps=torch.from_numpy(self._since[left] + places.timestep[:, None]),
            mask=torch.from_numpy(self._real[left]),
        )
