"""Datasets made of the episodes of others: combined, filtered, split into two, or with goals in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from pages.shared import forms
from pages.shared.frame import newest
from pages.shared.jobs import submit
from pages.shared.names import name_field
from seqrl.config import DeriveJob, DeriveSpec, EpisodePart, Hindsight
from seqrl.store import DatasetRow, JobRow, Store

MAKES = ["One dataset", "Two sides of a split"]
HINDSIGHT = "Goals in hindsight"
_RANGES = ("minimum_return", "maximum_return", "minimum_length", "maximum_length")
_DIMENSIONS = ("observation_dimensions", "action_dimensions")


def from_datasets(store: Store) -> list[JobRow]:
    """Combine, filter or split datasets that are there; the jobs that were just started."""
    rows = [row for row in store.datasets() if row.facts is not None]
    if not rows:
        st.info("There is no dataset to take episodes from yet; build or import one.", icon=":material/call_merge:")
        return []
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    sources = left.multiselect(
        "Sources",
        [row.name for row in rows],
        default=[newest([row.name for row in rows])],
        key="derive.sources",
        bind="query-params",
        help="Several are combined: their episodes follow each other in this order.",
    )
    chosen = [row for row in rows if row.name in sources]
    with right:
        named = bool(chosen) and all(row.facts and row.facts.observation.goal for row in chosen)
        makes = [*MAKES, HINDSIGHT] if named else MAKES
        make = st.segmented_control(
            "Make", makes, default=MAKES[0], required=True, key="derive.make", bind="query-params"
        )
    names, part = _names_and_part(sources, make == MAKES[1])
    hindsight = _hindsight() if make == HINDSIGHT else None
    filters = _filters(chosen)

    def specs() -> list[DeriveSpec]:
        """The specs that the form describes, one a dataset."""
        values = {**filters, **{field: _whole(filters[field], field) for field in _DIMENSIONS}}
        if len(set(names)) < len(names):
            raise ValueError(f"both sides are called {names[0]}; choose two names")
        sides = [None] if part is None else [part | {"side": side} for side in ("first", "second")]
        return [
            DeriveSpec(name=name, sources=tuple(sources), part=side, hindsight=hindsight, **values)
            for name, side in zip(names, sides, strict=True)
        ]

    made, problem = forms.validated(specs)
    forms.complain(problem)
    label = "Make the two datasets" if part is not None else "Make the dataset"
    pressed = st.button(label, type="primary", icon=":material/call_merge:", disabled=made is None, key="derive.submit")
    started = [submit(DeriveJob(spec=spec)) for spec in made or ()] if pressed else []
    return [job for job in started if job is not None]


def _names_and_part(sources: Sequence[str], split: bool) -> tuple[list[str], dict[str, Any] | None]:
    """One name; or two, with the share and the seed that decide which episode goes to which side."""
    base = sources[0].removeprefix("demo/") if sources else "derived"
    if not split:
        return [name_field(st.container(), "Name", f"{base}-part", f"derive.name.{base}")], None
    first, second = st.columns(2)
    names = [
        name_field(column, f"Name of the {side} side", f"{base}-{ending}", f"derive.{side}.{base}")
        for column, side, ending in ((first, "first", "train"), (second, "second", "test"))
    ]
    part = forms.fields(EpisodePart, "derive.part.", skip=("side",), columns=2, advanced_title="")
    return names, part


def _hindsight() -> dict[str, Any]:
    """How stretches are cut out."""
    st.markdown("**Goals in hindsight**: stretches of episodes as if what they reached had been their goal")
    return forms.fields(Hindsight, "derive.hindsight.", columns=4, advanced_title="")


def _filters(rows: Sequence[DatasetRow]) -> dict[str, Any]:
    """What episodes have to be, and which of their numbers are kept."""
    st.markdown("**Keep only** episodes with these returns, lengths and tiers; empty keeps all")
    columns = st.columns(4)
    values: dict[str, Any] = {}
    for column, name in zip(columns, _RANGES, strict=True):
        with column:
            values[name] = forms.field(DeriveSpec, name, f"derive.{name}")
    tiers = list(dict.fromkeys(tier for row in rows if row.facts for tier in row.facts.returns_by_tier))
    values["tiers"] = ()
    if tiers:
        key = f"derive.tiers.{'.'.join(tiers)}"
        values["tiers"] = tuple(st.pills("Tiers to keep", tiers, selection_mode="multi", key=key) or ())
    with st.expander("Keep only some dimensions", icon=":material/view_column:"):
        for column, name in zip(st.columns(2), _DIMENSIONS, strict=True):
            with column:
                values[name] = forms.field(DeriveSpec, name, f"derive.{name}")
        st.caption("Numbers counted from 0, such as 0:15:1, 40. The result has no environment.")
    return values


def _whole(text: str, field: str) -> tuple[int, ...]:
    """Numbers of dimensions that were typed.

    Raises:
        ValueError: naming the field.
    """
    found = forms.numbers(text, field) if text.strip() else ()
    if any(value != int(value) for value in found):
        raise ValueError(f"{field} holds a fraction; give whole numbers such as 0:15:1, 40")
    return tuple(int(value) for value in found)
