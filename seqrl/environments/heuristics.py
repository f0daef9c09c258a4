"""Small known controllers, vectorised over episodes.

A heuristic of the registry is either a function of flattened observations (n, D) that returns actions, (n,) or
(n, A), or, where it has to remember or to plan, a `Controller` class that is made from `EnvironmentFacts`.
"""

from __future__ import annotations

import numpy as np


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
