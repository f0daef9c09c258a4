"""What is measured after training: return-to-go sweeps and the videos of their episodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from seqrl.config.base import NAME_PATTERN, Name, Spec, Target, setting
from seqrl.config.facts import DatasetFacts
from seqrl.config.models import (
    ACTING_SPECS,
    DecisionTransformerSpec,
    ModelSpec,
    RvsSpec,
    TrajectoryTransformerSpec,
    takes_target,
)
from seqrl.config.planning import PlanningSpec, check_planning
from seqrl.config.training import RunSpec

Decoding = Literal["sampled", "greedy"]
Precision = Literal["fp32", "bf16"]


class ReturnSweepSpec(Spec):
    """Ask every run for every target, several times, and measure what the environment pays."""

    name: Name = setting(..., "Name", "How the sweep is called on every page.")
    runs: tuple[Name, ...] = setting(..., "Runs", "The trained models to compare.", min_length=1, max_length=64)
    targets: tuple[Target, ...] = setting(
        (),
        "Targets",
        "The returns to ask for; none where no run takes any.",
        unit="reward",
        max_length=1000,
    )
    episodes: int = setting(
        10, "Episodes per target", "More episodes, narrower intervals.", unit="episodes", ge=1, le=10_000
    )
    decodings: tuple[Decoding, ...] = setting(
        ("sampled", "greedy"),
        "Decoding",
        "Draw each action from the model's probabilities, or always take the likeliest.",
        min_length=1,
        max_length=2,
    )
    temperature: float = setting(
        1.0, "Temperature", "Below 1 sharpens the sampled probabilities, above 1 flattens them.", gt=0, le=10, step=0.1
    )
    model_chooses: bool = setting(
        False,
        "Let the model choose",
        "Also measure what models with a return head achieve when they choose at every step what to ask for.",
    )
    optimism: float = setting(
        10.0,
        "Optimism κ",
        "How strongly a model that chooses prefers high returns: 0 asks for the likeliest return-to-go R, more for "
        "higher ones. It takes the largest P(R) exp(κ R), R scaled to 0 to 1 over the data's returns-to-go.",
        ge=0,
        le=1000,
        step=1.0,
        advanced=True,
    )
    acting: Literal["cached", "window"] = setting(
        "cached",
        "Context",
        "window recomputes the last K steps at every step; cached reuses keys and values and lets the context vary "
        "between half of K and K, which is several times faster.",
        advanced=True,
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto",
        "Precision",
        "Arithmetic of Decision Transformers while they act; auto takes bf16 for wide models where the processor "
        "is made for it.",
        advanced=True,
    )
    planning: PlanningSpec = Field(
        PlanningSpec(),
        title="Planning",
        description="Of Trajectory Transformers, which take the imagined future whose return is nearest to the target.",
    )
    seed: int = setting(0, "Seed", "Start states and sampling noise follow from it.", ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        for field in ("runs", "targets", "decodings"):
            values = getattr(self, field)
            if len(set(values)) < len(values):
                repeated = next(value for value in values if values.count(value) > 1)
                raise ValueError(f"{field} names {repeated!r} twice; give each once")
        return self


def offered_decodings(model: ModelSpec, facts: DatasetFacts) -> tuple[Decoding, ...]:
    """How a model's actions can be chosen.

    A tanh or linear head names one action, so there is nothing to draw from; a Trajectory Transformer draws what it
    plans with.
    """
    if not isinstance(model, ACTING_SPECS):
        return ("sampled",)
    action = facts.action
    bounded = None not in (*action.low, *action.high)
    fixed = action.kind == "box" and (model.action_head == "linear" or (model.action_head != "gaussian" and bounded))
    return ("greedy",) if fixed else ("sampled", "greedy")


def can_choose(model: ModelSpec) -> bool:
    """Whether a model can choose by itself what return to ask for.

    A Decision Transformer with a return head can, and a Trajectory Transformer, which then takes its best plan.
    """
    if isinstance(model, TrajectoryTransformerSpec):
        return True
    return isinstance(model, DecisionTransformerSpec) and model.return_head != "none"


def target_discount(model: ModelSpec) -> float:
    """The discount of the targets that a model takes; those of a Trajectory Transformer are never discounted."""
    return model.discount if isinstance(model, DecisionTransformerSpec | RvsSpec) else 1.0


def sweep_discount(models: Iterable[ModelSpec]) -> float:
    """The discount of a sweep's targets, with which every achieved return is compared; 1 if no model takes one."""
    return next((target_discount(model) for model in models if takes_target(model)), 1.0)


def check_return_sweep(spec: ReturnSweepSpec, runs: Mapping[str, tuple[RunSpec, DatasetFacts]]) -> None:
    """Refuse a sweep that its runs cannot be asked for, before anything is computed.

    With a discount below 1 a run learned discounted returns, and a target is one too: a target that no rewards of the
    data can add up to is refused, so that an undiscounted target cannot slip in.

    Raises:
        ValueError: one sentence with the value and the remedy.
    """
    if spec.model_chooses and not any(can_choose(run.model) for run, _ in runs.values()):
        raise ValueError(
            f"model_chooses is true but {', '.join(runs)} cannot tell which returns are attainable; "
            "train a Decision Transformer with return_head bins"
        )
    discounts = {name: target_discount(run.model) for name, (run, _) in runs.items() if takes_target(run.model)}
    if len(set(discounts.values())) > 1:
        told = ", ".join(f"{name} with {discount:g}" for name, discount in discounts.items())
        raise ValueError(f"the runs count returns with different discounts ({told}); choose runs of one discount")
    for name, (run, facts) in runs.items():
        model = run.model
        if not spec.targets and takes_target(model) and not (spec.model_chooses and can_choose(model)):
            raise ValueError(f"targets is empty but {name} has to be asked for a return; give some, such as 50:500:50")
        if isinstance(model, TrajectoryTransformerSpec):
            check_planning(spec.planning, model)
            if "sampled" not in spec.decodings:
                raise ValueError(f"decodings is greedy but {name} plans with actions that it draws; add sampled")
        elif not set(spec.decodings) & set(offered_decodings(model, facts)):
            head = "linear" if model.action_head == "linear" else "tanh"
            raise ValueError(
                f"decodings is sampled but the {head} head of {name} gives one action without chances; "
                "choose greedy, or train with action_head gaussian"
            )
        if (discount := target_discount(model)) < 1:
            low, high = discounted_bounds(facts, discount, facts.step_limit)
            wrong = next((target for target in spec.targets if not low <= target <= high), None)
            if wrong is not None:
                raise ValueError(
                    f"target {wrong:g} is out of reach of {name}: with discount {discount:g} the returns of its "
                    f"data are discounted too; choose targets from {low:.4g} to {high:.4g}"
                )


def discounted_bounds(facts: DatasetFacts, discount: float, steps: int) -> tuple[float, float]:
    """The smallest and largest discounted sum of up to ``steps`` of the data's rewards.

    >>> from types import SimpleNamespace
    >>> discounted_bounds(SimpleNamespace(reward_minimum=-1.0, reward_maximum=1.0), 0.5, 3)
    (-1.75, 1.75)
    """
    weight = steps if discount == 1 else (1 - discount**steps) / (1 - discount)
    return min(facts.reward_minimum * weight, 0.0), max(facts.reward_maximum * weight, 0.0)


DATASET_PREFIX = "dataset:"
"""``dataset:NAME`` where a sweep is named otherwise: the episode was recorded in that dataset."""

EpisodeSource = Annotated[str, StringConstraints(pattern=NAME_PATTERN.replace("^", f"^({DATASET_PREFIX})?", 1))]


def dataset_reference(name: str) -> str:
    """What stands for a dataset where the episodes of a sweep are meant otherwise.

    >>> dataset_reference("cartpole")
    'dataset:cartpole'
    """
    return DATASET_PREFIX + name


class RenderSpec(Spec):
    """One recorded episode as a video."""

    sweep: EpisodeSource = setting(..., "Sweep", "The sweep that measured it, or dataset:NAME.")
    episode_id: int = setting(..., "Episode", "Row of the episode table.", ge=0)
    format: Literal["mp4", "gif"] = setting("mp4", "Format", "MP4 plays everywhere; GIF loops in slides.")


def parse_numbers(text: str, what: str = "targets") -> tuple[float, ...]:
    """Read ``25,50,100`` or ``start:stop:step`` (stop included), or a mixture of both.

    Raises:
        ValueError: naming the part that is no number or range.

    >>> parse_numbers("50:200:50,500")
    (50.0, 100.0, 150.0, 200.0, 500.0)
    """
    numbers: list[float] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            values = [float(piece) for piece in part.split(":")]
        except ValueError:
            values = []
        if len(values) == 1 and math.isfinite(values[0]):
            numbers.append(values[0])
        elif len(values) == 3 and all(map(math.isfinite, values)) and values[2] != 0:
            start, stop, step = values
            steps = (stop - start) / step + 1e-9  # may be infinite
            if not 0 <= steps < 1000:
                made = "no values" if steps < 0 else "more than 1000 values"
                raise ValueError(f"{what} {part!r} makes {made}; choose start:stop:step for 1 to 1000")
            numbers.extend(start + i * step for i in range(math.floor(steps) + 1))
        else:
            raise ValueError(f"{what} {part!r} is neither a number nor start:stop:step; write for example 50:500:50")
    if not numbers:
        raise ValueError(f"{what} is empty; write for example 25,50,100 or 50:500:50")
    return tuple(numbers)
