"""What the server does before anybody asks: while a browser is still being opened, it reads what pages need."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

import streamlit as st

log = logging.getLogger("seqrl.pages")

PARTS = ("charts", "jobs", "tour", "episode_view", "lessons.table")
"""Of `pages.shared`, beside `opening`: what app.py and Home import, and with it most of what any page does."""

STANDBY_AFTER_S = 3.0
"""The first page is drawn by then; nobody can want a job before."""


@asynccontextmanager
async def making_ready(_: st.App) -> AsyncIterator[None]:
    """Begin to read in a thread. The server answers meanwhile; a page that is asked for early waits for its modules."""
    ended = threading.Event()

    def begin() -> None:
        make_ready()
        if not ended.wait(STANDBY_AFTER_S):
            stand_by()

    threading.Thread(target=begin, name="making ready", daemon=True).start()
    yield
    ended.set()


def make_ready() -> None:
    """Import what pages import, and look up what Home shows; a store that cannot be read is left to the pages."""
    for part in PARTS:
        import_module(f"pages.shared.{part}")
    from pages.shared.opening import look_up
    from pages.shared.plotly_library import packed_library

    packed_library()
    try:
        look_up()
    except (sqlite3.Error, ValueError, OSError) as error:
        log.info("what Home shows was not looked up: %s", error)


def stand_by() -> None:
    """Have processes wait for the first jobs that are wanted at once, where jobs are processes of this machine."""
    from pages.shared.frame import open_store
    from seqrl.jobs import choice, standby

    try:
        if choice(open_store()).backend == "local":
            standby.keep()
    except (sqlite3.Error, ValueError, OSError) as error:
        log.info("no process stands by for jobs: %s", error)
