"""Models from elsewhere become runs; and the way out of a run."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import streamlit as st
from streamlit.typing import UploadedFile

from pages.shared import forms
from pages.shared.dataset_sources import ENVIRONMENT_CHOICES, UPLOAD_BYTES, chunks
from pages.shared.exports import file_button
from pages.shared.jobs import progress, submit
from pages.shared.local_files import import_root, readable_path
from pages.shared.names import name_field
from seqrl.config import RunExportJob, RunExportSpec, RunImportJob, RunImportSpec
from seqrl.plots.format import size
from seqrl.store import JobRow, RunRow, Store

FORMATS: dict[str, Literal["hf", "zip"]] = {"Hugging Face": "hf", "Exported run (ZIP)": "zip"}
STATISTICS = ["A dataset", "A JSON file", "The folder itself"]
LARGEST_STATISTICS_BYTES = 16 * 2**20
_KEYS = ("observation_mean", "observation_std")


def import_form(store: Store) -> None:
    """The form that brings a model in, folded, and the progress of what it started."""
    fold = st.expander("Bring a model from elsewhere", icon=":material/upload:", on_change="rerun", key="model.import")
    if not fold.open:
        return
    with fold:
        job = _form(store)
        if job is not None:
            st.session_state["model.job"] = job.id
        if "model.job" in st.session_state:
            _outcome(store.job(st.session_state["model.job"]))


def _outcome(job: JobRow) -> None:
    progress(job.id, "model.progress")
    if job.state != "succeeded":
        return
    st.success(f"{job.name} is a run now.", icon=":material/check_circle:")

    def show() -> None:
        """Show the new run (before the widgets of the page are drawn)."""
        st.session_state["runs"] = [job.name]
        st.session_state["run"] = job.name

    st.button("Show it", icon=":material/search:", on_click=show, key="model.show")


def _form(store: Store) -> JobRow | None:
    kind = st.segmented_control(
        "What it is", list(FORMATS), default="Hugging Face", required=True, key="model.format", bind="query-params"
    )
    form = FORMATS[kind]
    left, right = st.columns(2)
    with left:
        uploads = st.file_uploader(
            "Upload config.json and model.safetensors" if form == "hf" else "Upload the ZIP archive",
            type=["json", "safetensors", "zip"] if form == "hf" else ["zip"],
            accept_multiple_files=True,
            key=f"model.upload.{form}",
            help="Of a DecisionTransformerModel, or both in one ZIP archive." if form == "hf" else "From Export run.",
        )
    path = right.text_input(
        "or a path on this machine",
        key="model.path",
        placeholder=str(import_root() / ("gym-hopper-expert" if form == "hf" else "run.zip")),
        disabled=bool(uploads),
        help="A folder with both files, or a ZIP archive.",
    )
    wish = path.rstrip("/").rpartition("/")[2].split(".")[0] or "imported-model"
    name_side, environment_side = st.columns(2)
    name = name_field(name_side, "Name of the run", wish, f"model.name.{wish}")
    with environment_side:
        environment = forms.field(RunImportSpec, "environment", "model.environment", options=ENVIRONMENT_CHOICES)
    values = _statistics(store) if form == "hf" else {}

    def make() -> RunImportSpec:
        """The spec that the form describes; uploads have no path before they are kept."""
        if "problem" in values:
            raise ValueError(values["problem"])
        where = "upload" if uploads else str(readable_path(path))
        return RunImportSpec(
            name=name, path=where, format=form, environment=environment, remove_after=bool(uploads), **values
        )

    ready = bool(uploads) or bool(path.strip())
    spec, problem = forms.validated(make) if ready else (None, "")
    forms.complain(problem)
    pressed = st.button("Import the model", icon=":material/upload:", disabled=spec is None, key="model.submit")
    if not pressed or spec is None:
        return None
    return _import_uploads(store, uploads, spec) if uploads else submit(RunImportJob(spec=spec))


def _statistics(store: Store) -> dict[str, Any]:
    """What a Hugging Face folder does not say; ``problem`` is the sentence of what is wrong with it."""
    where = st.segmented_control(
        "Mean and spread of the observations stand in",
        STATISTICS,
        default=STATISTICS[0],
        required=True,
        key="model.statistics",
        bind="query-params",
        help="A model was trained on normalised observations; only folders that seqrl exported say how.",
    )
    values: dict[str, Any] = {}
    if where == STATISTICS[0]:
        names = [row.name for row in store.datasets() if row.facts is not None]
        values["dataset"] = st.selectbox("Dataset", names, key="model.dataset", bind="query-params")
    elif where == STATISTICS[1]:
        given = st.file_uploader(
            "Statistics", type=["json"], key="model.statistics.file", help="Lists observation_mean and observation_std."
        )
        values |= _read_statistics(given)
    if where == STATISTICS[2]:
        return values
    scale, context = st.columns(2)
    with scale:
        values["return_scale"] = forms.field(RunImportSpec, "return_scale", "model.scale")
    with context:
        values["context_length"] = forms.field(RunImportSpec, "context_length", "model.context")
    return values


def _read_statistics(given: UploadedFile | None) -> dict[str, Any]:
    if given is None:
        return {"problem": "the statistics are missing; upload a JSON file, or choose a dataset"}
    if given.size > LARGEST_STATISTICS_BYTES:
        return {"problem": f"{given.name} is larger than {size(LARGEST_STATISTICS_BYTES)}; it is not read"}
    try:
        values = json.loads(given.getvalue())
    except (ValueError, RecursionError) as error:
        return {"problem": f"{given.name} holds no JSON that can be read: {error}"}
    if not isinstance(values, dict) or not all(isinstance(values.get(key), list) for key in _KEYS):
        return {"problem": f"{given.name} needs the lists observation_mean and observation_std"}
    return {key: values[key] for key in _KEYS}


def _import_uploads(store: Store, uploads: Sequence[UploadedFile], spec: RunImportSpec) -> JobRow | None:
    """Keep the uploads as one archive until the job has read it."""
    try:
        kept = store.keep_upload("model.zip", _as_archive(uploads), 2 * UPLOAD_BYTES)
    except ValueError as error:
        forms.complain(str(error))
        return None
    job = submit(RunImportJob(spec=spec.model_copy(update={"path": str(kept)})))
    if job is None:
        store.remove_upload(kept)
    return job


def _as_archive(uploads: Sequence[UploadedFile]) -> Iterator[bytes]:
    """A single archive as it is; other files in an archive."""
    if len(uploads) == 1 and uploads[0].name.lower().endswith(".zip"):
        yield from chunks(uploads[0])
        return
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for uploaded in uploads:
                with archive.open(Path(uploaded.name).name, "w", force_zip64=True) as member:
                    for chunk in chunks(uploaded):
                        member.write(chunk)
        file.seek(0)
        while chunk := file.read(2**20):
            yield chunk


def export(store: Store, row: RunRow) -> None:
    """Offer a run as a file; it is written in the background first."""
    fold = st.expander("Export the model", icon=":material/download:", on_change="rerun", key=f"model.out.{row.name}")
    if not fold.open:
        return
    with fold:
        shown = {form: name.removesuffix(" (ZIP)") for name, form in FORMATS.items()}
        form = forms.field(
            RunExportSpec, "format", f"model.out.format.{row.name}", bind=False, format_option=lambda form: shown[form]
        )
        path = store.run_export_path(row.name, form)
        key = f"model.out.progress.{row.name}.{form}"
        wanted = RunExportJob(spec=RunExportSpec(name=row.name, format=form))
        job = next((job for job in store.jobs() if job.is_for(wanted)), None)
        if job is not None and not job.ended:
            progress(job.id, key)
            return
        if path.is_file() and path.stat().st_mtime > (row.finished or row.created):
            label = f"{'ZIP' if form == 'zip' else 'Hugging Face'}, {size(path.stat().st_size)}"
            file_button(path, path.name, "application/zip", label, "Download the model")
            return
        if job is not None and job.state == "failed":
            progress(job.id, key)
        if st.button("Prepare the file", icon=":material/folder_zip:", key=f"model.out.{row.name}.prepare"):
            submit(wanted)
            st.rerun()
