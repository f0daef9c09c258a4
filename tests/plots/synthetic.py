"""Synthetic tables that look like the store's, for tests and for looking at figures; never shown to anybody."""

import numpy as np
import pandas as pd


def sweep_episodes(runs, targets, episodes=32, seed=0, low=0.0, high=500.0):
    """An episode table: a sampled DT follows, a greedy one goes to the top, a BC stays at its data."""
    rng = np.random.default_rng(seed)
    rows = []
    for run, kind in runs.items():
        for decoding in ("sampled", "greedy"):
            for target in targets if kind in ("dt", "tt") else [np.nan]:
                centre = high if decoding == "greedy" else low + 0.55 * (high - low) if np.isnan(target) else target
                spread = 0 if decoding == "greedy" else 0.16 * (high - low)
                achieved = np.clip(centre + spread * rng.standard_normal(episodes), low, high)
                for index, value in enumerate(achieved):
                    rows.append((run, decoding, target, index, index, value, int(abs(value)) + 1))
    columns = ["run", "decoding", "target", "episode", "seed", "achieved_return", "length"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.insert(0, "episode_id", np.arange(len(frame)) + 1000)
    return frame


def tier_returns(count=2000, seed=0):
    """Returns and tiers of a mixture like CartPole's."""
    rng = np.random.default_rng(seed)
    tier = rng.choice(["poor", "medium", "expert"], count, p=[0.3, 0.4, 0.3])
    centre = pd.Series(tier).map({"poor": 95, "medium": 420, "expert": 560}).to_numpy()
    width = pd.Series(tier).map({"poor": 60, "medium": 160, "expert": 80}).to_numpy()
    return np.clip(np.round(centre + width * rng.standard_normal(count)), 9, 500), tier


def steps_of(lengths, seed=0):
    """Rewards, episode ends, two correlated dimensions and two actions for episodes of these lengths."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    position = rng.standard_normal(total)
    velocity = -0.6 * position + 0.5 * rng.standard_normal(total)
    actions = (position + rng.standard_normal(total) > 0).astype(np.int64)
    return np.ones(total), ends, position, velocity, actions
