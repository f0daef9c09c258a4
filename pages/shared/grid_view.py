"""A grid of trainings: how far it is, what came of every combination, and what can be done with all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.exports import csv_button, json_button
from pages.shared.frame import bound, choose, controls, link_to, problems, start_with, style, two_columns
from pages.shared.jobs import STATES
from pages.shared.plain import plain
from pages.shared.run_view import clone_query
from pages.shared.sweep_view import kind_of, measured
from seqrl import grids, jobs, plots
from seqrl.config import GridSpec, target_discount
from seqrl.plots.format import count, enumerate_words, number, with_interval
from seqrl.store import ACTIVE_STATES, GridRow, RunRow, Store, SweepRow

MOST_NAMED, MOST_ROWS = 3, 12
FEW_SEEDS = 5
"""With fewer, a bootstrap interval covers clearly less than it says."""


def grid_view(store: Store, rows: Sequence[GridRow], most_compared: int) -> None:
    """Choose a grid and show it.

    Args:
        store: where it is.
        rows: the grids, the newest first.
        most_compared: so many runs can be compared by their curves.
    """
    names = [row.name for row in rows]
    start_with("grid", names[0], names)
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Grid", names, index=None, key="grid", bind="query-params", width=300) or names[0]
        settings = {plots.setting_name(setting): setting for setting in store.grid(name).spec.settings}
        sweeps = {row.name: row for row in grids.sweeps_of(store, store.grid_runs(name))}
        results = {about.title: key for key, about in grids.RESULTS.items()}
        axis = settings[_option("Against", "grid.by", list(settings))] if settings else ""
        sweep = sweeps[_option("Measured in the sweep", "grid.sweep", list(sweeps))] if sweeps else None
        result = results[_option("Result", "grid.result", list(results))] if sweeps else grids.BEST_LOSS
    grid_progress(store, name, "grid")
    active = {row.name for row in store.grid_runs(name) if row.state in ACTIVE_STATES}

    @st.fragment(run_every=2 if active else None)
    @problems()
    def came_of_it() -> None:
        """What grows while runs end; when the last one does, the page is drawn anew."""
        runs = store.grid_runs(name)
        if active and not any(row.state in ACTIVE_STATES for row in runs):
            st.rerun()
        _results(store.grid(name), runs, sweep, result, axis)

    came_of_it()
    _actions(store, store.grid(name), store.grid_runs(name), most_compared)


def _option(label: str, key: str, options: list[str]) -> str:
    """One of a few, kept in the address; what another grid left there and this one lacks begins afresh."""
    if bound(key) not in options:
        choose(key, options[0])
    return st.selectbox(label, options, index=None, key=key, bind="query-params", width=220) or options[0]


def grid_progress(store: Store, name: str, key: str) -> None:
    """How far the runs of a grid are, with a way to stop or resume all of them.

    Args:
        store: where it is.
        name: the grid.
        key: prefix of the widgets.
    """
    before = {row.name for row in store.grid_runs(name) if row.state in ACTIVE_STATES}

    @st.fragment(run_every=1 if before else None)
    @problems()
    def live() -> None:
        jobs.reconcile(store)
        runs = store.grid_runs(name)
        found = grids.states(runs)
        if before and not any(state in found for state in ACTIVE_STATES):
            st.rerun()
        told = enumerate_words([f"{amount} {STATES[state][1]}" for state, amount in found.items()])
        if set(found) == {"succeeded"}:
            st.markdown(f":material/check_circle: **{name}**: {count(len(runs), 'run')}, all done.")
            return
        bar, button = st.columns([5, 2], vertical_alignment="center")
        bar.progress(grids.progress(runs), text=f"**{name}**: {count(len(runs), 'run')}, {told}")
        if any(state in found for state in ACTIVE_STATES):
            if button.button("Stop all", icon=":material/stop:", key=f"{key}.stop", width="stretch"):
                _try(lambda: grids.cancel(store, name))
        elif button.button("Resume the others", icon=":material/play_arrow:", key=f"{key}.resume", width="stretch"):
            _try(lambda: grids.resume(store, name))
        lost = [row for row in runs if row.state in ("failed", "interrupted")]
        for row in lost[:MOST_NAMED]:
            icon, verb = STATES[row.state]
            st.markdown(f"{icon} {row.name} {verb}: {plain(row.message)}")
        if len(lost) > MOST_NAMED:
            st.caption(f"and {len(lost) - MOST_NAMED} more, in the table of runs.")

    live()


def _try(action: Callable[[], object]) -> None:
    """Do something with a grid and draw the page anew; that there is nothing left to do with it needs no words."""
    with suppress(ValueError):
        action()
    st.rerun()


def _results(grid: GridRow, runs: list[RunRow], sweep: SweepRow | None, result: str, axis: str) -> None:
    """The two pictures and the table of a grid."""
    spec = grid.spec
    results = None if sweep is None else grids.sweep_results(measured(sweep).calibration)
    of_runs = grids.runs_table(spec, runs, results)
    table = grids.aggregate(spec, of_runs)
    about = grids.RESULTS[result]
    if spec.settings:
        beside = two_columns() if len(spec.settings) + (1 if sweep is None else len(grids.RESULTS)) <= 3 else None
        left, right = beside or (st.container(), st.container())
        with left:
            others = [name for name in spec.settings if name != axis]
            info = plots.grid_info(
                table, of_runs, axis, others, result,
                title=about.title, kind=kind_of(runs[0]), lower_is_better=about.lower_is_better,
            )  # fmt: skip
            chart(
                plots.grid(info, *style()),
                f"grid-{grid.name}-{result}",
                f"{about.title.capitalize()} of the grid {grid.name} against {plots.setting_name(axis)}",
                plots.sentence(info),
                table=of_runs,
            )
        with right:
            _parallel(spec, table, result, kind_of(runs[0]))
    _table(spec, table, result)
    with st.container(horizontal=True, horizontal_alignment="right"):
        csv_button(table, f"grid-{grid.name}", "Means as CSV")
        csv_button(of_runs, f"grid-{grid.name}-runs", "Runs as CSV")
        json_button(spec, f"grid-{grid.name}", "Spec as JSON")


def _parallel(spec: GridSpec, table: pd.DataFrame, result: str, kind: str) -> None:
    """Every combination as a line over its settings to its results."""
    known = [name for name in grids.RESULTS if name in table and name != result]
    titles = {name: grids.RESULTS[name].title for name in (*known, result)}
    shown = table.set_index("combination")[[*spec.settings, *known, result]].rename(columns=titles)
    info = plots.parallel_runs_info(
        shown,
        titles[result],
        kinds=dict.fromkeys(table["combination"], kind),
        lower_is_better=grids.RESULTS[result].lower_is_better,
        also=[titles[name] for name in known],
        noun="combination",
    )
    chart(
        plots.parallel_runs(info, *style()),
        f"grid-parallel-{spec.name}",
        f"Combinations of the grid {spec.name} in parallel coordinates, means over the seeds",
        plots.sentence(info),
        table=table,
    )


def _table(spec: GridSpec, table: pd.DataFrame, result: str) -> None:
    """Every combination with its means and intervals, the best first."""
    ranked = table.sort_values(result, ascending=grids.RESULTS[result].lower_is_better, kind="stable")
    columns: dict[str, list[str]] = {}
    for name in spec.settings:
        columns[plots.setting_name(name)] = [_told(value) for value in ranked[name]]
    columns["finished"] = [f"{done} of {all_}" for done, all_ in zip(ranked["finished"], ranked["runs"], strict=True)]
    for name in grids.RESULTS:
        if name in ranked:
            ends = zip(ranked[name], ranked[f"{name}_low"], ranked[f"{name}_high"], strict=True)
            columns[grids.RESULTS[name].title] = [with_interval(*of) for of in ends]
    frame = pd.DataFrame(columns)
    st.dataframe(
        frame,
        hide_index=True,
        height=min(38 + 35 * len(frame), 38 + 35 * MOST_ROWS),
        alt=f"Combinations of the grid {spec.name}, the best first: means over the seeds and 95 % intervals",
    )
    told = "Means over the finished runs of a combination, with 95% bootstrap intervals over its seeds."
    if 1 < len(spec.seeds) < FEW_SEEDS:
        told += f" From {count(len(spec.seeds), 'seed')} they come out narrower than they should be."
    st.caption(told)


def _told(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(float(value), 6)
    return "–" if value is None else str(value)


def _actions(store: Store, grid: GridRow, runs: list[RunRow], most_compared: int) -> None:
    """What can be done with all runs of a grid."""
    able = [row for row in runs if row.facts.environment and store.has_checkpoint(row.name)]
    with st.container(horizontal=True, vertical_alignment="center"):
        for discount, names in _comparable(able).items():
            link_to(
                "pages/rtg_sweep.py",
                "Ask all of them for returns" if len(names) == len(able) else f"Ask those with γ = {discount:g}",
                ":material/target:",
                {"ask": names},
                help="One sweep over these runs; what it measures is compared here.",
            )
        link_to(
            "pages/train.py",
            "Try more values",
            ":material/add:",
            more_query(grid, runs[0]),
            help="The same grid with further values or seeds; what is there already is not trained again.",
        )

        def compare() -> None:
            """Show the curves of its runs."""
            st.session_state["runs.view"] = "Runs"
            st.session_state["runs"] = [row.name for row in runs[:most_compared]]

        shown = "their" if len(runs) <= most_compared else f"the first {most_compared}"
        st.button(f"Compare {shown} curves", icon=":material/show_chart:", on_click=compare, key="grid.curves")


def _comparable(runs: list[RunRow]) -> dict[float, list[str]]:
    """Discount → the runs whose targets have it: only these can be asked for the same."""
    found: dict[float, list[str]] = {}
    for row in runs:
        found.setdefault(target_discount(row.spec.model), []).append(row.name)
    return found


def more_query(grid: GridRow, run: RunRow) -> dict[str, str | list[str]]:
    """The address of the Train page with a grid filled in.

    Args:
        grid: the grid.
        run: one of its runs, for all that does not vary.
    """
    base = run.spec.model_copy(update={"seed": grid.spec.seeds[0]})
    query: dict[str, str | list[str]] = {**clone_query(base), "grid": grid.name}
    query["vary"] = [plots.setting_name(name) for name in grid.spec.settings] or ""
    query["seeds"] = str(len(grid.spec.seeds))
    for axis in grid.spec.axes:
        query[f"values.{axis.setting}"] = ", ".join("null" if v is None else str(v) for v in axis.values)
    return query
