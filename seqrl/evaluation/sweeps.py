"""Return-to-go sweeps: ask for every target, let the environment answer, record every step.

Many episodes run in lock step, with one forward pass of the model a step. What an episode does is fixed by
(checkpoint, sweep settings, episode number): episode ``i`` starts from the same state for every run, decoding
and target, its sampling noise follows from the same seed, and the batch that it runs in makes no difference, so a
sweep can be cut into chunks, stopped and resumed.

A run that takes no target (behaviour cloning) does the same whatever is asked. It is measured once for each decoding,
as a cell whose target is None. Such a cell is also where a model is left to choose what to ask for: a Decision
Transformer with a return head does so anew at every step, and the record keeps what it chose first. A Trajectory
Transformer plans: of the futures that its beam search imagines it takes the one whose predicted return is nearest to
what is asked for, or the best one where the choice is its own.

Where observations name a goal, the record also keeps how far away it was at the start (``goal_distance``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from seqrl.config import (
    DatasetFacts,
    Decoding,
    PlanningSpec,
    ReturnSweepSpec,
    RunSpec,
    ScheduleSweepSpec,
    can_choose,
    check_return_sweep,
    offered_decodings,
    sweep_discount,
    takes_target,
)
from seqrl.config.models import ActionModelSpec
from seqrl.config.sweeps import Precision
from seqrl.environments import EnvironmentVector, goal_distances, make_vector
from seqrl.environments.noise import episode_seed
from seqrl.models.action_model import ActionModel
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.planning import PlannedDecision, PlanningPolicy
from seqrl.policies import Decision, SequencePolicy
from seqrl.registry import environment_row
from seqrl.store.records import EpisodeRecord
from seqrl.training.machine import choose_precision

LARGEST_CHUNK = 512
"""Episodes in lock step where the environment steps as a vector: beyond, time per episode no longer falls."""

LARGEST_CHUNK_OF_SINGLES = 64
"""The same where every episode needs an environment of its own."""


_WIDE = 128


class Cell(NamedTuple):
    """A point of a sweep, measured ``spec.episodes`` times; ``target`` is None where none is taken, or none given."""

    run: str
    decoding: Decoding
    target: float | None


class Actor(NamedTuple):
    """A trained run that can act: its model in evaluation mode, its spec, and the facts of its data."""

    model: ActionModel | TrajectoryTransformer
    spec: RunSpec
    facts: DatasetFacts


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is.

    Attributes:
        fraction: 0 to 1, of the steps that all episodes would take if none ended before the time limit.
        steps: environment steps taken since the sweep was started or resumed.
        episodes: episodes finished so far.
    """

    fraction: float
    steps: int
    episodes: int


def sweep_cells(spec: ReturnSweepSpec, runs: Mapping[str, tuple[RunSpec, DatasetFacts]]) -> list[Cell]:
    """The points of a sweep in the order in which they are measured.

    Args:
        spec: the sweep.
        runs: spec and facts of each of its runs.
    """
    cells = []
    for run in spec.runs:
        model, facts = runs[run][0].model, runs[run][1]
        targets: tuple[float | None, ...] = spec.targets if takes_target(model) else (None,)
        if spec.model_chooses and can_choose(model):
            targets = (*targets, None)
        offered = offered_decodings(model, facts)
        cells += [
            Cell(run, decoding, target) for decoding in spec.decodings if decoding in offered for target in targets
        ]
    return cells


def return_sweep(
    spec: ReturnSweepSpec,
    models: Mapping[str, Actor | tuple[ActionModel | TrajectoryTransformer, RunSpec, DatasetFacts]],
    *,
    done: Collection[tuple[str, str, float | None]] = (),
    precisions: Mapping[str, Precision] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[SweepProgress], None] = lambda progress: None,
) -> Iterator[list[EpisodeRecord]]:
    """Measure a sweep, point by point.

    Args:
        spec: what to measure.
        models: run → (model, spec, facts) for every run of the sweep.
        done: (run, decoding, target) of points that are measured already; target None or NaN where none is taken.
        precisions: number format of the runs; those that are missing act in what ``spec`` means on this machine.
        should_stop: asked before every step; when true, the sweep ends and points not complete are dropped.
        on_progress: told after every step.

    Yields:
        All episodes of a point, as soon as the last of them has ended.

    Raises:
        ValueError: if a run cannot be asked for this, see `check_return_sweep`.
    """
    actors = {run: Actor(*models[run]) for run in spec.runs}
    runs = {run: (actor.spec, actor.facts) for run, actor in actors.items()}
    check_return_sweep(spec, runs)
    measured = {Cell(run, decoding, _target(target)) for run, decoding, target in done}  # type: ignore[arg-type]
    planned = sweep_cells(spec, runs)
    cells = [cell for cell in planned if cell not in measured]
    discount = sweep_discount(run.model for run, _ in runs.values())
    meter = _Meter(len(planned) * spec.episodes, (len(planned) - len(cells)) * spec.episodes, on_progress)
    for run, actor in actors.items():
        own = [cell for cell in cells if cell.run == run]
        if not own:
            continue
        plans = [Plan(cell, episode, spec.seed) for cell in own for episode in range(spec.episodes)]
        facts = actor.facts
        vector = make_vector(facts.environment or "", facts.environment_kwargs, max_episode_steps=facts.step_limit)
        with closing(vector):
            settled = spec.model_copy(update={"precision": (precisions or {}).get(run, spec.precision)})
            yield from _play_in_chunks(actor, plans, vector, settled, discount, should_stop, meter)
        if should_stop():
            return


@dataclass(frozen=True)
class Plan:
    """An episode that is to be played."""

    cell: Cell
    episode: int
    sweep_seed: int

    @property
    def seed(self) -> int:
        """Environment seed, see `episode_seed`."""
        return episode_seed(self.sweep_seed, self.episode)


def play(
    actor: Actor,
    plans: Sequence[Plan],
    vector: EnvironmentVector,
    *,
    temperature: float = 1.0,
    optimism: float = 10.0,
    acting: Literal["cached", "window"] = "cached",
    precision: Precision = "fp32",
    planning: PlanningSpec | None = None,
    discount: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] = lambda timestep, running: None,
) -> Iterator[list[EpisodeRecord]]:
    """Play episodes of one run in lock step; those that have ended are taken out of environment and model.

    Args:
        actor: who acts.
        plans: the episodes; they may belong to different cells.
        vector: of the actor's environment.
        temperature: of sampled episodes.
        optimism: where the model chooses what to ask for, see `SequencePolicy`.
        acting: see `SequencePolicy`.
        precision: see `SequencePolicy`.
        planning: of a Trajectory Transformer; None takes the defaults.
        discount: with which achieved returns are compared with targets; None takes the actor's own.
        should_stop: asked before every step; when true, episodes still running are dropped.
        on_step: told (timestep, episodes that ran) after every step.

    Yields:
        The episodes that ended at a step, in the order of the plans.
    """
    seeds = [plan.seed for plan in plans]
    policy = policy_for(actor, plans, temperature, optimism, acting, precision, planning or PlanningSpec())
    observations = vector.reset(seeds)
    away = goal_distances(actor.facts, observations)
    trace = Trace(len(plans), {} if away is None else {"goal_distance": away})
    running = np.arange(len(plans))
    while len(running) and not should_stop():
        decision = policy.act(observations)
        observations, rewards, terminated, truncated = vector.step(decision.actions)
        policy.observe(rewards)
        trace.add(running, decision, rewards)
        on_step(policy.timestep, len(running))
        ended = terminated | truncated
        if ended.any():
            ends = zip(running[ended], terminated[ended], truncated[ended], strict=True)
            counted = policy.discount if discount is None else discount
            yield [trace.record(plans[row], row, bool(end), bool(cut), counted) for row, end, cut in ends]
            stays = ~ended
            vector.keep(stays)
            policy.keep(stays)
            observations, running = observations[stays], running[stays]


def acting_precision(spec: ReturnSweepSpec | ScheduleSweepSpec, actor: Actor) -> Precision:
    """The number format that a sweep's ``precision`` means for a run where its model is."""
    return precision_on(spec, actor.spec, next(actor.model.parameters()).device)


def precision_on(spec: ReturnSweepSpec | ScheduleSweepSpec, run: RunSpec, device: torch.device) -> Precision:
    """The number format that a sweep's ``precision`` means for a run on a device of this machine.

    "auto" takes bf16 where the processor multiplies it faster and the model is wide enough for that to be what acting
    waits for (measured with 352 rows: 1.35 times as fast at width 128, 1.1 at width 64).
    """
    if spec.precision != "auto":
        return spec.precision
    wide = isinstance(run.model, ActionModelSpec) and run.model.embedding_dim >= _WIDE
    return "bf16" if wide and choose_precision("auto", device) == "bf16" else "fp32"


def policy_for(
    actor: Actor,
    plans: Sequence[Plan],
    temperature: float,
    optimism: float,
    acting: Literal["cached", "window"],
    precision: Precision,
    planning: PlanningSpec,
    seeds: Sequence[int] | None = None,
) -> SequencePolicy | PlanningPolicy:
    """What acts in these episodes; their sampling noise has the seeds of the plans, unless others are given."""
    seeds = [plan.seed for plan in plans] if seeds is None else seeds
    targets = np.array([np.nan if plan.cell.target is None else plan.cell.target for plan in plans])
    if isinstance(actor.model, TrajectoryTransformer):
        return PlanningPolicy(actor.model, planning, seeds=seeds, targets=targets)
    return SequencePolicy(
        actor.model,
        actor.spec.model,  # type: ignore[arg-type]
        actor.facts,
        seeds=seeds,
        targets=targets,
        sampled=np.array([plan.cell.decoding == "sampled" for plan in plans]),
        temperature=temperature,
        optimism=optimism,
        acting=acting,
        precision=precision,
    )


def _play_in_chunks(
    actor: Actor,
    plans: Sequence[Plan],
    vector: EnvironmentVector,
    spec: ReturnSweepSpec,
    discount: float,
    should_stop: Callable[[], bool],
    meter: _Meter,
) -> Iterator[list[EpisodeRecord]]:
    """Complete cells, as they come."""
    pending: dict[Cell, list[EpisodeRecord]] = {}
    for chunk in _chunks(plans, spec.episodes, largest_chunk(actor.spec, actor.facts)):
        episodes = play(
            actor,
            chunk,
            vector,
            **_settings(spec, actor),
            discount=discount,
            should_stop=should_stop,
            on_step=lambda timestep, running: meter.step(timestep / actor.facts.step_limit, running),
        )
        for records in episodes:
            meter.episodes += len(records)
            for record in records:
                cell = Cell(record.run, record.decoding, record.target)  # type: ignore[arg-type]
                pending.setdefault(cell, []).append(record)
                if len(pending[cell]) == spec.episodes:
                    yield sorted(pending.pop(cell), key=lambda record: record.episode)


def _target(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def measure_plans(
    spec: ReturnSweepSpec, actor: Actor, plans: Sequence[Plan], discount: float = 1.0
) -> list[EpisodeRecord]:
    """Play some episodes of a sweep in lock step, all to their end; they are the ones that `return_sweep` measures.

    Args:
        spec: the sweep.
        actor: who acts.
        plans: the episodes.
        discount: of the sweep's targets, see `sweep_discount`.
    """
    facts = actor.facts
    vector = make_vector(facts.environment or "", facts.environment_kwargs, max_episode_steps=facts.step_limit)
    with closing(vector):
        shares = play(actor, plans, vector, **_settings(spec, actor), discount=discount)
        return [record for records in shares for record in records]


def _settings(spec: ReturnSweepSpec, actor: Actor) -> dict[str, Any]:
    """What a sweep says about how to `play`."""
    return {
        "temperature": spec.temperature,
        "optimism": spec.optimism,
        "acting": spec.acting,
        "precision": acting_precision(spec, actor),
        "planning": spec.planning,
    }


def largest_chunk(run: RunSpec, facts: DatasetFacts) -> int:
    """How many episodes of a run are worth playing in lock step."""
    if run.model.kind == "tt":
        return LARGEST_CHUNK_OF_SINGLES
    row = environment_row(facts.environment or "")
    return LARGEST_CHUNK if row.vector and not facts.environment_kwargs else LARGEST_CHUNK_OF_SINGLES


def _chunks(plans: Sequence[Plan], cell_size: int, largest: int) -> Iterator[Sequence[Plan]]:
    """The first cell alone, so that its point appears early; the rest in as few chunks as possible, of even size."""
    first = min(cell_size, largest)
    rest = len(plans) - first
    yield plans[:first]
    if rest > 0:
        count = math.ceil(rest / largest)
        bounds = [first + rest * i // count for i in range(count + 1)]
        yield from (plans[start:stop] for start, stop in itertools.pairwise(bounds))


class _Meter:
    """Counts steps and episodes of a whole sweep, and tells how far it is."""

    def __init__(self, planned: int, episodes: int, tell: Callable[[SweepProgress], None]) -> None:
        self.planned, self.episodes, self.tell = planned, episodes, tell
        self.steps = 0

    def step(self, share: float, running: int) -> None:
        """One step of the running episodes, ``share`` of the way to their time limit."""
        self.steps += running
        fraction = (self.episodes + running * share) / max(self.planned, 1)
        self.tell(SweepProgress(min(fraction, 1.0), self.steps, self.episodes))


class Trace:
    """What happened in n episodes, step by step, in arrays that grow.

    Args:
        rows: n.
        about: by name (n,) numbers that were known at the start, for the records.
    """

    def __init__(self, rows: int, about: Mapping[str, np.ndarray] | None = None) -> None:
        self.rows, self._about = rows, dict(about or {})
        self.steps = 0
        self._lengths = np.zeros(rows, dtype=np.int64)
        self._held: dict[str, np.ndarray] = {}

    def add(self, running: np.ndarray, decision: Decision | PlannedDecision, rewards: np.ndarray) -> None:
        """One step of the ``running`` rows."""
        values = {
            "actions": decision.actions,
            "rewards": rewards,
            "returns_to_go": decision.returns_to_go,
            "action_probabilities": decision.probabilities,
        }
        for name, value in values.items():
            held = self._held.get(name)
            if held is None or held.shape[1] == self.steps:
                held = self._grown(name, held, value)
            held[running, self.steps] = value
        self.steps += 1
        self._lengths[running] = self.steps

    def record(self, plan: Plan, row: int, terminated: bool, truncated: bool, discount: float) -> EpisodeRecord:
        """The record of a row, whose episode has just ended."""
        length = self._lengths[row]
        steps = {name: held[row, :length].copy() for name, held in self._held.items()}
        cell = {name: float(values[row]) for name, values in self._about.items()}
        if discount < 1:
            cell["discounted_return"] = float(steps["rewards"] @ discount ** np.arange(length))
        if plan.cell.target is None and not math.isnan(steps["returns_to_go"][0]):
            cell["chosen_return"] = float(steps["returns_to_go"][0])
        return EpisodeRecord(
            run=plan.cell.run,
            decoding=plan.cell.decoding,
            target=plan.cell.target,
            episode=plan.episode,
            seed=plan.seed,
            terminated=terminated,
            truncated=truncated,
            actions=steps["actions"],
            rewards=steps["rewards"],
            returns_to_go=steps["returns_to_go"],
            action_probabilities=steps["action_probabilities"],
            cell=cell,
        )

    def _grown(self, name: str, held: np.ndarray | None, value: np.ndarray) -> np.ndarray:
        capacity = 64 if held is None else 2 * held.shape[1]
        grown = np.empty((self.rows, capacity, *value.shape[1:]), dtype=value.dtype)
        if held is not None:
            grown[:, : self.steps] = held
        self._held[name] = grown
        return grown
