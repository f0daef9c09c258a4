"""What is known about a dataset once it is compiled: measured facts, not settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from seqrl.config.base import Spec


class GoalFacts(Spec):
    """Where a flattened observation says what is reached and what is to be reached.

    Attributes:
        achieved: columns of what is reached.
        desired: columns of what is to be reached, as many and in the same order.
    """

    achieved: tuple[int, ...]
    desired: tuple[int, ...]


class SpaceFacts(Spec):
    """A space flattened by Gymnasium's rules, with a name for every dimension.

    ``size`` is the flattened width of an observation (one-hot for discrete ones), or for actions the
    number of columns: 1 for ``discrete``, one a component for ``multi_discrete``, one a dimension for ``box``.
    """

    kind: Literal["box", "discrete", "multi_discrete", "image", "mixed"]
    size: int
    shape: tuple[int, ...]
    names: tuple[str, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    categories: tuple[int, ...] = Field(
        (), description="number of values of each discrete component (actions: nvec; observations: one-hot groups)"
    )
    labels: tuple[str, ...] = Field((), description="names of the values of a single discrete component")
    goal: GoalFacts | None = Field(None, description="of observations that name their goal")


class ReturnSummary(Spec):
    """Distribution of the undiscounted return over episodes, reward units."""

    mean: float
    std: float
    minimum: float
    maximum: float
    percentiles: dict[int, float] = Field(default_factory=dict, description="at 1, 5, 10, 25, 50, 75, 90, 95, 99")


class DatasetFacts(Spec):
    """Everything that forms, models and checkpoints need to know of a dataset, without its steps."""

    environment: str | None = Field(description="registered Gymnasium id, or None for a dataset without one")
    environment_kwargs: dict[str, bool | int | float | str] = Field(default_factory=dict)
    observation: SpaceFacts
    action: SpaceFacts
    episodes: int
    steps: int
    max_length: int = Field(description="steps of the longest episode")
    max_episode_steps: int | None = Field(description="time limit of the environment, None if it has none")
    returns: ReturnSummary
    returns_by_tier: dict[str, ReturnSummary] = Field(default_factory=dict)
    terminated_episodes: int
    truncated_episodes: int
    reward_minimum: float
    reward_maximum: float
    observation_mean: tuple[float, ...]
    observation_std: tuple[float, ...] = Field(description="zero spread is stored as 1, so division is safe")
    content_hash: str = Field(description="SHA-256 over observations, actions, rewards and episode ends")

    @property
    def step_limit(self) -> int:
        """Steps after which a measured episode is cut off: the time limit, or else the longest episode of the data."""
        return self.max_episode_steps or self.max_length
