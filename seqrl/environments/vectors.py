"""Many independent, seeded episodes in lock step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

from seqrl.environments.making import make_environment
from seqrl.environments.spaces import action_decoder, encode_observations, stack_observations
from seqrl.registry import environment_row, resolve


class Steps(NamedTuple):
    """What one step of n episodes gave."""

    observations: np.ndarray  # (n, *observation) float32, or uint8 for images
    rewards: np.ndarray  # (n,) float64, reward units
    terminated: np.ndarray  # (n,) bool: the environment ended the episode
    truncated: np.ndarray  # (n,) bool: the time limit cut it off; both can be true at once


class EnvironmentVector(Protocol):
    """Independent seeded episodes, all at the same timestep; finished ones are taken out with `keep`.

    A single Gymnasium environment that is reset with the same seed and given the same actions shows the same
    observations, rewards and ends, bit for bit.
    """

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin ``len(seeds)`` new episodes; observations (n, *observation)."""
        ...

    def step(self, actions: np.ndarray) -> Steps:
        """Take one action, (n,), (n, M) or (n, A), in each episode still there."""
        ...

    def keep(self, running: np.ndarray) -> None:
        """Drop the episodes where ``running``, (n,) bool, is false."""
        ...

    def close(self) -> None:
        """Free what the environments hold."""
        ...


def make_vector(
    environment: str, kwargs: Mapping[str, Any] | None = None, *, max_episode_steps: int | None = None
) -> EnvironmentVector:
    """The fastest vector there is for an environment: its own class of the registry, else one by one.

    Raises:
        EnvironmentUnavailable: as `make_environment` does.
    """
    row = environment_row(environment)
    if row.vector and not kwargs:
        return resolve(row.vector)(max_episode_steps=max_episode_steps or row.max_episode_steps)
    return GymnasiumVector(environment, kwargs, max_episode_steps=max_episode_steps)


class GymnasiumVector:
    """Steps single Gymnasium environments one after the other; works for every environment."""

    def __init__(
        self, environment: str, kwargs: Mapping[str, Any] | None = None, *, max_episode_steps: int | None = None
    ) -> None:
        self._arguments = (environment, dict(kwargs or {}), max_episode_steps)
        self._idle: list[gymnasium.Env] = [self._make()]
        self._running: list[gymnasium.Env] = []
        self._space = self._idle[0].observation_space
        self._decode = action_decoder(self._idle[0].action_space)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin new episodes, see `EnvironmentVector.reset`; environments of earlier ones are used again."""
        self._idle += self._running
        while len(self._idle) < len(seeds):
            self._idle.append(self._make())
        self._running = [self._idle.pop() for _ in seeds]
        resets = zip(self._running, seeds, strict=True)
        return self._rows([env.reset(seed=int(seed))[0] for env, seed in resets])

    def step(self, actions: np.ndarray) -> Steps:
        """One step of each, see `EnvironmentVector.step`."""
        observations, rewards, terminated, truncated = [], [], [], []
        for env, action in zip(self._running, actions, strict=True):
            observation, reward, end, cut, _ = env.step(self._decode(action))
            observations.append(observation)
            rewards.append(float(reward))
            terminated.append(bool(end))
            truncated.append(bool(cut))
        ends = np.array([terminated, truncated], dtype=bool)
        return Steps(self._rows(observations), np.array(rewards, dtype=np.float64), *ends)

    def keep(self, running: np.ndarray) -> None:
        """Drop episodes, see `EnvironmentVector.keep`."""
        self._idle += [env for env, stays in zip(self._running, running, strict=True) if not stays]
        self._running = [env for env, stays in zip(self._running, running, strict=True) if stays]

    def close(self) -> None:
        """Close all environments."""
        for env in (*self._idle, *self._running):
            env.close()
        self._idle, self._running = [], []

    def _make(self) -> gymnasium.Env:
        environment, kwargs, max_episode_steps = self._arguments
        return make_environment(environment, kwargs, max_episode_steps=max_episode_steps)

    def _rows(self, observations: list[Any]) -> np.ndarray:
        return encode_observations(self._space, stack_observations(self._space, observations))
