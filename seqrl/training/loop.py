"""The training loop of every model.

Reproducible by construction: batch and dropout of update ``s`` are functions of (seed, s), everything else that
matters is in the `TrainingState`. So a run that was stopped and resumed has the same weights and metrics, bit for bit,
as one that never was (same machine, same libraries), whatever ran beside it: no sum and no product on the way to an
update depends on the number of threads. (That takes ``MKL_CBWR=AUTO,STRICT``, which jobs set; `norm_gradients`; and
sums that go axis by axis.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqrl.checkpoints import Checkpoint, TrainingState
from seqrl.config import RunSpec
from seqrl.models.layers import DropoutNoise
from seqrl.registry import MODELS, resolve
from seqrl.store.columns import Columns
from seqrl.training.ahead import BatchesAhead
from seqrl.training.machine import IdleCores, choose_device, choose_precision
from seqrl.training.optimizer import FlatAdamW, learning_rate
from seqrl.training.records import Histogram, NonFiniteLoss, StepRecord
from seqrl.windows import split_episodes

VALIDATION_WINDOWS = 1024
"""Windows of a validation, spread evenly over the episodes kept out."""

HISTOGRAM_BINS = 40
_QUIET_S = 1.0
_FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass
class _Progress:
    """What a training counts; all of it is saved."""

    step: int = 0
    time_s: float = 0.0
    precision: str = "fp32"
    best_loss: float | None = None
    best_step: int = 0
    validations_without_better: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    summed_steps: int = 0
    summed_time_s: float = 0.0

    def add(self, values: dict[str, float], seconds: float) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.summed_steps += 1
        self.summed_time_s += seconds
        self.time_s += seconds

    def take_means(self) -> dict[str, float]:
        means = {name: total / self.summed_steps for name, total in self.sums.items()}
        means["steps_per_second"] = self.summed_steps / max(self.summed_time_s, 1e-9)
        self.sums, self.summed_steps, self.summed_time_s = {}, 0, 0.0
        return means


class Training:
    """The parts of one training run; `train` drives them."""

    def __init__(self, spec: RunSpec, columns: Columns, state: TrainingState | None) -> None:
        self.spec, self.training = spec, spec.training
        model_class = resolve(MODELS[spec.model.kind].model)
        eligible = model_class.eligible_episodes(spec.model, columns)
        kept, held_out = split_episodes(len(eligible), self.training.validation_fraction, spec.seed)
        self.device = choose_device()
        self.model: Any = model_class.from_columns(spec.model, columns, eligible[kept], spec.seed).to(self.device)
        batches = self.model.batches(columns, eligible[kept])
        self.batches = BatchesAhead(batches) if columns.large else batches
        self.held_out = self.model.batches(columns, eligible[held_out]) if len(held_out) else None
        self.optimizer = FlatAdamW(self.model, self.training.weight_decay)
        self.best: Tensor | None = None
        self.progress = self._start(state)
        self.compute = _FORMATS[self.progress.precision]

    def _start(self, state: TrainingState | None) -> _Progress:
        if state is None:
            precision = choose_precision(self.training.precision, self.device)
            return _Progress(precision=precision)
        tensors = dict(state.tensors)
        self.best = tensors.pop("best_parameters", None)
        self.optimizer.set_state(tensors, updates=state.step)
        earlier = {item.name: state.values[item.name] for item in fields(_Progress) if item.name in state.values}
        return _Progress(**earlier | {"step": state.step})

    def update(self) -> dict[str, float]:
        """One update; its metrics.

        Raises:
            NonFiniteLoss: before anything is changed.
        """
        step = self.progress.step
        batch = self.batches.sample(self.training.batch_size, self.spec.seed, step).to(self.device)
        noise = DropoutNoise(self.model.dropout, self.spec.seed, step)
        self.optimizer.zero_gradients()
        loss, measures = self.model.loss(batch, noise=noise, compute=self.compute)
        values = {"loss": float(loss.detach()), **{name: float(value) for name, value in measures.items()}}
        if not math.isfinite(values["loss"]):
            raise NonFiniteLoss(step, "loss")
        loss.backward()
        values["gradient_norm"] = self.optimizer.clip(self.training.gradient_clip)
        if not math.isfinite(values["gradient_norm"]):
            raise NonFiniteLoss(step, "gradient")
        rate = learning_rate(step, self.training)
        self.optimizer.update(rate)
        self.progress.step += 1
        return values

    def log(self) -> dict[str, float]:
        """Means since the last log, and what only needs a look now and then."""
        step = self.progress.step
        batch = self.batches.sample(self.training.batch_size, self.spec.seed, step - 1).to(self.device)
        norms = {f"embedding_norm/{name}": value for name, value in self.model.embedding_norms(batch).items()}
        return {**self.progress.take_means(), **norms, "learning_rate": learning_rate(step - 1, self.training)}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Loss and measures on the episodes kept out, and what follows for the best weights."""
        assert self.held_out is not None  # noqa: S101
        totals: dict[str, float] = {}
        count = 0
        for batch in self.held_out.cover(self.training.batch_size, VALIDATION_WINDOWS):
            loss, measures = self.model.loss(batch.to(self.device), compute=self.compute)
            for name, value in {"loss": loss, **measures}.items():
                totals[name] = totals.get(name, 0.0) + float(value) * batch.count
            count += batch.count
        values = {f"validation_{name}": total / count for name, total in totals.items()}
        self._judge(values["validation_loss"])
        return values

    def _judge(self, loss: float) -> None:
        progress = self.progress
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, progress.step
            progress.validations_without_better = 0
            self.best = self.optimizer.parameters.clone()
        else:
            progress.validations_without_better += 1

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the validation has not improved for long enough."""
        patience = self.training.early_stopping_patience
        stale = patience is not None and self.progress.validations_without_better >= patience
        return self.progress.step >= self.training.steps or stale

    def checkpoint(self) -> Checkpoint:
        """Copies of everything that matters; the weights to act with are the best validated ones."""
        tensors = self.optimizer.state()
        if self.best is not None:
            tensors["best_parameters"] = self.best.to("cpu", copy=True)
        acting = tensors.get("best_parameters", tensors["parameters"])
        weights = {name: value.to("cpu", copy=True) for name, value in self.model.state_dict().items()}
        for name, part in self.optimizer.slices.items():
            weights[name] = acting[part].view(weights[name].shape).clone()
        values = {item.name: getattr(self.progress, item.name) for item in fields(self.progress) if item.name != "step"}
        values["sums"] = dict(self.progress.sums)
        return Checkpoint(weights, TrainingState(self.progress.step, tensors, values))

    def histograms(self) -> tuple[Histogram, ...]:
        """Of all weights after and all gradients of the last update."""
        buffers = {"weights": self.optimizer.parameters, "gradients": self.optimizer.gradients}
        return tuple(
            Histogram(f"{kind}/{name}", *_histogram(flat[part].cpu().numpy()))
            for kind, flat in buffers.items()
            for name, part in self.optimizer.slices.items()
        )


def train(
    spec: RunSpec,
    columns: Columns,
    *,
    state: TrainingState | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[StepRecord]:
    """Train a run.

    Args:
        spec: what to train and how; `seqrl.config.check_run` has accepted it.
        columns: the dataset.
        state: where an earlier training of the same spec stopped.
        should_stop: asked after every update; true means to yield a checkpoint and end.

    Yields:
        Records: at least one a second, and the last one always with a checkpoint.

    Raises:
        NonFiniteLoss: before an update with a loss or gradient that is not finite.
        ValueError: if the state belongs to another model.
    """
    training = Training(spec, columns, state)
    progress, cores = training.progress, IdleCores(spec.training.threads)
    with _threads_put_back():
        cores.take()
        yield _record(training, note=_machine_note(training, cores, resumed=state is not None))
        last_news, saved, stopping = time.perf_counter(), False, False
        while not (training.finished or stopping):
            started = time.perf_counter()
            values = training.update()
            progress.add(values, time.perf_counter() - started)
            cores.take()
            stopping = should_stop()
            record = _news(training, stopping)
            if record is None and time.perf_counter() - last_news > _QUIET_S:
                record = _record(training)
            if record is not None:
                saved = record.checkpoint is not None
                yield record
                last_news = time.perf_counter()
        if not saved:  # resumed where nothing was left to do
            yield _record(training, checkpoint=training.checkpoint())


def _news(training: Training, stopping: bool) -> StepRecord | None:
    """The record that is due after an update, if any."""
    settings, step = training.training, training.progress.step
    started = time.perf_counter()
    values: dict[str, float] = {}
    if training.held_out is not None and (step % settings.validate_every == 0 or step >= settings.steps):
        values |= training.validate()
    last = training.finished
    if step % settings.log_every == 0 or last:
        values |= training.log()
    histograms = training.histograms() if step % settings.histogram_every == 0 or last else ()
    training.progress.time_s += time.perf_counter() - started
    due = stopping or last or step % settings.checkpoint_every == 0
    if not (values or histograms or due):
        return None
    return _record(training, values, histograms, training.checkpoint() if due else None)


def _record(
    training: Training,
    values: dict[str, float] | None = None,
    histograms: tuple[Histogram, ...] = (),
    checkpoint: Checkpoint | None = None,
    note: str = "",
) -> StepRecord:
    progress, steps = training.progress, training.training.steps
    return StepRecord(progress.step, steps, progress.time_s, values or {}, histograms, checkpoint, note)


def _machine_note(training: Training, cores: IdleCores, resumed: bool) -> str:
    progress = training.progress
    settings, kind = training.training, training.device.type
    threads = f"{cores.threads} thread{'s' if cores.threads > 1 else ''}"
    threads += " (idle cores, looked at again and again)" if settings.threads is None else ""
    precision = progress.precision + (
        f" (auto: what this {kind} is fastest in)" if settings.precision == "auto" else ""
    )
    begins = f"resumes at step {progress.step}" if resumed else "starts"
    size = len(training.optimizer.parameters)
    return f"training {begins}: {size:,} parameters, {precision}, {threads}, {kind}"


def _histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts, edges = np.histogram(values.astype(np.float64), bins=HISTOGRAM_BINS)
    return edges, counts


@contextmanager
def _threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
