"""Synthetic tables that look like the store's, for tests and for looking at figures; never shown to anybody."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from seqrl.plots import EpisodeTrace


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


class Histogram(NamedTuple):
    """As the store keeps it."""

    step: int
    name: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]


def metrics(steps=3000, every=50, seed=0, floor=0.4):
    """A training's metric table with a validation loss now and then."""
    rng = np.random.default_rng(seed)
    step = np.arange(every, steps + 1, every)
    loss = floor + 0.6 * np.exp(-step / 400) + 0.02 * rng.standard_normal(len(step))
    validation = np.where(step % 250 == 0, loss + 0.02, np.nan)
    return pd.DataFrame({"step": step, "time_s": step * 0.03, "loss": loss, "validation_loss": validation})


def histograms(name="weights", steps=(0, 500, 1000, 1500, 2000)):
    """A normal distribution that grows wider."""
    rng = np.random.default_rng(0)
    made = []
    for step in steps:
        counts, edges = np.histogram(rng.standard_normal(4000) * (0.02 + step / 50000), 48)
        made.append(Histogram(step, name, tuple(edges), tuple(counts)))
    return made


def run_table(runs=12, seed=0):
    """Settings of runs and what came of them."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "model.kind": rng.choice(["dt", "bc"], runs),
            "model.context_length": rng.choice([1, 5, 10, 20], runs),
            "training.learning_rate": 10 ** rng.uniform(-4, -2.5, runs),
            "training.batch_size": 64,
        },
        index=[f"run-{i}" for i in range(runs)],
    )
    table["best_value"] = -0.4 - 0.1 * rng.random(runs)
    return table


def trace(label, kind="dt", steps=200, target=200.0, actions=2, continuous=0, probabilities=True, seed=0):
    """One episode: rewards of one, a falling return-to-go, actions with their probabilities."""
    rng = np.random.default_rng(seed)
    rewards = np.ones(steps)
    returns_to_go = target - np.arange(steps)
    if continuous:
        mean = np.sin(np.arange(steps)[:, None] / 15 + np.arange(continuous))
        std = np.full_like(mean, 0.2)
        drawn = (mean + std * rng.standard_normal(mean.shape)).astype(np.float32)
        both = np.stack([mean, std], axis=1)
        return EpisodeTrace(label, kind, rewards, returns_to_go, drawn, both if probabilities else None, None, seed)
    scores = rng.standard_normal((steps, actions)).cumsum(axis=0) * 0.5
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = np.array([rng.choice(actions, p=row) for row in shares])
    return EpisodeTrace(label, kind, rewards, returns_to_go, chosen, shares if probabilities else None, None, seed)


def attention_weights(layers=3, heads=4, steps=20, seed=0):
    """Causal attention weights over R, s, a of some steps, kinds and timesteps; the last action is not there."""
    rng = np.random.default_rng(seed)
    kinds, timesteps = list("Rsa" * steps)[:-1], np.repeat(np.arange(steps), 3)[:-1]
    length = len(kinds)
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    scores = (
        2 * rng.standard_normal((layers, heads, length, length))
        - 0.1 * distance * np.arange(1, heads + 1)[:, None, None]
    )
    scores = np.where(distance >= 0, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True), kinds, timesteps


def beam_points(run="tt", widths=(0, 1, 2, 4, 8, 16, 32), horizons=(5, 15), episodes=10, seed=0):
    """Points of a beam sweep and the episodes behind them: wider is better, and slower."""
    rng = np.random.default_rng(seed)
    rows, singles = [], []
    for horizon in horizons:
        for width in widths:
            if width == 0 and horizon != horizons[0]:
                continue
            centre = 390 if width == 0 else min(430 + 14 * np.log2(width) + horizon, 500)
            achieved = np.clip(centre + 40 * rng.standard_normal(episodes), 0, 500)
            spread = 1.96 * achieved.std() / np.sqrt(episodes)
            seconds = 0.002 if width == 0 else 0.004 * horizon * (1 + width / 8)
            cell = (run, width, 0 if width == 0 else horizon)
            mean = achieved.mean()
            rows.append((*cell, episodes, mean, achieved.std(), mean - spread, mean + spread, seconds))
            singles += [(*cell, value) for value in achieved]
    columns = ["run", "width", "horizon", "n", "mean", "std", "low", "high", "seconds_per_decision"]
    frame = pd.DataFrame(singles, columns=["run", "width", "horizon", "achieved_return"])
    frame.insert(0, "episode_id", np.arange(len(frame)) + 500)
    return pd.DataFrame(rows, columns=columns), frame


def plan(beams=16, horizon=15, dimensions=4, steps=80, start=30, seed=0):
    """Observations of an episode and futures that branch from the one at ``start``, with their scores."""
    rng = np.random.default_rng(seed)
    observed = np.cumsum(0.1 * rng.standard_normal((steps, dimensions)), axis=0)
    imagined = np.empty((beams, horizon, dimensions))
    imagined[:, 0] = observed[start]
    for step in range(1, horizon):
        parents = np.arange(beams) // max(2 ** (horizon - step - 10), 1) if step < 4 else np.arange(beams)
        moves = 0.1 * rng.standard_normal((beams, dimensions))
        imagined[:, step] = imagined[:, step - 1] + moves[parents % beams]
    scores = np.sort(480 + 5 * rng.standard_normal(beams))[::-1]
    ends = np.zeros((beams, horizon))
    ends[-1, horizon // 2] = 0.9
    return imagined, scores, observed, start, ends
