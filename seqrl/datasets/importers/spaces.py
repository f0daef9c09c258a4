"""From what a file holds to rows of numbers: by a space, by facts that an export wrote down, or by looking at it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from seqrl.config import SpaceFacts
from seqrl.datasets.importers.checks import (
    MOST_CATEGORIES,
    MOST_DIMENSIONS,
    MOST_EPISODE_BYTES,
    ImportRefused,
    RawEpisode,
    check_length,
    check_numbers,
    check_rewards,
    check_single_precision,
    refuse,
)
from seqrl.environments.spaces import action_facts, encode_actions, encode_observations, is_image, observation_facts

_DEEPEST_SPACE = 8
_LONGEST_NAME = 100


class Encoder:
    """Checks episodes and turns them into the rows that columns hold.

    Args:
        observation: the space of the observations, facts about rows that are already flat, or None to look at them.
        action: the same for actions.
        observation_names: a name for each dimension, where known.
        action_names: names of discrete actions or of dimensions, where known.
    """

    def __init__(
        self,
        observation: Space | SpaceFacts | None = None,
        action: Space | SpaceFacts | None = None,
        observation_names: tuple[str, ...] = (),
        action_names: tuple[str, ...] = (),
    ) -> None:
        self._observation_space = observation if isinstance(observation, Space) else None
        self._action_space = action if isinstance(action, Space) else None
        self._names = observation_names, action_names
        self._observation = observation if isinstance(observation, SpaceFacts) else None
        self._action = action if isinstance(action, SpaceFacts) else None
        if isinstance(observation, Space):
            self._observation = observation_facts(observation, observation_names)
        if isinstance(action, Space):
            self._action = action_facts(action, action_names)
        self._inferred_action = action is None
        self._highest = np.zeros(0, dtype=np.int64)
        self._within_unit = True

    def encode(self, index: int, episode: RawEpisode) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of observations (T + 1, ...), actions (T, ...) and rewards (T,) of episode ``index``.

        Raises:
            ImportRefused: naming the episode and the field.
        """
        rewards = check_rewards(index, episode.rewards)
        observations = self._encode_observations(index, episode.observations)
        why = f"there are {len(rewards):,} rewards"
        check_length(index, "observations", len(observations), len(rewards) + 1, f"{why} (one more is the last)")
        if observations.nbytes > MOST_EPISODE_BYTES:
            raise refuse(index, "observations", f"has {observations.nbytes:,} bytes; that is more than is read at once")
        actions = self._encode_actions(index, episode.actions)
        check_length(index, "actions", len(actions), len(rewards), why)
        return observations, actions, rewards

    def observation_facts(self) -> SpaceFacts:
        """Facts about the observations, once an episode was encoded."""
        if self._observation is None:
            raise ImportRefused("the file has no episodes; give one with at least one")
        return self._observation

    def action_facts(self) -> SpaceFacts:
        """Facts about the actions, once all episodes were encoded: inferred categories and bounds depend on all."""
        if self._action is None:
            raise ImportRefused("the file has no episodes; give one with at least one")
        if not self._inferred_action:
            return self._action
        if self._action.kind == "box":
            bound = 1.0 if self._within_unit else None
            return self._action.model_copy(
                update={
                    "low": (None if bound is None else -bound,) * self._action.size,
                    "high": (bound,) * self._action.size,
                }
            )
        categories = tuple(int(value) + 1 for value in self._highest)
        if self._action.kind == "discrete":
            return action_facts(spaces.Discrete(categories[0]), self._names[1])
        return action_facts(spaces.MultiDiscrete(list(categories)), self._names[1])

    # --- observations ------------------------------------------------------------------------------

    def _encode_observations(self, index: int, values: Any) -> np.ndarray:
        space = self._observation_space
        if space is not None and isinstance(values, dict | tuple):
            checked = _checked_parts(index, "observations", space, values)
            return check_single_precision(index, "observations", encode_observations(space, checked))
        array = check_numbers(index, "observations", values)
        if array.ndim == 0:
            raise refuse(index, "observations", "is a single number; give one row a step")
        if isinstance(space, spaces.Discrete) and array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if space is not None and array.shape[1:] == (space.shape or ()):
            return self._by_space(index, space, array)
        facts = self._observation or self._infer_observations(index, array)
        if facts.kind == "image":
            if array.dtype != np.uint8:
                raise refuse(index, "observations", f"are images of type {array.dtype}; give uint8")
            if array.shape[1:] != (facts.size,):  # an export keeps them flat
                _expect_shape(index, "observations", array.shape[1:], facts.shape)
            return array.reshape(-1, *facts.shape)
        width = int(np.prod(array.shape[1:], dtype=np.int64))
        if width != facts.size:
            raise refuse(
                index,
                "observations",
                f"has {width} numbers a step but the others have {facts.size}"
                if space is None
                else f"has {width} numbers a step but the environment's have {facts.size}",
            )
        return check_single_precision(index, "observations", array.reshape(len(array), width))

    def _by_space(self, index: int, space: Space, array: np.ndarray) -> np.ndarray:
        _check_categories(index, "observations", space, array)
        if is_image(space):
            if array.dtype != np.uint8:
                raise refuse(index, "observations", f"are images of type {array.dtype}; give uint8")
            return array
        return encode_observations(space, check_single_precision(index, "observations", array))

    def _infer_observations(self, index: int, array: np.ndarray) -> SpaceFacts:
        shape = array.shape[1:]
        if int(np.prod(shape, dtype=np.int64)) > MOST_DIMENSIONS or 0 in shape:
            raise refuse(
                index, "observations", f"has shape {array.shape}; give 1 to {MOST_DIMENSIONS:,} numbers a step"
            )
        if array.dtype == np.uint8 and len(shape) in (2, 3):
            space: Space = spaces.Box(0, 255, shape, np.uint8)
        else:
            space = spaces.Box(-np.inf, np.inf, (int(np.prod(shape, dtype=np.int64)),), np.float32)
        self._observation = observation_facts(space, self._names[0])
        return self._observation

    # --- actions -----------------------------------------------------------------------------------

    def _encode_actions(self, index: int, values: Any) -> np.ndarray:
        if isinstance(values, dict | tuple):
            raise refuse(index, "actions", "is a dictionary or tuple; seqrl knows discrete, multi-discrete and boxes")
        array = check_numbers(index, "actions", values)
        if array.ndim == 0:
            raise refuse(index, "actions", "is a single number; give one action a step")
        facts = self._action or self._infer_actions(index, array)
        if facts.kind == "discrete" and array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        space = self._action_space
        shape = tuple(space.shape or ()) if space is not None else facts.shape
        if array.shape[1:] != shape and int(np.prod(array.shape[1:], dtype=np.int64)) != facts.size:
            raise refuse(index, "actions", f"has shape {array.shape[1:]} a step but {shape} is needed")
        if facts.kind == "box":
            rows = check_single_precision(index, "actions", array.reshape(len(array), facts.size))
            self._within_unit = self._within_unit and bool(not rows.size or np.abs(rows).max() <= 1)
            return rows
        return self._whole_actions(index, facts, array.reshape(len(array), *facts.shape))

    def _whole_actions(self, index: int, facts: SpaceFacts, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind == "f" and (array != np.rint(array)).any():
            raise refuse(index, "actions", f"holds {array[array != np.rint(array)][0]}; give whole numbers")
        if array.size and array.max() > np.iinfo(np.int64).max // 2:
            raise refuse(index, "actions", f"holds {array.max():.4g}; count discrete actions from 0")
        whole = array.astype(np.int64)
        if self._inferred_action:
            highest = whole.reshape(len(whole), -1).max(axis=0, initial=0)
            self._highest = np.maximum(self._highest, highest) if self._highest.size else highest
            if whole.size and (whole.min() < 0 or self._highest.max() >= MOST_CATEGORIES):
                wrong = whole.min() if whole.min() < 0 else self._highest.max()
                raise refuse(index, "actions", f"holds {wrong}; count discrete actions from 0 to {MOST_CATEGORIES - 1}")
            return whole
        if self._action_space is not None:
            _check_categories(index, "actions", self._action_space, whole)
            return encode_actions(self._action_space, whole)
        limits = np.asarray(facts.categories if facts.kind == "multi_discrete" else facts.categories[0])
        if ((whole < 0) | (whole >= limits)).any():
            wrong = whole[(whole < 0) | (whole >= limits)][0]
            raise refuse(index, "actions", f"holds {wrong}; there are {', '.join(map(str, facts.categories))} values")
        return whole

    def _infer_actions(self, index: int, array: np.ndarray) -> SpaceFacts:
        size = int(np.prod(array.shape[1:], dtype=np.int64))
        if not 0 < size <= MOST_DIMENSIONS:
            raise refuse(index, "actions", f"has shape {array.shape}; give 1 to {MOST_DIMENSIONS:,} numbers a step")
        if array.dtype.kind == "f":
            space: Space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        elif size == 1 and array.ndim <= 2:
            space = spaces.Discrete(1)
        else:
            space = spaces.MultiDiscrete([1] * size)
        self._action = action_facts(space, self._names[1])
        return self._action


def space_from_json(text: str, what: str) -> Space:
    """A space as Minari writes it down. Only boxes, discrete, multi-discrete and multi-binary spaces, dictionaries and
    tuples; never an environment.

    Raises:
        ImportRefused: if it is malformed, too large or of another kind.
    """
    try:
        return _space(json.loads(text), what, _DEEPEST_SPACE)
    except (KeyError, TypeError, ValueError, AssertionError, OverflowError, RecursionError) as error:
        if isinstance(error, ImportRefused):
            raise
        raise ImportRefused(f"{what} is no space that Minari writes: {type(error).__name__} {error}") from error


def check_facts(facts: SpaceFacts, what: str) -> None:
    """Refuse facts about a space that contradict themselves, as those of a foreign file may.

    Raises:
        ImportRefused: naming what does not fit.
    """
    product = int(np.prod(facts.shape, dtype=object)) if facts.shape else 1
    if not 0 < facts.size <= MOST_DIMENSIONS or product != facts.size or min(facts.shape, default=1) < 1:
        raise ImportRefused(
            f"the {what} facts have size {facts.size} and shape {facts.shape}; export the dataset again"
        )
    if facts.kind != "image" and len(facts.names) != facts.size:
        raise ImportRefused(f"the {what} facts have {len(facts.names)} names for {facts.size} dimensions")
    for name in (*facts.names, *facts.labels):
        if len(name) > _LONGEST_NAME or "](" in name or "<" in name:  # a page would take it for markup
            raise ImportRefused(f"the {what} facts have the name {name[:40]!r}; give plain, short names")
    if any(len(bound) not in (0, facts.size) for bound in (facts.low, facts.high)):
        raise ImportRefused(f"the {what} facts have bounds for another size than {facts.size}")
    wrong = any(not 0 < count <= MOST_DIMENSIONS for count in facts.categories)
    if what == "action" and facts.kind not in ("box", "discrete", "multi_discrete"):
        raise ImportRefused(f"the action facts are of kind {facts.kind}; actions are discrete, multi-discrete or boxes")
    if wrong or (what == "action" and facts.kind != "box" and len(facts.categories) != facts.size):
        raise ImportRefused(f"the {what} facts have the categories {facts.categories[:8]}; export the dataset again")


def _space(values: Any, what: str, depth: int) -> Space:
    if not isinstance(values, dict) or depth == 0:
        raise ImportRefused(f"{what} is no space that Minari writes; give a Minari dataset")
    kind = values.get("type")
    if kind == "Box":
        shape = tuple(int(size) for size in values["shape"])
        if any(size < 1 for size in shape) or int(np.prod(shape, dtype=object)) > MOST_DIMENSIONS * 8:
            raise ImportRefused(f"{what} has shape {shape}; that is more than is read")
        dtype = np.dtype(str(values["dtype"]))
        if dtype.kind not in "biuf":
            raise ImportRefused(f"{what} has values of type {dtype}; give numbers")
        low, high = (np.broadcast_to(np.array(values[key], dtype=dtype), shape) for key in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(_category(values["n"], what), start=int(values.get("start", 0)))
    if kind == "MultiDiscrete":
        nvec = np.asarray(values["nvec"], dtype=np.int64)
        for number in nvec.ravel():
            _category(int(number), what)
        return spaces.MultiDiscrete(nvec, start=np.asarray(values.get("start", np.zeros_like(nvec)), dtype=np.int64))
    if kind == "MultiBinary":
        count = np.asarray(values["n"], dtype=np.int64)
        _category(int(count.prod()), what)
        return spaces.MultiBinary(count.tolist())
    if kind == "Dict":
        # pairs keep their order, which is that of the environment; a dictionary would be sorted
        return spaces.Dict([(str(key), _space(part, what, depth - 1)) for key, part in values["subspaces"].items()])
    if kind == "Tuple":
        return spaces.Tuple([_space(part, what, depth - 1) for part in list(values["subspaces"])])
    raise ImportRefused(f"{what} is a {str(kind)[:40]} space; seqrl knows boxes and discrete ones, and groups of them")


def _category(count: Any, what: str) -> int:
    if not 0 < int(count) <= MOST_DIMENSIONS:
        raise ImportRefused(f"{what} has {count} values; give 1 to {MOST_DIMENSIONS:,}")
    return int(count)


def _expect_shape(index: int, field: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(shape) != tuple(expected):
        raise refuse(index, field, f"has shape {tuple(shape)} a step but {tuple(expected)} is needed")


def _check_categories(index: int, field: str, space: Space, array: np.ndarray) -> None:
    """Refuse values that a discrete space does not have."""
    if isinstance(space, spaces.Discrete):
        start, count = np.asarray(int(space.start)), np.asarray(int(space.n))
    elif isinstance(space, spaces.MultiDiscrete):
        start, count = space.start, space.nvec
    elif isinstance(space, spaces.MultiBinary):
        start, count = np.asarray(0), np.asarray(2)
    else:
        return
    wrong = (array < start) | (array >= start + count)
    if array.dtype.kind == "f":
        wrong |= array != np.rint(array)
    if wrong.any():
        step = int(np.argwhere(wrong)[0][0])
        raise refuse(index, field, f"holds {array[wrong][0]} at step {step}, which {space} does not have")


def _checked_parts(index: int, field: str, space: Space, values: Any) -> Any:
    """The same dictionaries and tuples, with every array checked against its part of the space."""
    if isinstance(space, spaces.Dict):
        if not isinstance(values, dict) or set(values) != set(space.spaces):
            given = ", ".join(sorted(map(str, values))) if isinstance(values, dict) else type(values).__name__
            raise refuse(index, field, f"has the parts {given} but {', '.join(map(str, space.spaces))} are needed")
        return {key: _checked_parts(index, f"{field}.{key}", part, values[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(values, tuple) or len(values) != len(space.spaces):
            raise refuse(index, field, f"has other parts than the {len(space.spaces)} that are needed")
        pairs = enumerate(zip(space.spaces, values, strict=True))
        return tuple(_checked_parts(index, f"{field}.{i}", part, value) for i, (part, value) in pairs)
    array = check_numbers(index, field, values)
    _expect_shape(index, field, array.shape[1:], tuple(space.shape or ()))
    _check_categories(index, field, space, array)
    return array
