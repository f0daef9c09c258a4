"""What a value token stands for."""

from __future__ import annotations

import math

import numpy as np


def value_targets(rewards: np.ndarray, episode_ends: np.ndarray, terminated: np.ndarray, discount: float) -> np.ndarray:
    """Discounted rewards after every step, without its own: ``V_t = r_{t+1} + discount * V_{t+1}``.

    After the last step it is 0 where the episode terminated. Where it was only truncated it is the value of earning
    the mean reward of the last ``1 / (1 - discount)`` steps for ever (with ``discount = 1``: 0, a lower bound).

    Args:
        rewards: (N,) reward units.
        episode_ends: (E,) one past the last step of each episode, increasing, the last one N.
        terminated: (E,) bool.
        discount: in (0, 1].

    Returns:
        (N,) float64, reward units.

    >>> value_targets(np.array([1.0, 1.0, 1.0, 2.0]), np.array([2, 4]), np.array([True, False]), 0.5)
    array([1. , 0. , 3.5, 3. ])
    """
    starts = np.concatenate([[0], episode_ends[:-1]])
    lengths = episode_ends - starts
    values = np.zeros(len(rewards))
    if discount < 1:
        recent = math.ceil(1 / (1 - discount) - 1e-9)
        sums = np.concatenate([[0.0], np.cumsum(rewards, dtype=np.float64)])
        first = np.maximum(starts, episode_ends - recent)
        means = (sums[episode_ends] - sums[first]) / (episode_ends - first)
        values[episode_ends - 1] = np.where(terminated, 0.0, means / (1 - discount))
    longest_first = np.argsort(-lengths, kind="stable")
    last, lengths = episode_ends[longest_first] - 1, lengths[longest_first]
    for back in range(1, int(lengths.max(initial=1))):
        step = last[: np.searchsorted(-lengths, -back, side="left")] - back
        values[step] = rewards[step + 1] + discount * values[step + 1]
    return values
