"""The part of the Train page that tries several values of settings, and several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import streamlit as st

from pages.shared import forms
from pages.shared.estimates import grid_seconds
from pages.shared.exports import json_button
from pages.shared.frame import bound, finite, link_to
from pages.shared.grid_view import grid_progress
from pages.shared.names import name_used
from seqrl import grids, jobs
from seqrl.config import MOST_RUNS, GridSpec, RunSpec, Spec, TrainingSpec, parse_values
from seqrl.plots import setting_name
from seqrl.plots.format import count, duration
from seqrl.store import Store


def is_wished() -> bool:
    """Whether the form will describe a grid, before it is drawn."""
    return bool(bound("vary")) or str(bound("seeds") or 1) not in ("1", "1.0")


def several(model: type[Spec], now: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    """Draw the fields.

    Args:
        model: the model's spec.
        now: dotted setting → the value that the form has for it.

    Returns:
        Dotted setting → values as typed, and the number of seeds.
    """
    options = {
        setting_name(name): f"{group}.{name}"
        for group, spec in (("model", model), ("training", TrainingSpec))
        for name in spec.model_fields
        if name != "kind"
    }
    with st.expander("Try several", icon=":material/grid_view:", expanded=is_wished()):
        left, right = st.columns([4, 1])
        chosen = left.multiselect(
            "Settings to vary",
            list(options),
            key="vary",
            bind="query-params",
            placeholder="None: one training",
            help=f"One training for every combination of their values and every seed, {MOST_RUNS} at most.",
        )
        seeds = right.number_input(
            "Seeds", value=1, step=1, key=finite("seeds"), bind="query-params", help="Counted from the seed above."
        )
        texts = {}
        for label in chosen:
            name = options[label]
            group, _, leaf = name.partition(".")
            info = (model if group == "model" else TrainingSpec).model_fields[leaf]
            texts[name] = st.text_input(
                f"Values of {label}",
                _values_to_begin_with(info.annotation, now.get(name)),
                key=f"values.{name}",
                bind="query-params",
                help=f"Between commas, such as 1, 5, 10 or 5:20:5. {forms.help_of(info)}",
            )
    return texts, int(seeds or 0)


def _values_to_begin_with(annotation: Any, now: Any) -> str:
    """All words that a setting may be, or the number that it is."""
    kind, _ = forms.plain_type(annotation)
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    return "null" if now is None else f"{now:g}" if isinstance(now, float) else str(now).lower()


def grid_of(base: RunSpec, texts: Mapping[str, str], seeds: int) -> GridSpec:
    """The grid that the fields describe around the settings of the form.

    Raises:
        ValueError: one sentence on what cannot be read or trained.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; choose at least 1")
    axes = {name: parse_values(text, setting_name(name)) for name, text in texts.items()}
    return GridSpec.of(base, axes, range(base.seed, base.seed + seeds))


def grid_panel(store: Store, spec: GridSpec) -> str | None:
    """What a grid costs, and the button that starts it.

    Returns:
        Its name, when it was just started.
    """
    plan, problem = forms.validated(lambda: grids.plan(store, spec))
    missing = plan.missing if plan else ()
    if plan is None:
        forms.complain(problem)
    else:
        combinations = len(spec.cells()) // len(spec.seeds)
        told = f"{count(combinations, 'combination')} × {count(len(spec.seeds), 'seed')}"
        told += f" = {count(combinations * len(spec.seeds), 'run')}"
        if plan.present:
            told += f", {len(plan.present)} of which are there already"
        at_once = jobs.job_limit(store)
        how = "one after the other" if at_once == 1 else f"{at_once} at a time"
        if missing:
            seconds, source = grid_seconds(store, missing, at_once)
            st.metric("All of it will take about", duration(seconds), help=f"The estimate is {source}.")
            st.caption(f"{told}, {how}. Estimate {source}.")
        else:
            st.info(f"{told}: nothing is left to train.", icon=":material/check_circle:")
    label = f"Train {count(len(missing), 'run')}" if missing else "Train"
    pressed = st.button(label, type="primary", icon=":material/play_arrow:", disabled=not missing, key="grid.submit")
    json_button(spec, f"grid-{spec.name}", "Spec as JSON")
    if not pressed:
        return None
    try:
        grids.submit(store, spec)
    except ValueError as error:
        forms.complain(str(error))
        return None
    name_used()
    return spec.name


def started(store: Store, name: str) -> None:
    """How far a grid is that was started here, and where it is looked at."""
    grid_progress(store, name, "train.grid")
    link_to("pages/runs.py", "Watch them learn", ":material/monitoring:", {"runs.view": "Grids", "grid": name})
