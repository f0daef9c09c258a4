"""Fills a home with a small dataset, runs and a sweep, through the store's own doors, without training anything.

The episodes are played by hand-made rules in the real CartPole, so their videos can really be rendered.
"""

import math

import gymnasium
import numpy as np
import pandas as pd

from seqrl.config import (
    BehaviourCloningSpec,
    BehaviourSpec,
    DatasetFacts,
    DatasetSpec,
    DecisionTransformerSpec,
    ReturnSummary,
    ReturnSweepSpec,
    RunSpec,
    SpaceFacts,
    TrainingSpec,
)
from seqrl.store import EpisodeRecord, MetricRow, Store
from seqrl.store.runs import CHECKPOINT

DATASET = "poles"
RUNS = {"dt-poles": DecisionTransformerSpec(), "bc-poles": BehaviourCloningSpec()}
SWEEP = "ask-poles"
TARGETS = (20.0, 40.0, 60.0)


def summary(returns):
    return ReturnSummary(
        mean=float(np.mean(returns)),
        std=float(np.std(returns)),
        minimum=float(np.min(returns)),
        maximum=float(np.max(returns)),
        percentiles={q: float(np.percentile(returns, q)) for q in (1, 5, 10, 25, 50, 75, 90, 95, 99)},
    )


def facts(episodes):
    observation = SpaceFacts(
        kind="box", size=4, shape=(4,), names=("cart position", "cart velocity", "pole angle", "pole angular velocity")
    )
    action = SpaceFacts(
        kind="discrete", size=1, shape=(), names=("action",), categories=(2,), labels=("push left", "push right")
    )
    returns = episodes["achieved_return"]
    return DatasetFacts(
        environment="CartPole-v1",
        observation=observation,
        action=action,
        episodes=len(episodes),
        steps=int(episodes["length"].sum()),
        max_length=int(episodes["length"].max()),
        max_episode_steps=500,
        returns=summary(returns),
        returns_by_tier={tier: summary(group) for tier, group in returns.groupby(episodes["tier"])},
        terminated_episodes=int(episodes["terminated"].sum()),
        truncated_episodes=int(episodes["truncated"].sum()),
        reward_minimum=1.0,
        reward_maximum=1.0,
        observation_mean=(0.0,) * 4,
        observation_std=(1.0,) * 4,
        content_hash="0" * 64,
    )


def play(run, decoding, target, episode, seed):
    """One real CartPole episode that pushes against the pole until the target is nearly collected, then gives up."""
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=seed)
    actions, rewards, asked, chances = [], [], [], []
    left = math.nan if target is None else target
    wanted = 60 if target is None else target
    terminated = truncated = False
    while not (terminated or truncated):
        steady = len(rewards) < wanted - 9
        right = bool(observation[2] + 0.3 * observation[3] > 0) if steady else True
        actions.append(int(right))
        chances.append([0.1, 0.9] if right else [0.9, 0.1])
        asked.append(left)
        observation, reward, terminated, truncated, _ = env.step(int(right))
        rewards.append(float(reward))
        left -= float(reward)
    return EpisodeRecord(
        run=run,
        decoding=decoding,
        target=target,
        episode=episode,
        seed=seed,
        terminated=terminated,
        truncated=truncated,
        actions=np.array(actions, dtype=np.int64),
        rewards=np.array(rewards, dtype=np.float64),
        returns_to_go=np.array(asked, dtype=np.float64),
        action_probabilities=np.array(chances, dtype=np.float32),
    )


def episode_table(count=60, seed=0):
    rng = np.random.default_rng(seed)
    tier = rng.choice(["poor", "medium", "expert"], count)
    length = np.round(rng.uniform(9, 60, count) * np.where(tier == "expert", 3, 1)).astype(int)
    end = np.cumsum(length)
    return pd.DataFrame(
        {
            "episode": np.arange(count),
            "start": end - length,
            "end": end,
            "length": length,
            "achieved_return": length.astype(float),
            "terminated": True,
            "truncated": False,
            "tier": tier,
            "policy": "heuristic",
            "epsilon": 0.3,
            "noise_std": 0.0,
            "seed": np.arange(count),
        }
    )


def fill(home):
    """A store with one dataset, a DT and a BC run with curves, and a finished sweep over both."""
    store = Store(home)
    table = episode_table()
    measured = facts(table)
    behaviours = tuple(
        BehaviourSpec(tier=tier, share=share, policy="heuristic", epsilon=0.3)
        for tier, share in (("poor", 0.3), ("medium", 0.4), ("expert", 0.3))
    )
    spec = DatasetSpec(name=DATASET, episodes=len(table), behaviours=behaviours)
    store.add_dataset(DATASET, source=spec.model_dump(mode="json"))
    store.set_dataset_facts(DATASET, measured, table)
    for name, model in RUNS.items():
        run = RunSpec(name=name, dataset=DATASET, model=model, training=TrainingSpec(steps=400))
        store.add_run(run, measured)
        rows = [
            MetricRow(step, step / 50, {"loss": 0.7 - 0.001 * step, "accuracy": 0.5 + 0.001 * step})
            for step in range(0, 401, 50)
        ]
        store.add_metrics(name, rows)
        store.set_run_progress(name, 400, 0.31)
        checkpoint = store.run_folder(name) / CHECKPOINT / "model.safetensors"
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"")
    sweep = ReturnSweepSpec(name=SWEEP, runs=tuple(RUNS), targets=TARGETS, episodes=4, decodings=("sampled",))
    store.add_sweep(sweep)
    records = [play("dt-poles", "sampled", target, i, 100 + i) for target in TARGETS for i in range(4)]
    records += [play("bc-poles", "sampled", None, i, 100 + i) for i in range(4)]
    store.append_episodes(SWEEP, records)
    store.finish_sweep(SWEEP)
    return store
