"""What every importer refuses, in one sentence that names the episode and the field.

A file from elsewhere is hostile until parsed: sizes are capped before anything is read, and every number is looked at
before it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MOST_FILE_BYTES = 256 * 2**30
MOST_JSON_BYTES = 16 * 2**20
MOST_STEPS = 200_000_000
MOST_EPISODES = 2_000_000
MOST_EPISODE_STEPS = 1_000_000
MOST_EPISODE_BYTES = 512 * 2**20
MOST_DIMENSIONS = 1_000_000
MOST_CATEGORIES = 4096
MOST_EXPANSION = 200
"""A compressed file larger than `SMALL_BYTES` when expanded may not grow more than so many times."""
SMALL_BYTES = 64 * 2**20
LARGEST_REWARD = 1e30
"""Sums over the longest dataset then stay within single precision."""
BLOCK_BYTES = 32 * 2**20
"""Rows are read in pieces of about this size, so that memory does not grow with the file."""


class ImportRefused(ValueError):
    """The file cannot become a dataset; the sentence says where and why."""


@dataclass
class RawEpisode:
    """An episode as a file has it, before it is checked.

    Attributes:
        observations: T + 1 of them, stacked; arrays, or dictionaries and tuples of arrays.
        actions: T of them, stacked.
        rewards: T of them, reward units.
        terminated: whether the task ended.
        truncated: whether it was cut short.
        about: tier, policy, epsilon, noise_std, seed, as far as the file knows.
    """

    observations: Any
    actions: Any
    rewards: Any
    terminated: bool
    truncated: bool
    about: dict[str, Any]


def shown_name(value: Any, most: int) -> str:
    """A name in a foreign file as pages may show it: what Markdown or HTML could take for markup is left out.

    >>> shown_name("expert ![x](https://example.org/x.png)", 40)
    'expert xhttps://example.org/x.png'
    """
    return re.sub(r"[^\w .,:;%+/@=-]", "", "" if value is None else str(value))[:most].strip()


def refuse(episode: int | None, field: str, problem: str) -> ImportRefused:
    """A refusal that names the episode (if there is one) and the field."""
    where = "" if episode is None else f"episode {episode}: "
    return ImportRefused(f"{where}{field} {problem}")


def check_numbers(episode: int | None, field: str, values: Any) -> np.ndarray:
    """An array of finite real numbers.

    Raises:
        ImportRefused: if it holds text, objects, complex or structured values, NaN or an infinity.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise refuse(episode, field, f"has values of type {array.dtype}; give numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _not_finite(episode, field, array)
    return array


def check_single_precision(episode: int | None, field: str, array: np.ndarray) -> np.ndarray:
    """The numbers as float32.

    Raises:
        ImportRefused: if one of them is too large for it.
    """
    if array.dtype == np.float32:
        return array
    if array.dtype.kind in "iub" or (array.size and np.abs(array).max() <= np.finfo(np.float32).max):
        return array.astype(np.float32)
    if array.size:
        raise refuse(episode, field, f"holds {np.abs(array).max():.3g}, which is too large for single precision")
    return array.astype(np.float32)


def check_rewards(episode: int, values: Any) -> np.ndarray:
    """(T,) float64 of finite rewards, T at least 1."""
    array = check_numbers(episode, "rewards", values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise refuse(episode, "rewards", f"has shape {array.shape}; give one number a step")
    if not len(array):
        raise refuse(episode, "rewards", "is empty; an episode has at least one step")
    if len(array) > MOST_EPISODE_STEPS:
        raise refuse(episode, "rewards", f"has {len(array):,} steps; at most {MOST_EPISODE_STEPS:,} are read")
    rewards = array.astype(np.float64)
    if np.abs(rewards).max() > LARGEST_REWARD:
        step = int(np.abs(rewards).argmax())
        raise refuse(
            episode, "rewards", f"holds {rewards[step]:.3g} at step {step}; at most {LARGEST_REWARD:g} is read"
        )
    return rewards


def check_length(episode: int | None, field: str, length: int, expected: int, why: str) -> None:
    """Refuse a field with another number of rows than its neighbours have."""
    if length != expected:
        raise refuse(episode, field, f"has {length:,} rows but {why}, so it needs {expected:,}")


def check_shape(field: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse a field that claims more than could be sensible, before it is read."""
    rows = int(shape[0]) if len(shape) else 0
    width = int(np.prod([int(size) for size in shape[1:]], dtype=object)) if len(shape) > 1 else 1
    if rows > MOST_STEPS:
        raise refuse(None, field, f"claims {rows:,} rows; at most {MOST_STEPS:,} are read")
    if width > MOST_DIMENSIONS * 8 or width * itemsize > MOST_EPISODE_BYTES:
        raise refuse(None, field, f"claims {width:,} numbers a row; that is more than is read")


def check_file(path: Path, limit: int = MOST_FILE_BYTES) -> Path:
    """A regular, non-empty file of at most ``limit`` bytes.

    Raises:
        ImportRefused: if it is anything else.
    """
    try:
        if not path.is_file():
            raise ImportRefused(f"{path.name} is not a file; give a file that exists")
        size = path.stat().st_size
    except OSError as error:
        raise ImportRefused(f"{path.name} cannot be read: {error.strerror or error}") from error
    if size == 0:
        raise ImportRefused(f"{path.name} is empty; give a file with data")
    if size > limit:
        raise ImportRefused(f"{path.name} has {size:,} bytes; at most {limit:,} are read")
    return path


def check_expansion(name: str, stored: int, expanded: int) -> None:
    """Refuse what grows out of proportion when it is unpacked."""
    if expanded > SMALL_BYTES and expanded > MOST_EXPANSION * max(stored, 1):
        raise ImportRefused(
            f"{name} expands from {stored:,} to {expanded:,} bytes; at most {MOST_EXPANSION} times its size is read"
        )


def block_rows(row_bytes: int) -> int:
    """Rows of a piece of about `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // max(1, row_bytes))


def _not_finite(episode: int | None, field: str, array: np.ndarray) -> ImportRefused:
    step = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
    what = "NaN" if np.isnan(array[step] if array.ndim else array).any() else "an infinity"
    return refuse(episode, field, f"holds {what} at step {step}; mend or leave out that episode")
