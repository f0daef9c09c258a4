"""Questions about one step of a recorded episode, and episodes whose target changes on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from seqrl.config.base import LARGEST_TARGET, Name, Spec, Target, setting
from seqrl.config.facts import DatasetFacts
from seqrl.config.models import DecisionTransformerSpec, RvsSpec, TrajectoryTransformerSpec, takes_target
from seqrl.config.planning import PlanningSpec, check_planning
from seqrl.config.sweeps import Decoding, can_choose, discounted_bounds, offered_decodings
from seqrl.config.training import RunSpec


class AttentionSpec(Spec):
    """Where a run looks at a step."""

    sweep: Name
    episode_id: int = setting(..., "Episode", "Row of the sweep's episode table.", ge=0)
    step: int = setting(..., "Step", "The moment of the decision.", unit="steps", ge=0)


class ResponseSpec(Spec):
    """What a run would do at a step if it were asked for something else, or saw something else."""

    sweep: Name
    episode_id: int = setting(..., "Episode", "Row of the sweep's episode table.", ge=0)
    step: int = setting(..., "Step", "The moment of the decision.", unit="steps", ge=0)
    dimension: str = setting(
        "", "Dimension", "Of the observation, whose values are tried; empty tries returns-to-go instead."
    )
    values: tuple[Target, ...] = setting(..., "Values", "What is tried.", min_length=1, max_length=1000)


class TargetChange(Spec):
    """From a step on, another target."""

    step: int = setting(..., "Step", "From this step on.", unit="steps", ge=0)
    target: Target = setting(
        ..., "Target", "Return of the whole episode that is asked for from then on.", unit="reward"
    )


class Origin(Spec):
    """A recorded episode whose beginning is played again, action by action."""

    sweep: Name
    episode_id: int = setting(..., "Episode", "Row of the sweep's episode table.", ge=0)
    step: int = setting(..., "Step", "The first step at which the run decides anew.", unit="steps", ge=0)


Schedule = tuple[TargetChange, ...]


class ScheduleSweepSpec(Spec):
    """Play episodes whose target changes on the way, beside episodes in which it stays."""

    name: Name = setting(..., "Name", "How the episodes are called on every page.")
    runs: tuple[Name, ...] = setting(..., "Run", "Who plays.", min_length=1, max_length=1)
    target: float | None = setting(
        None,
        "Target",
        "Return asked for at the start; empty lets a planner take its best plan.",
        unit="reward",
        ge=-LARGEST_TARGET,
        le=LARGEST_TARGET,
    )
    schedules: tuple[Schedule, ...] = setting(
        ..., "Schedules", "Changes of the target on the way; the constant target is always played too.", max_length=32
    )
    origin: Origin | None = Field(
        None, title="Origin", description="A recorded episode to continue from; empty starts new ones."
    )
    remembered: Literal["kept", "rewritten"] = setting(
        "kept",
        "Earlier requests",
        "kept: the model remembers what it was asked for before. rewritten: it remembers having been asked for the new "
        "target from the start.",
    )
    episodes: int = setting(
        10, "Episodes per schedule", "More episodes, narrower intervals.", unit="episodes", ge=1, le=1000
    )
    decoding: Decoding = setting(
        "sampled", "Decoding", "Draw each action from the model's probabilities, or always take the likeliest."
    )
    temperature: float = setting(
        1.0, "Temperature", "Below 1 sharpens the sampled probabilities, above 1 flattens them.", gt=0, le=10, step=0.1
    )
    optimism: float = setting(
        10.0,
        "Optimism κ",
        "How strongly a model that chooses prefers high returns; 0 asks for the likeliest.",
        ge=0,
        le=1000,
    )
    acting: Literal["cached", "window"] = setting(
        "cached", "Context", "How the model's context grows, see return sweeps.", advanced=True
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "Precision", "Arithmetic of Decision Transformers while they act.", advanced=True
    )
    planning: PlanningSpec = Field(PlanningSpec(), title="Planning", description="Of Trajectory Transformers.")
    seed: int = setting(0, "Seed", "Start states and sampling noise follow from it.", ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _changes_are_in_order(self) -> Self:
        if len(set(self.schedules)) < len(self.schedules):
            raise ValueError("schedules names one twice; give each once")
        for schedule in self.schedules:
            steps = [change.step for change in schedule]
            if steps != sorted(set(steps)):
                raise ValueError(f"the steps of a schedule are {steps}; give each step once, in order")
            if not steps:
                raise ValueError("a schedule has no change; the constant target is played anyway")
            if self.origin is not None and steps[0] < self.origin.step:
                raise ValueError(
                    f"step is {steps[0]} but the first {self.origin.step} steps are played as recorded; "
                    f"choose at least {self.origin.step}"
                )
        return self

    def all_schedules(self) -> tuple[Schedule, ...]:
        """The constant target first, then every schedule."""
        return ((), *self.schedules)


def schedule_text(target: float | None, schedule: Schedule) -> str:
    """A schedule in a few words.

    >>> schedule_text(100.0, ())
    '100'
    >>> schedule_text(100.0, (TargetChange(step=0, target=50.0), TargetChange(step=40, target=300.0)))
    '50, from step 40: 300'
    """
    start = "best plan" if target is None else f"{target:g}"
    later = [f"from step {change.step}: {change.target:g}" for change in schedule if change.step]
    if schedule and schedule[0].step == 0:
        start = f"{schedule[0].target:g}"
    return ", ".join([start, *later])


def parse_schedule(text: str) -> Schedule:
    """Read ``0:100, 120:400``, a target from each step on.

    Raises:
        ValueError: naming the part that is no ``step:target``, or the value that neither can have.

    >>> [(change.step, change.target) for change in parse_schedule("0:100, 120:400")]
    [(0, 100.0), (120, 400.0)]
    """
    changes = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        step, colon, target = part.partition(":")
        try:
            change = {"step": int(step), "target": float(target)}
        except ValueError:
            raise ValueError(f"schedule {part!r} is no step:target; write for example 0:100, 120:400") from None
        changes.append(TargetChange.model_validate(change))
    if not changes:
        raise ValueError("schedule is empty; write for example 0:100, 120:400")
    return tuple(changes)


def check_schedule_sweep(spec: ScheduleSweepSpec, runs: Mapping[str, tuple[RunSpec, DatasetFacts]]) -> None:
    """Refuse schedules that their run cannot be asked for, before anything is computed.

    Raises:
        ValueError: one sentence with the value and the remedy.
    """
    (name, (run, facts)) = next(iter(runs.items()))
    model = run.model
    if not takes_target(model):
        raise ValueError(f"{name} takes no target; choose a run that listens to one")
    if isinstance(model, TrajectoryTransformerSpec):
        check_planning(spec.planning, model)
    elif spec.decoding not in offered_decodings(model, facts):
        raise ValueError(
            f"decoding is {spec.decoding} but the head of {name} gives one action without chances; choose greedy"
        )
    if spec.target is None and not can_choose(model):
        raise ValueError(f"target is missing and {name} cannot choose one itself; give the return to ask for")
    late = next((c.step for schedule in spec.schedules for c in schedule if c.step >= facts.step_limit), None)
    if late is not None:
        raise ValueError(f"step is {late} but episodes end at {facts.step_limit} steps; choose less")
    if isinstance(model, DecisionTransformerSpec | RvsSpec) and model.discount < 1:
        low, high = discounted_bounds(facts, model.discount, facts.step_limit)
        targets = [change.target for schedule in spec.schedules for change in schedule]
        targets += [] if spec.target is None else [spec.target]
        wrong = next((target for target in targets if not low <= target <= high), None)
        if wrong is not None:
            raise ValueError(
                f"target {wrong:g} is out of reach of {name}: with discount {model.discount:g} the returns of its data "
                f"are discounted too; choose targets from {low:.4g} to {high:.4g}"
            )
