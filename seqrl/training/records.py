"""What training says while it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from safetensors.torch import load, save

from seqrl.checkpoints import Checkpoint, TrainingState

_LENGTH_BYTES = 8
_WEIGHTS, _STATE = "weights/", "state/"


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


def encode(record: StepRecord) -> bytes:
    """A record as bytes that another process can read: a JSON head, and the checkpoint's tensors as safetensors."""
    checkpoint = record.checkpoint
    state = checkpoint.training if checkpoint is not None else None
    head = {
        "step": record.step,
        "steps": record.steps,
        "time_s": record.time_s,
        "values": dict(record.values),
        "histograms": [(h.name, h.edges.tolist(), h.counts.tolist()) for h in record.histograms],
        "note": record.note,
        "state": None if state is None else {"step": state.step, "values": dict(state.values)},
    }
    text = json.dumps(head).encode()
    tensors = b""
    if checkpoint is not None and state is not None:
        named = {f"{_WEIGHTS}{name}": tensor for name, tensor in checkpoint.weights.items()}
        named |= {f"{_STATE}{name}": tensor for name, tensor in state.tensors.items()}
        tensors = save({name: tensor.contiguous() for name, tensor in named.items()})
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text + tensors


def decode(encoded: bytes) -> StepRecord:
    """The record that `encode` wrote."""
    end = _LENGTH_BYTES + int.from_bytes(encoded[:_LENGTH_BYTES], "big")
    head = json.loads(encoded[_LENGTH_BYTES:end])
    state = head.pop("state")
    histograms = tuple(
        Histogram(name, np.array(edges), np.array(counts, dtype=np.int64)) for name, edges, counts in head["histograms"]
    )
    checkpoint = None
    if state is not None:
        tensors = load(encoded[end:])
        weights, kept = (
            {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}
            for kind in (_WEIGHTS, _STATE)
        )
        checkpoint = Checkpoint(weights, TrainingState(state["step"], kept, state["values"]))
    return StepRecord(**head | {"histograms": histograms, "checkpoint": checkpoint})
