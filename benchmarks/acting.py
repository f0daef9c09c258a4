"""Environment steps a second while a Decision Transformer acts (K = 20, 128 × 3, dropout off).

CartPole: a sweep of 11 targets × 32 sampled episodes with models trained for this purpose (width 128, and 64 as in the
quick preset), against the same weights playing one episode at a time with the window recomputed. HalfCheetah-v5: 64
environments, random weights (how fast it is does not depend on how good it is), the environments' own time taken off
on both sides.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Comparison, compare, growth, seconds
from benchmarks.plain import PlainDecisionTransformer, play_one
from seqrl.config import BehaviourSpec, DatasetSpec, DecisionTransformerSpec, ReturnSweepSpec, RunSpec, TrainingSpec
from seqrl.datasets import build
from seqrl.environments import make_environment, make_vector
from seqrl.evaluation import Actor, Cell, Plan, play, return_sweep
from seqrl.models.decision_transformer import DecisionTransformer
from seqrl.registry import environment_row
from seqrl.store.columns import Columns
from seqrl.training import train

TARGETS = tuple(float(target) for target in range(50, 551, 50))
CHEETAH_STEPS = 200
_SETTINGS = {"embedding_dim": 128, "layers": 3, "heads": 1, "context_length": 20}


def trained_actor(width: int = 128, episodes: int = 500, steps: int = 300) -> Actor:
    """A CartPole model that balances for a while."""
    behaviours = environment_row("CartPole-v1").behaviours({"poor": 0.3, "medium": 0.4, "expert": 0.3})
    dataset = DatasetSpec(name="benchmark", environment="CartPole-v1", episodes=episodes, behaviours=behaviours)
    model_spec = DecisionTransformerSpec(**_SETTINGS | {"embedding_dim": width})
    training = TrainingSpec(steps=steps, learning_rate=1e-3, warmup_steps=20, validation_fraction=0)
    spec = RunSpec(name="dt", dataset="benchmark", model=model_spec, training=training)
    with tempfile.TemporaryDirectory() as folder:
        columns = Path(folder) / "columns"
        facts = build(dataset, columns)
        *_, last = train(spec, Columns.open(columns))
    assert last.checkpoint is not None
    return Actor(DecisionTransformer.from_weights(model_spec, facts, dict(last.checkpoint.weights)), spec, facts)


def random_cheetah() -> Actor:
    """A HalfCheetah model with random weights and the facts of a few random steps."""
    behaviours = (BehaviourSpec(tier="random", policy="random"),)
    dataset = DatasetSpec(
        name="cheetah", environment="HalfCheetah-v5", episodes=1, behaviours=behaviours, max_episode_steps=CHEETAH_STEPS
    )
    with tempfile.TemporaryDirectory() as folder:
        facts = build(dataset, Path(folder) / "columns")
    spec = RunSpec(name="dt", dataset="cheetah", model=DecisionTransformerSpec(**_SETTINGS))
    return Actor(DecisionTransformer.build(spec.model, facts, 0), spec, facts)


def plain_copy(actor: Actor) -> PlainDecisionTransformer:
    """The same weights in plain modules."""
    facts, model = actor.facts, actor.model
    discrete = facts.action.kind == "discrete"
    actions = facts.action.categories[0] if discrete else facts.action.size
    size = (actor.spec.model.embedding_dim, actor.spec.model.layers, actor.spec.model.heads)
    plain = PlainDecisionTransformer(facts.observation.size, actions, model.max_timestep, *size, discrete).eval()
    pairs = [
        (plain.embed_return, model.embed_return.input),
        (plain.embed_observation, model.embed_observation.input),
        (plain.embed_action, model.embed_action.table if discrete else model.embed_action.input),
        (plain.embed_timestep, model.embed_timestep),
        (plain.embed_norm, model.embed_norm),
        (plain.norm, model.transformer.norm),
        (plain.predict_action, model.predict_action),
    ]
    for mine, theirs in zip(plain.blocks, model.transformer.blocks, strict=True):
        pairs += [(mine.norm_1, theirs.norm_1), (mine.norm_2, theirs.norm_2), (mine.qkv, theirs.attention.qkv)]
        pairs += [(mine.projection, theirs.attention.projection)]
        pairs += [(mine.expand, theirs.expand), (mine.contract, theirs.contract)]
    for mine, theirs in pairs:
        mine.load_state_dict(theirs.state_dict())
    return plain


def plain_rate(
    actor: Actor, targets: tuple[float, ...], *, max_steps: int, sampled: bool, take_off: bool, threads: int
) -> Callable[[], float]:
    """Steps a second of one episode after the other, until ``max_steps`` are played."""
    plain, facts = plain_copy(actor), actor.facts
    settings: dict[str, Any] = {
        "scale": float(actor.model.return_scale),
        "mean": actor.model.observation_mean,
        "std": actor.model.observation_std,
        "sampled": sampled,
    }

    def measure() -> float:
        torch.set_num_threads(threads)
        env = make_environment(facts.environment or "", max_episode_steps=facts.step_limit)
        steps, environment_s, episode = 0, 0.0, 0
        started = time.perf_counter()
        while steps < max_steps:
            played, spent = play_one(plain, env, targets[episode % len(targets)], 20, episode, **settings)
            steps, environment_s, episode = steps + played, environment_s + spent, episode + 1
        return steps / (time.perf_counter() - started - (environment_s if take_off else 0))

    return measure


def sweep_rate(actor: Actor, episodes: int, threads: int, acting: str = "cached") -> Callable[[], float]:
    """Steps a second of a whole sweep."""
    spec = ReturnSweepSpec(
        name="s", runs=("dt",), targets=TARGETS, episodes=episodes, decodings=("sampled",), acting=acting
    )

    def measure() -> float:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        steps = sum(record.length for records in return_sweep(spec, {"dt": actor}) for record in records)
        return steps / (time.perf_counter() - started)

    return measure


class TimedVector:
    """A vector of environments that knows how long it took."""

    def __init__(self, vector: Any) -> None:
        self.vector, self.spent_s = vector, 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.vector, name)

        def timed(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = method(*arguments)
            self.spent_s += time.perf_counter() - started
            return result

        return timed


def lockstep_rate(actor: Actor, environments: int, threads: int) -> Callable[[], float]:
    """Steps a second of environments in lock step, their own time taken off."""
    plans = [Plan(Cell("dt", "greedy", 100.0), episode, 0) for episode in range(environments)]
    vector = make_vector(actor.facts.environment or "", max_episode_steps=actor.facts.step_limit)

    def measure() -> float:
        torch.set_num_threads(threads)
        timed = TimedVector(vector)
        started = time.perf_counter()
        steps = sum(record.length for records in play(actor, plans, timed) for record in records)
        return steps / (time.perf_counter() - started - timed.spent_s)

    return measure


def growth_with_episodes(actor: Actor, threads: int) -> Comparison:
    """Exponent of sweep time against episodes per target."""
    torch.set_num_threads(threads)
    sizes = (4, 8, 16, 32)
    spec = {"name": "s", "runs": ("dt",), "targets": TARGETS, "decodings": ("sampled",)}

    def timed(size: int) -> Callable[[], float]:
        sweep = ReturnSweepSpec(**spec, episodes=size)
        return lambda: seconds(lambda: list(return_sweep(sweep, {"dt": actor})))

    return growth("DT sweep time against episodes", {size: timed(size) for size in sizes}, rounds=2)


def measure() -> list[Comparison]:
    """All lines of this benchmark."""
    threads = torch.get_num_threads()
    wide, narrow, cheetah = trained_actor(128), trained_actor(64), random_cheetah()
    one_by_one = {
        f"one episode at a time, {count} thread{'s' if count > 1 else ''}": count for count in sorted({1, threads})
    }
    played: dict[str, Any] = {"max_steps": 1000, "take_off": False, "sampled": True}
    off: dict[str, Any] = {"max_steps": 400, "take_off": True, "sampled": False}

    def sweep(actor: Actor, title: str) -> Comparison:
        variants = {"seqrl": sweep_rate(actor, 32, threads)}
        variants |= {name: plain_rate(actor, TARGETS, threads=count, **played) for name, count in one_by_one.items()}
        return compare(title, "steps/s", "seqrl", variants, at_least=45)

    variants = {"seqrl": lockstep_rate(cheetah, 64, threads)}
    variants |= {name: plain_rate(cheetah, (100.0,), threads=count, **off) for name, count in one_by_one.items()}
    window = {"seqrl": sweep_rate(wide, 4, threads, "window")}
    return [
        sweep(wide, "DT sweep, CartPole, 11 targets × 32 episodes, width 128"),
        sweep(narrow, "the same, width 64 (quick preset)"),
        compare("width 128, window recomputed at every step", "steps/s", "seqrl", window, rounds=1),
        compare(
            "DT, HalfCheetah-v5, 64 environments, their own time taken off", "steps/s", "seqrl", variants, at_least=30
        ),
        growth_with_episodes(narrow, threads),
    ]
