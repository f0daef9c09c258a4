"""Plans a second of a Trajectory Transformer: beam 32, horizon 5, context 5, expansion 2, 25 tokens a transition.

17 + 6 dimensions, 100 bins, 128 × 4, 4 heads, random weights (how fast a plan is does not depend on how good it is),
float32 on both sides. The peer is the reference notebooks' way, see `benchmarks.plain_trajectory`: one environment, and
the same ten one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.harness import Comparison, compare, growth
from benchmarks.plain_trajectory import PlainTrajectoryTransformer, plain_plan
from seqrl.config import DatasetFacts, PlanningSpec, ReturnSummary, SpaceFacts, TrajectoryTransformerSpec
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.planning import History, Planner, PlanNoise
from seqrl.store.columns import TAIL_ROWS, Columns, spans_of

OBSERVATIONS, ACTIONS, BINS, CONTEXT = 17, 6, 100, 10
TRANSITION = OBSERVATIONS + ACTIONS + 2


def random_columns(steps: int = 2000, episodes: int = 2) -> Columns:
    """Random episodes of HalfCheetah's dimensions."""
    rng = np.random.default_rng(0)
    padded = steps + TAIL_ROWS
    ends = np.linspace(0, steps, episodes + 1).astype(np.int64)[1:]
    spaces = [
        SpaceFacts(kind="box", size=size, shape=(size,), names=tuple(f"{name}{i}" for i in range(size)))
        for name, size in (("s", OBSERVATIONS), ("a", ACTIONS))
    ]
    facts = DatasetFacts(
        environment=None,
        observation=spaces[0],
        action=spaces[1],
        episodes=episodes,
        steps=steps,
        max_length=steps // episodes,
        max_episode_steps=None,
        returns=ReturnSummary(mean=0, std=1, minimum=-1, maximum=1),
        terminated_episodes=0,
        truncated_episodes=episodes,
        reward_minimum=-1,
        reward_maximum=1,
        observation_mean=(0.0,) * OBSERVATIONS,
        observation_std=(1.0,) * OBSERVATIONS,
        content_hash="",
    )
    table = {
        "start": np.append(0, ends[:-1]),
        "end": ends,
        "terminated": False,
        "truncated": True,
        "achieved_return": 0.0,
    }
    return Columns(
        folder=Path("."),
        facts=facts,
        observations=rng.normal(size=(padded, OBSERVATIONS)).astype(np.float32),
        actions=rng.normal(size=(padded, ACTIONS)).astype(np.float32),
        rewards=rng.normal(size=padded),
        final_observations=np.zeros((episodes, OBSERVATIONS), np.float32),
        spans=spans_of(pd.DataFrame(table)),
    )


def cheetah_model(columns: Columns, **changes: object) -> TrajectoryTransformer:
    """An untrained model with fitted bins."""
    settings = {"embedding_dim": 128, "layers": 4, "heads": 4, "context_length": CONTEXT, "bins": BINS}
    spec = TrajectoryTransformerSpec.model_validate(settings | changes)
    return TrajectoryTransformer.from_columns(spec, columns, np.arange(len(columns.spans)), 0)


def histories(model: TrajectoryTransformer, columns: Columns, count: int, steps: int = 4) -> History:
    """After ``steps`` complete transitions in ``count`` environments."""
    tokens = model.batches(columns, np.arange(len(columns.spans))).tokens
    rows = np.stack([tokens[first : first + steps + 1] for first in range(0, 10 * count, 10)]).astype(np.int64)
    rows_NLD = torch.from_numpy(rows)
    return History(rows_NLD[:, :steps, :-1], rows_NLD[:, steps, :OBSERVATIONS])


def our_rate(planning: PlanningSpec, environments: int, repeats: int) -> Callable[[], float]:
    """Plans a second of environments that plan together."""
    columns = random_columns()
    model = cheetah_model(columns).requires_grad_(False)
    history = histories(model, columns, environments)
    planner = Planner(model, planning)
    seeds = list(range(environments))
    planner.plan(history, PlanNoise(seeds, 0))

    def measure() -> float:
        started = time.perf_counter()
        for decision in range(repeats):
            planner.plan(history, PlanNoise(seeds, decision))
        return environments * repeats / (time.perf_counter() - started)

    return measure


def plain_rate(planning: PlanningSpec) -> Callable[[], float]:
    """Plans a second of the notebook's way, which knows one environment."""
    torch.manual_seed(0)
    model = PlainTrajectoryTransformer(TRANSITION, CONTEXT, BINS, 128, 4, 4).eval().requires_grad_(False)
    history = torch.randint(0, BINS, (4 * TRANSITION + OBSERVATIONS,))
    settings = {"beam_width": planning.beam_width, "horizon": planning.horizon, "expansion": planning.expansion}

    def measure() -> float:
        started = time.perf_counter()
        plain_plan(model, history, OBSERVATIONS, ACTIONS, **settings)
        return 1 / (time.perf_counter() - started)

    return measure


def tokens_imagined(horizon: int) -> int:
    """Tokens that are decoded one by one: nobody imagines the observation after the last step."""
    return horizon * (ACTIONS + 1) + (horizon - 1) * OBSERVATIONS


def growth_with(values: tuple[int, ...], spec_of: Callable[[int], PlanningSpec], what: str) -> Comparison:
    """Exponent of planning time against one setting."""

    def timed(value: int) -> Callable[[], float]:
        rate = our_rate(spec_of(value), 1, 1)
        return lambda: 1 / rate()

    return growth(f"TT planning time against {what}", {value: timed(value) for value in values})


def measure() -> list[Comparison]:
    """All lines of this benchmark."""
    planning = PlanningSpec(beam_width=32, horizon=5, context=5, expansion=2)
    plain = {"the notebook's way, one environment after the other": plain_rate(planning)}
    return [
        compare(
            "TT planning, one environment", "plans/s", "seqrl", {"seqrl": our_rate(planning, 1, 3)} | plain, at_least=10
        ),
        compare(
            "TT planning, ten environments together",
            "plans/s",
            "seqrl",
            {"seqrl": our_rate(planning, 10, 1)} | plain,
            at_least=35,
        ),
        growth_with(
            (8, 16, 32, 64, 128), lambda width: planning.model_copy(update={"beam_width": width}), "beam width"
        ),
        growth_with((2, 3, 4, 5), lambda horizon: planning.model_copy(update={"horizon": horizon}), "horizon"),
        growth_with(
            tuple(tokens_imagined(horizon) for horizon in (2, 3, 4, 5)),
            lambda tokens: planning.model_copy(update={"horizon": (tokens + OBSERVATIONS) // (TRANSITION - 1)}),
            "tokens that a beam imagines",
        ),
    ]
