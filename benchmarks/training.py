"""Training a Decision Transformer (64 × 20 steps, 128 × 3, one head, 17 observations, 6 actions, AdamW included), and
drawing its batches.

Dropout 0.1 on the input and both residual branches everywhere; dropout on attention probabilities, which seqrl leaves
out, is switched off in the peers too. Both train in one process with the same number of threads. The batches come from
200 episodes of 1,000 steps.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness import Comparison, compare, growth, seconds
from benchmarks.products import share
from seqrl.config import DatasetFacts, ReturnSummary, RunSpec, SpaceFacts
from seqrl.store.columns import SPAN, TAIL_ROWS, Columns, ColumnsWriter, write_facts
from seqrl.training.loop import Training
from seqrl.windows import Windows

BATCH, K, STATES, ACTIONS = 64, 20, 17, 6
EPISODES, LENGTH = 200, 1000
UPDATES, DRAWS = 8, 200


def random_episodes() -> list[dict[str, np.ndarray]]:
    """Episodes of noise."""
    generator = np.random.default_rng(0)
    return [
        {
            "observations": generator.normal(size=(LENGTH, STATES)).astype(np.float32),
            "actions": generator.uniform(-1, 1, size=(LENGTH, ACTIONS)).astype(np.float32),
            "rewards": generator.normal(size=LENGTH).astype(np.float32),
        }
        for _ in range(EPISODES)
    ]


def compiled(episodes: list[dict[str, np.ndarray]], folder: Path) -> Columns:
    """The same episodes as columns."""
    about = {"terminated": False, "truncated": True, "tier": "", "policy": "", "epsilon": 0.0, "noise_std": 0.0}
    shapes = {"observation_shape": (STATES,), "action_shape": (ACTIONS,)}
    formats = {"observation_dtype": np.float32, "action_dtype": np.float32}
    with ColumnsWriter(folder, **shapes, **formats) as writer:
        for seed, episode in enumerate(episodes):
            observations = np.concatenate([episode["observations"], episode["observations"][-1:]])
            writer.append(observations, episode["actions"], episode["rewards"], about | {"seed": seed})
        writer.close()
    names = {name: tuple(f"{name}{i}" for i in range(size)) for name, size in (("s", STATES), ("a", ACTIONS))}
    bounds = {"low": (-1.0,) * ACTIONS, "high": (1.0,) * ACTIONS}
    facts = DatasetFacts(
        environment=None,
        observation=SpaceFacts(kind="box", size=STATES, shape=(STATES,), names=names["s"]),
        action=SpaceFacts(kind="box", size=ACTIONS, shape=(ACTIONS,), names=names["a"], **bounds),
        episodes=EPISODES,
        steps=EPISODES * LENGTH,
        max_length=LENGTH,
        max_episode_steps=LENGTH,
        returns=ReturnSummary(mean=0, std=30, minimum=-100, maximum=100),
        terminated_episodes=0,
        truncated_episodes=EPISODES,
        reward_minimum=-5,
        reward_maximum=5,
        observation_mean=(0.0,) * STATES,
        observation_std=(1.0,) * STATES,
        content_hash="",
    )
    write_facts(folder, facts)
    return Columns.open(folder)


def ours(columns: Columns, precision: str) -> Callable[[], object]:
    """An update of seqrl, batch included, as the training loop does it."""
    model = {"kind": "dt", "embedding_dim": 128, "layers": 3, "heads": 1, "context_length": K}
    training = {"batch_size": BATCH, "precision": precision, "gradient_clip": 0.25, "threads": torch.get_num_threads()}
    spec = {"name": "run", "dataset": "data", "model": model, "training": training}
    return Training(RunSpec.model_validate(spec), columns, None).update


def hugging_face() -> Callable[[], object]:
    """An update of transformers' model on a fixed batch."""
    logging.disable(logging.WARNING)
    from transformers import DecisionTransformerConfig, DecisionTransformerModel

    sizes = {"state_dim": STATES, "act_dim": ACTIONS, "hidden_size": 128, "n_layer": 3, "n_head": 1}
    dropout = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.0}
    none: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
    model = DecisionTransformerModel(DecisionTransformerConfig(max_ep_len=LENGTH, **sizes, **dropout, **none)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4)
    actions = torch.rand(BATCH, K, ACTIONS)
    batch = {
        "states": torch.randn(BATCH, K, STATES),
        "actions": actions,
        "returns_to_go": torch.randn(BATCH, K, 1),
        "timesteps": torch.arange(K).repeat(BATCH, 1),
        "attention_mask": torch.ones(BATCH, K, dtype=torch.long),
    }

    def update() -> None:
        optimizer.zero_grad()
        F.mse_loss(model(**batch).action_preds, actions).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()

    return update


def d3rlpy_parts(episodes: list[dict[str, np.ndarray]]) -> tuple[Callable[[], object], Callable[[], object]]:
    """An update of d3rlpy on a fixed batch, and the drawing of a batch from its replay buffer."""
    import d3rlpy

    terminals = np.zeros(EPISODES * LENGTH, dtype=np.float32)
    timeouts = np.tile(np.arange(LENGTH) == LENGTH - 1, EPISODES).astype(np.float32)
    joined = {name: np.concatenate([episode[name] for episode in episodes]) for name in episodes[0]}
    dataset = d3rlpy.dataset.MDPDataset(**joined, terminals=terminals, timeouts=timeouts)
    encoder = d3rlpy.models.VectorEncoderFactory([128], exclude_last_activation=True)
    dropout = {"attn_dropout": 0.0, "resid_dropout": 0.1, "embed_dropout": 0.1}
    config = d3rlpy.algos.DecisionTransformerConfig(
        batch_size=BATCH,
        context_size=K,
        max_timestep=LENGTH,
        num_heads=1,
        num_layers=3,
        encoder_factory=encoder,
        **dropout,
    )
    algorithm = config.create(device="cpu:0")
    algorithm.build_with_dataset(dataset)
    batch = dataset.sample_trajectory_batch(BATCH, K)
    return lambda: algorithm.update(batch), lambda: dataset.sample_trajectory_batch(BATCH, K)


def hugging_face_collator(episodes: list[dict[str, np.ndarray]]) -> Callable[[], object]:
    """The collator of Hugging Face's Decision Transformer example, on numpy arrays (on its Arrow dataset: ten times
    slower), written anew from its description: a Python loop over samples, each padded on the left.
    """
    generator = np.random.default_rng(0)
    chances = np.full(EPISODES, 1 / EPISODES)

    def discounted(rewards: np.ndarray) -> np.ndarray:
        result = np.zeros_like(rewards)
        running = 0.0
        for step in reversed(range(len(rewards))):
            result[step] = running = rewards[step] + running
        return result

    def draw() -> list[torch.Tensor]:
        parts: list[list[np.ndarray]] = [[] for _ in range(5)]
        for index in generator.choice(EPISODES, size=BATCH, replace=True, p=chances):
            episode = episodes[index]
            start = generator.integers(LENGTH - 1)
            observations, actions = (episode[name][start : start + K] for name in ("observations", "actions"))
            count = len(observations)
            request = discounted(episode["rewards"][start:])[:count, None] / 1000
            time, mask = np.arange(start, start + count), np.ones(count)
            for part, value in zip(parts, (observations, actions, request, time, mask), strict=True):
                part.append(np.concatenate([np.zeros((K - count, *value.shape[1:])), value]))
        return [torch.from_numpy(np.stack(part)).float() for part in parts]

    return draw


def per_second(work: Callable[[], object], times: int, amount: int) -> Callable[[], float]:
    """A variant for `compare`: how much gets done in a second."""
    work()
    return lambda: times * amount / seconds(work, times)


def growth_of_batches() -> Comparison:
    """Exponent of the time of a batch against the steps of the dataset."""
    sizes = tuple(10**power for power in range(3, 8))
    rng = np.random.default_rng(0)
    rows = sizes[-1] + TAIL_ROWS
    observations, actions = (rng.standard_normal((rows, size), np.float32) for size in (4, 1))
    rewards = np.ones(rows)

    def timed(steps: int) -> Callable[[], float]:
        spans = np.zeros(max(steps // LENGTH, 1), SPAN)
        spans["start"] = np.arange(len(spans)) * LENGTH
        spans["end"] = spans["start"] + LENGTH
        parts = (column[: steps + TAIL_ROWS] for column in (observations, actions, rewards))
        windows = Windows(Columns(Path(), None, *parts, observations[:0], spans), K)  # type: ignore[arg-type]
        drawn = iter(range(10**9))
        return lambda: seconds(lambda: windows.sample(BATCH, 0, next(drawn)), DRAWS) / DRAWS

    return growth("time of a DT batch against 10³ to 10⁷ steps of the dataset", {size: timed(size) for size in sizes})


def measure() -> list[Comparison]:
    """Lines for training and for batches."""
    episodes = random_episodes()
    with tempfile.TemporaryDirectory() as folder:
        columns = compiled(episodes, Path(folder))
        d3rlpy_update, d3rlpy_batch = d3rlpy_parts(episodes)
        rows = []
        for precision, at_least in (("bf16", 3.0), ("fp32", 1.8)):
            works = {"seqrl": ours(columns, precision), "Hugging Face": hugging_face(), "d3rlpy": d3rlpy_update}
            variants = {name: per_second(work, UPDATES, BATCH * K) for name, work in works.items()}
            what = f"DT training, dropout 0.1, {precision}, {torch.get_num_threads()} threads"
            line = compare(what, "timesteps/s", "seqrl", variants, rounds=5, at_least=at_least)
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            floor = share(f"DT, {precision}", works["seqrl"], line.ours / (BATCH * K), dtype, 3 * BATCH * K)
            rows += [line, floor]
        windows, drawn = Windows(columns, K), iter(range(10**9))
        own = per_second(lambda: windows.sample(BATCH, 0, next(drawn)), 10 * DRAWS, 1)
        peers = {"d3rlpy": (d3rlpy_batch, 40.0), "Hugging Face's collator": (hugging_face_collator(episodes), 250.0)}
        for name, (work, at_least) in peers.items():
            variants = {"seqrl": own, name: per_second(work, DRAWS // 4, 1)}
            what = f"DT batches (64 × 20), against {name}"
            rows.append(compare(what, "batches/s", "seqrl", variants, rounds=5, at_least=at_least))
        update_s = BATCH * K / rows[0].ours
        batch = Comparison("a DT batch, of a bf16 update", "%", 100 / rows[-1].ours / update_s, at_most=2)
    return [*rows, batch, growth_of_batches()]
