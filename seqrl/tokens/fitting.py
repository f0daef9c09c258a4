"""Bins of every token of a transition, fitted to a dataset or to some of its steps."""

from __future__ import annotations

import numpy as np

from seqrl.mapped import Resident
from seqrl.tokens.discretizer import MAX_FIT_ROWS, Discretizer, Strategy, fit_discretizer
from seqrl.tokens.transitions import TransitionLayout, TransitionTokenizer, chunks_of
from seqrl.tokens.values import value_targets

_MAX_FIT_VALUES = 64_000_000


def fit_tokenizer(
    layout: TransitionLayout,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    episode_ends: np.ndarray,
    terminated: np.ndarray,
    *,
    bins: int,
    strategy: Strategy,
    discount: float,
    episodes: np.ndarray | None = None,
) -> TransitionTokenizer:
    """Bins fitted to a dataset.

    Args:
        layout: from `transition_layout`.
        observations: (N or more, size); memory maps are read in parts.
        actions: (N or more, ...).
        rewards: (N or more,), reward units.
        episode_ends: (E,) one past the last step of each episode, the last one N.
        terminated: (E,) bool.
        bins: most tokens of a numeric dimension, at least 3.
        strategy: ``uniform`` or ``quantile``.
        discount: of the value tokens.
        episodes: (<= E,) indices of the episodes to fit to; None takes all.

    Raises:
        ValueError: if a number is not finite, naming its dimension.
    """
    steps = int(episode_ends[-1])
    rewards = np.asarray(rewards[:steps], dtype=np.float64)
    values = value_targets(rewards, episode_ends, terminated, discount)
    returns = value_targets(rewards, episode_ends, terminated, 1.0)
    terminal = np.zeros(steps, dtype=bool)
    terminal[episode_ends[terminated] - 1] = True
    candidates = _episode_rows(episode_ends, episodes)
    rows = candidates[_fit_rows(observations, actions, rewards, values, candidates=candidates)]
    columns = [layout.observation_columns(np.asarray(observations[rows])), layout.action_columns(actions[rows])]
    numbers = np.concatenate([*columns, rewards[rows, None], values[rows, None]], axis=1)
    return fit_numbers(layout, numbers, returns[rows], terminal[rows], bins=bins, strategy=strategy)


def fit_numbers(
    layout: TransitionLayout,
    numbers: np.ndarray,
    returns: np.ndarray,
    terminal: np.ndarray,
    *,
    bins: int,
    strategy: Strategy,
) -> TransitionTokenizer:
    """Bins fitted to the numbers behind some tokens.

    Args:
        layout: of D tokens.
        numbers: (R, D), the last column the values.
        returns: (R,) undiscounted rewards after each step, reward units.
        terminal: (R,) bool, whether the episode terminated with this step.
        bins: most tokens of a numeric dimension, at least 3.
        strategy: ``uniform`` or ``quantile``.

    Raises:
        ValueError: if a number is not finite, naming its dimension.
    """
    fitted = fit_discretizer(
        numbers[:, :-1],
        bins,
        strategy,
        names=[dimension.name for dimension in layout.dimensions[:-1]],
        categories=[dimension.categories for dimension in layout.dimensions[:-1]],
    )
    going_on = ~terminal
    values = numbers[going_on, layout.value :] if going_on.any() else np.zeros((1, 1))
    joined = _join(fitted, fit_discretizer(values, bins - 1, strategy, names=["value"]))
    tokens = joined.encode(numbers[going_on, layout.value :], [layout.value])[:, 0]
    sums = np.bincount(tokens, weights=returns[going_on], minlength=joined.width)
    counts = np.bincount(tokens, minlength=joined.width)
    return TransitionTokenizer(layout, joined, sums / np.maximum(counts, 1))


def _episode_rows(episode_ends: np.ndarray, episodes: np.ndarray | None) -> np.ndarray:
    """The rows of some episodes."""
    if episodes is None:
        return np.arange(episode_ends[-1])
    chosen = np.zeros(len(episode_ends), dtype=bool)
    chosen[episodes] = True
    return np.flatnonzero(np.repeat(chosen, np.diff(episode_ends, prepend=0)))


def _fit_rows(*columns: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Positions among the candidates to fit to: evenly spaced ones and the extremes of each column, or all."""
    width = sum(int(np.prod(column.shape[1:])) for column in columns)
    most = max(1, min(MAX_FIT_ROWS, _MAX_FIT_VALUES // width))
    if len(candidates) <= most:
        return np.arange(len(candidates))
    chosen = [np.arange(0, len(candidates), -(-len(candidates) // most))]
    for column in columns:
        chosen += _extremes(column, candidates)
    return np.unique(np.concatenate(chosen))


def _extremes(column: np.ndarray, candidates: np.ndarray) -> list[np.ndarray]:
    """Positions of the smallest and of the largest candidate of each dimension, found piece by piece."""
    width = int(np.prod(column.shape[1:]))
    resident = Resident(column)
    best: list[np.ndarray | None] = [None, None]
    where: list[np.ndarray] = [np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.int64)]
    for piece in chunks_of(len(candidates), width):
        resident.touch(piece.stop - piece.start)
        part = np.asarray(column[candidates[piece]]).reshape(-1, width)
        for side, (find, beats) in enumerate(((np.argmin, np.less), (np.argmax, np.greater))):
            position = find(part, axis=0)
            value, known = part[position, np.arange(width)], best[side]
            better = np.ones(width, dtype=bool) if known is None else beats(value, known)
            best[side] = value if known is None else np.where(better, value, known)
            where[side] = np.where(better, piece.start + position, where[side])
    return where


def _join(bins: Discretizer, value: Discretizer) -> Discretizer:
    """The value dimension behind the others, padded to their width."""
    missing = bins.width - value.width
    return Discretizer(
        bins.names + value.names,
        np.concatenate([bins.counts, value.counts]),
        np.concatenate([bins.edges, np.pad(value.edges, ((0, 0), (0, missing)), mode="edge")]),
        np.concatenate([bins.values, np.pad(value.values, ((0, 0), (0, missing)), mode="edge")]),
    )
