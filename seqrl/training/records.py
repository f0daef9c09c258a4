"""What training says while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from seqrl.checkpoints import Checkpoint


class NonFiniteLoss(ArithmeticError):
    """Training met a number that is not finite, before the update it would have spoilt.

    Attributes:
        step: updates done before.
        what: "loss" or "gradient".
    """

    def __init__(self, step: int, what: str) -> None:
        super().__init__(
            f"the {what} is not finite at step {step}; the last checkpoint is kept, try a lower learning rate"
        )
        self.step, self.what = step, what


class Histogram(NamedTuple):
    """Distribution of a parameter or of its gradient."""

    name: str  # "weights/..." or "gradients/..."
    edges: np.ndarray  # (bins + 1,) float64
    counts: np.ndarray  # (bins,) int64


@dataclass(frozen=True)
class StepRecord:
    """News of a training; one comes at least every second or so.

    Attributes:
        step: updates done.
        steps: updates to do in all.
        time_s: seconds of training, those before a resumption included.
        values: metrics by name, means since the last record that had them; may be empty. "loss", "accuracy" or
            "action_error", "gradient_norm", "learning_rate", "steps_per_second", "embedding_norm/TOKEN";
            "validation_loss", "validation_accuracy", ... where a validation was done.
        histograms: of weights and gradients, where they are due.
        checkpoint: everything to save, where it is due: at intervals, on a stop and at the end.
        note: a sentence for the log, or empty.
    """

    step: int
    steps: int
    time_s: float
    values: Mapping[str, float] = field(default_factory=dict)
    histograms: tuple[Histogram, ...] = ()
    checkpoint: Checkpoint | None = None
    note: str = ""
