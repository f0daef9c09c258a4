"""Beam sweeps: plan with every width and horizon, let the environment answer, record every step.

All episodes of a point run in lock step and are planned for together; finished ones are neither stepped nor planned
for again. Episode ``i`` starts from the same state for every run, width and horizon, and its noise follows from the
same seed. A point of width 0 draws its actions from the model without planning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np

from seqrl.config import (
    BeamSweepSpec,
    DatasetFacts,
    RunSpec,
)
from seqrl.config.planning import check_beam_sweep
from seqrl.environments import EnvironmentVector, make_vector
from seqrl.environments.noise import episode_seed
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.planning import PlannedDecision, PlanningPolicy
from seqrl.store.records import EpisodeRecord

_PLANS_AT_ONCE = 64
"""Environments planned for together at most; beyond, time per plan no longer falls and memory grows."""


class BeamCell(NamedTuple):
    """A point of a beam sweep; width and horizon 0 mean without planning."""

    run: str
    width: int
    horizon: int


class BeamSweepProgress(NamedTuple):
    """How far a beam sweep is.

    Attributes:
        fraction: 0 to 1, of the points.
        decisions: decisions made so far.
        cell: the point that is being measured.
    """

    fraction: float
    decisions: int
    cell: BeamCell


def beam_cells(spec: BeamSweepSpec) -> list[BeamCell]:
    """The points of a beam sweep in the order in which they are measured."""
    return [BeamCell(run, width, horizon) for run in spec.runs for width, horizon in spec.cells()]


def beam_sweep(
    spec: BeamSweepSpec,
    models: Mapping[str, tuple[TrajectoryTransformer, RunSpec, DatasetFacts]],
    *,
    done: Collection[tuple[str, int, int]] = (),
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[BeamSweepProgress], None] = lambda progress: None,
) -> Iterator[list[EpisodeRecord]]:
    """Measure a beam sweep, point by point.

    Args:
        spec: what to measure.
        models: run → (model, spec, facts) for every run of the sweep.
        done: (run, width, horizon) of points that are measured already.
        should_stop: asked before every step; when true, the sweep ends and the point it is at is dropped.
        on_progress: told after every step.

    Yields:
        All episodes of a point. Their cells hold width, horizon, ``seconds_per_decision`` (time of planning by the
        decisions made, of all episodes of the point together) and ``planned_together`` (environments in one plan).

    Raises:
        ValueError: if a run cannot plan like this, see `check_beam_sweep`.
    """
    check_beam_sweep(spec, {run: models[run][1] for run in spec.runs})
    cells = [cell for cell in beam_cells(spec) if tuple(cell) not in set(done)]
    decisions = 0
    for number, cell in enumerate(cells):
        records: list[EpisodeRecord] = []
        for episodes in planned_together(spec):
            player = _Player(spec, cell, episodes, models[cell.run])
            for share in player.play(should_stop):
                decisions += 1
                part = (episodes.start + share * (spec.episodes - episodes.start)) / spec.episodes
                on_progress(BeamSweepProgress((number + part) / len(cells), decisions, cell))
            if should_stop():
                return
            records += player.records
        yield sorted(records, key=lambda record: record.episode)


def planned_together(spec: BeamSweepSpec) -> list[range]:
    """The episodes of a point, cut into those that are planned for together."""
    starts = range(0, spec.episodes, _PLANS_AT_ONCE)
    return [range(start, min(start + _PLANS_AT_ONCE, spec.episodes)) for start in starts]


def measure_beam(
    spec: BeamSweepSpec,
    cell: BeamCell,
    episodes: range,
    actor: tuple[TrajectoryTransformer, RunSpec, DatasetFacts],
) -> list[EpisodeRecord]:
    """Play some episodes of a point, all to their end: one of `planned_together`."""
    player = _Player(spec, cell, episodes, actor)
    for _ in player.play(lambda: False):
        pass
    return player.records


class _Player:
    """The episodes of one point, in lock step."""

    def __init__(
        self,
        spec: BeamSweepSpec,
        cell: BeamCell,
        episodes: Sequence[int],
        actor: tuple[TrajectoryTransformer, RunSpec, DatasetFacts],
    ) -> None:
        self.spec, self.cell, self.facts = spec, cell, actor[2]
        self.episodes = np.array(episodes)
        self.seeds = [episode_seed(spec.seed, int(episode)) for episode in episodes]
        planned = cell.width > 0
        self.policy = PlanningPolicy(
            actor[0],
            spec.cell_planning(cell.width, cell.horizon) if planned else spec.planning,
            seeds=self.seeds,
            planned=planned,
            recorded_beams=spec.recorded_beams if (self.episodes < spec.recorded_episodes).any() else 0,
        )
        self.records: list[EpisodeRecord] = []
        self._steps: list[list[dict[str, np.ndarray]]] = [[] for _ in episodes]
        self._seconds, self._decisions = 0.0, 0

    def play(self, should_stop: Callable[[], bool]) -> Iterator[float]:
        """Play until all have ended; yields the share of the time limit that has passed, step by step."""
        facts = self.facts
        vector = make_vector(facts.environment or "", facts.environment_kwargs, max_episode_steps=facts.step_limit)
        with closing(vector):
            observations, running = vector.reset(self.seeds), np.arange(len(self.seeds))
            ends: list[tuple[int, bool, bool]] = []
            while len(running) and not should_stop():
                observations, running = self._step(vector, observations, running, ends)
                yield min(self.policy.timestep / facts.step_limit, 1.0)
        self.records = [self._record(*end) for end in ends]

    def _step(
        self,
        vector: EnvironmentVector,
        observations: np.ndarray,
        running: np.ndarray,
        ends: list[tuple[int, bool, bool]],
    ) -> tuple[np.ndarray, np.ndarray]:
        started = time.perf_counter()
        decision = self.policy.act(observations)
        self._seconds += time.perf_counter() - started
        self._decisions += len(running)
        observations, rewards, terminated, truncated = vector.step(decision.actions)
        self.policy.observe(rewards)
        self._note(running, decision, rewards)
        ended = terminated | truncated
        if not ended.any():
            return observations, running
        ends += [
            (int(row), bool(over), bool(cut))
            for row, over, cut in zip(running[ended], terminated[ended], truncated[ended], strict=True)
        ]
        vector.keep(~ended)
        self.policy.keep(~ended)
        return observations[~ended], running[~ended]

    def _note(self, running: np.ndarray, decision: PlannedDecision, rewards: np.ndarray) -> None:
        for position, row in enumerate(running):
            said = {
                name: values[position]
                for name, values in decision.imagined.items()
                if not name.startswith("plan_") or self.episodes[row] < self.spec.recorded_episodes
            }
            self._steps[row].append(
                {
                    "actions": decision.actions[position],
                    "rewards": rewards[position],
                    "action_probabilities": decision.probabilities[position],
                    **said,
                }
            )

    def _record(self, row: int, terminated: bool, truncated: bool) -> EpisodeRecord:
        steps = self._steps[row]
        arrays = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
        rewards = arrays.pop("rewards").astype(np.float64)
        return EpisodeRecord(
            run=self.cell.run,
            decoding="planned" if self.cell.width else "sampled",
            target=None,
            episode=int(self.episodes[row]),
            seed=self.seeds[row],
            terminated=terminated,
            truncated=truncated,
            actions=arrays.pop("actions"),
            rewards=rewards,
            returns_to_go=np.full(len(rewards), np.nan),
            action_probabilities=arrays.pop("action_probabilities"),
            cell={
                "width": self.cell.width,
                "horizon": self.cell.horizon,
                "seconds_per_decision": self._seconds / max(self._decisions, 1),
                "planned_together": len(self.seeds),
            },
            extra=arrays,
        )
