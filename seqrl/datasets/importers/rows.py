"""Files with one row an episode, its steps in lists: what Hugging Face ``datasets`` writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from seqrl.datasets.importers.checks import (
    MOST_EPISODE_BYTES,
    ImportRefused,
    RawEpisode,
    check_length,
    refuse,
)
from seqrl.datasets.importers.flat import ALIASES

FIELDS = (
    "observations",
    "actions",
    "rewards",
    "terminated",
    "truncated",
    "dones",
    "next_observations",
    "final_observations",
)
"""What is read of an episode; other columns are left alone."""

_LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType)
_DEEPEST = 4


def is_list(data_type: pa.DataType) -> bool:
    """Whether values of a column are lists."""
    return isinstance(data_type, _LISTS)


def check_names(names: Mapping[str, str]) -> None:
    """Refuse a table without the columns that an episode needs."""
    for needed in ("observations", "actions", "rewards"):
        if needed not in names:
            raise ImportRefused(f"{needed} is missing; name the column {' or '.join(ALIASES[needed][:3])}")


def episodes_of(batch: pa.RecordBatch, names: Mapping[str, str], first: int) -> Iterator[RawEpisode]:
    """The episodes of a batch, the first of which has number ``first``.

    The observation after the last step is taken from next_observations or final_observations; where neither is there
    it was not recorded, and the last one is repeated. An episode whose last ``dones`` is set terminated unless
    ``truncated`` is set as well; where ``terminated`` is there it says so directly. Others were truncated.
    """
    for row in range(batch.num_rows):
        index = first + row
        columns = {name: _array(batch.column(names[name]), row, index, name) for name in FIELDS if name in names}
        rewards, observations = columns["rewards"], columns["observations"]
        for name in ("dones", "terminated", "truncated"):
            _check_flags(index, name, columns.get(name), len(rewards))
        final = observations[-1:]
        if "next_observations" in columns:
            final = columns["next_observations"][-1:]
        elif "final_observations" in columns:
            final = one_row(index, "final_observations", columns["final_observations"], observations.shape[1:])
        if final.shape[1:] != observations.shape[1:]:
            raise refuse(index, "next_observations", f"has shape {final.shape[1:]}, not {observations.shape[1:]}")
        recorded = len(observations) == len(rewards) + 1
        cut = _is_set(columns.get("truncated"))
        ended = _is_set(columns.get("terminated", columns.get("dones")))
        terminated = ended and ("terminated" in columns or not cut)
        about: dict[str, Any] = {}
        observations = observations if recorded else np.concatenate([observations, final])
        yield RawEpisode(observations, columns["actions"], rewards, terminated, cut or not terminated, about)


def one_row(episode: int, field: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(1, *shape), the numbers of one observation, which may be nested otherwise.

    Raises:
        ImportRefused: if there are more or fewer.
    """
    if values.size != math.prod(shape):
        raise refuse(episode, field, f"has shape {values.shape}, not {shape}")
    return values.reshape(1, *shape)


def _array(column: pa.Array, row: int, episode: int, field: str) -> np.ndarray:
    """The numbers of one episode: nested lists of equal lengths as an array, without copying where possible."""
    value = column.slice(row, 1)
    shape: list[int] = []
    for depth in range(_DEEPEST + 1):
        if value.null_count:
            raise refuse(episode, field, "has a missing value; give every step its numbers")
        if not is_list(value.type):
            break
        if depth == _DEEPEST:
            raise refuse(episode, field, f"is nested more than {_DEEPEST} lists deep; give numbers")
        shape.append(_list_length(value, episode, field))
        value = value.flatten()
    if not shape:
        raise refuse(episode, field, f"is of type {column.type}; give a list with one entry a step")
    if not (pa.types.is_integer(value.type) or pa.types.is_floating(value.type) or pa.types.is_boolean(value.type)):
        raise refuse(episode, field, f"has values of type {value.type}; give numbers")
    if len(value) * 8 > MOST_EPISODE_BYTES:
        raise refuse(episode, field, f"has {len(value):,} numbers; that is more than is read at once")
    return value.to_numpy(zero_copy_only=False).reshape(shape)


def _list_length(value: pa.Array, episode: int, field: str) -> int:
    """The length that all lists of an array share."""
    if not len(value):
        return 0
    if isinstance(value.type, pa.FixedSizeListType):
        return int(value.type.list_size)
    lengths = np.diff(value.offsets.to_numpy())
    if (lengths != lengths[0]).any():
        step = int(np.flatnonzero(lengths != lengths[0])[0])
        raise refuse(episode, field, f"has {lengths[step]} numbers at step {step} but {lengths[0]} at step 0")
    return int(lengths[0])


def _is_set(flags: np.ndarray | None) -> bool:
    """Whether a flag is there and set at the last step."""
    return flags is not None and bool(len(flags) and flags[-1])


def _check_flags(episode: int, field: str, flags: np.ndarray | None, length: int) -> None:
    if flags is None:
        return
    check_length(episode, field, len(flags), length, f"there are {length:,} rewards")
    if flags.ndim != 1 or not np.isin(flags, (0, 1)).all():
        raise refuse(episode, field, "holds something else than 0 and 1; give true or false a step")
    if flags[:-1].any():
        step = int(np.flatnonzero(flags)[0])
        raise refuse(episode, field, f"is set at step {step}, before the episode's last step {length - 1}")
