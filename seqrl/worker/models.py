"""Carry out jobs about models: bring one in, and measure one on recorded episodes."""

from __future__ import annotations

import shutil
from pathlib import Path

from seqrl.checkpoints import load_model
from seqrl.config import OpenLoopSpec, RunExportSpec, RunImportSpec
from seqrl.datasets import BuildStopped, ensure_columns
from seqrl.datasets.importing import limited, size_of
from seqrl.huggingface import ImportedRun, export_archive, export_huggingface, import_run
from seqrl.open_loop import evaluate
from seqrl.store import Store
from seqrl.store.runs import CHECKPOINT
from seqrl.worker.context import JobContext, Stopped
from seqrl.worker.imports import scratch_folder


def import_model(context: JobContext, spec: RunImportSpec) -> None:
    """Read a model from elsewhere within limits, and keep it as a run."""
    store, path = context.store, Path(spec.path).expanduser()
    try:
        facts = store.dataset(spec.dataset).facts if spec.dataset else None
        with scratch_folder(context) as scratch, limited(size_of(path), 6 * size_of(path)):
            imported = import_run(spec, facts, scratch)
        with store.database.transaction():  # the row and the checkpoint appear together
            store.add_run(imported.spec, imported.facts, context.job.id)
            _save(store, imported)
        context.log(f"{sum(tensor.numel() for tensor in imported.weights.values()):,} weights")
    finally:
        if spec.remove_after:
            store.remove_upload(path)


def _save(store: Store, imported: ImportedRun) -> None:
    folder = store.run_folder(imported.spec.name)
    try:
        imported.save(folder)
        store.set_run_progress(imported.spec.name, 1, None)
    except BaseException:  # the row goes, and weights without one would keep the name from being used again
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
        raise


def export_model(context: JobContext, spec: RunExportSpec) -> None:
    """Write a run into a file that a page can offer."""
    store = context.store
    path = store.run_export_path(spec.name, spec.format)
    with scratch_folder(context) as scratch:
        if spec.format == "zip":
            written = export_archive(store.run_folder(spec.name), scratch / "run.zip")
        else:
            folder = export_huggingface(store.run_folder(spec.name), scratch / "model")
            written = Path(shutil.make_archive(str(scratch / "model"), "zip", folder))
        store.keep_export(written, path, context.job.id)
    context.log(f"{path.stat().st_size:,} bytes written")


def open_loop(context: JobContext, spec: OpenLoopSpec) -> None:
    """Measure what a run would have done on recorded episodes."""
    store = context.store
    try:
        columns = ensure_columns(store, spec.dataset, should_stop=context.should_stop)
    except BuildStopped as error:
        raise Stopped from error
    model, run, facts = load_model(store.run_folder(spec.run))
    result = evaluate(spec, model, run, facts, columns, on_progress=context.progress, should_stop=context.should_stop)
    if result is None:
        raise Stopped
    store.set_evaluation(spec.name, {"spec": spec.model_dump(mode="json"), **result})
    context.log(f"{result['steps']:,} steps of {result['episodes']:,} episodes; {result['sentence']}")
