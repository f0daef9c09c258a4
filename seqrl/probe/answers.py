"""What is asked of a run, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqrl.config import DatasetFacts, SpaceFacts
from seqrl.environments.replay import Replay
from seqrl.store.records import EpisodeRecord
from seqrl.tokens import transition_layout


@dataclass(frozen=True)
class History:
    """An episode as a run saw it.

    Attributes:
        observations: (T, *observation) float32 or uint8, the one that each action was taken in.
        actions: (T,), (T, M) or (T, A).
        returns_to_go: (T,) asked for, in the unit of the data; NaN where none is asked.
        rewards: (T,) float64, reward units.
    """

    observations: np.ndarray
    actions: np.ndarray
    returns_to_go: np.ndarray
    rewards: np.ndarray

    @classmethod
    def of(cls, record: EpisodeRecord, facts: DatasetFacts) -> History:
        """What a run saw in a measured episode; observations come from replaying it.

        Raises:
            ValueError: if the replay is not the recorded episode.
        """
        observations = Replay(record, facts, render_mode=None).observations()
        return cls(observations[:-1], record.actions, record.returns_to_go, record.rewards)


@dataclass(frozen=True)
class ResponseCurve:
    """What a run would do at one moment, depending on one thing that is varied.

    Attributes:
        varied: "return-to-go", or the name of a dimension of the observation.
        values: (N,) of what is varied, in its unit.
        probabilities: (N, sum of categories) of discrete actions, components side by side; None for boxes.
        mean: (N, A) of continuous actions; None for discrete ones.
        std: (N, A) standard deviation, zero for a tanh or linear head; None for discrete actions.
        names: of the values of a discrete action (component by component), or of the dimensions of a continuous one.
    """

    varied: str
    values: np.ndarray
    probabilities: np.ndarray | None
    mean: np.ndarray | None
    std: np.ndarray | None
    names: tuple[str, ...]

    @property
    def responses(self) -> np.ndarray:
        """(N, A) probabilities, or (N, 2, A) means and standard deviations: as `seqrl.plots` takes them."""
        if self.probabilities is not None:
            return self.probabilities
        assert self.mean is not None and self.std is not None  # noqa: S101 - one or the other is always there
        return np.stack([self.mean, self.std], axis=1)


@dataclass(frozen=True)
class Attention:
    """Where a run looks while it decides.

    Attributes:
        weights: (layers, heads, Q, tokens); rows sum to 1, and later tokens have exactly 0. For a Decision Transformer
            a row for the observation token of each step seen, for a Trajectory Transformer one for every token. The
            last row is the moment of decision.
        kinds: of the tokens: "R" return-to-go, "s" observation, "a" action, "r" reward.
        names: of the tokens: their kind, or the dimension that they stand for.
        timesteps: (tokens,) the step that each token belongs to.
    """

    weights: np.ndarray
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    timesteps: np.ndarray


def observation_dimensions(facts: DatasetFacts) -> tuple[str, ...]:
    """What can be varied in an observation: a dimension, or a whole group of one-hot columns.

    Raises:
        ValueError: for images.
    """
    layout = transition_layout(facts)
    return tuple(dimension.name for dimension in layout.dimensions[layout.observation])


def observation_value(facts: DatasetFacts, observation: np.ndarray, dimension: str) -> float:
    """The number that a dimension of an observation has.

    Args:
        facts: of the data.
        observation: (size,) flattened.
        dimension: one of `observation_dimensions`.
    """
    return float(transition_layout(facts).observation_columns(observation)[_place(facts, dimension)])


def changed_observations(
    facts: DatasetFacts, observation: np.ndarray, dimension: str, values: Sequence[float] | np.ndarray
) -> np.ndarray:
    """An observation with other numbers in one dimension.

    Args:
        facts: of the data.
        observation: (size,) flattened.
        dimension: one of `observation_dimensions`.
        values: (N,) for it; whole numbers below the number of categories where it is discrete.

    Returns:
        (N, size) float32.

    Raises:
        ValueError: if there is no such dimension, or a discrete one has no such value.
    """
    layout, place = transition_layout(facts), _place(facts, dimension)
    categories = layout.dimensions[place].categories
    wanted = np.asarray(values, dtype=np.float64)
    if categories is not None:
        wrong = next((value for value in wanted if value != int(value) or not 0 <= value < categories), None)
        if wrong is not None:
            raise ValueError(f"{dimension} is {wrong:g} but has the values 0 to {categories - 1}; choose among those")
    columns = np.repeat(layout.observation_columns(observation)[None].astype(np.float64), len(wanted), axis=0)
    columns[:, place] = wanted
    return layout.flatten_observations(columns)


def suggested_values(facts: DatasetFacts, observation: np.ndarray, dimension: str, count: int = 61) -> np.ndarray:
    """Values worth trying: all of a discrete dimension, else three standard deviations of the data to both sides.

    The value that the observation has is always inside.
    """
    layout, place = transition_layout(facts), _place(facts, dimension)
    entry = layout.dimensions[place]
    if entry.categories is not None:
        return np.arange(entry.categories, dtype=np.float64)
    mean, std = facts.observation_mean[entry.first], facts.observation_std[entry.first]
    low, high = mean - 3 * std, mean + 3 * std
    if entry.first < len(facts.observation.low):
        bounds = facts.observation.low[entry.first], facts.observation.high[entry.first]
        low = low if bounds[0] is None else max(low, bounds[0])
        high = high if bounds[1] is None else min(high, bounds[1])
    now = observation_value(facts, observation, dimension)
    return np.linspace(min(low, now), max(high, now), count)


def value_names(action: SpaceFacts) -> tuple[str, ...]:
    """Names of the values of a discrete action, component by component."""
    if action.kind == "discrete":
        return action.labels or tuple(f"action {i}" for i in range(action.categories[0]))
    groups = zip(action.names, action.categories, strict=True)
    return tuple(f"{name} is {value}" for name, count in groups for value in range(count))


def _place(facts: DatasetFacts, dimension: str) -> int:
    names = observation_dimensions(facts)
    if dimension not in names:
        raise ValueError(f"there is no dimension named {dimension}; choose one of {', '.join(names)}")
    return names.index(dimension)
