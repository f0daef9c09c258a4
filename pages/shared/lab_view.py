"""The body of the Episode lab: the episodes in step, and what is computed at the step that was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from pages.shared.episode_choice import write_link
from pages.shared.episode_view import clip, downloads, episode_title, trace
from pages.shared.frame import open_store, presenting, problems, redraw, sentence, two_columns
from pages.shared.jobs import drawing, submit, unfinished
from pages.shared.lab_answers import answers
from pages.shared.lab_player import step_through
from pages.shared.lab_whatif import play_it_out, played_out
from pages.shared.sweep_view import film
from seqrl.config import RenderJob, RenderSpec
from seqrl.plots import episode_strips_info, step_sentence
from seqrl.store import SweepRow


def drawn(sweep: SweepRow, rows: Sequence[pd.Series], *, at_once: bool) -> bool:
    """Whether all of these episodes have a video; those that have none are drawn first.

    Args:
        sweep: that they were measured in.
        rows: of its episode table, the chosen episode first.
        at_once: whether somebody asked for the chosen one, or it needs a button first.
    """
    missing = [
        identifier for identifier in (int(row["episode_id"]) for row in rows) if not film(sweep, identifier).is_file()
    ]
    for identifier in missing:
        wanted = RenderJob(spec=RenderSpec(sweep=sweep.name, episode_id=identifier))
        job = unfinished(wanted)
        if job is None:
            waits = not at_once and identifier == int(rows[0]["episode_id"])
            if waits and not st.button(
                "Draw this episode", icon=":material/play_circle:", type="primary", key="lab.draw"
            ):
                continue
            job = submit(wanted)
        if job is not None:
            drawing(job, f"lab.render.{identifier}")
    return not missing


_SAID, _ANSWERS, _PLAYED = "lab.said", "lab.answers", "lab.played.out"
"""The fragments that a step draws anew; the player keeps its frames."""


def lab(sweep: SweepRow, rows: Sequence[pd.Series], go: Callable[[int], None]) -> None:
    """The episodes in step; beside or below them what the model does at the chosen step.

    Args:
        sweep: that they were measured in.
        rows: of its episode table, one to three.
        go: opens the next (+1) or previous (−1) episode, before the page is drawn again.
    """
    film_side, side = two_columns() if len(rows) == 1 else (st.container(), st.container())
    with film_side:
        _player(sweep, rows, go)
        _said(sweep, rows)
        if not presenting():
            take_away(sweep, rows)
    with side:
        asked = focus(sweep, rows)
        _answers(sweep, asked, rows)
    if not presenting():
        with film_side if len(rows) == 1 else st.container():
            _played(sweep, asked, rows)


def chosen_step(rows: Sequence[pd.Series]) -> int:
    """The step that is looked at, at most the end of the longest episode."""
    return min(int(st.session_state.get("lab.step", 0)), max(int(row["length"]) for row in rows))


def _player(sweep: SweepRow, rows: Sequence[pd.Series], go: Callable[[int], None]) -> None:
    ids = [int(row["episode_id"]) for row in rows]

    def stepped(step: int) -> None:
        st.session_state["lab.step"] = step
        redraw(_SAID, _ANSWERS, *([] if presenting() else [_PLAYED]))

    visit = f"{st.session_state.get('lab.visit', 0)}.{sweep.name}.{'.'.join(map(str, ids))}"
    if st.session_state.get("lab.shown") != visit:
        st.session_state.update({"lab.shown": visit, "lab.start": chosen_step(rows)})
    start = int(st.session_state["lab.start"])
    shown = [clip(sweep, row) for row in rows]
    moving = presenting() and not start
    step_through(shown, "lab.player", visit=visit, start=start, on_step=stepped, on_go=go, playing=moving)


@st.fragment(key=_SAID)
@problems()
def _said(sweep: SweepRow, rows: Sequence[pd.Series]) -> None:
    step = chosen_step(rows)
    first, *others = (int(row["episode_id"]) for row in rows)
    write_link(sweep.name, first, others, step)
    sentence(_told(sweep, rows, step))


@st.fragment(key=_ANSWERS)
@problems()
def _answers(sweep: SweepRow, asked: pd.Series, rows: Sequence[pd.Series]) -> None:
    answers(sweep, asked, chosen_step(rows), beside=len(rows) == 1)


@st.fragment(key=_PLAYED)
@problems()
def _played(sweep: SweepRow, asked: pd.Series, rows: Sequence[pd.Series]) -> None:
    if play_it_out(sweep, asked, chosen_step(rows)):
        played_out(sweep, asked)


def _told(sweep: SweepRow, rows: Sequence[pd.Series], step: int) -> str:
    """What happens at a step, in words."""
    action = open_store().run(str(rows[0]["run"])).facts.action
    names = action.labels if action.kind == "discrete" else action.names
    return step_sentence(episode_strips_info([trace(sweep, row) for row in rows], action_names=names), step)


def focus(sweep: SweepRow, rows: Sequence[pd.Series]) -> pd.Series:
    """The episode that is asked: the only one, or the one that is chosen among several."""
    if len(rows) == 1:
        return rows[0]
    titles = {int(row["episode_id"]): episode_title(sweep.kind, row) for row in rows}
    if st.session_state.get("lab.focus") not in titles:
        st.session_state["lab.focus"] = next(iter(titles))
    chosen = st.segmented_control(
        "Look into", list(titles), format_func=lambda identifier: titles[identifier], key="lab.focus", required=True
    )
    return next(row for row in rows if int(row["episode_id"]) == chosen)


def take_away(sweep: SweepRow, rows: Sequence[pd.Series]) -> None:
    """Each episode as MP4, GIF, strips and CSV."""
    for row in rows:
        identifier = int(row["episode_id"])
        with st.container(horizontal=True, vertical_alignment="center"):
            if len(rows) > 1:
                st.markdown(f":gray[Episode {identifier}:]", width="content")
            downloads(sweep, row, f"lab.{sweep.name}-episode-{identifier}")
