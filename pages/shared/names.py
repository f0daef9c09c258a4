"""Names that are still free."""

from __future__ import annotations

import itertools
import re

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.frame import open_store
from seqrl.store import Store

_USED = "names.used"


def free_name(store: Store, wish: str) -> str:
    """The wish, with the first number behind it that no dataset, run or sweep has, nor results without a row."""
    wish = re.sub(r"[^A-Za-z0-9._-]+", "-", wish).strip("-.")[:56] or "new"
    taken = {row.name for archived in (False, True) for row in store.datasets(archived)}
    taken |= {row.name for archived in (False, True) for row in store.runs(archived)}
    taken |= {row.name for archived in (False, True) for row in store.sweeps(archived)}
    names = itertools.chain([wish], (f"{wish}-{number}" for number in itertools.count(2)))
    free = (name for name in names if name not in taken)
    return next(name for name in free if not (store.has_results("runs", name) or store.has_results("sweeps", name)))


def name_field(place: DeltaGenerator, label: str, wish: str, key: str, help: str | None = None) -> str:
    """A field with a free name in it, and what it says.

    What somebody typed stays, whatever other people start meanwhile; a proposal that somebody else took is replaced by
    one that is free, and so is a name that was used here, see `name_used`.

    Args:
        place: where the field goes.
        label: of the field.
        wish: what the name should begin with.
        key: of the field; another one where another wish begins afresh.
        help: its tooltip.
    """
    key = f"{key}.{st.session_state.get(_USED, 0)}"
    free = free_name(open_store(), wish)
    proposed = str(st.session_state.setdefault(f"{key}.proposed", free))
    if st.session_state.get(f"{key}.{proposed}", proposed) == proposed:  # nobody typed anything
        proposed = st.session_state[f"{key}.proposed"] = free
    return place.text_input(label, proposed, key=f"{key}.{proposed}", help=help)


def name_used() -> None:
    """Something was started under the name of a field, so that the next one needs another."""
    st.session_state[_USED] = st.session_state.get(_USED, 0) + 1
