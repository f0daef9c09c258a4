"""Datasets from elsewhere: a file, Minari here or on its server, or the episodes of other datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import streamlit as st
from streamlit.typing import UploadedFile

from pages.shared import forms
from pages.shared.dataset_deriving import from_datasets
from pages.shared.jobs import submit
from pages.shared.local_files import import_root, local_minari, minari_root, readable_path
from pages.shared.names import name_field
from seqrl.config import DownloadJob, DownloadSpec, ImportJob, ImportSpec
from seqrl.registry import ENVIRONMENTS
from seqrl.store import JobRow, Store

UPLOAD_BYTES = 200 * 2**20
"""As ``server.maxUploadSize`` says; larger files are read from a path of this machine."""

ENVIRONMENT_CHOICES = ["auto", "none", *ENVIRONMENTS]
_CHUNK_BYTES = 2**20


def from_file(store: Store) -> list[JobRow]:
    """Read an uploaded file, or a file or folder of this machine; the job that was just started."""
    left, right = st.columns(2)
    with left:
        uploaded = st.file_uploader(
            "Upload a file",
            type=["hdf5", "h5", "npz", "parquet", "zip"],
            key="import.upload",
            help="HDF5 (Minari or D4RL style), NPZ, Parquet, or a zipped folder. Nothing in it is executed.",
        )
    with right:
        path = st.text_input(
            "or a path on this machine",
            key="import.path",
            placeholder=str(import_root() / "hopper-medium.hdf5"),
            help="A file, a Minari dataset's folder, or a folder of Hugging Face datasets.",
            disabled=uploaded is not None,
        )
    first, second, third = st.columns(3)
    wish = uploaded.name.split(".")[0] if uploaded else path.rstrip("/").rpartition("/")[2].split(".")[0] or "imported"
    name = name_field(first, "Name", wish, f"import.name.{wish}")
    with second:
        form = forms.field(ImportSpec, "format", "import.format")
    with third:
        environment = forms.field(ImportSpec, "environment", "import.environment", options=ENVIRONMENT_CHOICES)

    def make() -> ImportSpec:
        """The spec that the form describes; an upload has no path before it is kept."""
        where = "upload" if uploaded else str(readable_path(path))
        return ImportSpec(
            name=name, path=where, format=form, environment=environment, remove_after=uploaded is not None
        )

    ready = uploaded is not None or bool(path.strip())
    spec, problem = forms.validated(make) if ready else (None, "")
    forms.complain(problem)
    pressed = st.button("Import", type="primary", icon=":material/upload:", disabled=spec is None, key="import.submit")
    if not pressed or spec is None:
        return []
    return started(_import_upload(store, uploaded, spec) if uploaded else submit(ImportJob(spec=spec)))


def started(job: JobRow | None) -> list[JobRow]:
    """The job, if it was not refused."""
    return [] if job is None else [job]


def chunks(uploaded: UploadedFile) -> Iterator[bytes]:
    """The content of an upload, piece by piece."""
    while chunk := uploaded.read(_CHUNK_BYTES):
        yield chunk


def _import_upload(store: Store, uploaded: UploadedFile, spec: ImportSpec) -> JobRow | None:
    """Keep the upload until the job has read it."""
    try:
        kept = store.keep_upload(uploaded.name, chunks(uploaded), UPLOAD_BYTES)
    except ValueError as error:
        forms.complain(str(error))
        return None
    job = submit(ImportJob(spec=spec.model_copy(update={"path": str(kept)})))
    if job is None:
        store.remove_upload(kept)
    return job


def from_minari(store: Store) -> list[JobRow]:
    """A Minari dataset of this machine, or one of the Minari server; the job that was just started."""
    where = st.segmented_control(
        "Where it is",
        ["On this machine", "On the Minari server"],
        default="On this machine",
        required=True,
        key="minari.where",
        bind="query-params",
    )
    return _local_minari(store) if where == "On this machine" else _download(store)


def _local_minari(store: Store) -> list[JobRow]:
    known = local_minari()
    if not known:
        st.info(
            f"There is no Minari dataset in `{minari_root()}`. Fetch one from the Minari server, or start the app with "
            "MINARI_DATASETS_PATH where they are.",
            icon=":material/folder_off:",
        )
        return []
    first, second, third = st.columns([3, 2, 2])
    identifier = first.selectbox("Dataset of Minari", list(known), key="minari.id", bind="query-params")
    name, environment = _name_and_environment(second, third, ImportSpec, identifier, "minari")
    spec, problem = forms.validated(
        lambda: ImportSpec(name=name, path=str(known[identifier]), format="minari", environment=environment)
    )
    forms.complain(problem)
    pressed = st.button("Import", type="primary", icon=":material/input:", disabled=spec is None, key="minari.submit")
    return started(submit(ImportJob(spec=spec))) if pressed and spec is not None else []


def _download(store: Store) -> list[JobRow]:
    first, second, third = st.columns([3, 2, 2])
    with first:
        identifier = forms.field(DownloadSpec, "minari_id", "download.id")
    name, environment = _name_and_environment(second, third, DownloadSpec, identifier, "download")
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
    return started(submit(DownloadJob(spec=spec))) if pressed and spec is not None else []


def _name_and_environment(
    first: st.delta_generator.DeltaGenerator,
    second: st.delta_generator.DeltaGenerator,
    spec: type[ImportSpec] | type[DownloadSpec],
    identifier: str,
    prefix: str,
) -> tuple[str, str]:
    wish = (identifier or "").replace("/", "-").removesuffix("-v0") or "minari"
    name = name_field(first, "Name", wish, f"{prefix}.name.{wish}")
    with second:
        environment = forms.field(spec, "environment", f"{prefix}.environment", options=ENVIRONMENT_CHOICES)
    return name, environment


SOURCES: dict[str, Callable[[Store], list[JobRow]]] = {
    "File": from_file,
    "Minari": from_minari,
    "Other datasets": from_datasets,
}
