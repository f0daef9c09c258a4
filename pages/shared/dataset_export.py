"""The way out of a dataset: a file to take away; and the way back for steps that are not on this machine."""

from __future__ import annotations

import streamlit as st

from pages.shared import forms
from pages.shared.exports import file_button
from pages.shared.jobs import memory_held, progress, submit
from seqrl.config import ExportJob, ExportSpec
from seqrl.plots.format import count, size
from seqrl.store import DatasetRow, JobRow, Store
from seqrl.store.bundle import BUNDLE_PREFIX

LARGEST_DOWNLOAD_BYTES = 512 * 2**20
"""A download is held in the server's memory; larger files are named by their path instead."""


def export(store: Store, row: DatasetRow) -> None:
    """Offer the whole dataset as a file; it is written in the background first."""
    with st.expander("Export the whole dataset", icon=":material/download:"):
        form = forms.field(ExportSpec, "format", f"export.format.{row.name}", bind=False)
        path = store.export_path(row.name, form)
        job = _newest_export(store, row.name)
        if job is not None and not job.ended:
            progress(job.id, f"export.{row.name}")
            return
        if path.is_file() and path.stat().st_mtime > row.created:
            if job is not None:
                memory_held(job)
            bytes_ = path.stat().st_size
            if bytes_ > LARGEST_DOWNLOAD_BYTES:
                st.markdown(f"The file has {size(bytes_)}, too much for a browser. Take it from `{path}`.")
            else:
                label = f"{form.capitalize()}, {size(bytes_)}"
                file_button(path, path.name, "application/octet-stream", label, "Download the dataset")
            return
        if job is not None and job.state == "failed":
            progress(job.id, f"export.{row.name}")
        if st.button("Prepare the file", icon=":material/folder_zip:", key=f"export.{row.name}"):
            submit(ExportJob(spec=ExportSpec(name=row.name, format=form)))
            st.rerun()


def collect_steps(store: Store, row: DatasetRow) -> None:
    """Say that the single steps are not here, and have the button that brings them back; the demo's come unasked."""
    job = _newest_export(store, row.name)
    if job is None and row.name.startswith(BUNDLE_PREFIX):
        job = submit(ExportJob(spec=ExportSpec(name=row.name)))
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


def _newest_export(store: Store, name: str) -> JobRow | None:
    return next((job for job in store.jobs() if job.kind == "export" and job.name == name), None)
