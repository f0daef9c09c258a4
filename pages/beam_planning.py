"""Beam planning: what looking ahead buys and costs, and what was imagined before each decision."""

import pandas as pd
import streamlit as st

from pages.shared.archive import archive_sweep_button, archived_sweeps
from pages.shared.charts import chart
from pages.shared.episode_choice import beam_cell_name, cell_names, to_the_lab
from pages.shared.episode_view import episode_player
from pages.shared.exports import csv_button, json_button, report_button
from pages.shared.frame import (
    controls,
    empty_state,
    form_button,
    form_is_open,
    heading,
    newest,
    open_store,
    own_first,
    presenting,
    problems,
    redraw,
    start_among,
    start_with,
    style,
    two_columns,
)
from pages.shared.jobs import progress
from pages.shared.new_beam_sweep import new_beam_sweep
from pages.shared.plan_view import decision, predictions
from pages.shared.sweep_view import labels, no_point, on_average, typical
from seqrl import plots
from seqrl.calibration import points as mean_points
from seqrl.config import TrajectoryTransformerSpec
from seqrl.plots.format import duration
from seqrl.store import ACTIVE_STATES, NotFound

CELL = ("run", "width", "horizon")

_PICTURE = "beam.picture"

heading("Beam planning", "What does it buy to imagine several futures before every step, and what does it cost?")
store = open_store()
runs = [
    row
    for row in own_first(store.runs())
    if isinstance(row.spec.model, TrajectoryTransformerSpec)
    and row.facts.environment
    and store.has_checkpoint(row.name)
]
known = [row.name for row in store.sweeps() if row.kind == "sweep_beam"]
if form_is_open("beam.form", "plan.with", not known) and runs:
    slot = st.empty()
    with slot.container():
        started = new_beam_sweep(store, runs)
    if started is not None:
        # No rerun here: it would bring back what the widgets below said before.
        st.session_state.update({"beams": started, "beam.form": False, "beam.point": None, "beam.episode": None})
        known.insert(0, started)
        slot.empty()
if not known:
    if not runs:
        empty_state(
            "No Trajectory Transformer is trained yet",
            "Train one first; then let it imagine before it acts.",
            "Train a Trajectory Transformer",
            "pages/train.py",
            {"model": "TT"},
        )
    archived_sweeps(store, "sweep_beam")
    st.stop()

start_with("beams", newest(known), known)
with controls().container(horizontal=True, vertical_alignment="bottom"):
    name = st.selectbox("Sweep", known, index=None, key="beams", bind="query-params", width=300) or known[0]
    sweep = store.sweep(name)
    st.toggle("Single episodes", True, key="beam.dots", bind="query-params", on_change=redraw, args=(_PICTURE,))
    if runs:
        form_button("beam.form", "New sweep")
growing = sweep.state in ACTIVE_STATES
with st.container():  # always there, so that the chart below stays where it is
    if sweep.job_id is not None:
        progress(sweep.job_id, f"beam.{sweep.name}")


def summary(episodes: pd.DataFrame) -> pd.DataFrame:
    """Mean, interval and time per decision of every point."""
    if episodes.empty:
        return pd.DataFrame(columns=[*CELL, "n", "mean", "low", "high", "seconds_per_decision"])
    seconds = episodes.groupby(list(CELL), as_index=False)["seconds_per_decision"].mean()
    return mean_points(episodes, by=CELL).merge(seconds, on=list(CELL))


def reference() -> dict[str, float]:
    """The data's mean return, to compare with."""
    try:
        return {"the data's mean": store.run(sweep.spec.runs[0]).facts.returns.mean}
    except NotFound:
        return {}


def choose(point: object) -> None:
    """A click on a mean chooses its point; a click on a dot chooses that episode."""
    episodes = store.sweep_episodes(name)
    if isinstance(point, list) and len(point) == 3:
        st.session_state["beam.point"] = beam_cell_name(*point)
        chosen = episodes[cell_names(sweep.kind, episodes) == st.session_state["beam.point"]]
        st.session_state["beam.episode"] = str(recorded_first(chosen)) if len(chosen) else None
    elif isinstance(point, int):
        row = episodes[episodes["episode_id"] == point].iloc[0]
        st.session_state["beam.point"] = beam_cell_name(row["run"], row["width"], row["horizon"])
        st.session_state["beam.episode"] = str(point)
    st.session_state["beam.clicked"] = st.session_state.get("beam.episode")
    st.rerun()  # the whole page: the episode is drawn beside the chart's fragment


def recorded_first(episodes: pd.DataFrame) -> int:
    """An episode whose plans were kept, if there is one; else a typical one."""
    kept = episodes[episodes["episode"] < sweep.spec.recorded_episodes]
    return typical(sweep, kept if len(kept) else episodes)


def choose_episode() -> None:
    """A point that was picked from the list opens with the episode whose plans were kept."""
    table = store.sweep_episodes(name)
    chosen = table[cell_names(sweep.kind, table) == st.session_state["beam.point"]]
    st.session_state["beam.episode"] = str(recorded_first(chosen)) if len(chosen) else None


chart_side, episode_side = two_columns()
episodes = store.sweep_episodes(name)
with chart_side:

    @problems()
    def picture() -> None:
        """The part that grows while the sweep runs; with the first point the page around it changes, too."""
        now = store.sweep_episodes(name)
        if episodes.empty and len(now):
            st.rerun()
        kinds, table = dict.fromkeys(sweep.spec.runs, "tt"), summary(now)
        info = plots.beam_sweep_info(
            table,
            kinds=kinds,
            labels=labels(kinds),
            episodes=now if st.session_state["beam.dots"] and len(now) else None,
            references=reference(),
        )
        chart(
            plots.beam_sweep(info, *style()),
            f"beam-{name}",
            "Return and time per decision against beam width",
            plots.sentence(info),
            table=table,
            on_click=choose,
        )

    st.fragment(picture, run_every=1 if growing else None, key=_PICTURE)()

cells = cell_names(sweep.kind, episodes)
with episode_side:
    options = list(dict.fromkeys(cells))
    if options:
        start_among("beam.point", options, options[-1])
    left, right = st.columns([5, 2])
    point = left.selectbox(
        "Point",
        options,
        index=None,
        placeholder="Click a point",
        key="beam.point",
        bind="query-params",
        on_change=choose_episode,
        disabled=not options,
    )
    of_point = episodes[cells == point]
    ids = [str(identifier) for identifier in of_point["episode_id"]]
    if ids:
        start_among("beam.episode", ids, str(recorded_first(of_point)))
    episode = right.selectbox(
        "Episode", ids, index=None, placeholder="Choose", key="beam.episode", bind="query-params", disabled=not ids
    )
    if not options:
        no_point(sweep, "The first point appears when its episodes have ended.")
    elif point is None or episode is None:
        st.info("**Click a point** or **a dot** to watch an episode and its plans.", icon=":material/ads_click:")
    else:
        table = summary(of_point)
        cell = table.iloc[0]
        st.markdown(f"{on_average(cell)}, with **{duration(cell['seconds_per_decision'])}** per decision.")
        row = of_point[of_point["episode_id"] == int(episode)].iloc[0]
        asked_for = st.session_state.get("beam.clicked") == episode
        episode_player(sweep, row, f"beam.player.{sweep.name}", at_once=asked_for)
        to_the_lab(sweep.name, int(episode))

if point is not None and episode is not None:
    steps = store.episode_steps(name, int(episode))
    facts = store.run(str(row["run"])).facts
    tree_side, reward_side = two_columns()
    with tree_side:
        decision(steps, facts, f"{name}-{episode}")
    with reward_side:
        predictions(steps, f"{name}-{episode}")

if not presenting():
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(":gray[Take away:]", width="content")
        if options:
            csv_button(episodes, f"{name}-episodes", "Episodes as CSV")
            report_button(store, name)
        json_button(sweep.spec, f"{name}-spec", "Spec as JSON")
        archive_sweep_button(store, sweep)
    archived_sweeps(store, "sweep_beam")
