"""Tokens a second of Trajectory Transformer training: 32 windows of 10 transitions of 25 tokens (249 are predicted).

128 × 4, 4 heads, 100 bins, dropout 0.1 on embeddings and residuals, none on attention probabilities on either side,
AdamW and gradient clipping included. The peer is the reference notebooks' model in plain modules, float32, on the same
windows. Ours leaves the value tokens out of the input, where they are never seen anyway; the tokens counted are those
that are predicted, the same on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Comparison, compare
from benchmarks.plain_trajectory import PlainTrajectoryTransformer
from benchmarks.planning import ACTIONS, BINS, CONTEXT, OBSERVATIONS, TRANSITION, cheetah_model, random_columns
from benchmarks.products import share
from seqrl.models.layers import DropoutNoise
from seqrl.training.optimizer import FlatAdamW

BATCH = 32
STEPS = 3
TOKENS = BATCH * (TRANSITION * CONTEXT - 1)


def ours(compute: torch.dtype) -> Callable[[int], None]:
    """A whole update of seqrl, batch included."""
    columns = random_columns()
    model = cheetah_model(columns, dropout=0.1)
    batches = model.batches(columns, np.arange(len(columns.spans)))
    optimizer = FlatAdamW(model, 1e-4)

    def update(step: int) -> None:
        optimizer.zero_gradients()
        loss, measures = model.loss(batches.sample(BATCH, 0, step), noise=DropoutNoise(0.1, 0, step), compute=compute)
        _ = [float(value) for value in measures.values()]
        loss.backward()
        optimizer.clip(1.0)
        optimizer.update(1e-3)

    return update


def plain_rate() -> Callable[[], float]:
    """The same of the plain model."""
    columns = random_columns()
    batches = cheetah_model(columns).batches(columns, np.arange(len(columns.spans)))
    model = PlainTrajectoryTransformer(TRANSITION, CONTEXT, BINS, 128, 4, 4, dropout=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    weights = torch.ones(CONTEXT, TRANSITION)
    weights[:, OBSERVATIONS : OBSERVATIONS + ACTIONS] = 5.0

    def update(step: int) -> None:
        batch = batches.sample(BATCH, 0, step)
        mask = batch.mask.repeat_interleave(TRANSITION, dim=1).float()
        optimizer.zero_grad()
        model.loss(batch.tokens.long().flatten(1), weights.flatten(), mask).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return _rate(update)


def _rate(update: Callable[[int], None]) -> Callable[[], float]:
    update(0)

    def measure() -> float:
        started = time.perf_counter()
        for step in range(1, STEPS + 1):
            update(step)
        return STEPS * TOKENS / (time.perf_counter() - started)

    return measure


def measure() -> list[Comparison]:
    """All lines of this benchmark."""
    plain, rows = {"the notebook's model in plain modules": plain_rate()}, []
    for name, compute, at_least in (("bf16", torch.bfloat16, 4.0), ("strict fp32", torch.float32, 2.4)):
        update = ours(compute)
        what = f"TT training, 32 × 249 tokens, {name}"
        line = compare(what, "tokens/s", "seqrl", {"seqrl": _rate(update)} | plain, at_least=at_least)
        floor = share(f"TT, {name}", partial(update, 0), line.ours / TOKENS, compute, TOKENS)
        rows += [line, floor]
    return rows
