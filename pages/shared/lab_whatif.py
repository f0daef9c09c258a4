"""Play it out: continue a recorded episode with another target, or change the target on the way, as real rollouts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared import forms
from pages.shared.charts import chart
from pages.shared.episode_choice import MOST_BESIDE, lab_link
from pages.shared.episode_view import recorded, steps_table
from pages.shared.exports import csv_button, json_button, report_button
from pages.shared.frame import go_to, open_store, presenting, style
from pages.shared.jobs import progress, submit
from pages.shared.names import free_name
from pages.shared.sweep_view import kind_of, returns_in_data
from seqrl import plots
from seqrl.calibration import points
from seqrl.config import (
    BeamSweepSpec,
    Origin,
    ScheduleSweepJob,
    ScheduleSweepSpec,
    TargetChange,
    check_schedule_sweep,
    parse_schedule,
    schedule_text,
    takes_target,
    target_discount,
)
from seqrl.plots.format import count, number, with_interval
from seqrl.store import ACTIVE_STATES, RunRow, SweepRow

CONTINUE = "From this step on"
CHANGE = "A schedule from the start"
_SHARED = ("temperature", "optimism", "acting", "precision", "planning", "seed")


def play_it_out(sweep: SweepRow, row: pd.Series, step: int) -> bool:
    """The form; whether this episode can be played on at all."""
    store = open_store()
    run = store.run(str(row["run"]))
    st.subheader("Play it out", anchor=False)
    if not takes_target(run.spec.model):
        st.info("This model takes no target, so there is nothing to change.", icon=":material/hearing_disabled:")
        return False
    if sweep.kind == "sweep_beam" and not row["width"]:
        st.info("This episode was played without planning, so no target could be chosen.", icon=":material/hearing:")
        return False
    if not store.has_checkpoint(run.name):
        st.info(f"The checkpoint of {run.name} is gone; train it again to play on.", icon=":material/cloud_off:")
        return False
    with st.container(border=True):
        _form(sweep, row, run, min(step, int(row["length"]) - 1))
    return True


def played_out(sweep: SweepRow, row: pd.Series) -> None:
    """What was played out of this episode so far, or by its run."""
    sweeps = open_store().sweeps()
    mine = [other for other in sweeps if other.kind == "sweep_schedule" and _belongs(other, sweep, row)]
    if mine:
        _results(mine, sweep)


def worth_trying(sweep: SweepRow, row: pd.Series, run: RunRow, step: int) -> str:
    """Two targets that differ: soon over (where rewards add up), and the most that the data has."""
    returns = returns_in_data(run)
    low, high = float(returns.min()), float(returns.max())
    if run.facts.reward_minimum >= 0:
        rewards = recorded(sweep, int(row["episode_id"]))["rewards"][:step]
        collected = float(rewards @ target_discount(run.spec.model) ** np.arange(len(rewards)))
        low = min(collected + 0.05 * (high - low), high)
    return f"{low:.4g}, {high:.4g}" if low < high else f"{high:.4g}"


def _belongs(other: SweepRow, sweep: SweepRow, row: pd.Series) -> bool:
    """Whether something was played out of this episode, or by its run from the start."""
    if other.name == sweep.name:
        return True
    origin = other.spec.origin
    if origin is None:
        return bool(other.spec.runs[0] == str(row["run"]))
    return bool(origin.sweep == sweep.name and origin.episode_id == int(row["episode_id"]))


class Wish(NamedTuple):
    """What the form says.

    Attributes:
        how: whether the episode goes on from the step, or new ones begin.
        text: targets, or the schedule.
        episodes: of every schedule.
        remembered: see `ScheduleSweepSpec`.
    """

    how: str
    text: str
    episodes: int
    remembered: str


def _form(sweep: SweepRow, row: pd.Series, run: RunRow, step: int) -> None:
    wish = _wish(sweep, row, run, step)

    def make() -> ScheduleSweepSpec:
        """The spec that the form describes."""
        spec = ScheduleSweepSpec.model_validate(_values(wish, sweep, row, run, step))
        check_schedule_sweep(spec, {run.name: (run.spec, run.facts)})
        return spec

    spec, problem = forms.validated(make)
    forms.complain(problem)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Play it out", icon=":material/fork_right:", disabled=spec is None, key="lab.play")
        if spec is not None:
            played = len(spec.all_schedules()) * spec.episodes
            st.caption(f"{count(played, 'episode')} in the real environment, the unchanged target among them.")
            json_button(spec, spec.name, "Spec as JSON")
    if pressed and spec is not None and submit(ScheduleSweepJob(spec=spec)) is not None:
        st.session_state["lab.played"] = spec.name


def _wish(sweep: SweepRow, row: pd.Series, run: RunRow, step: int) -> Wish:
    """The widgets of the form."""
    how = str(
        st.segmented_control("What is changed", [CONTINUE, CHANGE], default=CONTINUE, required=True, key="lab.how")
    )
    goes_on = how == CONTINUE
    first, second = st.columns([3, 2], vertical_alignment="bottom")
    with first:
        text = _targets(sweep, row, run, step) if goes_on else _schedule(run)
    with second:
        key = "lab.episodes.on" if goes_on else "lab.episodes.new"
        episodes = forms.field(ScheduleSweepSpec, "episodes", key, default=3 if goes_on else 10, bind=False)
    default = "rewritten" if goes_on else "kept"
    remembered = forms.field(ScheduleSweepSpec, "remembered", f"lab.remembered.{how}", default=default, bind=False)
    return Wish(how, text, episodes, remembered)


def _targets(sweep: SweepRow, row: pd.Series, run: RunRow, step: int) -> str:
    few = {0: "", 1: " The first step is played as recorded."}
    before = few.get(step, f" The first {step} steps are played as recorded.")
    return st.text_input(
        f"Targets from step {step} on (reward)",
        worth_trying(sweep, row, run, step),
        key=f"lab.targets.{row['episode_id']}.{step}",
        help=f"Return of the whole episode; what was collected before counts.{before}",
    )


def _schedule(run: RunRow) -> str:
    returns, later = returns_in_data(run), max(1, min(100, run.facts.step_limit // 4))
    return st.text_input(
        "Schedule (step:target)",
        f"0:{returns.min():.4g}, {later}:{returns.max():.4g}",
        key="lab.schedule",
        help="From step 0 the first target, from the next step on the second, and so on; it is compared with the first "
        "target held to the end.",
    )


def _values(wish: Wish, sweep: SweepRow, row: pd.Series, run: RunRow, step: int) -> dict[str, Any]:
    """The fields of the spec.

    Raises:
        ValueError: if the text is none of targets or a schedule.
    """
    values = _as_played(sweep, row) | {"episodes": wish.episodes, "remembered": wish.remembered}
    if wish.how == CONTINUE:
        targets = forms.numbers(wish.text, "targets")
        return values | {
            "name": free_name(open_store(), f"what-if-{row['episode_id']}-at-{step}"),
            "target": None if pd.isna(row["target"]) else float(row["target"]),
            "schedules": tuple((TargetChange(step=step, target=target),) for target in targets),
            "origin": Origin(sweep=sweep.name, episode_id=int(row["episode_id"]), step=step),
        }
    start, *later = parse_schedule(wish.text or "")
    if start.step != 0 or not later:
        raise ValueError(f"schedule is {wish.text!r}; begin with step 0 and change at least once, as 0:100, 120:400")
    name = free_name(open_store(), f"schedule-{run.name.removeprefix('demo/')}")
    return values | {"name": name, "target": start.target, "schedules": (tuple(later),)}


def _as_played(sweep: SweepRow, row: pd.Series) -> dict[str, Any]:
    """The settings that an episode was played with."""
    values = {name: getattr(sweep.spec, name) for name in _SHARED if hasattr(sweep.spec, name)}
    if isinstance(sweep.spec, BeamSweepSpec):
        values["planning"] = sweep.spec.cell_planning(int(row["width"]), int(row["horizon"]))
    decoding = str(row["decoding"])
    return values | {"runs": (str(row["run"]),), "decoding": "sampled" if decoding == "planned" else decoding}


def _results(mine: list[SweepRow], sweep: SweepRow) -> None:
    """What came of it: one of the sweeps that were played out, as a table, a chart and a link to watch it."""
    names = [other.name for other in mine]
    if st.session_state.get("lab.played") not in names:
        st.session_state["lab.played"] = sweep.name if sweep.name in names else names[0]
    name = st.selectbox("Played out", names, key="lab.played", help="What was played of this episode or by this run.")
    chosen = next(other for other in mine if other.name == name)
    if chosen.job_id is not None and chosen.state != "succeeded":
        progress(chosen.job_id, f"lab.whatif.{name}")
    episodes = open_store().sweep_episodes(name)
    if episodes.empty:
        return
    table = outcomes(chosen, episodes)
    st.markdown(told(table))
    left, right = st.columns([3, 2], vertical_alignment="top")
    with left:
        _strips(chosen, episodes)
    with right:
        st.dataframe(
            table.drop(columns=["low", "high", "mean"]),
            hide_index=True,
            alt="Return of every schedule, the unchanged target first",
        )
        first = episodes[episodes["episode"] == 0]
        ids = [int(identifier) for identifier in first["episode_id"]]
        start = chosen.spec.origin.step if chosen.spec.origin else 0
        if chosen.state not in ACTIVE_STATES and chosen.name != sweep.name:
            link = lab_link(name, ids[0], beside=ids[1 : 1 + MOST_BESIDE], step=start)
            if st.button("Watch side by side", icon=":material/splitscreen_left:", key=f"lab.watch.{name}"):
                st.session_state["lab.link"] = None
                go_to("pages/episode_lab.py", link)
        if not presenting():
            with st.container(horizontal=True):
                csv_button(table, f"{name}-outcomes", "Outcomes as CSV")
                csv_button(episodes, f"{name}-episodes", "Episodes as CSV")
                json_button(chosen.spec, f"{name}-spec", "Spec as JSON")
                report_button(open_store(), name)


def outcomes(sweep: SweepRow, episodes: pd.DataFrame) -> pd.DataFrame:
    """Mean return and interval of every schedule, in the order in which they are played."""
    table = points(episodes, by=("schedule",))
    order = [schedule_text(sweep.spec.target, schedule) for schedule in sweep.spec.all_schedules()]
    table = table.set_index("schedule").reindex([text for text in order if text in set(table["schedule"])])
    shown = [with_interval(*values) for values in zip(table["mean"], table["low"], table["high"], strict=True)]
    return pd.DataFrame(
        {
            "asked for": table.index,
            "return (95% interval)": shown,
            "episodes": table["n"].to_numpy(),
            "steps": [number(value) for value in table["length"]],
            "mean": table["mean"].to_numpy(),
            "low": table["low"].to_numpy(),
            "high": table["high"].to_numpy(),
        }
    )


def told(table: pd.DataFrame) -> str:
    """What came of it, in words."""
    first, *others = table.to_dict("records")
    if not others:
        return f"With the target unchanged ({first['asked for']}) it collects {number(first['mean'])}."
    rest = "; ".join(f"asked for {other['asked for']}, **{number(other['mean'])}**" for other in others)
    return f"With the target unchanged ({first['asked for']}) it collects **{number(first['mean'])}**; {rest}."


def _strips(sweep: SweepRow, episodes: pd.DataFrame) -> None:
    """The first episode of every schedule on one time axis."""
    store = open_store()
    kind = kind_of(store.run(sweep.spec.runs[0]))
    action = store.run(sweep.spec.runs[0]).facts.action
    traces, shown = [], {}
    for _, row in episodes[episodes["episode"] == 0].head(4).iterrows():
        label = f"asked for {row['schedule']}"
        shown[label] = steps = recorded(sweep, int(row["episode_id"]))
        trace = plots.EpisodeTrace(
            label=label,
            kind=kind,
            rewards=np.asarray(steps["rewards"]),
            returns_to_go=steps["returns_to_go"],
            actions=steps["actions"],
            action_probabilities=steps.get("action_probabilities"),
            episode_id=int(row["episode_id"]),
        )
        traces.append(trace)
    names = action.labels if action.kind == "discrete" else action.names
    info = plots.episode_strips_info(traces, action_names=names)
    start = sweep.spec.origin.step if sweep.spec.origin else None
    chart(
        plots.episode_strips(info, *style(), step=start),
        f"played-{sweep.name}",
        "The first episode of every schedule on one time axis",
        plots.sentence(info),
        table=lambda: pd.concat([steps_table(steps, name) for name, steps in shown.items()]),
    )
