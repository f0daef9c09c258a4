"""Datasets: what the models learn from; collect, look, put away."""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.archive import restorable
from pages.shared.dataset_export import export
from pages.shared.dataset_form import new_dataset
from pages.shared.dataset_sources import SOURCES, started
from pages.shared.dataset_view import VIEWS, show
from pages.shared.exports import csv_button
from pages.shared.frame import controls, empty_state, heading, link_to, newest, open_store, presenting, start_with
from pages.shared.jobs import ago, memory_held, progress
from pages.shared.policies import policies
from seqrl.plots.format import count, number, percent, size
from seqrl.store import DatasetRow, JobRow

heading("Datasets", "What do the models learn from: who played, how well, and what was never tried?")
store = open_store()


def overview(rows: list[DatasetRow]) -> pd.DataFrame:
    """The datasets as a table."""
    return pd.DataFrame(
        [
            {
                "name": row.name,
                "environment": row.facts.environment if row.facts else str(row.source.get("environment", "")),
                "episodes": row.facts.episodes if row.facts else None,
                "steps": row.facts.steps if row.facts else None,
                "mean return": row.facts.returns.mean if row.facts else None,
                "size": size(row.size_bytes) if row.size_bytes else "–",
                "created": ago(row.created),
                "state": row.state,
            }
            for row in rows
        ]
    )


def detail(row: DatasetRow) -> None:
    """Everything about one dataset."""
    facts = row.facts
    if facts is None:
        if row.job_id is not None:
            progress(row.job_id, f"dataset.{row.name}")
        return
    cells = st.grid("auto", min_column_width=130 if presenting() else 104)
    cells.metric("Episodes", number(facts.episodes))
    cells.metric("Steps", number(facts.steps))
    cells.metric("Mean return", number(facts.returns.mean), help=f"Standard deviation {number(facts.returns.std)}.")
    cells.metric("Best return", number(facts.returns.maximum))
    cells.metric("Longest (steps)", number(facts.max_length))
    cells.metric(
        "Cut off",
        percent(facts.truncated_episodes / max(1, facts.episodes)),
        help="Episodes that ended at the time limit: what would have come after it is missing from their return.",
    )
    view = st.segmented_control(
        "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params", label_visibility="collapsed"
    )
    show(row, view)
    export(store, row)
    with st.container(horizontal=True, vertical_alignment="center"):
        link_to("pages/train.py", "Train on it", ":material/model_training:", {"dataset": row.name})
        if not store.bundled(row.name) and st.button(
            "Archive", icon=":material/archive:", type="tertiary", key="dataset.archive", help="Hidden, not destroyed."
        ):
            store.archive_dataset(row.name)
            st.toast(f"{row.name} is archived; find it under Archive.")
            st.rerun()


def explore(rows: list[DatasetRow], beside: DeltaGenerator) -> None:
    """Choose a dataset beside what to do, and look at it."""
    names = [row.name for row in rows]
    start_with("dataset", newest(names), names)
    name = beside.selectbox(
        "Dataset", names, index=None, key="dataset", bind="query-params", label_visibility="collapsed", width=320
    )
    row = rows[names.index(name or names[0])]
    detail(row)
    with st.expander(f"All {count(len(rows), 'dataset')}", icon=":material/list:"):
        table = overview(rows)
        st.dataframe(table, hide_index=True, alt="All datasets")
        csv_button(table, "datasets")


def archive() -> None:
    """Datasets that were put away, and the way back."""
    rows = store.datasets(archived=True)
    if not rows:
        st.info("Nothing is archived. Archived datasets are hidden, not destroyed.", icon=":material/archive:")
    told = [(row.name, count(row.facts.episodes, "episode") if row.facts else row.state) for row in rows]
    restorable(told, store.restore_dataset)


def build() -> None:
    """The form, and the progress of what it started."""
    source = st.segmented_control(
        "Where the episodes come from",
        ["Behaviours", *SOURCES],
        default="Behaviours",
        required=True,
        key="source",
        bind="query-params",
    )
    new = SOURCES[source](store) if source in SOURCES else started(new_dataset(store))
    if new:
        st.session_state["dataset.jobs"] = [job.id for job in new]
    for job_id in st.session_state.get("dataset.jobs", ()):
        outcome(store.job(job_id))


def outcome(job: JobRow) -> None:
    """How far a job is that makes a dataset, and the ways on when it is done."""
    progress(job.id, f"dataset.progress.{job.id}")
    if job.state != "succeeded":
        return
    name, facts = job.name, store.dataset(job.name).facts
    mean = f" with a mean return of {number(facts.returns.mean)}" if facts else ""
    st.success(
        f"{name} is built: {count(facts.episodes, 'episode') if facts else ''}{mean}.", icon=":material/check_circle:"
    )

    memory_held(job)

    def look() -> None:
        """Go to the new dataset (before the widgets of the page are drawn)."""
        st.session_state["do"] = "Explore"
        st.session_state["dataset"] = name

    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Look at it", icon=":material/search:", on_click=look, key=f"dataset.look.{job.id}")
        link_to("pages/train.py", "Train on it", ":material/model_training:", {"dataset": name})


rows = store.datasets()
modes = ["Explore", "Build", "Policies", "Archive"]
top = controls().container(horizontal=True, vertical_alignment="center")
mode = top.segmented_control(
    "What to do",
    modes,
    default="Explore",
    required=True,
    key="do",
    bind="query-params",
    label_visibility="collapsed",
)
if mode == "Build":
    build()
elif mode == "Policies":
    policies(store)
elif mode == "Archive":
    archive()
elif rows:
    explore(rows, top)
else:
    empty_state(
        "There is no dataset yet",
        "Let a mixture of good and bad behaviours play; the default one takes a few seconds.",
        "Build a dataset",
        "pages/datasets.py",
        {"do": "Build"},
    )
