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


def archive_sweep_button(store: Store, row: SweepRow) -> None:
    """Puts a sweep away, unless it is bundled or still grows; the page then says so and shows another one."""
    if store.bundled(row.name) or row.state in ACTIVE_STATES:
        return
    if st.button(
        "Archive", icon=":material/archive:", key="sweep.archive", type="tertiary", help="Hidden, not destroyed."
    ):
        store.archive_sweep(row.name)
        st.rerun()
