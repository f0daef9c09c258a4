"""How a Trajectory Transformer plans, and what a beam sweep measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from seqrl.config.base import Name, Spec, setting
from seqrl.config.models import TrajectoryTransformerSpec
from seqrl.config.training import RunSpec


class SamplingSpec(Spec):
    """How one kind of token is drawn from the model's probabilities."""

    temperature: float = setting(
        1.0, "Temperature", "Below 1 sharpens the probabilities, above 1 flattens them.", gt=0, le=10, step=0.1
    )
    top_k: int | None = setting(
        None,
        "Top k",
        "Keep only the k likeliest tokens; 1 is greedy, empty keeps all.",
        unit="tokens",
        ge=1,
        le=1000,
        empty="all",
    )
    top_p: float = setting(
        1.0, "Top p", "Keep the fewest likeliest tokens that together have this probability.", gt=0, le=1, step=0.05
    )


GREEDY = SamplingSpec(top_k=1)


class PlanningSpec(Spec):
    """Beam search over imagined transitions (Janner et al. 2021, section 3.2)."""

    beam_width: int = setting(32, "Beam width", "Imagined futures kept at every step.", unit="beams", ge=1, le=1024)
    horizon: int = setting(
        5, "Horizon", "Steps imagined ahead, before the value takes over.", unit="steps", ge=1, le=100
    )
    context: int = setting(
        5,
        "Context",
        "Transitions of history that a plan starts from, the present one included; fewer where the plan then fits.",
        unit="steps",
        ge=1,
    )
    expansion: int = setting(2, "Expansion", "Different actions tried from every beam.", unit="actions", ge=1, le=64)
    plan_every: int = setting(
        1, "Plan every", "Steps of a plan that are carried out before the next one.", unit="steps", ge=1, le=100
    )
    actions: SamplingSpec = Field(SamplingSpec(), title="Action tokens")
    observations: SamplingSpec = Field(GREEDY, title="Observation tokens")
    rewards: SamplingSpec = Field(GREEDY, title="Reward tokens")
    termination_value: float = setting(
        0.0,
        "Value of an ending",
        "What an imagined termination is worth; 0 is the truth, negative values make plans avoid it.",
        unit="reward",
        advanced=True,
    )

    @model_validator(mode="after")
    def _plan_covers_its_steps(self) -> Self:
        if self.plan_every > self.horizon:
            raise ValueError(
                f"plan_every is {self.plan_every} but a plan has only {self.horizon} steps; "
                f"choose at most {self.horizon}"
            )
        return self


class BeamSweepSpec(Spec):
    """Plan with every width and horizon, several episodes each, and measure return and time per decision."""

    name: Name = setting(..., "Name", "How the sweep is called on every page.")
    runs: tuple[Name, ...] = setting(
        ..., "Runs", "The Trajectory Transformers to plan with.", min_length=1, max_length=16
    )
    widths: tuple[int, ...] = setting(
        (1, 2, 4, 8, 16, 32),
        "Beam widths",
        "Imagined futures kept at every step; 0 draws actions without planning.",
        unit="beams",
        min_length=1,
        max_length=32,
    )
    horizons: tuple[int, ...] = setting(
        (5, 15), "Horizons", "Steps imagined ahead.", unit="steps", min_length=1, max_length=32
    )
    episodes: int = setting(
        10, "Episodes per point", "More episodes, narrower intervals.", unit="episodes", ge=1, le=10_000
    )
    planning: PlanningSpec = Field(PlanningSpec(), title="Planning")
    recorded_beams: int = setting(
        8, "Recorded beams", "Imagined futures kept per decision to be drawn.", unit="beams", ge=1, le=64, advanced=True
    )
    recorded_episodes: int = setting(
        1,
        "Recorded episodes",
        "Episodes of each point whose plans are kept.",
        unit="episodes",
        ge=0,
        le=100,
        advanced=True,
    )
    seed: int = setting(0, "Seed", "Start states and sampling noise follow from it.", ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _cells_are_valid(self) -> Self:
        for field in ("runs", "widths", "horizons"):
            values = getattr(self, field)
            if len(set(values)) < len(values):
                repeated = next(value for value in values if values.count(value) > 1)
                raise ValueError(f"{field} names {repeated!r} twice; give each once")
        for field, low, high in (("widths", 0, 1024), ("horizons", 1, 100)):
            wrong = next((value for value in getattr(self, field) if not low <= value <= high), None)
            if wrong is not None:
                raise ValueError(f"{field} names {wrong}; choose {low} to {high}")
        if self.planning.plan_every > min(self.horizons):
            raise ValueError(
                f"plan_every is {self.planning.plan_every} but the shortest horizon is {min(self.horizons)}; "
                f"choose at most {min(self.horizons)}"
            )
        return self

    def cells(self) -> tuple[tuple[int, int], ...]:
        """(width, horizon) of every point; without planning (width 0) there is one point, of horizon 0."""
        planned = tuple((width, horizon) for horizon in self.horizons for width in self.widths if width)
        return ((0, 0), *planned) if 0 in self.widths else planned

    def cell_planning(self, width: int, horizon: int) -> PlanningSpec:
        """The planning settings of one point."""
        values = self.planning.model_dump() | {"beam_width": width, "horizon": horizon}
        return PlanningSpec.model_validate(values)


def check_planning(planning: PlanningSpec, model: TrajectoryTransformerSpec) -> None:
    """Refuse a plan that its model cannot make.

    Raises:
        ValueError: one sentence with the value and the remedy.
    """
    if planning.context > model.context_length:
        raise ValueError(
            f"context is {planning.context} but the model sees {model.context_length} transitions; "
            f"choose at most {model.context_length}"
        )


def check_beam_sweep(spec: BeamSweepSpec, runs: Mapping[str, RunSpec]) -> None:
    """Refuse a sweep that its runs cannot make.

    Raises:
        ValueError: one sentence with the value and the remedy.
    """
    for name in spec.runs:
        model = runs[name].model
        if not isinstance(model, TrajectoryTransformerSpec):
            raise ValueError(f"the run {name} is a {model.kind} and cannot plan; choose a Trajectory Transformer")
        check_planning(spec.planning, model)
