"""What is measured of a dataset once its columns are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqrl.config import DatasetFacts, ReturnSummary, SpaceFacts
from seqrl.store.columns import TAIL_ROWS, chunks

_PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def measure(
    folder: Path,
    *,
    environment: str | None,
    environment_kwargs: Mapping[str, Any],
    observation: SpaceFacts,
    action: SpaceFacts,
    max_episode_steps: int | None,
    content_hash: str,
) -> DatasetFacts:
    """Facts about written columns, read piece by piece.

    Args:
        folder: with the files of `seqrl.store.columns.ColumnsWriter`.
        environment: registered id, or None.
        environment_kwargs: settings of the environment.
        observation: facts about the observation space.
        action: facts about the action space.
        max_episode_steps: time limit in steps, None if there is none.
        content_hash: `ColumnsWriter.content_hash`.
    """
    episodes = pd.read_parquet(folder / "episodes.parquet")
    rewards = np.load(folder / "rewards.npy", mmap_mode="r")
    steps = len(rewards) - TAIL_ROWS
    mean, std = observation_moments(np.load(folder / "observations.npy", mmap_mode="r"), steps)
    tiers = episodes.groupby("tier", sort=False)["achieved_return"]
    return DatasetFacts(
        environment=environment,
        environment_kwargs=dict(environment_kwargs),
        observation=observation,
        action=action,
        episodes=len(episodes),
        steps=steps,
        max_length=int(episodes["length"].max()),
        max_episode_steps=max_episode_steps,
        returns=summarise_returns(episodes["achieved_return"].to_numpy()),
        returns_by_tier={str(tier): summarise_returns(returns.to_numpy()) for tier, returns in tiers},
        terminated_episodes=int(episodes["terminated"].sum()),
        truncated_episodes=int(episodes["truncated"].sum()),
        reward_minimum=min(float(part.min()) for part in chunks(rewards, steps)),
        reward_maximum=max(float(part.max()) for part in chunks(rewards, steps)),
        observation_mean=tuple(mean.tolist()),
        observation_std=tuple(std.tolist()),
        content_hash=content_hash,
    )


def summarise_returns(returns: np.ndarray) -> ReturnSummary:
    """Distribution of returns, (E,) in reward units; the standard deviation is that of the episodes themselves."""
    percentiles = np.percentile(returns, _PERCENTILES).tolist()
    return ReturnSummary(
        mean=float(np.mean(returns)),
        std=float(np.std(returns)),
        minimum=float(np.min(returns)),
        maximum=float(np.max(returns)),
        percentiles=dict(zip(_PERCENTILES, percentiles, strict=True)),
    )


def observation_moments(observations: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the first ``steps`` rows, in two passes of float64.

    Args:
        observations: (N + tail, D) float32, or images (N + tail, H, W, C) or (N + tail, H, W) uint8.
        steps: N.

    Returns:
        Two arrays, (D,), for images (C,) over all pixels of a channel. A dimension that never changes has the
        standard deviation 1, so that dividing by it is safe.
    """
    shape = observations.shape[1:]
    channels = shape[-1] if len(shape) in (1, 3) else 1
    count = steps * (int(np.prod(shape)) // channels)
    pieces = max(1, 2**20 // int(np.prod(shape)))

    def rows(part: np.ndarray) -> np.ndarray:
        return part.reshape(-1, channels).astype(np.float64)

    mean = sum(rows(part).sum(axis=0) for part in chunks(observations, steps, pieces)) / count
    variance = sum(np.square(rows(part) - mean).sum(axis=0) for part in chunks(observations, steps, pieces)) / count
    std = np.sqrt(variance)
    # a constant's rounding error must not pass for spread
    return mean, np.where(std > 1e-6 * np.maximum(1.0, np.abs(mean)), std, 1.0)
