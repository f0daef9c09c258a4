"""Episodes whose target changes on the way, and recorded episodes that are continued with another one.

A schedule is played beside the constant target, with the same start states and the same sampling noise. Where a
recorded episode is continued, its first steps are played again action by action and must earn the recorded rewards; the
first continuation of each schedule then draws with the noise of the recorded episode, so the one whose target stays
is that episode again, and what differs in the others comes from the target alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from seqrl.config import PlanningSpec, ScheduleSweepSpec, check_schedule_sweep, schedule_text
from seqrl.config.lab import Schedule
from seqrl.environments import EnvironmentVector, make_vector
from seqrl.environments.noise import episode_seed
from seqrl.environments.replay import NotTheRecordedEpisode
from seqrl.evaluation.sweeps import Actor, Cell, Plan, Trace, acting_precision, policy_for
from seqrl.planning import PlanningPolicy
from seqrl.policies import SequencePolicy
from seqrl.store.records import EpisodeRecord


@dataclass(frozen=True)
class Episode(Plan):
    """An episode that is to be played.

    Attributes:
        reset_seed: of the environment.
        noise_seed: of the sampling noise.
    """

    reset_seed: int = 0
    noise_seed: int = 0

    @property
    def seed(self) -> int:
        """Environment seed."""
        return self.reset_seed


def schedule_sweep(
    spec: ScheduleSweepSpec,
    actor: Actor,
    origin: EpisodeRecord | None = None,
    *,
    done: Collection[str] = (),
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> Iterator[list[EpisodeRecord]]:
    """Play every schedule, the constant target first.

    Args:
        spec: what to play.
        actor: the run.
        origin: the episode that ``spec.origin`` names.
        done: texts of the schedules that are played already.
        should_stop: asked before every step; when true, the schedule that is being played is dropped.
        on_progress: told 0 to 1 after every step.

    Yields:
        All episodes of a schedule. Their cells hold ``schedule``, in words, and ``from_step``, the first step that the
        run decided by itself.

    Raises:
        ValueError: if the run cannot be asked for this, or the origin cannot be played again.
    """
    check_schedule_sweep(spec, {spec.runs[0]: (actor.spec, actor.facts)})
    schedules = [schedule for schedule in spec.all_schedules() if schedule_text(spec.target, schedule) not in done]
    facts = actor.facts
    vector = make_vector(facts.environment or "", facts.environment_kwargs, max_episode_steps=facts.step_limit)
    with closing(vector):
        for number, schedule in enumerate(schedules):

            def tell(share: float, number: int = number) -> None:
                on_progress((number + share) / len(schedules))

            player = _Player(spec, schedule, actor, origin)
            records = player.play(vector, should_stop, tell)
            if should_stop():
                return
            yield records


class _Player:
    """The episodes of one schedule, in lock step."""

    def __init__(self, spec: ScheduleSweepSpec, schedule: Schedule, actor: Actor, origin: EpisodeRecord | None) -> None:
        self.spec, self.schedule, self.actor, self.origin = spec, schedule, actor, origin
        self.replayed = spec.origin.step if spec.origin is not None else 0
        cell = Cell(spec.runs[0], spec.decoding, spec.target)
        self.plans = [self._plan(cell, episode) for episode in range(spec.episodes)]
        self.policy: SequencePolicy | PlanningPolicy = policy_for(
            actor,
            self.plans,
            spec.temperature,
            spec.optimism,
            spec.acting,
            acting_precision(spec, actor),
            spec.planning or PlanningSpec(),
            seeds=[plan.noise_seed for plan in self.plans],
        )
        self.trace = Trace(len(self.plans))
        self.paid = np.zeros(len(self.plans))

    def _plan(self, cell: Cell, episode: int) -> Episode:
        own = episode_seed(self.spec.seed, episode)
        if self.origin is None:
            return Episode(cell, episode, self.spec.seed, own, own)
        return Episode(cell, episode, self.spec.seed, self.origin.seed, own if episode else self.origin.seed)

    def play(
        self, vector: EnvironmentVector, should_stop: Callable[[], bool], tell: Callable[[float], None]
    ) -> list[EpisodeRecord]:
        """Play until all have ended."""
        policy, limit = self.policy, self.actor.facts.step_limit
        observations, running = vector.reset([plan.seed for plan in self.plans]), np.arange(len(self.plans))
        records: list[EpisodeRecord] = []
        while len(running) and not should_stop():
            step = policy.timestep
            if step < self.replayed:
                decision = policy.follow(observations, self._recorded_actions(step, len(running)))
            else:
                self._change(step)
                decision = policy.act(observations)
            observations, rewards, terminated, truncated = vector.step(decision.actions)
            if step < self.replayed:
                self._compare(step, rewards, terminated | truncated)
            self.paid = self.paid + policy.discount**step * rewards
            policy.observe(rewards)
            self.trace.add(running, decision, rewards)
            tell(min(policy.timestep / limit, 1.0))
            ended = terminated | truncated
            if ended.any():
                for row, over, cut in zip(running[ended], terminated[ended], truncated[ended], strict=True):
                    records.append(self._record(int(row), bool(over), bool(cut)))
                vector.keep(~ended)
                policy.keep(~ended)
                observations, running, self.paid = observations[~ended], running[~ended], self.paid[~ended]
        return sorted(records, key=lambda record: record.episode)

    def _change(self, step: int) -> None:
        """Ask for what the schedule says from this step on: the target less what was paid already."""
        target = next((change.target for change in self.schedule if change.step == step), None)
        if target is None:
            return
        left = (target - self.paid) / self.policy.discount**step
        self.policy.ask(left, rewrite=self.spec.remembered == "rewritten")

    def _recorded_actions(self, step: int, count: int) -> np.ndarray:
        assert self.origin is not None  # noqa: S101 - only an origin has steps to replay
        return np.repeat(self.origin.actions[step][None], count, axis=0)

    def _compare(self, step: int, rewards: np.ndarray, ended: np.ndarray) -> None:
        assert self.origin is not None  # noqa: S101
        recorded = float(self.origin.rewards[step])
        if ended.any() or not (rewards == recorded).all():
            got = "the episode ends" if ended.any() else f"the reward is {float(rewards[0])!r}"
            raise NotTheRecordedEpisode(
                f"the first steps of the episode cannot be played again: at step {step} {got}, recorded was "
                f"{recorded!r}; this is not the environment it was measured in, run the sweep again"
            )

    def _record(self, row: int, terminated: bool, truncated: bool) -> EpisodeRecord:
        record = self.trace.record(self.plans[row], row, terminated, truncated, self.policy.discount)
        cell = dict(record.cell) | {
            "schedule": schedule_text(self.spec.target, self.schedule),
            "from_step": self.replayed,
        }
        target = self.schedule[-1].target if self.schedule else self.spec.target
        return replace(record, target=target, cell=cell)
