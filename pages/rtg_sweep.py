"""RTG sweep: ask a model for a return and see what it delivers; then watch the episode behind a point."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.shared.archive import archive_sweep_button, archived_sweeps
from pages.shared.charts import chart
from pages.shared.episode_choice import to_the_lab
from pages.shared.episode_view import episode_player
from pages.shared.exports import csv_button, json_button, report_button
from pages.shared.frame import (
    bound,
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
    problems,
    redraw,
    start_among,
    start_with,
    style,
    two_columns,
)
from pages.shared.jobs import progress
from pages.shared.new_sweep import new_sweep
from pages.shared.sweep_view import (
    Measured,
    dataset_returns,
    filmed,
    goal_unit,
    labels,
    luck_of,
    measured,
    no_point,
    normalisation,
    on_average,
    point_name,
    point_names,
    typical,
)
from seqrl import plots
from seqrl.calibration import success
from seqrl.plots.format import count, number
from seqrl.plots.template import PALETTES
from seqrl.store import ACTIVE_STATES, SweepRow

_PICTURE = "rtg.picture"

heading("RTG sweep", "Ask a model for a return, low or high: does it deliver what it was asked for?")
store = open_store()
trained = [row for row in own_first(store.runs()) if store.has_checkpoint(row.name)]
runs = [row for row in trained if row.facts.environment]
sweeps = [row for row in store.sweeps() if row.kind == "sweep_rtg"]
known = [row.name for row in sweeps]
if form_is_open("form", "ask", not known) and runs:
    slot = st.empty()
    with slot.container():
        started = new_sweep(store, runs)
    if started is not None:
        # No rerun here: it would bring back what the widgets below said before.
        st.session_state.update({"sweep": started, "form": False, "point": None, "episode": None})
        known.insert(0, started)
        slot.empty()
if not known:
    if trained and not runs:
        empty_state(
            "These models have nothing to play in",
            "They learned from data without an environment. Their actions can be compared with the recorded ones.",
            "Compare with records",
            "pages/open_loop.py",
            {"evaluate": trained[0].name},
        )
    elif not runs:
        empty_state(
            "No model is trained yet",
            "Train one first; the quick preset takes about a minute.",
            "Train a model",
            "pages/train.py",
        )
    archived_sweeps(store, "sweep_rtg")
    st.stop()

first = newest(known)
if first.startswith("demo/"):  # the one that compares most kinds of model
    kinds = {row.name: row.spec.model.kind for row in trained}
    first = max(sweeps, key=lambda row: len({kinds.get(run) for run in row.spec.runs} - {None})).name
start_with("sweep", first, known)
with controls().container(horizontal=True, vertical_alignment="bottom"):
    name = st.selectbox("Sweep", known, index=None, key="sweep", bind="query-params", width=250) or known[0]
    sweep = store.sweep(name)
    reference = normalisation(store, sweep)
    unit = goal_unit(store, sweep)
    by_goal = unit is not None
    if by_goal and sweep.spec.targets:
        axis = st.segmented_control(
            "Axis",
            ["Goal", "Return"],
            default="Goal",
            required=True,
            help="How often goals are reached by how far away they were, or achieved against target return.",
            key="axis",
            bind="query-params",
        )
        by_goal = axis == "Goal"
    if not by_goal:
        st.segmented_control(
            "Scale",
            ["Raw", "Normalised"],
            default="Raw",
            required=True,
            disabled=reference is None,
            help=f"Raw reward, or a score: {reference[1]}."
            if reference
            else "Nothing is known to compare the reward with.",
            key="scale",
            bind="query-params",
            on_change=redraw,
            args=(_PICTURE,),
        )
        st.toggle("Single episodes", True, key="dots", bind="query-params", on_change=redraw, args=(_PICTURE,))
    if runs:
        form_button("form", "New sweep")
growing = sweep.state in ACTIVE_STATES
with st.container():  # always there, so that the chart below stays where it is
    if sweep.job_id is not None:
        progress(sweep.job_id, f"sweep.{sweep.name}")


def choose_clicked(point: object) -> None:
    """A click on a mean chooses its point; a click on a dot chooses that episode."""
    episodes = store.sweep_episodes(name)
    if isinstance(point, list) and len(point) == 3:
        st.session_state["point"] = point_name(*point)
        chosen = episodes[point_names(episodes) == st.session_state["point"]]
        st.session_state["episode"] = str(typical(sweep, chosen)) if len(chosen) else None
    elif isinstance(point, int):
        row = episodes[episodes["episode_id"] == point].iloc[0]
        st.session_state["point"] = point_name(row["run"], row["decoding"], row["target"])
        st.session_state["episode"] = str(point)
    st.rerun()  # the whole page: the episode is drawn beside the chart's fragment


def start_with_an_episode(data: Measured, options: Sequence[str]) -> None:
    """Show an episode from the start: one whose video is there already, else only the middle point's table."""
    videos = filmed(sweep, data)
    asked = data.episodes[data.episodes["target"].notna()]
    if videos:
        chosen = asked[asked["episode_id"] == videos[sorted(videos)[len(videos) // 2]]].iloc[0]
        first = point_name(chosen["run"], chosen["decoding"], chosen["target"])
        if start_among("point", options, first):
            choose("episode", str(chosen["episode_id"]))
        elif bound("point") == first:
            start_with("episode", str(chosen["episode_id"]))
    elif len(asked):
        chosen = asked.sort_values("decoding", ascending=False, kind="stable").iloc[0]
        targets = sorted(asked["target"].unique())
        start_among("point", options, point_name(chosen["run"], chosen["decoding"], targets[len(targets) // 2]))


def draw(row: SweepRow, data: Measured) -> None:
    """The chart, its sentence and what can be taken away."""
    scale = bound("scale") or "Raw"
    info = plots.rtg_sweep_info(
        data.points,
        kinds=data.kinds,
        labels=labels(data.kinds),
        episodes=data.episodes if st.session_state["dots"] else None,
        dataset_returns=dataset_returns(store, row),
        reference_returns=reference[0] if reference and scale == "Normalised" else None,
    )
    figure = plots.rtg_sweep(info, *style())
    mark_chosen(figure, data)
    chart(
        figure,
        f"rtg-sweep-{row.name}-{scale}",
        "Achieved against target return",
        plots.sentence(info),
        table=data.points,
        on_click=choose_clicked,
    )
    if luck := luck_of(store, row):
        st.info(f"**Why asking for more may bring less.** {luck}", icon=":material/casino:")
    if "tt" in data.kinds.values():
        planning = row.spec.planning
        st.caption(
            "A Trajectory Transformer is not told the return. At every step it imagines "
            f"{count(planning.beam_width, 'future')} of {count(planning.horizon, 'step')} and takes the one whose "
            "predicted return is nearest to what is still asked for."
        )


def draw_goals(row: SweepRow, data: Measured) -> None:
    """The chart of a sweep whose observations name a goal: how often it is reached, by how far away it was."""
    goals = success(data.episodes)
    info = plots.goal_sweep_info(goals, kinds=data.kinds, labels=labels(data.kinds), unit=unit or "")
    chart(
        plots.goal_sweep(info, *style()),
        f"goal-sweep-{row.name}",
        "Goals reached against their distance",
        plots.sentence(info),
        table=goals,
    )


def mark_chosen(figure: go.Figure, data: Measured) -> None:
    """A ring around the point whose episodes are listed."""
    cells = data.points[point_names(data.points) == bound("point")]
    if len(cells) and pd.notna(cells["target"].iloc[0]) and not (reference and bound("scale") == "Normalised"):
        ink = PALETTES[style()[0]].ink
        figure.add_scatter(
            x=cells["target"],
            y=cells["comparable"],
            mode="markers",
            marker={"symbol": "circle-open", "size": 19, "color": ink, "line": {"width": 2}},
            hoverinfo="skip",
            showlegend=False,
            name="chosen",
        )


def calibration_table(data: Measured) -> pd.DataFrame:
    """The calibration figures with names that need no glossary."""
    names = labels(data.kinds)
    table = data.calibration
    return pd.DataFrame(
        {
            "model": [names.get(run, run) for run in table["run"]],
            "decoding": table["decoding"],
            "off by (mean)": [number(value) for value in table["mae"]],
            "bias": [number(value) for value in table["bias"]],
            "rank correlation": [number(value) for value in table["rank_correlation"]],
            "best reached": [number(value) for value in table["best"]],
        }
    )


chart_side, episode_side = two_columns()
data = measured(sweep)
with chart_side:

    @problems()
    def picture() -> None:
        """The part that grows while the sweep runs; with the first point the page around it changes, too."""
        row = store.sweep(name)
        now = measured(row)
        if data.episodes.empty and len(now.episodes):
            st.rerun()
        if by_goal:
            draw_goals(row, now)
            return
        draw(row, now)
        if len(now.calibration):
            st.dataframe(
                calibration_table(now),
                hide_index=True,
                height="content",
                alt="How far achieved is from asked, for each model and decoding",
            )

    st.fragment(picture, run_every=1 if growing else None, key=_PICTURE)()

names_of_points = point_names(data.episodes)
with episode_side:
    options = list(dict.fromkeys(names_of_points))
    if options and sweep.state == "succeeded":
        start_with_an_episode(data, options)
    left, right = st.columns([5, 2])
    point = left.selectbox(
        "Point",
        options,
        index=None,
        placeholder="Click a point or a dot in the chart",
        key="point",
        bind="query-params",
        disabled=not options,
        help="Model, decoding, and the return it was asked for.",
    )
    of_point = data.episodes[names_of_points == point]
    ids = [str(identifier) for identifier in of_point["episode_id"]]
    episode = right.selectbox(
        "Episode", ids, index=None, placeholder="Choose", key="episode", bind="query-params", disabled=not ids
    )
    if not options:
        no_point(sweep, "The first point appears in a few seconds.")
    elif point is None:
        st.info(
            "**Click a point** to see the episodes behind it, or **a dot** to watch exactly that episode. The video "
            "replays its recorded actions, and checks that the rewards are the recorded ones.",
            icon=":material/ads_click:",
        )
    else:
        cell = data.points[point_names(data.points) == point].iloc[0]
        st.markdown(f"{on_average(cell)}.")

        def choose_row() -> None:
            """A click on a row of the table chooses its episode."""
            rows = st.session_state["episodes.table"]["selection"]["rows"]
            if rows:
                st.session_state["episode"] = ids[rows[0]]

        if episode is not None:
            row = of_point[of_point["episode_id"] == int(episode)].iloc[0]
            episode_player(sweep, row, f"player.{sweep.name}")
            to_the_lab(sweep.name, int(episode))
        shown = of_point[["episode_id", "achieved_return", "length", "truncated", "seed"]].rename(
            columns={
                "episode_id": "episode",
                "achieved_return": "return",
                "length": "steps",
                "truncated": "time limit",
            }
        )
        with st.expander("All episodes of this point", expanded=episode is None):
            st.dataframe(
                shown,
                hide_index=True,
                height=min(260, 38 + 35 * len(shown)),
                column_config={"return": st.column_config.NumberColumn(format="%.4g")},
                on_select=choose_row,
                selection_mode="single-row",
                key="episodes.table",
                alt="The episodes of the chosen point",
            )

if not presenting():
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(":gray[Take away:]", width="content")
        if options:
            csv_button(data.points, f"{name}-points", "Points as CSV")
            csv_button(data.calibration, f"{name}-calibration", "Calibration as CSV")
            csv_button(data.episodes, f"{name}-episodes", "Episodes as CSV")
            report_button(store, name)
        json_button(sweep.spec, f"{name}-spec", "Spec as JSON")
        archive_sweep_button(store, sweep)
    archived_sweeps(store, "sweep_rtg")
