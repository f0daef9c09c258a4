"""Open loop: what models would have done at recorded steps, where nothing can be played."""

from typing import Any

import numpy as np
import streamlit as st

from pages.shared.charts import chart
from pages.shared.exports import csv_button, json_text_button
from pages.shared.frame import (
    choose,
    controls,
    empty_state,
    form_button,
    form_is_open,
    heading,
    newest,
    open_store,
    own_first,
    presenting,
    start_with,
    style,
    two_columns,
)
from pages.shared.jobs import memory_held, progress
from pages.shared.open_loop_view import evaluations, new_evaluation, no_sweep
from pages.shared.sweep_view import kind_of
from seqrl import plots
from seqrl.config.imports import SPLITS
from seqrl.plots.format import count, number, percent
from seqrl.store import ACTIVE_STATES, JobRow

heading("Open loop", "What would a model have done at recorded steps? This needs no environment to play in.")
store = open_store()
runs = [row for row in own_first(store.runs()) if store.has_checkpoint(row.name)]
datasets = [row for row in store.datasets() if row.facts is not None]
known = evaluations(store)
if not known and not runs:
    empty_state(
        "No model is trained yet",
        "Train one first; the quick preset takes about a minute.",
        "Train a model",
        "pages/train.py",
    )
    st.stop()


def show_once(job: JobRow) -> None:
    """Say what a job held; a new result is what the page shows, until somebody chooses another one."""
    memory_held(job)
    unseen = st.session_state.get("open.unseen", set())
    if job.state == "succeeded" and job.id in unseen:
        unseen.discard(job.id)
        choose("of", store.evaluation(job.name)["spec"]["dataset"])


if form_is_open("open.form", "evaluate", not known) and runs:
    started = new_evaluation(store, runs, datasets)
    if started:
        st.session_state["open.jobs"] = [job.id for job in started]
        st.session_state["open.unseen"] = {job.id for job in started}
running = [job.id for job in store.jobs(states=ACTIVE_STATES) if job.kind == "open_loop"]
for job_id in dict.fromkeys([*st.session_state.get("open.jobs", ()), *running]):
    progress(job_id, f"open.{job_id}")
    show_once(store.job(job_id))
if not known:
    st.stop()

with controls().container(horizontal=True, vertical_alignment="bottom"):
    start_with("of", newest(list(known)), list(known))
    dataset = st.selectbox(
        "Recorded episodes of", list(known), index=None, key="of", bind="query-params", width=300
    ) or next(iter(known))
    measured = known[dataset]
    shown = st.multiselect("Measured runs", list(measured), default=list(measured)[:4], key=f"of.{dataset}", width=360)
    axis = st.segmented_control(
        "Against", ["History seen", "Time"], default="History seen", required=True, key="open.axis", bind="query-params"
    )
    if runs:
        form_button("open.form", "New evaluation")
row = next((row for row in datasets if row.name == dataset), None)
no_sweep(row)
results: dict[str, dict[str, Any]] = {run: measured[run] for run in shown}
kinds = {run.name: kind_of(run) for run in store.runs()}
if not results:
    st.info("Choose a measured run above.", icon=":material/checklist:")
    st.stop()


def figures() -> None:
    """The errors of the shown runs as numbers."""
    first = next(iter(results.values()))
    mismatch = first["measure"] == "mismatch"
    show = percent if mismatch else number
    st.markdown(
        "**Steps with another action than the recorded one**" if mismatch else "**Error in half action ranges**"
    )
    cells = st.grid("auto", min_column_width=170)
    for run, result in results.items():
        about = f"{count(result['steps'], 'step')} of {count(result['episodes'], 'episode')} {SPLITS[result['split']]}."
        cells.metric(run, show(result["overall"]), help=about)
    cells.metric("Always the same action" if mismatch else "Always the mean action", show(first["baseline"]))


def errors() -> None:
    """The action error, and the worst dimensions."""
    info = plots.action_error_info(results, kinds=kinds, axis="time" if axis == "Time" else "history")
    chart(
        plots.action_error(info, *style()),
        f"open-loop-{dataset}-{info.axis}",
        f"Action error on recorded episodes of {dataset}",
        plots.sentence(info),
        table=plots.action_error_table(info),
    )
    for run, result in results.items():
        rows = result.get("by_dimension") or []
        if len(rows) > 1 and not presenting():
            with st.expander(f"Worst actions of {run}", icon=":material/format_list_numbered:"):
                table = plots.worst_dimensions(rows, result["measure"])
                st.dataframe(table, hide_index=True, alt=f"The action dimensions that {run} predicts worst")
                csv_button(table, f"open-loop-{run}-dimensions")


def response() -> None:
    """What one run answers to other requests."""
    asked = [run for run, result in results.items() if result.get("response")]
    if not asked:
        st.info("None of these models can be asked for a return.", icon=":material/hearing_disabled:")
        return
    run = (
        asked[0]
        if len(asked) == 1
        else st.selectbox("Response of", asked, key="open.response", bind="query-params", width=300)
    )
    answered = results[run or asked[0]]["response"]
    values = np.array(answered["values"], dtype=np.float64)
    if row is not None and row.facts is not None and row.facts.action.kind == "box":
        values = np.stack([values, np.zeros_like(values)], axis=1)  # a mean, without a spread
    info = plots.response_curve_info(
        np.array(answered["targets"]),
        values,
        answered["names"],
        kind=kinds.get(run or asked[0], "dt"),
        data=tuple(answered["data"]),
        average=True,
    )
    chart(
        plots.response_curve(info, *style()),
        f"open-loop-{run}-response",
        f"What {run} answers to other requests",
        plots.sentence(info),
        table=plots.response_table(info),
    )


figures()
left, right = two_columns()
with left:
    errors()
with right:
    response()
if not presenting():
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(":gray[Take away:]", width="content")
        for run, result in results.items():
            json_text_button(result, f"open-loop-{run}", f"{run} as JSON")
