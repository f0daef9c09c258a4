"""Runs: what was trained, what trains now, and how their curves and settings compare."""

import pandas as pd
import streamlit as st

from pages.shared.archive import folded
from pages.shared.charts import chart
from pages.shared.exports import csv_button
from pages.shared.frame import (
    controls,
    empty_state,
    heading,
    open_store,
    own_first,
    problems,
    start_among,
    start_with_some,
    style,
)
from pages.shared.grid_view import grid_view
from pages.shared.jobs import STATES, ago
from pages.shared.run_exchange import import_form
from pages.shared.run_view import (
    compared_with,
    detail,
    differences,
    matches,
    model_name,
    settings_and_results,
)
from pages.shared.sweep_view import kind_of
from seqrl import jobs, plots
from seqrl.plots.format import count
from seqrl.plots.training import sparkline
from seqrl.store import ACTIVE_STATES, RunRow

MOST_SHOWN, MOST_PICKED, MOST_ROWS = 4, 12, 8
FIRST_METRICS = ("loss", "validation_loss")

heading("Runs", "How is training going, which run is best, and what did its settings have to do with it?")
store = open_store()
jobs.reconcile(store)
runs = own_first(store.runs())
if not runs:
    empty_state(
        "Nothing was trained yet",
        "The quick preset takes about a minute, and you can watch its curve grow here.",
        "Train a model",
        "pages/train.py",
    )
    import_form(store)
    folded(store.runs(archived=True), "run", store.restore_run)
    st.stop()

found_grids = store.grids()
if found_grids:
    views = ["Runs", "Grids"]
    start_among("runs.view", views, "Grids" if "grid" in st.query_params else "Runs")
    view = st.segmented_control(
        "View",
        views,
        default=None,
        required=True,
        key="runs.view",
        bind="query-params",
        label_visibility="collapsed",
        help="Single runs; or trainings that were started together, summed up over their seeds.",
    )
    if view == "Grids":
        grid_view(store, found_grids, MOST_PICKED)
        folded(store.runs(archived=True), "run", store.restore_run)
        st.stop()

names = [row.name for row in runs]
active = {row.name for row in runs if row.state in ACTIVE_STATES}
live_every = 1.5 if active and not st.session_state.get("pause") else None


def table_of(rows: list[RunRow]) -> pd.DataFrame:
    """The runs as a table, with a small curve of the loss each."""
    series = store.metric_series([row.name for row in rows], "loss")
    return pd.DataFrame(
        [
            {
                "run": row.name,
                "model": model_name(row),
                "dataset": row.spec.dataset,
                "state": STATES[row.state][1],
                "progress": row.step / max(1, row.steps),
                "best loss": row.best_value,
                "loss": sparkline(series[row.name][1]),
            }
            | ({"heartbeat": ago(row.heartbeat) if row.state in ACTIVE_STATES else "–"} if active else {})
            | {"started": pd.Timestamp(row.started or row.created, unit="s", tz="UTC"), "tags": list(row.tags)}
            | ({"grid": row.grid or "–"} if found_grids else {})
            for row in rows
        ]
    )


@st.fragment(run_every=live_every)
@problems()
def overview() -> None:
    """The table; it draws the page anew when a run began or ended."""
    jobs.advance(store)
    rows = own_first(store.runs())
    if {row.name for row in rows if row.state in ACTIVE_STATES} != active:
        st.rerun()
    table = table_of([row for row in rows if row.name in found])
    if st.session_state.pop("runs.picked", False):
        st.rerun()  # the whole page: what is compared stands below this fragment

    def pick() -> None:
        """Compare the rows that are ticked."""
        rows = st.session_state["runs.table"]["selection"]["rows"]
        st.session_state["runs"] = [table["run"].iloc[row] for row in sorted(rows)[:MOST_PICKED]]
        st.session_state["runs.picked"] = True

    st.dataframe(
        table,
        hide_index=True,
        height=min(38 + 35 * len(table), 38 + 35 * MOST_ROWS),
        on_select=pick,
        selection_mode="multi-row",
        column_config={
            "progress": st.column_config.ProgressColumn(
                "progress", width=110, min_value=0.0, max_value=1.0, format="percent"
            ),
            "best loss": st.column_config.NumberColumn("best loss", format="%.3g"),
            "started": st.column_config.DatetimeColumn("started", format="distance"),
            "loss": st.column_config.LineChartColumn(
                "loss", width=110, help="Training loss from the first step to the last."
            ),
            "tags": st.column_config.ListColumn("tags"),
        },
        key="runs.table",
        alt="Runs with state, progress, best validation loss and a small curve of the loss; tick rows to compare them",
    )


if len(runs) > MOST_ROWS:
    with controls("Find runs"):
        sought = st.text_input(
            "Find runs",
            key="find",
            bind="query-params",
            placeholder="name, grid, model, dataset, state, tag or note",
            help="Rows that hold all of these words. Tick rows to compare them.",
            width=360,
        )
    found = {row.name for row in runs if matches(row, sought or "")}
else:
    found = set(names)
overview()
with controls():
    start_with_some("runs", names[:MOST_SHOWN], names)
    shown = st.multiselect("Runs to compare", names, key="runs", bind="query-params", help="Newest first.")
    measured = {name: store.metrics(name) for name in shown}
    known = sorted({str(column) for frame in measured.values() for column in frame} - {"step", "time_s"})
    metrics = [*(name for name in FIRST_METRICS if name in known), *(n for n in known if n not in FIRST_METRICS)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.selectbox("Metric", metrics or ["loss"], key="metric", bind="query-params", width=240)
        axis = st.segmented_control(
            "Against", ["step", "time"], default="step", required=True, key="runs.axis", bind="query-params"
        )
        rare = str(metric).startswith("validation")
        smoothing = st.slider(
            "Smoothing",
            0.0,
            0.98,
            0.0 if rare else 0.6,
            0.02,
            key="validation.smoothing" if rare else "smoothing",
            bind="query-params",
            width=200,
            help="0 shows what was measured; the raw line stays behind the smooth one.",
        )
        log = st.toggle("Log scale", key="log", bind="query-params")
        st.toggle("Pause", key="pause", disabled=not active, help="Stops the updates, not the training.")

kinds = {row.name: kind_of(row) for row in runs}


@st.fragment(run_every=live_every)
@problems()
def curves() -> None:
    """The curves of the chosen runs, drawn in place as they grow."""
    frames = {name: store.metrics(name) for name in shown}
    info = plots.training_curves_info(
        frames,
        metric,
        kinds=kinds,
        within={row.name: compared_with(row) for row in runs},
        axis="time" if axis == "time" else "step",
        smoothing=smoothing,
    )

    def table() -> pd.DataFrame:
        """All metrics of the shown runs, one under the other."""
        return pd.concat([frame.assign(run=name) for name, frame in frames.items()], ignore_index=True)

    chart(
        plots.training_curves(info, *style(), log=log),
        "training-curves",
        f"{info.title} of {count(len(info.curves), 'run')}",
        plots.sentence(info),
        table=table if frames else None,
    )


if shown:
    curves()
else:
    st.info("Choose a run above, or tick rows of the table.", icon=":material/checklist:")
chosen = [row for row in runs if row.name in shown]
if chosen:
    st.subheader("One run", anchor=False)
    options = [row.name for row in chosen]
    start_among("run", options, options[0])
    one = st.selectbox("Run", options, index=None, key="run", bind="query-params", label_visibility="collapsed")
    detail(store, chosen[options.index(one or options[0])])
if len(chosen) >= 2:
    differences(chosen)
settings_and_results(runs, kinds, chosen[0] if chosen else None)
with st.container(horizontal=True, horizontal_alignment="right"):
    csv_button(lambda: table_of(store.runs()).drop(columns="loss"), "runs", "All runs as CSV")
import_form(store)
folded(store.runs(archived=True), "run", store.restore_run)
