"""Carry out a training job, from the start or from where it was stopped."""

from __future__ import annotations

from collections.abc import Iterator

from seqrl.checkpoints import NoCheckpoint, TrainingState, load_training_state, read_about, save_checkpoint
from seqrl.config import RunSpec
from seqrl.jobs.choice import fans_out
from seqrl.jobs.ray_cluster import MOST_RETRIES
from seqrl.store import MetricRow
from seqrl.store.columns import Columns, ColumnsMissing
from seqrl.training import StepRecord, train
from seqrl.worker.context import JobContext, Stopped
from seqrl.worker.events import EventWriter

_LOG_EVERY_S = 5.0


def run(context: JobContext, spec: RunSpec) -> None:
    """Train a run, keeping its metrics as they come and its checkpoints as they are due."""
    columns = _columns(context, spec)
    facts = context.store.run(spec.name).facts
    if columns.facts.content_hash != facts.content_hash:
        raise ValueError(f"the dataset {spec.dataset} is not the one that {spec.name} was submitted for; train anew")
    if spec.training.processes > 1 or fans_out(context.store):
        _train_elsewhere(context, spec, columns)
    else:
        state = _resume(context, spec)
        _record(context, spec, state, train(spec, columns, state=state, should_stop=context.should_stop))


def _train_elsewhere(context: JobContext, spec: RunSpec, columns: Columns) -> None:
    """Train in other processes; workers of a cluster that end cost what was not saved, and another try."""
    from seqrl.worker.together import WorkersGone, train_together

    tries, stay = MOST_RETRIES if fans_out(context.store) else 0, False
    while True:
        state = _resume(context, spec)
        try:
            _record(context, spec, state, train_together(context, spec, columns, state is not None, stay))
        except WorkersGone as error:
            if not tries or (stay and error.stay) or context.should_stop():
                raise
            tries, stay = tries - 1, stay or error.stay
            context.log(f"{error}; tried again")
        else:
            return


def _record(context: JobContext, spec: RunSpec, state: TrainingState | None, news: Iterator[StepRecord]) -> None:
    """Keep the news of a training.

    Raises:
        Stopped: if it was stopped before its end.
    """
    events = EventWriter(context.store.run_folder(spec.name) / "events", purge_step=state.step if state else 0)
    recorder = _Recorder(context, spec, events)
    with events:
        for record in news:
            recorder.take(record)
    if context.should_stop() and not recorder.finished:
        raise Stopped


def _columns(context: JobContext, spec: RunSpec) -> Columns:
    try:
        return Columns.open(context.store.columns_folder(spec.dataset))
    except ColumnsMissing:
        # what makes columns imports Minari, Gymnasium and pandas: 90 MB, which a training does not need
        from seqrl.datasets import BuildStopped, ensure_columns
    try:
        return ensure_columns(
            context.store,
            spec.dataset,
            on_progress=lambda fraction, message: context.progress(0.0, f"columns: {message}"),
            should_stop=context.should_stop,
        )
    except BuildStopped as error:
        raise Stopped from error


def _resume(context: JobContext, spec: RunSpec) -> TrainingState | None:
    """The state of the last checkpoint, with every later metric forgotten; None to start afresh.

    Raises:
        ValueError: if the checkpoint is one of other settings, which a run of the same name has left.
    """
    folder = context.store.run_folder(spec.name)
    try:
        _refuse_other_settings(spec, RunSpec.model_validate(read_about(folder)["spec"]))
        state = load_training_state(folder)
    except NoCheckpoint:
        state = None
    context.store.truncate_metrics(spec.name, state.step if state else -1)
    return state


def _refuse_other_settings(spec: RunSpec, saved: RunSpec) -> None:
    asked, found = (settings.model_dump(mode="json") for settings in (spec, saved))
    differing = [name for name in asked if asked[name] != found[name]]
    if differing:
        raise ValueError(
            f"the checkpoint in the folder of {spec.name} was trained with another {' and '.join(differing)}, so it "
            "is not gone on from; train under another name"
        )


class _Recorder:
    """Puts the news of a training where they belong."""

    def __init__(self, context: JobContext, spec: RunSpec, events: EventWriter) -> None:
        self.context, self.spec, self.events = context, spec, events
        self.facts = context.store.run(spec.name).facts
        self.best = context.store.run(spec.name).best_value
        self.finished = False
        self._logged_s = 0.0
        self._first: StepRecord | None = None

    def take(self, record: StepRecord) -> None:
        """Keep one record: metrics first, the checkpoint last, so that no curve ever lacks what a checkpoint knows."""
        store, name = self.context.store, self.spec.name
        if record.note:
            self.context.log(record.note)
        if record.values:
            store.add_metrics(name, [MetricRow(record.step, record.time_s, record.values)])
            self.events.scalars(record.step, record.values)
            self._note_best(record)
        for histogram in record.histograms:
            edges, counts = histogram.edges.tolist(), histogram.counts.tolist()
            store.add_histogram(name, record.step, histogram.name, edges, counts)
            self.events.histogram(record.step, histogram)
        if record.checkpoint is not None:
            save_checkpoint(store.run_folder(name), record.checkpoint, self.spec, self.facts)
        self.finished = record.step >= record.steps
        message = f"step {record.step:,} of {record.steps:,}{self._speed(record)}"
        self.context.progress(record.step / record.steps, message, now=record.checkpoint is not None)
        self._log(record)

    def _speed(self, record: StepRecord) -> str:
        """Updates a second since this process began, validations and checkpoints included."""
        first = self._first = self._first or record
        if record.step == first.step or record.time_s <= first.time_s:
            return ""
        return f" · {(record.step - first.step) / (record.time_s - first.time_s):.3g} steps/s"

    def _note_best(self, record: StepRecord) -> None:
        value = record.values.get("validation_loss")
        if value is None and self.spec.training.validation_fraction == 0:
            value = record.values.get("loss")
        if value is not None and (self.best is None or value < self.best):
            self.best = value
        self.context.store.set_run_progress(self.spec.name, record.step, self.best)

    def _log(self, record: StepRecord) -> None:
        due = record.time_s - self._logged_s >= _LOG_EVERY_S or record.step >= record.steps
        if record.values and due:
            self._logged_s = record.time_s
            shown = [f"{key} {record.values[key]:.4f}" for key in ("loss", "validation_loss") if key in record.values]
            self.context.log(f"step {record.step:,}: {', '.join(shown)}")
