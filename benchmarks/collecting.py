"""Collecting 2,000 CartPole episodes in three tiers and storing them as Minari, against a loop that stores nothing.

The loop is the notebooks': one environment, one action at a time, everything appended to lists. It acts as our tiers
do, with the same heuristic and as much noise.
"""

from __future__ import annotations

import tempfile
import time
from itertools import cycle
from pathlib import Path

import gymnasium
import numpy as np

from benchmarks.harness import Comparison, compare
from seqrl.config import DatasetSpec
from seqrl.datasets import build
from seqrl.registry import environment_row

EPISODES, PLAIN_EPISODES = 2000, 60
_ENVIRONMENT = "CartPole-v1"


def our_rate() -> float:
    """Steps a second from a specification to a Minari dataset with its columns on the disk."""
    row = environment_row(_ENVIRONMENT)
    behaviours = row.behaviours(dict(row.default_mix))
    spec = DatasetSpec(name="collected", environment=row.id, episodes=EPISODES, behaviours=behaviours)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        facts = build(spec, Path(folder) / "columns", Path(folder) / "minari")
        return facts.steps / (time.perf_counter() - started)


def plain_rate() -> float:
    """Steps a second of one environment, without storing."""
    row = environment_row(_ENVIRONMENT)
    noise = [behaviour.epsilon for behaviour in row.behaviours(dict(row.default_mix))]
    env, rng = gymnasium.make(_ENVIRONMENT), np.random.default_rng(0)
    steps, started = 0, time.perf_counter()
    for seed, epsilon in zip(range(PLAIN_EPISODES), cycle(noise), strict=False):
        observation, _ = env.reset(seed=seed)
        observations, actions, rewards, done = [observation], [], [], False
        while not done:
            if rng.random() < epsilon:
                action = int(rng.integers(2))
            else:
                action = int(observation[2] + 0.3 * observation[3] > 0)
            observation, reward, terminated, truncated, _ = env.step(action)
            observations.append(observation)
            actions.append(action)
            rewards.append(reward)
            done = terminated or truncated
        steps += len(rewards)
    return steps / (time.perf_counter() - started)


def measure() -> list[Comparison]:
    """One line."""
    variants = {"seqrl": our_rate, "one environment, nothing stored": plain_rate}
    title = f"collecting {EPISODES:,} CartPole episodes and storing them as Minari"
    return [compare(title, "steps/s", "seqrl", variants, at_least=10)]
