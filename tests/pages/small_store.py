"""Fills a home with a small dataset, runs and a sweep, through the store's own doors, without training anything.

The episodes are played by hand-made rules in the real CartPole, so their videos can really be rendered.
"""

import dataclasses
import math

import gymnasium
import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from seqrl.config import (
    BeamSweepSpec,
    BehaviourCloningSpec,
    BehaviourSpec,
    DatasetFacts,
    DatasetSpec,
    DecisionTransformerSpec,
    Origin,
    PlanningSpec,
    ReturnSummary,
    ReturnSweepSpec,
    RunSpec,
    ScheduleSweepSpec,
    SpaceFacts,
    TargetChange,
    TrainingSpec,
    TrajectoryTransformerSpec,
    schedule_text,
)
from seqrl.store import EpisodeRecord, MetricRow, Store
from seqrl.store.columns import Columns, ColumnsWriter, write_facts
from seqrl.store.runs import CHECKPOINT
from seqrl.tokens import fit_tokenizer, transition_layout

DATASET = "poles"
RUNS = {"dt-poles": DecisionTransformerSpec(), "bc-poles": BehaviourCloningSpec()}
PLANNER = "tt-poles"
BEAMS = "beam-poles"
SWEEP = "ask-poles"
SCHEDULES = "what-if"
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


def collect(folder, count=60):
    """Episodes of the real CartPole in three tiers, as columns; returns their table."""
    folder.mkdir(parents=True)
    layout = {
        "observation_shape": (4,),
        "observation_dtype": np.float32,
        "action_shape": (),
        "action_dtype": np.int64,
    }
    env = gymnasium.make("CartPole-v1")
    with ColumnsWriter(folder, **layout) as writer:
        for episode in range(count):
            tier = ("poor", "medium", "expert")[episode % 3]
            rng = np.random.default_rng(episode)
            observations, actions, rewards, over = [env.reset(seed=episode)[0]], [], [], False
            while not over and len(rewards) < 120:
                right = bool(observations[-1][2] + 0.3 * observations[-1][3] > 0)
                noisy = rng.random() < {"poor": 0.6, "medium": 0.3, "expert": 0.1}[tier]
                action = int(rng.integers(2)) if noisy else int(right)
                observation, reward, over, _, _ = env.step(action)
                observations.append(observation)
                actions.append(action)
                rewards.append(float(reward))
            about = {"terminated": bool(over), "truncated": not over, "tier": tier, "policy": "heuristic"}
            about |= {"epsilon": 0.3, "noise_std": 0.0, "seed": episode}
            writer.append(np.array(observations), np.array(actions), np.array(rewards), about)
        writer.close()
    return pd.read_parquet(folder / "episodes.parquet")


def fill(home, *, columns=True):
    """A store with one dataset, runs with curves, and finished sweeps."""
    store = Store(home)
    folder = store.columns_folder(DATASET)
    table = collect(folder)
    measured = facts(table)
    behaviours = tuple(
        BehaviourSpec(tier=tier, share=share, policy="heuristic", epsilon=0.3)
        for tier, share in (("poor", 0.3), ("medium", 0.4), ("expert", 0.3))
    )
    spec = DatasetSpec(name=DATASET, episodes=len(table), behaviours=behaviours)
    store.add_dataset(DATASET, source=spec.model_dump(mode="json"))
    store.set_dataset_facts(DATASET, measured, table)
    if columns:
        write_facts(folder, measured)
    for name, model in RUNS.items():
        add_run(store, name, model, measured)
    sweep = ReturnSweepSpec(
        name=SWEEP, runs=("dt-poles", "bc-poles"), targets=TARGETS, episodes=4, decodings=("sampled",)
    )
    store.add_sweep(sweep)
    records = [play("dt-poles", "sampled", target, i, 100 + i) for target in TARGETS for i in range(4)]
    records += [play("bc-poles", "sampled", None, i, 100 + i) for i in range(4)]
    store.append_episodes(SWEEP, records)
    store.finish_sweep(SWEEP)
    return store


def add_run(store, name, model, measured):
    """A finished run with a curve, and a checkpoint that holds nothing but what pages read of it."""
    store.add_run(RunSpec(name=name, dataset=DATASET, model=model, training=TrainingSpec(steps=400)), measured)
    rows = [
        MetricRow(step, step / 50, {"loss": 0.7 - 0.001 * step, "accuracy": 0.5 + 0.001 * step})
        for step in range(0, 401, 50)
    ]
    store.add_metrics(name, rows)
    store.set_run_progress(name, 400, 0.31)
    checkpoint = store.run_folder(name) / CHECKPOINT / "model.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"")


def add_planner(store, bins=7):
    """A Trajectory Transformer with bins fitted to half of the data, and a sweep whose plans were recorded."""
    columns = Columns.open(store.columns_folder(DATASET))
    model = TrajectoryTransformerSpec(bins=bins)
    add_run(store, PLANNER, model, columns.facts)
    half = np.arange(0, len(columns.episodes), 2)
    ends, terminated = (columns.episodes[name].to_numpy() for name in ("end", "terminated"))
    tokenizer = fit_tokenizer(
        transition_layout(columns.facts),
        columns.observations,
        columns.actions,
        columns.rewards,
        ends,
        terminated,
        bins=bins,
        strategy=model.strategy,
        discount=model.discount,
        episodes=half,
    )
    arrays = tokenizer.arrays()
    tensors = {f"token_{name}": arrays[name] for name in ("counts", "edges", "values")}
    save_file(
        tensors | {"value_returns": arrays["value_returns"]},
        store.run_folder(PLANNER) / CHECKPOINT / "model.safetensors",
    )
    spec = BeamSweepSpec(
        name=BEAMS, runs=(PLANNER,), widths=(0, 2), horizons=(3,), episodes=2, planning=PlanningSpec(horizon=3)
    )
    store.add_sweep(spec, kind="sweep_beam")
    store.append_episodes(BEAMS, [planned(width, i) for width in (0, 2) for i in range(2)])
    store.finish_sweep(BEAMS)
    return tokenizer


def planned(width, episode):
    """An episode with what a planner of two beams and three steps might have imagined."""
    record = play(PLANNER, "planned" if width else "sampled", None, episode, 100 + episode)
    steps = record.length
    rng = np.random.default_rng(episode)
    extra = {}
    if width:
        extra = {"predicted_reward": np.ones(steps, np.float32), "predicted_value": np.ones(steps, np.float32)}
    if width and episode == 0:
        extra |= {
            "plan_age": np.zeros(steps, np.int64),
            "plan_scores": rng.random((steps, 2)).astype(np.float32),
            "plan_returns": rng.random((steps, 2)).astype(np.float32),
            "plan_ends": np.zeros((steps, 2, 3), np.float32),
            "plan_observations": rng.random((steps, 2, 3, 4)).astype(np.float32),
            "plan_actions": rng.integers(2, size=(steps, 2, 3)),
        }
    cell = {"width": width, "horizon": 3 if width else 0, "seconds_per_decision": 0.01 * (1 + width)}
    return dataclasses.replace(record, cell=cell, extra=extra)


def add_schedules(store, episode_id, step):
    """An episode that was asked for 40, continued with its own target and with 60; returns the records."""
    spec = ScheduleSweepSpec(
        name=SCHEDULES,
        runs=("dt-poles",),
        target=40.0,
        schedules=((TargetChange(step=step, target=60.0),),),
        origin=Origin(sweep=SWEEP, episode_id=episode_id, step=step),
        episodes=2,
    )
    store.add_sweep(spec, kind="sweep_schedule")
    records = []
    for schedule, target in zip(spec.all_schedules(), (40.0, 60.0), strict=True):
        cell = {"schedule": schedule_text(40.0, schedule), "from_step": step}
        played = [play("dt-poles", "sampled", target, episode, 101) for episode in range(2)]
        records += [dataclasses.replace(record, cell=cell) for record in played]
    store.append_episodes(SCHEDULES, records)
    store.finish_sweep(SCHEDULES)
    return records
