"""Gymnasium's classic control for many episodes at once, bit for bit what its single environments do.

The equations are those of ``gymnasium.envs.classic_control`` in their order of operations and their precision. Where
the originals go through C's ``pow`` or ``cos`` for a single number, so does this (`_squares`, `_cosines`): the fast
array forms round differently in about one of a thousand cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqrl.environments.vectors import Steps


class ClassicVector:
    """`EnvironmentVector` of an environment whose state is a few numbers.

    Args:
        max_episode_steps: time limit in steps, None for none.
    """

    def __init__(self, max_episode_steps: int | None) -> None:
        self._limit = max_episode_steps or math.inf
        self._elapsed = 0
        self._state = np.empty((0, 0))  # one row a quantity, one column an episode

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin new episodes, see `EnvironmentVector.reset`."""
        generators = (np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed)))) for seed in seeds)
        starts = [self._start(generator) for generator in generators]
        self._state = np.array(starts).reshape(len(starts), -1).T.copy()
        self._elapsed = 0
        return self._observations()

    def step(self, actions: np.ndarray) -> Steps:
        """One step of each, see `EnvironmentVector.step`."""
        self._state, rewards, terminated = self._advance(np.asarray(actions))
        self._elapsed += 1
        truncated = np.full(len(rewards), self._elapsed >= self._limit)
        return Steps(self._observations(), rewards, terminated, truncated)

    def keep(self, running: np.ndarray) -> None:
        """Drop episodes, see `EnvironmentVector.keep`."""
        self._state = self._state[:, running]

    def close(self) -> None:
        """Nothing is held."""

    def _start(self, generator: np.random.Generator) -> Any:
        raise NotImplementedError

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next state, rewards (n,) float64, and which episodes the environment ended (n,) bool."""
        raise NotImplementedError

    def _observations(self) -> np.ndarray:
        return np.ascontiguousarray(self._state.T, dtype=np.float32)


class CartPoleVector(ClassicVector):
    """CartPole-v1 (Barto, Sutton & Anderson 1983)."""

    _GRAVITY, _TAU_S, _FORCE = 9.8, 0.02, 10.0
    _MASS_POLE, _LENGTH = 0.1, 0.5
    _TOTAL_MASS = _MASS_POLE + 1.0
    _POLE_MASS_LENGTH = _MASS_POLE * _LENGTH
    _ANGLE_LIMIT = 12 * 2 * math.pi / 360
    _POSITION_LIMIT = 2.4

    def _start(self, generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(-0.05, 0.05, 4)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, x_dot, theta, theta_dot = self._state
        force = np.where(actions == 1, self._FORCE, -self._FORCE)
        cos, sin = np.cos(theta), np.sin(theta)
        temp = (force + self._POLE_MASS_LENGTH * np.square(theta_dot) * sin) / self._TOTAL_MASS
        theta_acceleration = (self._GRAVITY * sin - cos * temp) / (
            self._LENGTH * (4.0 / 3.0 - self._MASS_POLE * np.square(cos) / self._TOTAL_MASS)
        )
        x_acceleration = temp - self._POLE_MASS_LENGTH * theta_acceleration * cos / self._TOTAL_MASS
        x = x + self._TAU_S * x_dot
        x_dot = x_dot + self._TAU_S * x_acceleration
        theta = theta + self._TAU_S * theta_dot
        theta_dot = theta_dot + self._TAU_S * theta_acceleration
        terminated = (np.abs(x) > self._POSITION_LIMIT) | (np.abs(theta) > self._ANGLE_LIMIT)
        return np.stack([x, x_dot, theta, theta_dot]), np.ones(len(x)), terminated


class PendulumVector(ClassicVector):
    """Pendulum-v1."""

    def _start(self, generator: np.random.Generator) -> np.ndarray:
        high = np.array([np.pi, 1.0])
        return generator.uniform(-high, high)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        angle, velocity = self._state
        torque = np.clip(actions[:, 0].astype(np.float32), -2.0, 2.0)
        upright = ((angle + np.pi) % (2 * np.pi)) - np.pi
        costs = _squares(upright) + 0.1 * _squares(velocity) + 0.001 * _squares(torque)
        velocity = velocity + (15.0 * np.sin(angle) + 3.0 * torque) * 0.05
        velocity = np.clip(velocity, -8, 8)
        angle = angle + velocity * 0.05
        return np.stack([angle, velocity]), -costs, np.zeros(len(angle), dtype=bool)

    def _observations(self) -> np.ndarray:
        angle, velocity = self._state
        return np.stack([np.cos(angle), np.sin(angle), velocity], axis=1).astype(np.float32)


class MountainCarVector(ClassicVector):
    """MountainCar-v0 (Moore 1990)."""

    def _start(self, generator: np.random.Generator) -> list[float]:
        return [generator.uniform(-0.6, -0.4), 0.0]

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position, velocity = self._state
        velocity = velocity + ((actions - 1) * 0.001 + _cosines(3 * position) * -0.0025)
        velocity = np.clip(velocity, -0.07, 0.07)
        position = np.clip(position + velocity, -1.2, 0.6)
        velocity = np.where((position == -1.2) & (velocity < 0), 0.0, velocity)
        terminated = (position >= 0.5) & (velocity >= 0)
        return np.stack([position, velocity]), np.full(len(position), -1.0), terminated


class MountainCarContinuousVector(ClassicVector):
    """MountainCarContinuous-v0.

    The original keeps its state in float64 at the start and in float32 afterwards, and computes the push in float32
    unless the force was cut to its limits, which makes it a Python number.
    """

    def _start(self, generator: np.random.Generator) -> list[float]:
        return [generator.uniform(-0.6, -0.4), 0.0]

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position, velocity = self._state
        force = actions[:, 0].astype(np.float32)
        slope = 0.0025 * _cosines(3 * position)
        exact_push = np.sign(force).astype(np.float64) * 0.0015 - slope
        push = (force * np.float32(0.0015) - slope.astype(np.float32)).astype(velocity.dtype)
        velocity = velocity + np.where(np.abs(force) > 1, exact_push.astype(velocity.dtype), push)
        velocity = np.clip(velocity, -0.07, 0.07)
        position = np.clip(position + velocity, -1.2, 0.6)
        velocity = np.where((position == position.dtype.type(-1.2)) & (velocity < 0), 0.0, velocity)
        terminated = (position >= 0.45) & (velocity >= 0)
        effort = np.array([math.pow(value, 2) for value in force.tolist()]) * 0.1
        rewards = np.where(terminated, 100.0, 0.0) - effort
        return np.stack([position, velocity]).astype(np.float32), rewards, terminated


class AcrobotVector(ClassicVector):
    """Acrobot-v1 (Sutton 1996), with the equations of the book (Sutton & Barto 2018)."""

    _STEP_S = 0.2
    _LARGEST_SPEEDS = 4 * np.pi, 9 * np.pi

    def _start(self, generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(-0.1, 0.1, 4).astype(np.float32)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        torque = np.array([-1.0, 0.0, 1.0])[actions]
        angle_1, angle_2, speed_1, speed_2 = self._runge_kutta(self._state.astype(np.float64), torque)
        state = np.stack(
            [
                _wrapped(angle_1),
                _wrapped(angle_2),
                np.clip(speed_1, -self._LARGEST_SPEEDS[0], self._LARGEST_SPEEDS[0]),
                np.clip(speed_2, -self._LARGEST_SPEEDS[1], self._LARGEST_SPEEDS[1]),
            ]
        )
        terminated = -np.cos(state[0]) - np.cos(state[1] + state[0]) > 1.0
        return state, np.where(terminated, 0.0, -1.0), terminated

    def _observations(self) -> np.ndarray:
        angle_1, angle_2, speed_1, speed_2 = self._state
        columns = [np.cos(angle_1), np.sin(angle_1), np.cos(angle_2), np.sin(angle_2), speed_1, speed_2]
        return np.stack(columns, axis=1).astype(np.float32)

    def _runge_kutta(self, state: np.ndarray, torque: np.ndarray) -> np.ndarray:
        half = self._STEP_S / 2.0
        k1 = self._derivatives(state, torque)
        k2 = self._derivatives(state + half * k1, torque)
        k3 = self._derivatives(state + half * k2, torque)
        k4 = self._derivatives(state + self._STEP_S * k3, torque)
        return state + self._STEP_S / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)

    @staticmethod
    def _derivatives(state: np.ndarray, torque: np.ndarray) -> np.ndarray:
        """Both links have mass, length and inertia 1 and their centre of mass at 0.5."""
        angle_1, angle_2, speed_1, speed_2 = state
        cos_2, sin_2 = np.cos(angle_2), np.sin(angle_2)
        d1 = 0.25 + 1.0 * (1.25 + 1.0 * cos_2) + 1.0 + 1.0
        d2 = 1.0 * (0.25 + 0.5 * cos_2) + 1.0
        phi2 = 0.5 * 9.8 * np.cos(angle_1 + angle_2 - np.pi / 2.0)
        phi1 = (
            -0.5 * _squares(speed_2) * sin_2
            - 1.0 * speed_2 * speed_1 * sin_2
            + 1.5 * 9.8 * np.cos(angle_1 - np.pi / 2)
            + phi2
        )
        acceleration_2 = (torque + d2 / d1 * phi1 - 0.5 * _squares(speed_1) * sin_2 - phi2) / (
            0.25 + 1.0 - _squares(d2) / d1
        )
        acceleration_1 = -(d2 * acceleration_2 + phi1) / d1
        return np.stack([speed_1, speed_2, acceleration_1, acceleration_2])


def _squares(values: np.ndarray) -> np.ndarray:
    """``value ** 2`` of each as a single number, in its own precision."""
    numbers = values.tolist() if values.dtype == np.float64 else values  # Python's own are float64, and faster
    return np.array([number**2 for number in numbers], dtype=values.dtype)


def _cosines(values: np.ndarray) -> np.ndarray:
    return np.array([math.cos(value) for value in values.tolist()])


def _wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles brought into -pi to pi by whole turns."""
    turn = np.pi - -np.pi
    while (angles > np.pi).any():
        angles = np.where(angles > np.pi, angles - turn, angles)
    while (angles < -np.pi).any():
        angles = np.where(angles < -np.pi, angles + turn, angles)
    return angles
