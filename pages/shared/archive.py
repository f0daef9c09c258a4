"""What was put away, hidden but not destroyed, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from pages.shared.jobs import ago
from seqrl.plots.format import count
from seqrl.store import ACTIVE_STATES, RunRow, Store, SweepRow


def restorable(rows: Sequence[tuple[str, str]], restore: Callable[[str], None]) -> None:
    """A line with a button for each.

    Args:
        rows: name, and what else is said of it.
        restore: brings one back.
    """
    for name, told in rows:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{name}** · {told}", width="stretch")
            pressed = st.button("Restore", icon=":material/unarchive:", key=f"restore.{name}")
        if pressed:
            restore(name)
            st.rerun()


def folded(rows: Sequence[RunRow] | Sequence[SweepRow], noun: str, restore: Callable[[str], None]) -> None:
    """The archive of a page, folded away; nothing where it is empty."""
    if rows:
        with st.expander(f"Archive: {count(len(rows), noun)}", icon=":material/archive:"):
            restorable([(row.name, ago(row.created)) for row in rows], restore)


def archived_sweeps(store: Store, kind: str) -> None:
    """The sweeps of a kind that were put away."""
    folded([row for row in store.sweeps(archived=True) if row.kind == kind], "sweep", store.restore_sweep)


def archive_sweep_button(store: Store, row: SweepRow, key: str) -> None:
    """Puts a sweep away, unless it is bundled or still grows.

    Args:
        store: where it is.
        row: the sweep.
        key: of the widget that chose it.
    """

    def put_away() -> None:
        """Archive it, and let the page show another one."""
        store.archive_sweep(row.name)
        st.session_state[key] = None

    if not store.bundled(row.name) and row.state not in ACTIVE_STATES:
        st.button(
            "Archive",
            icon=":material/archive:",
            key=f"{key}.archive",
            type="tertiary",
            help="Hidden, not destroyed.",
            on_click=put_away,
        )
