"""A small synthetic dataset for windows, action models and training; every observation tells where it came from."""

from pathlib import Path

import numpy as np
import pandas as pd

from seqrl.config import DatasetFacts, ReturnSummary, SpaceFacts
from seqrl.store.columns import TAIL_ROWS, Columns, spans_of

SPACES = {
    "discrete": SpaceFacts(kind="discrete", size=1, shape=(), names=("a",), categories=(3,)),
    "multi_discrete": SpaceFacts(kind="multi_discrete", size=2, shape=(2,), names=("a", "b"), categories=(3, 4)),
    "box": SpaceFacts(kind="box", size=2, shape=(2,), names=("a", "b"), low=(-2.0, 0.0), high=(2.0, 1.0)),
    "open_box": SpaceFacts(kind="box", size=2, shape=(2,), names=("a", "b"), low=(None, 0.0), high=(None, 1.0)),
}


def make_facts(action: str = "discrete", observations: int = 3, **changes) -> DatasetFacts:
    """Facts of an imagined dataset; ``action`` names one of `SPACES`."""
    values = {
        "environment": None,
        "observation": SpaceFacts(
            kind="box", size=observations, shape=(observations,), names=tuple(f"s{i}" for i in range(observations))
        ),
        "action": SPACES[action],
        "episodes": 5,
        "steps": 50,
        "max_length": 20,
        "max_episode_steps": 30,
        "returns": ReturnSummary(mean=0, std=1, minimum=-4, maximum=10),
        "terminated_episodes": 3,
        "truncated_episodes": 2,
        "reward_minimum": -1,
        "reward_maximum": 1,
        "observation_mean": (0.5,) * observations,
        "observation_std": (2.0,) * observations,
        "content_hash": "",
    }
    return DatasetFacts(**values | changes)


def make_actions(kind: str, observations: np.ndarray) -> np.ndarray:
    """Actions that follow from the observations, so that they can be learnt."""
    first, second = observations[:, 0], observations[:, 1]
    if kind == "discrete":
        return np.digitize(first, [-0.5, 0.5]).astype(np.int64)
    if kind == "multi_discrete":
        return np.stack([np.digitize(first, [-0.5, 0.5]), np.digitize(second, [-0.7, 0, 0.7])], axis=1).astype(np.int64)
    return np.stack([np.tanh(first), (second > 0) * 0.5 + 0.2], axis=1).astype(np.float32)


def make_columns(lengths=(4, 20, 1, 9, 16), action: str = "discrete", seed: int = 0, **changes) -> Columns:
    """Episodes of these lengths: random observations, actions that follow from them, random rewards."""
    generator = np.random.default_rng(seed)
    ends = np.cumsum(lengths)
    steps = int(ends[-1])
    observations = np.zeros((steps + TAIL_ROWS, 3), dtype=np.float32)
    observations[:steps] = generator.normal(size=(steps, 3))
    actions = make_actions(action, observations)
    actions[steps:] = 0
    rewards = np.zeros(steps + TAIL_ROWS)
    rewards[:steps] = generator.normal(size=steps)
    starts = ends - lengths
    achieved = [rewards[start:end].sum() for start, end in zip(starts, ends, strict=True)]
    table = {"episode": range(len(ends)), "start": starts, "end": ends, "length": lengths, "achieved_return": achieved}
    table = pd.DataFrame(table | {"terminated": False})
    facts = {"episodes": len(ends), "steps": steps, "max_length": max(lengths)} | changes
    return Columns(
        folder=Path("nowhere"),
        facts=make_facts(action, **facts),
        observations=observations,
        actions=actions,
        rewards=rewards,
        final_observations=np.zeros((len(ends), 3), np.float32),
        spans=spans_of(table),
        table=table,
    )
