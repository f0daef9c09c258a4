"""How a model is trained, and what must hold between a model and its data."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from seqrl.config.base import Name, Spec, setting
from seqrl.config.facts import DatasetFacts
from seqrl.config.models import (
    ACTING_SPECS,
    ActionModelSpec,
    BehaviourCloningSpec,
    DecisionTransformerSpec,
    ModelSpec,
    TrajectoryTransformerSpec,
    best_count,
)


class TrainingSpec(Spec):
    """Optimisation settings."""

    steps: int = setting(3000, "Steps", "Optimizer updates.", unit="steps", ge=1, le=10_000_000)
    batch_size: int = setting(64, "Batch size", "Windows per update.", unit="windows", ge=1, le=65_536)
    learning_rate: float = setting(1e-3, "Learning rate", "Size of an update at its peak.", gt=0, le=1, step=1e-4)
    weight_decay: float = setting(
        1e-4,
        "Weight decay",
        "Pull of matrices towards zero; biases, norms and embeddings are left alone.",
        ge=0,
        le=1,
        advanced=True,
    )
    warmup_steps: int = setting(
        100, "Warm-up", "Steps over which the learning rate rises.", unit="steps", ge=0, le=1_000_000, advanced=True
    )
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "Schedule", "After the warm-up: fall along a cosine to a hundredth, or stay.", advanced=True
    )
    gradient_clip: float = setting(1.0, "Gradient clip", "Largest norm of a gradient.", gt=0, le=1000, advanced=True)
    validation_fraction: float = setting(
        0.1,
        "Validation share",
        "Whole episodes kept out of training, to measure on.",
        ge=0,
        le=0.5,
        step=0.05,
        advanced=True,
    )
    early_stopping_patience: int | None = setting(
        None,
        "Early stopping",
        "Stop after so many validations without a better one; empty never stops early.",
        unit="validations",
        ge=1,
        le=10_000,
        empty="never",
        advanced=True,
    )
    log_every: int = setting(50, "Log every", "Steps between two points of a curve.", unit="steps", ge=1, advanced=True)
    validate_every: int = setting(
        250, "Validate every", "Steps between two validations.", unit="steps", ge=1, advanced=True
    )
    histogram_every: int = setting(
        1000,
        "Histograms every",
        "Steps between two histograms of weights and gradients.",
        unit="steps",
        ge=1,
        advanced=True,
    )
    checkpoint_every: int = setting(
        1000,
        "Checkpoint every",
        "Steps between two checkpoints that training can resume from.",
        unit="steps",
        ge=1,
        advanced=True,
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "Precision", "Arithmetic of the forward and backward pass; weights are always fp32.", advanced=True
    )
    threads: int | None = setting(
        None,
        "Threads",
        "Processor threads of a process; empty chooses by what else runs.",
        unit="threads",
        ge=1,
        le=256,
        advanced=True,
    )
    processes: int = setting(
        1,
        "Processes",
        "Processes, each with a GPU where there are enough, that share every batch; the updates stay those of one.",
        unit="processes",
        ge=1,
        le=256,
        advanced=True,
    )
    accumulation: int = setting(
        1,
        "Accumulation",
        "Parts that a process takes its share of a batch in, one after the other: the same update in less memory.",
        unit="parts",
        ge=1,
        le=1024,
        advanced=True,
    )

    @property
    def parts(self) -> int:
        """Into how many parts a batch is cut."""
        return self.processes * self.accumulation

    @model_validator(mode="after")
    def _no_part_is_empty(self) -> TrainingSpec:
        if self.batch_size < self.parts:
            raise ValueError(
                f"batch_size is {self.batch_size} but processes {self.processes} times accumulation "
                f"{self.accumulation} cut it into {self.parts} parts; choose at least {self.parts}, or fewer parts"
            )
        return self

    def part(self, number: int) -> range:
        """The windows of a batch that are part ``number``; all parts are as large as each other, or one more.

        >>> spec = TrainingSpec(batch_size=10, processes=2, accumulation=2)
        >>> [spec.part(number) for number in range(spec.parts)]
        [range(0, 2), range(2, 5), range(5, 7), range(7, 10)]
        """
        return range(self.batch_size * number // self.parts, self.batch_size * (number + 1) // self.parts)


class RunSpec(Spec):
    """One training: a dataset, a model, and how."""

    name: Name = setting(..., "Name", "How the run is called on every page.")
    dataset: Name = setting(..., "Dataset", "The data it learns from.")
    model: ModelSpec
    training: TrainingSpec = TrainingSpec()
    preset: str = setting("custom", "Preset", "Where the settings came from.", max_length=20)
    seed: int = setting(0, "Seed", "Initial weights, batches and dropout follow from it.", ge=0, le=2**31 - 1)


def check_run(spec: RunSpec, facts: DatasetFacts) -> None:
    """Refuse a model that cannot fit its data, before anything is computed.

    Raises:
        ValueError: one sentence with the value and the remedy.
    """
    model = spec.model
    if isinstance(model, ActionModelSpec):
        longest = facts.max_episode_steps or facts.max_length
        where = facts.environment or "this dataset"
        if model.context_length > longest:
            raise ValueError(
                f"context_length is {model.context_length} but {where} episodes end at {longest} steps; "
                f"choose at most {longest}"
            )
        if model.max_timestep is not None and model.max_timestep < max(longest, facts.max_length):
            needed = max(longest, facts.max_length)
            raise ValueError(
                f"max_timestep is {model.max_timestep} but {where} episodes last up to {needed} steps; "
                f"choose at least {needed}, or leave it empty"
            )
    if isinstance(model, ACTING_SPECS):
        if facts.observation.kind == "image" and not isinstance(model, ActionModelSpec):
            raise ValueError(
                f"observations are images of shape {facts.observation.shape}, which a plain network cannot read; "
                "choose a Decision Transformer or behaviour cloning"
            )
        open_sided = any(bound is None for bound in (*facts.action.low, *facts.action.high))
        if model.action_head == "tanh" and facts.action.kind == "box" and open_sided:
            raise ValueError("action_head is tanh but an action dimension has no bounds; choose gaussian")
        discrete = facts.action.kind in ("discrete", "multi_discrete")
        if model.action_head == "categorical" and not discrete:
            raise ValueError("action_head is categorical but the actions are continuous; choose tanh or gaussian")
        if model.action_head in ("tanh", "gaussian", "linear") and discrete:
            raise ValueError(f"action_head is {model.action_head} but the actions are discrete; choose categorical")
    if isinstance(model, DecisionTransformerSpec) and model.conditioning == "goal" and facts.observation.goal is None:
        raise ValueError("conditioning is goal but the observations of this dataset name none; choose return")
    if isinstance(model, TrajectoryTransformerSpec):
        _check_tokens(model, facts)
    _check_split(spec, facts)


def _check_split(spec: RunSpec, facts: DatasetFacts) -> None:
    """Refuse a validation share of a single episode, of the data or of what %BC takes of it."""
    fraction, model = spec.training.validation_fraction, spec.model
    if fraction > 0 and facts.episodes < 2:
        raise ValueError(
            f"validation_fraction is {fraction:g} but the dataset has only one episode; "
            "choose 0 or collect more episodes"
        )
    if fraction > 0 and isinstance(model, BehaviourCloningSpec) and best_count(facts.episodes, model.top_fraction) < 2:
        raise ValueError(
            f"validation_fraction is {fraction:g} but a top_fraction of {model.top_fraction:g} leaves one of "
            f"{facts.episodes} episodes; choose validation_fraction 0, or a top_fraction above {1 / facts.episodes:.3g}"
        )


_MOST_TOKENS = 8192
"""Attention over a longer window would not fit a laptop's memory."""


def _check_tokens(model: TrajectoryTransformerSpec, facts: DatasetFacts) -> None:
    """Refuse a Trajectory Transformer whose window has too many tokens or is longer than any episode."""
    if facts.observation.kind == "image":
        raise ValueError(
            f"a Trajectory Transformer reads one token a number and these images have {facts.observation.size}; "
            "choose a dataset with vector observations"
        )
    longest = facts.max_episode_steps or facts.max_length
    if model.context_length > longest:
        raise ValueError(
            f"context_length is {model.context_length} but {facts.environment or 'this dataset'} episodes end at "
            f"{longest} steps; choose at most {longest}"
        )
    transition = facts.observation.size + facts.action.size + 2
    if transition * model.context_length > _MOST_TOKENS:
        raise ValueError(
            f"context_length is {model.context_length} transitions of up to {transition} tokens; "
            f"choose at most {_MOST_TOKENS // transition}, so that a window has at most {_MOST_TOKENS} tokens"
        )
