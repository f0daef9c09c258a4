"""CartPole-v1 for many episodes at once, with the arithmetic of Gymnasium's single environment."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seqrl.environments.vectors import Steps

_GRAVITY, _TAU_S, _FORCE_MAG = 9.8, 0.02, 10.0
_MASS_POLE, _LENGTH = 0.1, 0.5
_TOTAL_MASS = _MASS_POLE + 1.0
_POLE_MASS_LENGTH = _MASS_POLE * _LENGTH
_ANGLE_LIMIT = 12 * 2 * math.pi / 360
_POSITION_LIMIT = 2.4


class CartPoleVector:
    """`EnvironmentVector` of CartPole-v1.

    The equations are those of ``gymnasium.envs.classic_control.cartpole`` (Barto, Sutton & Anderson 1983), in its
    order of operations and in float64, so that every bit agrees with the single environment.
    """

    def __init__(self, max_episode_steps: int | None = 500) -> None:
        self._limit = max_episode_steps or math.inf
        self._elapsed = 0
        self._state = np.empty((4, 0))

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin new episodes: (n, 4) float32."""
        starts = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed)))).uniform(-0.05, 0.05, 4)
            for seed in seeds
        ]
        self._state = np.array(starts, dtype=np.float64).reshape(len(starts), 4).T.copy()
        self._elapsed = 0
        return self._observations()

    def step(self, actions: np.ndarray) -> Steps:
        """Push left (0) or right (1) in each episode, (n,)."""
        x, x_dot, theta, theta_dot = self._state
        force = np.where(np.asarray(actions) == 1, _FORCE_MAG, -_FORCE_MAG)
        cos, sin = np.cos(theta), np.sin(theta)
        temp = (force + _POLE_MASS_LENGTH * np.square(theta_dot) * sin) / _TOTAL_MASS
        theta_acceleration = (_GRAVITY * sin - cos * temp) / (
            _LENGTH * (4.0 / 3.0 - _MASS_POLE * np.square(cos) / _TOTAL_MASS)
        )
        x_acceleration = temp - _POLE_MASS_LENGTH * theta_acceleration * cos / _TOTAL_MASS
        x = x + _TAU_S * x_dot
        x_dot = x_dot + _TAU_S * x_acceleration
        theta = theta + _TAU_S * theta_dot
        theta_dot = theta_dot + _TAU_S * theta_acceleration
        self._state = np.stack([x, x_dot, theta, theta_dot])
        self._elapsed += 1
        terminated = (np.abs(x) > _POSITION_LIMIT) | (np.abs(theta) > _ANGLE_LIMIT)
        truncated = np.full(len(x), self._elapsed >= self._limit)
        return Steps(self._observations(), np.ones(len(x)), terminated, truncated)

    def keep(self, running: np.ndarray) -> None:
        """Drop the episodes where ``running`` is false."""
        self._state = self._state[:, running]

    def close(self) -> None:
        """Nothing is held."""

    def _observations(self) -> np.ndarray:
        return np.ascontiguousarray(self._state.T, dtype=np.float32)
