"""Episode lab: one episode, step by step; what the model looked at, and what it would have done otherwise."""

import streamlit as st

from pages.shared.episode_choice import (
    MOST_BESIDE,
    begin_anew,
    cell_names,
    first_episode,
    take_link,
    write_link,
)
from pages.shared.episode_view import episode_title
from pages.shared.exports import json_button
from pages.shared.frame import controls, empty_state, heading, newest, open_store, presenting
from pages.shared.lab_view import drawn, lab
from pages.shared.plain import plain
from pages.shared.sweep_view import typical
from seqrl.store import ACTIVE_STATES

FIRST_STEP = 20  # at the very first one there is little to look at yet; a room sees the episode move from its start

heading("Episode lab", "One episode, step by step: what did the model look at, and what would it have done otherwise?")
store = open_store()
known = [row.name for row in store.sweeps()]
if not known:
    empty_state(
        "No episode is measured yet",
        "Train a model, then ask it for returns in a sweep; every episode of the sweep can be opened here.",
        "Ask a model for returns",
        "pages/rtg_sweep.py",
    )
    st.stop()

take_link(known)
state = st.session_state
state.setdefault("lab.sweep", newest(known))


def forget_episode() -> None:
    """Another sweep has other episodes."""
    for key in ("lab.episode", "lab.point", "lab.beside", "lab.choice"):
        state.pop(key, None)
    state["lab.step"] = 0
    begin_anew()


def choose_point() -> None:
    """Begin with a typical episode of the point that was chosen; none is where the page was left in that moment."""
    if "lab.point" in state:
        choose_episode(typical(sweep, episodes[names == state["lab.point"]]))


def choose_listed() -> None:
    """Show the episode of the list that was chosen."""
    if "lab.choice" in state:
        choose_episode(int(state["lab.choice"]))


def choose_episode(identifier: int) -> None:
    """Show another episode from its beginning."""
    state["lab.episode"] = identifier
    state["lab.asked"] = (name, identifier)
    state["lab.step"] = 0
    state.pop("lab.choice", None)
    begin_anew()


notice = st.container()
with controls("Which episode"):
    first, second, third, fourth = st.columns([3, 4, 2, 4], vertical_alignment="bottom")
    name = first.selectbox("Sweep", known, key="lab.sweep", on_change=forget_episode)
    sweep = store.sweep(name)
    episodes = store.sweep_episodes(name)
    if episodes.empty:
        waiting = "Its first episodes appear in a few seconds." if sweep.state in ACTIVE_STATES else "It has none."
        st.info(f"No episode of **{name}** is measured yet. {waiting}", icon=":material/hourglass_empty:")
        if st.button("Look again", icon=":material/refresh:", key="lab.again"):
            st.rerun()
        st.stop()
    names = cell_names(sweep.kind, episodes)
    ids = [int(identifier) for identifier in episodes["episode_id"]]
    if state.get("lab.episode") not in ids:
        asked, state["lab.episode"] = state.get("lab.episode"), first_episode(sweep, episodes)
        if asked is not None:
            gone = f"{plain(name)} has no episode {plain(str(asked))}. This is episode {state['lab.episode']}."
            notice.info(gone, icon=":material/link_off:")
    shown = episodes.set_index("episode_id", drop=False).loc[state["lab.episode"]]
    state["lab.point"] = names[episodes["episode_id"] == state["lab.episode"]].iloc[0]
    second.selectbox(
        "Point", list(dict.fromkeys(names)), key="lab.point", on_change=choose_point, help="What was asked, of whom."
    )
    inside = [int(identifier) for identifier in episodes["episode_id"][names == state["lab.point"]]]
    state["lab.choice"] = state["lab.episode"]
    third.selectbox("Episode", inside, key="lab.choice", on_change=choose_listed)
    others = [identifier for identifier in ids if identifier != state["lab.episode"]]
    state["lab.beside"] = [one for one in state.get("lab.beside", []) if one in others][:MOST_BESIDE]
    titles = {int(row["episode_id"]): episode_title(sweep.kind, row) for row in episodes.to_dict("records")}
    beside = fourth.multiselect(
        "Beside it",
        others,
        key="lab.beside",
        max_selections=MOST_BESIDE,
        format_func=lambda identifier: titles[identifier].removeprefix("Episode "),
        placeholder="Other episodes of this sweep",
        help="Up to two more, moving in step: other targets, decodings or runs.",
    )

state.setdefault("lab.step", 0 if presenting() else min(FIRST_STEP, int(shown["length"]) // 2))
step = min(int(state["lab.step"]), int(shown["length"]))
write_link(name, int(state["lab.episode"]), list(beside), step)


def go(by: int) -> None:
    """The next or previous episode of the sweep."""
    choose_episode(ids[(ids.index(state["lab.episode"]) + by) % len(ids)])
    state["lab.beside"] = []


asked = state.get("lab.asked") == (name, state["lab.episode"])
rows = [shown, *(episodes.set_index("episode_id", drop=False).loc[identifier] for identifier in beside)]
if drawn(sweep, rows, at_once=asked):
    lab(sweep, rows, go)
if not presenting():
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(":gray[Take away:]", width="content")
        json_button(sweep.spec, f"{name}-sweep", "Spec of the sweep as JSON")
