"""Small known controllers, vectorised over episodes.

A heuristic of the registry is either a function of flattened observations (n, D) that returns actions, (n,) or
(n, A), or, where it has to remember or to plan, a `Controller` class that is made from `EnvironmentFacts`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqrl.environments.making import EnvironmentFacts


def cartpole(observations: np.ndarray) -> np.ndarray:
    """Push towards the side the pole falls to: right when angle + 0.3 * angular velocity > 0."""
    return (observations[:, 2] + 0.3 * observations[:, 3] > 0).astype(np.int64)


def acrobot(observations: np.ndarray) -> np.ndarray:
    """Pump energy: the torque at the elbow always follows the elbow's angular velocity (Spong 1994)."""
    return np.where(observations[:, 5] > 0, 2, 0).astype(np.int64)


def mountain_car(observations: np.ndarray) -> np.ndarray:
    """Push along with the velocity, except where the slope alone will turn the car (bounds of Xiao 2019)."""
    position, velocity = observations[:, 0], observations[:, 1]
    lower = np.minimum(-0.09 * (position + 0.25) ** 2 + 0.03, 0.3 * (position + 0.9) ** 4 - 0.008)
    upper = -0.07 * (position + 0.38) ** 2 + 0.07
    return np.where((lower <= velocity) & (velocity <= upper), 2, 0).astype(np.int64)


def mountain_car_continuous(observations: np.ndarray) -> np.ndarray:
    """Push along with the velocity, which adds energy on every swing."""
    return np.where(observations[:, 1:2] >= 0, 1.0, -1.0).astype(np.float32)


def pendulum(observations: np.ndarray) -> np.ndarray:
    """Swing up by energy (Åström & Furuta 2000), then hold the top with a linear controller.

    With m = l = 1 and g = 10 the pendulum of Gymnasium has the energy ``v**2 / 6 + 5 * cos(angle)``, 5 at rest on top.
    """
    cos, sin, velocity = observations.astype(np.float64).T
    angle = np.arctan2(sin, cos)
    missing = 5.0 - (velocity**2 / 6 + 5 * cos)
    swing = 4.0 * missing * np.where(velocity >= 0, 1.0, -1.0)
    hold = -(12.0 * angle + 3.0 * velocity)
    torque = np.where((cos > 0.85) & (np.abs(angle + 0.3 * velocity) < 0.6), hold, swing)
    return np.clip(torque, -2.0, 2.0)[:, None].astype(np.float32)


def lunar_lander(observations: np.ndarray) -> np.ndarray:
    """The heuristic of Gymnasium's Lunar Lander: one engine at a time, the most needed one."""
    turn, lift = _lander_needs(observations)
    main_engine = (lift > np.abs(turn)) & (lift > 0.05)
    return np.select([main_engine, turn < -0.05, turn > 0.05], [2, 3, 1], 0).astype(np.int64)


def lunar_lander_continuous(observations: np.ndarray) -> np.ndarray:
    """The heuristic of Gymnasium's Lunar Lander: both engines in proportion to the need."""
    turn, lift = _lander_needs(observations)
    return np.clip(np.stack([lift * 20 - 1, -turn * 20], axis=1), -1, 1).astype(np.float32)


def _lander_needs(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much to turn and how much to lift, (n,) each, as in ``gymnasium.envs.box2d.lunar_lander.heuristic``."""
    x, y, speed_x, speed_y, angle, spin, *legs = observations.T
    target_angle = np.clip(x * 0.5 + speed_x * 1.0, -0.4, 0.4)
    turn = (target_angle - angle) * 0.5 - spin * 1.0
    lift = (0.55 * np.abs(x) - y) * 0.5 - speed_y * 0.5
    landed = (legs[0] != 0) | (legs[1] != 0)
    return np.where(landed, 0.0, turn), np.where(landed, -speed_y * 0.5, lift)


class BipedalWalk:
    """The heuristic of Gymnasium's Bipedal Walker (``BipedalWalkerHeuristics``), for many walkers at once.

    A gait of three phases for each walker: stay on one leg, put the other down, push off; then the legs change roles.
    """

    _STAY, _PUT_DOWN, _PUSH_OFF = 1, 2, 3
    _SPEED = 0.29  # falls forward at a higher one
    _SUPPORT_KNEE = 0.1

    def __init__(self, facts: EnvironmentFacts) -> None:
        self.reset(())

    def reset(self, seeds: Sequence[int]) -> None:
        """Every walker stays on its second leg."""
        self._phase = np.full(len(seeds), self._STAY)
        self._moving = np.zeros(len(seeds), dtype=np.int64)
        self._knee = np.full(len(seeds), self._SUPPORT_KNEE)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Torques (n, 4) for observations (n, 24)."""
        s = observations.astype(np.float64)
        legs = s[:, 4:14].reshape(-1, 2, 5)  # hip angle, hip speed, knee angle, knee speed, contact
        walkers, moving = np.arange(len(s)), self._moving
        supporting = 1 - moving
        hip, knee = np.full((2, len(s), 2), np.nan)

        stay = self._phase == self._STAY
        lifted = self._knee + 0.03 + np.where(s[:, 2] > self._SPEED, 0.03, 0.0)
        self._knee = np.where(stay, np.minimum(lifted, self._SUPPORT_KNEE), self._knee)
        hip[walkers[stay], moving[stay]] = 1.1
        knee[walkers[stay], moving[stay]] = -0.6
        knee[walkers[stay], supporting[stay]] = self._knee[stay]
        self._phase[stay & (legs[walkers, supporting, 0] < 0.10)] = self._PUT_DOWN

        put_down = self._phase == self._PUT_DOWN
        hip[walkers[put_down], moving[put_down]] = 0.1
        knee[walkers[put_down], moving[put_down]] = self._SUPPORT_KNEE
        knee[walkers[put_down], supporting[put_down]] = self._knee[put_down]
        touched = put_down & (legs[walkers, moving, 4] != 0)
        self._phase[touched] = self._PUSH_OFF
        self._knee = np.where(touched, np.minimum(legs[walkers, moving, 2], self._SUPPORT_KNEE), self._knee)

        push_off = self._phase == self._PUSH_OFF
        knee[walkers[push_off], moving[push_off]] = self._knee[push_off]
        knee[walkers[push_off], supporting[push_off]] = 1.0
        stretched = legs[walkers, supporting, 2] > 0.88
        changed = push_off & (stretched | (s[:, 2] > 1.2 * self._SPEED))
        self._phase[changed] = self._STAY
        self._moving = np.where(changed, supporting, moving)
        return self._torques(s, legs, hip, knee)

    @staticmethod
    def _torques(s: np.ndarray, legs: np.ndarray, hip: np.ndarray, knee: np.ndarray) -> np.ndarray:
        """Proportional-derivative control towards the targets that are set, keeping the head straight."""
        to_hip = np.where(np.isnan(hip), 0.0, 0.9 * (hip - legs[:, :, 0]) - 0.25 * legs[:, :, 1])
        to_knee = np.where(np.isnan(knee), 0.0, 4.0 * (knee - legs[:, :, 2]) - 0.25 * legs[:, :, 3])
        to_hip -= (0.9 * (0 - s[:, 0]) - 1.5 * s[:, 1])[:, None]
        to_knee -= (15.0 * s[:, 3])[:, None]
        torques = np.stack([to_hip[:, 0], to_knee[:, 0], to_hip[:, 1], to_knee[:, 1]], axis=1)
        return np.clip(0.5 * torques, -1.0, 1.0).astype(np.float32)

    def keep(self, running: np.ndarray) -> None:
        """Forget walkers that have ended."""
        self._phase, self._moving, self._knee = self._phase[running], self._moving[running], self._knee[running]
