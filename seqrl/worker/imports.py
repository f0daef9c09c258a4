"""Carry out jobs that bring datasets in, make them from others, or hand them out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqrl.config import DatasetFacts, DeriveSpec, DownloadSpec, ExportSpec, ImportSpec
from seqrl.worker.context import JobContext, Stopped

SCRATCH = "scratch"
"""Folder of a job for what it unpacks or downloads; gone when the job is."""


def import_(context: JobContext, spec: ImportSpec) -> None:
    """Read a dataset from a file or folder, within limits on memory and processor time."""
    try:
        with scratch_folder(context) as scratch:
            _read(context, spec, scratch, Path(spec.path).expanduser())
    finally:
        if spec.remove_after:
            context.store.remove_upload(Path(spec.path))


def download(context: JobContext, spec: DownloadSpec) -> None:
    """Fetch a dataset of the Minari server, and read it like any other foreign file."""
    with scratch_folder(context) as scratch:
        context.progress(0.0, "downloading", now=True)
        folder = fetch(spec.minari_id, scratch)
        values = {"name": spec.name, "path": str(folder), "format": "minari", "environment": spec.environment}
        _read(context, ImportSpec.model_validate(values), scratch, folder)


def derive(context: JobContext, spec: DeriveSpec) -> None:
    """Combine, filter or split."""
    from seqrl.datasets import ensure_columns
    from seqrl.datasets.deriving import derive as write

    store = context.store
    with _stoppable():
        sources = [ensure_columns(store, name, should_stop=context.should_stop) for name in spec.sources]
        facts = write(
            spec,
            sources,
            store.columns_folder(spec.name),
            on_progress=context.progress,
            should_stop=context.should_stop,
        )
    _keep(context, spec.name, facts)


def export(context: JobContext, spec: ExportSpec) -> None:
    """Write a dataset into a file that a page can offer."""
    from seqrl.datasets import ensure_columns
    from seqrl.datasets.exporting import export_minari, export_parquet
    from seqrl.store.base import minari_id

    path = context.store.export_path(spec.name, spec.format)
    watched: dict[str, Callable[..., Any]] = {"on_progress": context.progress, "should_stop": context.should_stop}
    with scratch_folder(context) as scratch, _stoppable():
        columns = ensure_columns(context.store, spec.name, should_stop=context.should_stop)
        if spec.format == "parquet":
            written = export_parquet(columns, scratch / "dataset.parquet", **watched)
        else:
            dataset_id = minari_id(spec.name)
            export_minari(columns, scratch / "minari" / dataset_id, dataset_id, **watched)
            written = Path(shutil.make_archive(str(scratch / "dataset"), "zip", scratch / "minari"))
        context.store.keep_export(written, path, context.job.id)
    context.log(f"{path.stat().st_size:,} bytes written")


def fetch(minari_id: str, folder: Path) -> Path:
    """Download a Minari dataset below ``folder``; nothing is written elsewhere.

    Raises:
        ValueError: if the server cannot be reached or does not have it, in one sentence.
    """
    # read when these packages are imported, which happens below
    os.environ |= {"MINARI_DATASETS_PATH": str(folder), "HF_HOME": str(folder / ".cache")}
    import httpx2
    import minari

    try:
        minari.download_dataset(minari_id)
    except (OSError, httpx2.HTTPError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"the Minari server cannot be reached ({reason}); check the network and try again") from error
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"the Minari server does not give {minari_id}: {' '.join(str(error).split())[:300]}"
        ) from error
    return folder / minari_id


@contextmanager
def scratch_folder(context: JobContext) -> Iterator[Path]:
    """An empty folder that is removed when the work is over."""
    folder = context.store.job_folder(context.job.id) / SCRATCH
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(context: JobContext, spec: ImportSpec, scratch: Path, path: Path) -> None:
    from seqrl.datasets.importing import import_dataset, limited, size_of

    with _stoppable(), limited(size_of(path)):
        facts = import_dataset(
            spec,
            context.store.columns_folder(spec.name),
            scratch,
            on_progress=context.progress,
            should_stop=context.should_stop,
            say=context.log,
        )
    _keep(context, spec.name, facts)


@contextmanager
def _stoppable() -> Iterator[None]:
    from seqrl.datasets import BuildStopped

    try:
        yield
    except BuildStopped as error:
        raise Stopped from error


def _keep(context: JobContext, name: str, facts: DatasetFacts) -> None:
    from seqrl.store.columns import Columns

    context.store.set_dataset_facts(name, facts, Columns.open(context.store.columns_folder(name)).episodes)
    returns = facts.returns
    context.log(f"{facts.episodes:,} episodes, {facts.steps:,} steps, return {returns.mean:.1f} ± {returns.std:.1f}")
