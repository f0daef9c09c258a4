"""Where jobs run: on this machine or on a Ray cluster; the choice is in the sidebar of every page."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import open_store
from pages.shared.plain import plain
from seqrl import jobs
from seqrl.jobs.choice import BACKEND_VARIABLE

_NAMES: dict[jobs.BackendName, str] = {"local": "This machine", "ray": "Ray cluster"}


def place_line(choice: jobs.Choice) -> str:
    """Where jobs run, in a few words."""
    if choice.backend == "local":
        return "Jobs run here"
    return f"Ray at {plain(choice.address)}" if choice.address else "Jobs run on Ray"


def place_choice() -> None:
    """Say where jobs run, and offer to have them run elsewhere."""
    choice = jobs.choice(open_store())
    with st.sidebar.popover(place_line(choice), icon=":material/dns:", type="tertiary", key="place"):
        if choice.fixed:
            st.markdown(
                f"`{BACKEND_VARIABLE}` says so where this server was started. Start it without that variable to choose "
                "here."
            )
        else:
            _form(choice)


def _form(choice: jobs.Choice) -> None:
    complaint = st.container()  # above, where a low window does not cut it off
    name = st.segmented_control(
        "Jobs run on",
        list(_NAMES),
        format_func=_NAMES.__getitem__,
        default=choice.backend,
        required=True,
        key="place.backend",
        help="Jobs that run or wait already stay where they are. README, When one machine is not enough.",
    )
    address = None
    if name == "ray":
        address = st.text_input(
            "Address",
            value=choice.address or "",
            placeholder="a cluster of this machine",
            key="place.address",
            help="HOST:PORT of a running cluster that this machine is a node of. Empty: one of this machine alone, "
            "started with the first job.",
        )
    if st.button("Use it", type="primary", key="place.use"):
        with complaint:
            _use(name, (address or "").strip() or None)


def _use(name: jobs.BackendName, address: str | None) -> None:
    try:
        jobs.choose(open_store(), name, address)
    except ValueError as error:
        text = plain(str(error))
        st.error(f"{text[:1].upper()}{text[1:]}.", icon=":material/error:")
        return
    st.rerun()
