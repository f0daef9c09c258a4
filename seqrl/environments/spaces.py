"""Gymnasium spaces as rows of numbers with names, and back.

Observations are flattened by Gymnasium's own `flatten` rules (boxes raveled, discrete values one-hot, dictionaries
and tuples joined in the order of the space); images stay as they are. Actions become one row a step: a number for a
discrete action, counted from zero, one column a component for multi-discrete ones and one a dimension for boxes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from seqrl.config import GoalFacts, SpaceFacts


def is_image(space: Space) -> bool:
    """Whether observations of a space are kept as uint8 arrays of pixels."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


def observation_facts(space: Space, names: Sequence[str] = ()) -> SpaceFacts:
    """Facts about an observation space; ``names`` replace the generic ones where their number fits.

    Raises:
        ValueError: if a part of the space has no fixed number of dimensions.
    """
    if is_image(space):
        size = int(np.prod(space.shape or ()))
        return SpaceFacts(kind="image", size=size, shape=tuple(space.shape or ()), names=())
    generic = _names(space, "")
    low, high = _bounds(space)
    return SpaceFacts(
        kind=_observation_kind(space),
        size=len(generic),
        shape=(len(generic),),
        names=tuple(names) if len(names) == len(generic) else tuple(generic),
        low=low,
        high=high,
        categories=_categories(space),
        labels=tuple(names) if isinstance(space, spaces.Discrete) and len(names) == len(generic) else (),
        goal=_goal(space),
    )


def action_facts(space: Space, names: Sequence[str] = ()) -> SpaceFacts:
    """Facts about an action space; ``names`` are those of discrete actions or of continuous dimensions.

    Raises:
        ValueError: if the actions are neither discrete, multi-discrete nor a box.
    """
    if isinstance(space, spaces.Discrete):
        count = int(space.n)
        labels = tuple(names) if len(names) == count else tuple(f"action {i}" for i in range(count))
        return SpaceFacts(kind="discrete", size=1, shape=(), names=("action",), categories=(count,), labels=labels)
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        nvec = _nvec(space)
        given = tuple(names) if len(names) == len(nvec) else tuple(f"action {i + 1}" for i in range(len(nvec)))
        return SpaceFacts(kind="multi_discrete", size=len(nvec), shape=(len(nvec),), names=given, categories=nvec)
    if isinstance(space, spaces.Box):
        size = int(np.prod(space.shape))
        given = tuple(names) if len(names) == size else tuple(f"action {i + 1}" for i in range(size))
        low, high = _bounds(space)
        return SpaceFacts(kind="box", size=size, shape=(size,), names=given, low=low, high=high)
    raise ValueError(f"the actions are {space}; seqrl knows discrete, multi-discrete and box actions")


def observation_dtype(space: Space) -> np.dtype:
    """Type of stored observations: uint8 for images, else float32."""
    return np.dtype(np.uint8 if is_image(space) else np.float32)


def observation_encoder(space: Space) -> Callable[[Any], np.ndarray]:
    """A function from one observation of the space to its row: (D,) float32, or the image itself."""
    if is_image(space):
        return np.asarray
    if isinstance(space, spaces.Box):
        return lambda observation: np.asarray(observation, dtype=np.float32).ravel()
    return lambda observation: np.asarray(spaces.flatten(space, observation), dtype=np.float32)


def encode_observations(space: Space, observations: Any) -> np.ndarray:
    """Rows of many observations at once.

    Args:
        space: the observation space.
        observations: T + 1 of them stacked as Minari does: (T + 1, ...) arrays, in dictionaries or tuples of such.

    Returns:
        (T + 1, D) float32, or (T + 1, H, W, C) uint8 for images.
    """
    return np.asarray(observations) if is_image(space) else _encode(space, observations)


def stack_observations(space: Space, observations: Sequence[Any]) -> Any:
    """Observations one below the other as Minari stores them, arrays in dictionaries or tuples as the space has it."""
    if isinstance(space, spaces.Dict):
        return {key: stack_observations(part, [o[key] for o in observations]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(stack_observations(part, [o[i] for o in observations]) for i, part in enumerate(space.spaces))
    return np.array(observations)


def decode_observations(space: Space, rows: np.ndarray) -> Any:
    """The inverse of `encode_observations`, in the types of the space."""
    if is_image(space):
        return np.asarray(rows, dtype=np.uint8)
    return _decode(space, np.asarray(rows))


def action_decoder(space: Space) -> Callable[[Any], Any]:
    """A function from one row of actions to what ``env.step`` takes."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return lambda action: start + int(action)
    return lambda action: decode_actions(space, np.asarray(action)[None])[0]


def encode_actions(space: Space, actions: Any) -> np.ndarray:
    """Rows of many actions: (T,) int64, (T, M) int64 or (T, A) float32."""
    actions = np.asarray(actions)
    if isinstance(space, spaces.Discrete):
        return actions.astype(np.int64).reshape(-1) - int(space.start)
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return actions.reshape(len(actions), -1).astype(np.int64) - _start(space)
    return actions.reshape(len(actions), -1).astype(np.float32)


def decode_actions(space: Space, rows: np.ndarray) -> np.ndarray:
    """The inverse of `encode_actions`, in the type and shape of the space."""
    if isinstance(space, spaces.Discrete):
        return rows.astype(np.int64) + int(space.start)
    shape = (len(rows), *(space.shape or ()))
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return (rows + _start(space)).reshape(shape).astype(space.dtype)
    return _cast(rows, space.dtype).reshape(shape)


def _observation_kind(space: Space) -> Any:
    if isinstance(space, spaces.Discrete):
        return "discrete"
    if _categories(space):
        return "multi_discrete"
    return "box" if isinstance(space, spaces.Box | spaces.MultiBinary) else "mixed"


def _parts(space: Space) -> list[tuple[str, Space]]:
    """Named parts of a dictionary or tuple, in the order in which Gymnasium joins them."""
    if isinstance(space, spaces.Dict):
        return [(str(key), part) for key, part in space.spaces.items()]
    if isinstance(space, spaces.Tuple):
        return [(f"part {i + 1}", part) for i, part in enumerate(space.spaces)]
    raise ValueError(
        f"a part of the observations is {space}; seqrl knows boxes, discrete, multi-discrete and multi-binary spaces, "
        "and dictionaries and tuples of them"
    )


def _names(space: Space, prefix: str) -> list[str]:
    if isinstance(space, spaces.Discrete):
        what = f"{prefix} is" if prefix else "state"
        return [f"{what} {i}" for i in range(int(space.start), int(space.start + space.n))]
    if isinstance(space, spaces.MultiDiscrete):
        what = prefix or "component"
        groups = enumerate(zip(_nvec(space), _start(space), strict=True))
        return [f"{what} {i + 1} is {start + value}" for i, (count, start) in groups for value in range(count)]
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        size = int(np.prod(space.shape))
        what = prefix or "observation"
        return [what] if prefix and size == 1 else [f"{what} {i + 1}" for i in range(size)]
    joined = (_names(part, f"{prefix} {name}".strip()) for name, part in _parts(space))
    return list(itertools.chain.from_iterable(joined))


def _bounds(space: Space) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    flat = spaces.flatten_space(space)
    if not isinstance(flat, spaces.Box):
        raise ValueError(f"the space {space} has no fixed number of dimensions; seqrl needs one that can be flattened")
    low, high = ([float(v) if np.isfinite(v) else None for v in bound.ravel()] for bound in (flat.low, flat.high))
    return tuple(low), tuple(high)


def _categories(space: Space) -> tuple[int, ...]:
    """Sizes of the one-hot groups of a space that has nothing else; empty for any other."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = [_categories(part) for _, part in _parts(space)]
        return tuple(itertools.chain.from_iterable(parts)) if all(parts) else ()
    return _nvec(space) if isinstance(space, spaces.MultiDiscrete) else ()


def _goal(space: Space) -> GoalFacts | None:
    """Columns of the goals of a dictionary, as Gymnasium-Robotics names them; None for any other space."""
    if not isinstance(space, spaces.Dict) or not {"achieved_goal", "desired_goal"} <= set(space.spaces):
        return None
    columns: dict[str, tuple[int, ...]] = {}
    first = 0
    for name, part in _parts(space):
        width = len(_names(part, ""))
        columns[name] = tuple(range(first, first := first + width))
    achieved, desired = columns["achieved_goal"], columns["desired_goal"]
    return GoalFacts(achieved=achieved, desired=desired) if len(achieved) == len(desired) else None


def _nvec(space: spaces.MultiDiscrete | spaces.MultiBinary) -> tuple[int, ...]:
    if isinstance(space, spaces.MultiBinary):
        return (2,) * int(np.prod(space.shape))
    return tuple(int(count) for count in space.nvec.ravel())


def _start(space: spaces.MultiDiscrete | spaces.MultiBinary) -> np.ndarray:
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(int(np.prod(space.shape)), dtype=np.int64)
    return space.start.ravel().astype(np.int64)


def _cast(values: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    return (np.rint(values) if np.issubdtype(dtype, np.integer) else values).astype(dtype)


def _one_hot(values: np.ndarray, count: int) -> np.ndarray:
    return (values.reshape(-1, 1) == np.arange(count)).astype(np.float32)


def _encode(space: Space, data: Any) -> np.ndarray:
    if isinstance(space, spaces.Discrete):
        return _one_hot(np.asarray(data) - int(space.start), int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        values = np.asarray(data).reshape(len(data), -1) - _start(space)
        return np.concatenate([_one_hot(values[:, i], n) for i, n in enumerate(_nvec(space))], axis=1)
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return np.asarray(data).reshape(len(data), -1).astype(np.float32)
    keys: Sequence[Any] = list(space.spaces) if isinstance(space, spaces.Dict) else range(len(_parts(space)))
    parts = [_encode(part, data[key]) for key, (_, part) in zip(keys, _parts(space), strict=True)]
    return np.concatenate(parts, axis=1)


def _decode(space: Space, rows: np.ndarray) -> Any:
    if isinstance(space, spaces.Discrete):
        return rows.argmax(axis=1) + int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        groups = np.split(rows, np.cumsum(_nvec(space))[:-1], axis=1)
        values = np.stack([group.argmax(axis=1) for group in groups], axis=1) + _start(space)
        return values.reshape(len(rows), *space.shape).astype(space.dtype)
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return _cast(rows, space.dtype).reshape(len(rows), *space.shape)
    widths = [len(_names(part, "")) for _, part in _parts(space)]
    pieces = np.split(rows, np.cumsum(widths)[:-1], axis=1)
    decoded = [_decode(part, piece) for (_, part), piece in zip(_parts(space), pieces, strict=True)]
    return dict(zip(space.spaces, decoded, strict=True)) if isinstance(space, spaces.Dict) else tuple(decoded)
