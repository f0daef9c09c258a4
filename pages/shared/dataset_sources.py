"""Datasets from elsewhere: a file, the Minari server, or the episodes of other datasets; and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import streamlit as st
from streamlit.typing import UploadedFile

from pages.shared import forms
from pages.shared.exports import file_button
from pages.shared.jobs import progress, submit
from pages.shared.names import free_name
from seqrl.config import (
    DeriveJob,
    DeriveSpec,
    DownloadJob,
    DownloadSpec,
    EpisodePart,
    ExportJob,
    ExportSpec,
    ImportJob,
    ImportSpec,
)
from seqrl.plots.format import count, size
from seqrl.registry import ENVIRONMENTS
from seqrl.store import DatasetRow, JobRow, Store

UPLOAD_BYTES = 200 * 2**20
"""As ``server.maxUploadSize`` says; larger files are read from a path of this machine."""

_CHUNK_BYTES = 2**20
_ENVIRONMENTS = ["auto", "none", *ENVIRONMENTS]


def from_file(store: Store) -> JobRow | None:
    """Read an uploaded file, or a file or folder of this machine."""
    left, right = st.columns(2)
    with left:
        uploaded = st.file_uploader(
            "Upload a file",
            type=["hdf5", "h5", "npz", "parquet", "zip"],
            key="import.upload",
            help="HDF5 (Minari or D4RL style), NPZ or Parquet. Nothing in it is executed.",
        )
    with right:
        path = st.text_input(
            "or a path on this machine",
            key="import.path",
            placeholder="/data/hopper-medium.hdf5",
            help="A file, a Minari dataset's folder, or a folder of Hugging Face datasets.",
            disabled=uploaded is not None,
        )
    first, second, third = st.columns(3)
    wish = uploaded.name.split(".")[0] if uploaded else path.rstrip("/").rpartition("/")[2].split(".")[0] or "imported"
    name = first.text_input("Name", free_name(store, wish), key=f"import.name.{wish}.{len(store.datasets())}")
    with second:
        form = forms.field(ImportSpec, "format", "import.format")
    with third:
        environment = forms.field(ImportSpec, "environment", "import.environment", options=_ENVIRONMENTS)

    def make(where: str, remove: bool) -> ImportSpec:
        """The spec that the form describes."""
        return ImportSpec(name=name, path=where, format=form, environment=environment, remove_after=remove)

    ready = uploaded is not None or bool(path)
    spec, problem = forms.validated(lambda: make(path or "upload", False))
    if ready:
        forms.complain(problem)
    pressed = st.button(
        "Import", type="primary", icon=":material/upload:", disabled=not ready or spec is None, key="import.submit"
    )
    if not pressed:
        return None
    if uploaded is None:
        return submit(ImportJob(spec=make(path, False)))
    try:
        kept = store.keep_upload(uploaded.name, _chunks(uploaded), UPLOAD_BYTES)
    except ValueError as error:
        forms.complain(str(error))
        return None
    job = submit(ImportJob(spec=make(str(kept), True)))
    if job is None:
        store.remove_upload(kept)
    return job


def _chunks(uploaded: UploadedFile) -> Iterator[bytes]:
    while chunk := uploaded.read(_CHUNK_BYTES):
        yield chunk


def from_minari(store: Store) -> JobRow | None:
    """Fetch a dataset of the Minari server; this needs a network."""
    first, second, third = st.columns([2, 2, 1])
    with first:
        identifier = forms.field(DownloadSpec, "minari_id", "download.id")
    wish = identifier.replace("/", "-").removesuffix("-v0") or "minari"
    name = second.text_input("Name", free_name(store, wish), key=f"download.name.{wish}")
    with third:
        environment = forms.field(DownloadSpec, "environment", "download.environment", options=_ENVIRONMENTS)
    spec, problem = forms.validated(
        lambda: DownloadSpec(name=name, minari_id=identifier or "", environment=environment)
    )
    if identifier:
        forms.complain(problem)
    else:
        st.caption("For example D4RL/door/human-v2 or mujoco/hopper/expert-v0; see minari.farama.org.")
    pressed = st.button(
        "Download", type="primary", icon=":material/cloud_download:", disabled=spec is None, key="download.submit"
    )
    return submit(DownloadJob(spec=spec)) if pressed and spec is not None else None


def from_datasets(store: Store) -> JobRow | None:
    """Combine, filter or split datasets that are there."""
    rows = [row for row in store.datasets() if row.facts is not None]
    if not rows:
        st.info("There is no dataset to take episodes from yet; build or import one.", icon=":material/call_merge:")
        return None
    left, right = st.columns([3, 2])
    sources = left.multiselect(
        "Sources", [row.name for row in rows], default=[rows[0].name], key="derive.sources", bind="query-params"
    )
    wish = f"{sources[0].removeprefix('demo/')}-part" if sources else "derived"
    name = right.text_input("Name", free_name(store, wish), key=f"derive.name.{wish}.{len(rows)}")
    filters = forms.fields(
        DeriveSpec, "derive.", skip=("name", "sources", "tiers", "part"), columns=4, advanced_title=""
    )
    known = dict.fromkeys(
        tier for row in rows if row.name in sources and row.facts for tier in row.facts.returns_by_tier
    )
    first, second = st.columns([3, 2])
    tiers = first.pills("Tiers to keep", list(known), selection_mode="multi", key="derive.tiers") if known else []
    with second:
        split = st.toggle("Only one side of a split", key="derive.split", bind="query-params")
    part: dict[str, Any] | None = (
        forms.fields(EpisodePart, "derive.part.", columns=3, advanced_title="") if split else None
    )

    def make() -> DeriveSpec:
        """The spec that the form describes."""
        return DeriveSpec(name=name, sources=tuple(sources), tiers=tuple(tiers), part=part, **filters)

    spec, problem = forms.validated(make)
    forms.complain(problem)
    pressed = st.button(
        "Make the dataset", type="primary", icon=":material/call_merge:", disabled=spec is None, key="derive.submit"
    )
    return submit(DeriveJob(spec=spec)) if pressed and spec is not None else None


SOURCES: dict[str, Callable[[Store], JobRow | None]] = {
    "File": from_file,
    "Minari server": from_minari,
    "Other datasets": from_datasets,
}


def export(store: Store, row: DatasetRow) -> None:
    """Offer the whole dataset as a file; it is written in the background first."""
    with st.expander("Export the whole dataset", icon=":material/download:"):
        form = forms.field(ExportSpec, "format", f"export.format.{row.name}", bind=False)
        path = store.export_path(row.name, form)
        job = next((job for job in store.jobs() if job.kind == "export" and job.name == row.name), None)
        if job is not None and not job.ended:
            progress(job.id, f"export.{row.name}")
            return
        if path.is_file() and path.stat().st_mtime > row.created:
            label = f"{form.capitalize()}, {size(path.stat().st_size)}"
            file_button(path, path.name, "application/octet-stream", label, "Download the dataset")
            return
        if job is not None and job.state == "failed":
            progress(job.id, f"export.{row.name}")
        if st.button("Prepare the file", icon=":material/folder_zip:", key=f"export.{row.name}"):
            submit(ExportJob(spec=ExportSpec(name=row.name, format=form)))
            st.rerun()


def collect_steps(store: Store, row: DatasetRow) -> None:
    """Say that the single steps are not here, and have the button that brings them back."""
    job = next((job for job in store.jobs() if job.kind == "export" and job.name == row.name), None)
    if job is not None and not job.ended:
        progress(job.id, f"steps.{row.name}")
        return
    amount = f" ({count(row.facts.steps, 'step')})" if row.facts else ""
    st.info(
        f"The single steps of this dataset{amount} are not on this machine; they can be collected again, exactly as "
        "they were.",
        icon=":material/folder_off:",
    )
    if st.button("Collect them again", icon=":material/refresh:", key=f"steps.{row.name}.collect"):
        submit(ExportJob(spec=ExportSpec(name=row.name)))
        st.rerun()
