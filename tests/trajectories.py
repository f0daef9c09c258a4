"""A small random dataset and Trajectory Transformers on it, sharp enough to have opinions."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from seqrl.config import DatasetFacts, ReturnSummary, SpaceFacts, TrajectoryTransformerSpec
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.store.columns import TAIL_ROWS, Columns, spans_of


def make_facts(observations: int, action: SpaceFacts, environment: str | None = None, **changes) -> DatasetFacts:
    names = tuple(f"s{i}" for i in range(observations))
    values = {
        "environment": environment,
        "observation": SpaceFacts(kind="box", size=observations, shape=(observations,), names=names),
        "action": action,
        "episodes": 6,
        "steps": 120,
        "max_length": 30,
        "max_episode_steps": 30,
        "returns": ReturnSummary(mean=0, std=1, minimum=-1, maximum=1),
        "terminated_episodes": 3,
        "truncated_episodes": 3,
        "reward_minimum": -1,
        "reward_maximum": 1,
        "observation_mean": (0.0,) * observations,
        "observation_std": (1.0,) * observations,
        "content_hash": "",
    }
    return DatasetFacts(**values | changes)


def discrete(count: int) -> SpaceFacts:
    return SpaceFacts(kind="discrete", size=1, shape=(), names=("action",), categories=(count,))


def box(size: int) -> SpaceFacts:
    return SpaceFacts(
        kind="box",
        size=size,
        shape=(size,),
        names=tuple(f"a{i}" for i in range(size)),
        low=(-1.0,) * size,
        high=(1.0,) * size,
    )


def make_columns(observations: int = 2, action: SpaceFacts | None = None, seed: int = 0, **changes) -> Columns:
    """Six episodes of 10 to 30 random steps; every other one terminates."""
    action = action or discrete(3)
    rng = np.random.default_rng(seed)
    lengths = np.array([10, 30, 25, 15, 20, 20])
    ends = np.cumsum(lengths)
    steps = int(ends[-1])
    shape = () if action.kind == "discrete" else (action.size,)
    actions = np.zeros((steps + TAIL_ROWS, *shape), np.float32 if action.kind == "box" else np.int64)
    actions[:steps] = rng.normal(size=(steps, *shape)) if action.kind == "box" else rng.integers(0, 3, (steps, *shape))
    values = np.zeros((steps + TAIL_ROWS, observations), np.float32)
    values[:steps] = rng.normal(size=(steps, observations))
    rewards = np.zeros(steps + TAIL_ROWS)
    rewards[:steps] = rng.normal(size=steps)
    episodes = pd.DataFrame(
        {
            "episode": np.arange(6),
            "start": ends - lengths,
            "end": ends,
            "length": lengths,
            "achieved_return": [rewards[end - length : end].sum() for end, length in zip(ends, lengths, strict=True)],
            "terminated": [True, False] * 3,
            "truncated": [False, True] * 3,
        }
    )
    facts = make_facts(observations, action, **changes)
    return Columns(Path("."), facts, values, actions, rewards, values[:6], spans_of(episodes), episodes)


def make_model(columns: Columns, sharpness: float = 20.0, seed: int = 0, **settings) -> TrajectoryTransformer:
    """A fitted model with random weights, large enough for tokens to differ in probability."""
    values = {"embedding_dim": 16, "layers": 2, "heads": 2, "context_length": 4, "bins": 5, "dropout": 0.0}
    spec = TrajectoryTransformerSpec(**values | settings)
    model = TrajectoryTransformer.from_columns(spec, columns, np.arange(len(columns.episodes)), seed).eval()
    with torch.no_grad():
        model.heads.weight.mul_(sharpness)
        model.embed_token.weight.mul_(sharpness)
        model.embed_position.weight.mul_(sharpness)
    return model.requires_grad_(False)


def first_tokens(model: TrajectoryTransformer, columns: Columns, steps: int, episodes: np.ndarray) -> torch.Tensor:
    """(n, steps, D) int64 tokens from the start of some episodes."""
    windows = model.batches(columns, np.arange(len(columns.episodes)))
    starts = columns.episodes["start"].to_numpy()[episodes]
    return torch.from_numpy(np.stack([windows.tokens[start : start + steps] for start in starts]).astype(np.int64))
