"""The tour: a few stops over the real pages, each with one thing to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from pages.shared.frame import go_to


@dataclass(frozen=True)
class Stop:
    """A page in one state, and what to look at there.

    Attributes:
        page: its script.
        query: its state.
        text: one or two sentences.
    """

    page: str
    query: Mapping[str, str]
    text: str


STOPS: tuple[Stop, ...] = (
    Stop(
        "pages/home.py",
        {},
        "**Three episodes, one model.** It was asked for a low, a middle and a high return. Each dot in the chart is "
        "an episode like these; each line joins the means of one way of playing.",
    ),
    Stop(
        "pages/lessons.py",
        {"lesson": "return-to-go"},
        "**The one number it is told.** Move the step: what is still to come is the return-to-go.",
    ),
    Stop(
        "pages/datasets.py",
        {"do": "", "dataset": "demo/cartpole"},
        "**All that it ever learned from.** Recordings of bad, middling and good players; nothing was tried out.",
    ),
    Stop(
        "pages/train.py",
        {"dataset": "demo/cartpole", "model": "DT"},
        "**Training takes about a minute.** It runs in the background: you may close the page meanwhile.",
    ),
    Stop(
        "pages/rtg_sweep.py",
        {"sweep": "demo/rtg"},
        "**Does it deliver what it is asked for?** On the diagonal it does. Click a dot: that very episode is played.",
    ),
    Stop(
        "pages/lessons.py",
        {"lesson": "greedy-or-sampled"},
        "**The surprise.** When it always takes the likeliest action, the same model ignores the request.",
    ),
    Stop(
        "pages/episode_lab.py",
        {"sweep": "demo/rtg"},
        "**Look inside.** Step through an episode, and see what the model attends to and what it would do if asked "
        "for something else.",
    ),
    Stop(
        "pages/lessons.py",
        {"lesson": "low-middle-high"},
        "**Your turn.** Here are eleven lessons. Most end with the jobs that made their records, ready for you to run.",
    ),
)


def touring() -> int | None:
    """The number of the stop that the address names, from 1; None outside the tour."""
    number = st.query_params.get("tour", "")
    return int(number) if number.isdecimal() and 1 <= int(number) <= len(STOPS) else None


def start_button() -> None:
    """The button that starts the tour."""
    if st.button("Start the tour", icon=":material/tour:", key="tour.start"):
        _visit(1)


def banner() -> None:
    """What to look at here, with the way on and back; nothing outside the tour."""
    number = touring()
    if number is None:
        return
    stop = STOPS[number - 1]
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="tour.banner"):
        st.markdown(f":material/tour: Stop {number} of {len(STOPS)}. {stop.text}")
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            back = st.button(
                "Back",
                icon=":material/arrow_back:",
                key="tour.back",
                disabled=number == 1,
                shortcut="PageUp",
            )
            last = number == len(STOPS)
            on = st.button(
                "Finish" if last else "Next",
                icon=":material/check:" if last else ":material/arrow_forward:",
                key="tour.next",
                type="primary",
                shortcut="PageDown",
            )
            leave = not last and st.button("Leave the tour", key="tour.leave", type="tertiary")
    if leave or (on and last):
        del st.query_params["tour"]
        st.rerun()
    if on or back:
        _visit(number + (1 if on else -1))


def _visit(number: int) -> None:
    stop = STOPS[number - 1]
    go_to(stop.page, {**stop.query, "tour": str(number)})
