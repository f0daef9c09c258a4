"""Which episode is shown: its point, its name, and the address that leads to exactly it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.shared.frame import link_to, newest, say_gone
from pages.shared.sweep_view import drawn_among, filmed, measured, point_name
from seqrl.calibration import by_typicality
from seqrl.store import SweepRow

MOST_BESIDE = 2
_LINK = ("sweep", "episode", "beside", "step")
_SEARCHED = 12


def beam_cell_name(run: str, width: int, horizon: int) -> str:
    """How a point of a beam sweep is called: "tt · width 8 · horizon 4"."""
    return f"{run} · width {int(width)} · horizon {int(horizon)}" if width else f"{run} · without planning"


def cell_names(kind: str, episodes: pd.DataFrame) -> pd.Series:
    """The point that each episode of a sweep of this kind belongs to."""
    if episodes.empty:
        return pd.Series(dtype=str)
    name = {"sweep_beam": beam_cell_name}.get(kind, point_name)
    by = {"sweep_beam": ("run", "width", "horizon"), "sweep_schedule": ("run", "decoding", "schedule")}
    columns = by.get(kind, ("run", "decoding", "target"))
    if kind == "sweep_schedule":
        return episodes["run"] + " · " + episodes["decoding"] + " · " + episodes["schedule"]
    rows = zip(*(episodes[column] for column in columns), strict=True)
    return pd.Series([name(*row) for row in rows], index=episodes.index, dtype=str)


def first_episode(sweep: SweepRow, episodes: pd.DataFrame) -> int:
    """The episode to begin with: one whose video is there, else one that is neither lucky nor unlucky."""
    if sweep.kind == "sweep_rtg":
        videos = filmed(sweep, measured(sweep))
        if videos:
            return videos[sorted(videos)[len(videos) // 2]]
    drawn = drawn_among(sweep, [int(identifier) for identifier in episodes["episode_id"][:_SEARCHED]])
    return by_typicality(episodes)[0] if drawn is None else drawn


def take_link(known: list[str]) -> None:
    """Choose what the address says, when somebody came with one."""
    link = tuple(st.query_params.get(name, "") for name in _LINK)
    if link == st.session_state.get("lab.link") or not any(link):
        return
    sweep, episode, beside, step = link
    if sweep not in known:
        if sweep:
            say_gone([sweep], [newest(known)])
        sweep, episode, beside = newest(known), "", ""
    state = st.session_state
    state["lab.link"] = link
    state["lab.sweep"] = sweep
    state["lab.episode"] = _number(episode)
    state["lab.beside"] = list(dict.fromkeys(_number(one) for one in beside.split(",")))
    first = _number(step)
    state["lab.step"] = first if isinstance(first, int) else 0
    state["lab.asked"] = (sweep, state["lab.episode"])
    for key in ("lab.point", "lab.choice"):
        state.pop(key, None)
    begin_anew()


def _number(text: str) -> int | str | None:
    """A number of the address, or else the text that stands there, if any."""
    return int(text) if text.isdecimal() and len(text) < 10 else text or None


def begin_anew() -> None:
    """Let the player begin where the server is, also with an episode that was shown before."""
    st.session_state["lab.visit"] = st.session_state.get("lab.visit", 0) + 1


def write_link(sweep: str, episode: int, beside: list[int], step: int) -> None:
    """Let the address say what is shown."""
    link = (sweep, str(episode), ",".join(map(str, beside)), str(step))
    st.session_state["lab.link"] = link
    told = dict(zip(_LINK, link, strict=True))
    for name in told:
        if not told[name] and name in st.query_params:
            del st.query_params[name]
    if any(value and st.query_params.get(name) != value for name, value in told.items()):
        # All at once: the browser remembers each change as a place to go back to.
        st.query_params.update({name: value for name, value in told.items() if value})


def lab_link(sweep: str, episode: int, *, beside: list[int] | None = None, step: int = 0) -> dict[str, str]:
    """The query that opens the Episode lab at exactly this."""
    link = {"sweep": sweep, "episode": str(episode), "step": str(step)}
    return link | ({"beside": ",".join(map(str, beside))} if beside else {})


def to_the_lab(sweep: str, episode: int) -> None:
    """The link below an episode that opens it in the Episode lab."""
    link_to(
        "pages/episode_lab.py",
        "Look inside",
        ":material/biotech:",
        lab_link(sweep, episode),
        help="Open this episode in the Episode lab",
    )
