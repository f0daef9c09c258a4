"""The training loop of every model.

Reproducible by construction: batch and dropout of update ``s`` are functions of (seed, s), everything else that
matters is in the `TrainingState`. So a run that was stopped and resumed has the same weights and metrics, bit for bit,
as one that never was (same machine, same libraries), whatever ran beside it: no sum and no product on the way to an
update depends on the number of threads. (That takes ``MKL_CBWR=AUTO,STRICT``, which jobs set; `norm_gradients`; and
sums that go axis by axis.)

A batch may be cut into parts, which several processes share (`seqrl.training.group`) or one takes one after the other.
A part's mean loss is weighted by what it is a mean of: loss and gradient are those of the whole batch but for rounding.
Dropout has masks of its own for every part, so with dropout it is the number of parts, not of processes, that matters.
"""

from __future__ import annotations

import itertools
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
from seqrl.processors import processors
from seqrl.registry import MODELS, resolve
from seqrl.store.columns import Columns
from seqrl.training.ahead import BatchesAhead
from seqrl.training.group import ALONE, Group
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

    def __init__(self, spec: RunSpec, columns: Columns, state: TrainingState | None, group: Group = ALONE) -> None:
        self.spec, self.training, self.group = spec, spec.training, group
        model_class = resolve(MODELS[spec.model.kind].model)
        eligible = model_class.eligible_episodes(spec.model, columns)
        kept, held_out = split_episodes(len(eligible), self.training.validation_fraction, spec.seed)
        self.device = choose_device(group.local_rank)
        self.model: Any = model_class.from_columns(spec.model, columns, eligible[kept], spec.seed).to(self.device)
        for tensor in self.model.state_dict().values():  # other machines may round otherwise
            group.follow(tensor)
        whole = self.training.parts == 1
        self.parts = {number: None if whole else self.training.part(number) for number in self._own_parts()}
        batches = self.model.batches(columns, eligible[kept])
        self.batches = BatchesAhead(batches, tuple(self.parts.values())) if columns.large else batches
        self.held_out = self.model.batches(columns, eligible[held_out]) if len(held_out) else None
        self.optimizer = FlatAdamW(self.model, self.training.weight_decay)
        self.best: Tensor | None = None
        self.names: tuple[str, ...] = ()
        self.others_stop = False
        self.progress = self._start(state)
        self._agree()
        self.compute = _FORMATS[self.progress.precision]

    def _own_parts(self) -> range:
        if self.group.size != self.training.processes:
            raise ValueError(
                f"processes is {self.training.processes} but {self.group.size} train together; start as many"
            )
        return self.group.share(self.training.accumulation)

    def _start(self, state: TrainingState | None) -> _Progress:
        if state is None:
            precision = choose_precision(self.training.precision, self.device)
            return _Progress(precision=precision)
        tensors = dict(state.tensors)
        self.best = tensors.pop("best_parameters", None)
        self.optimizer.set_state(tensors, updates=state.step)
        earlier = {item.name: state.values[item.name] for item in fields(_Progress) if item.name in state.values}
        return _Progress(**earlier | {"step": state.step})

    def _agree(self) -> None:
        """Have all processes begin at the same step, with the number format of the first."""
        formats = tuple(_FORMATS)
        told = torch.tensor([self.progress.step, formats.index(self.progress.precision)], device=self.device)
        self.group.follow(told)
        step, number = told.tolist()
        if step != self.progress.step:
            raise ValueError(
                f"a process begins at step {self.progress.step} but the first one at {step}; give all machines the "
                "same checkpoint"
            )
        self.progress.precision = formats[number]

    def update(self, stop: bool = False) -> dict[str, float]:
        """One update; its metrics.

        Args:
            stop: whether this process was asked to stop, which the others of its group hear with the gradients.

        Raises:
            NonFiniteLoss: before anything is changed.
        """
        step = self.progress.step
        self.optimizer.zero_gradients()
        values = self._differentiate_whole(step) if self.training.parts == 1 else self._differentiate(step, stop)
        values["gradient_norm"] = self.optimizer.clip(self.training.gradient_clip)
        if not math.isfinite(values["gradient_norm"]):
            raise NonFiniteLoss(step, "gradient")
        rate = learning_rate(step, self.training)
        self.optimizer.update(rate)
        self.progress.step += 1
        return values

    def _differentiate_whole(self, step: int) -> dict[str, float]:
        """Put the gradients of a batch's loss into the optimizer's buffer; loss and measures."""
        loss, measures, _ = self._loss(step, 0)
        values = {"loss": float(loss.detach()), **{name: float(value) for name, value in measures.items()}}
        if not math.isfinite(values["loss"]):
            raise NonFiniteLoss(step, "loss")
        loss.backward()
        return values

    def _differentiate(self, step: int, stop: bool) -> dict[str, float]:
        """The same for a batch in parts, those of other processes included.

        A part's loss is a mean over its ``count`` real positions. Times ``count`` it is a sum, as are its gradients:
        they are added up over all parts, and divided by all positions in the end. Measures are weighted in the same
        way, as batches of a validation are.
        """
        totals: dict[str, float] = {}
        positions = 0
        for number in self.parts:
            loss, measures, batch = self._loss(step, number)
            count = batch.count
            (loss * count).backward()
            positions += count
            for name, value in {"loss": loss.detach(), **measures}.items():
                totals[name] = totals.get(name, 0.0) + float(value) * count
        sums = self.optimizer.sum_gradients(self.group, [float(stop), float(positions), *totals.values()])
        self.others_stop, self.names = sums[0] > 0, tuple(totals)
        values = {name: total / sums[1] for name, total in zip(totals, sums[2:], strict=True)}
        if not math.isfinite(values["loss"]):
            raise NonFiniteLoss(step, "loss")
        self.optimizer.gradients.div_(sums[1])
        return values

    def _loss(self, step: int, number: int) -> tuple[Tensor, dict[str, Tensor], Any]:
        """Loss and measures of a part of a batch, and that part."""
        batch = self._sample(step, number)
        noise = DropoutNoise(self.model.dropout, self.spec.seed, step, number)
        return *self.model.loss(batch, noise=noise, compute=self.compute), batch

    def _sample(self, step: int, number: int) -> Any:
        return self.batches.sample(self.training.batch_size, self.spec.seed, step, self.parts[number]).to(self.device)

    def log(self) -> dict[str, float]:
        """Means since the last log, and what only needs a look now and then, at the last part of a batch."""
        step = self.progress.step
        batch = self._sample(step - 1, max(self.parts))
        norms = {f"embedding_norm/{name}": value for name, value in self.model.embedding_norms(batch).items()}
        return {**self.progress.take_means(), **norms, "learning_rate": learning_rate(step - 1, self.training)}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Loss and measures on the episodes kept out, and what follows for the best weights.

        Processes take turns with the batches.
        """
        assert self.held_out is not None  # noqa: S101
        totals = dict.fromkeys(self.names, 0.0)
        count = 0
        batches = self.held_out.cover(self.training.batch_size, VALIDATION_WINDOWS)
        for batch in itertools.islice(batches, self.group.rank, None, self.group.size):
            loss, measures = self.model.loss(batch.to(self.device), compute=self.compute)
            for name, value in {"loss": loss, **measures}.items():
                totals[name] = totals.get(name, 0.0) + float(value) * batch.count
            count += batch.count
        sums = torch.tensor([count, *totals.values()], dtype=torch.float64, device=self.device)
        self.group.sum(sums)
        count, *means = sums.tolist()
        values = {f"validation_{name}": total / count for name, total in zip(totals, means, strict=True)}
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
    group: Group = ALONE,
) -> Iterator[StepRecord]:
    """Train a run.

    Several processes train one run together if each calls this with its place in their group. They take the same
    steps; records with values, histograms and checkpoints come from the one that leads.

    Args:
        spec: what to train and how; `seqrl.config.check_run` has accepted it.
        columns: the dataset.
        state: where an earlier training of the same spec stopped.
        should_stop: asked after every update; true means to yield a checkpoint and end. In a group it is enough if
            one process says so; all end after one more update.
        group: the processes that train this run together, ``spec.training.processes`` of them.

    Yields:
        Records: at least one a second, and the last one always with a checkpoint.

    Raises:
        NonFiniteLoss: before an update with a loss or gradient that is not finite.
        ValueError: if the state belongs to another model, or the group has another size than the spec says.
        PeersGone: if another process of the group has ended.
    """
    training = Training(spec, columns, state, group)
    progress, cores = training.progress, IdleCores(spec.training.threads, most=max(1, processors() // group.local_size))
    with _threads_put_back():
        cores.take()
        yield _record(training, note=_machine_note(training, cores, resumed=state is not None))
        last_news, saved, stopping, asked = time.perf_counter(), False, False, False
        while not (training.finished or stopping):
            started = time.perf_counter()
            values = training.update(asked)
            progress.add(values, time.perf_counter() - started)
            cores.take()
            asked = asked or should_stop()
            stopping = asked if group.size == 1 else training.others_stop
            record = _news(training, stopping)
            if record is None and time.perf_counter() - last_news > _QUIET_S:
                record = _record(training)
            if record is not None:
                saved = record.checkpoint is not None
                yield record
                last_news = time.perf_counter()
        if not saved and group.leads:  # resumed where nothing was left to do
            yield _record(training, checkpoint=training.checkpoint())


def _news(training: Training, stopping: bool) -> StepRecord | None:
    """The record that is due after an update, if any."""
    settings, step = training.training, training.progress.step
    started = time.perf_counter()
    values: dict[str, float] = {}
    if training.held_out is not None and (step % settings.validate_every == 0 or step >= settings.steps):
        values |= training.validate()
    if not training.group.leads:
        return None
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
    threads += f" in each of {settings.processes} processes" if settings.processes > 1 else ""
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
