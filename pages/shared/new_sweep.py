"""The form that starts a return sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import streamlit as st

from pages.shared import forms
from pages.shared.jobs import submit
from pages.shared.names import name_field
from pages.shared.sweep_view import returns_in_data
from seqrl.config import (
    PlanningSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    can_choose,
    check_return_sweep,
    offered_decodings,
    sweep_discount,
    takes_target,
)
from seqrl.plots.format import count
from seqrl.plots.layout import round_step
from seqrl.registry import MODELS
from seqrl.store import RunRow, Store

TOKEN_SAMPLING = ("actions", "observations", "rewards")
"""Settings of single token kinds, which the command line and the stored spec offer."""


def suggested_targets(returns: np.ndarray) -> str:
    """About ten round targets over the range of some returns, as ``start:stop:step``; both where there are only two."""
    low, high = float(returns.min()), float(returns.max())
    if not high > low:
        return f"{high:g}"
    if len(np.unique(returns)) == 2:
        return f"{low:g}, {high:g}"
    step = round_step(high - low, 10)
    start, stop = math.ceil(low / step) * step, math.floor(high / step) * step
    if start == 0 and low >= 0:
        start = step
    return f"{start:g}:{stop:g}:{step:g}" if stop > start else f"{low:g}, {high:g}"


def fitting(runs: Sequence[RunRow]) -> dict[str, int]:
    """Planning settings to begin with, which every Trajectory Transformer among these runs can carry out."""
    seen = [row.spec.model.context_length for row in runs if row.spec.model.kind == "tt"]
    return {"context": min(PlanningSpec().context, *seen)} if seen else {}


def new_sweep(store: Store, runs: Sequence[RunRow]) -> str | None:
    """Draw the form; the name of the sweep when one was just started."""
    names = [row.name for row in runs]
    wished = [row.name for row in runs if MODELS[row.spec.model.kind].conditioned] or names
    with st.container(border=True):
        chosen = st.multiselect(
            "Runs", names, default=wished[:1], key="ask", bind="query-params", help="The trained models to compare."
        )
        asked = [row for row in runs if row.name in chosen]
        offered = dict.fromkeys(d for row in asked for d in offered_decodings(row.spec.model, row.facts))
        first, second, third = st.columns([3, 2, 2])
        listening = [row for row in asked if takes_target(row.spec.model)]
        discount = sweep_discount(row.spec.model for row in asked)
        with first:
            text = st.text_input(
                "Targets (reward)" if discount == 1 else f"Targets (reward, discounted by {discount:g} a step)",
                suggested_targets(returns_in_data(listening[0])) if listening else "",
                key=f"targets.{chosen[0] if chosen else ''}",
                placeholder="none of these runs takes one",
                help="The returns to ask for: 25, 50, 100 or start:stop:step, stop included.",
            )
        with second:
            episodes = forms.field(ReturnSweepSpec, "episodes", "episodes")
        with third:
            key = f"decodings.{'.'.join(offered)}"
            decodings = forms.field(ReturnSweepSpec, "decodings", key, default=tuple(offered) or ...)
        left, middle, right = st.columns([3, 2, 2])
        grids = {row.grid for row in asked}
        of = next(iter(grids)) if len(grids) == 1 and len(asked) > 1 else None
        wish = f"sweep-{of or chosen[0].removeprefix('demo/')}" if chosen else "sweep"
        name = name_field(
            left, "Name", wish, f"sweep.name.{'.'.join(chosen)}", "How the sweep is called on every page."
        )
        with middle:
            temperature = forms.field(ReturnSweepSpec, "temperature", "temperature")
        with right:
            seed = forms.field(ReturnSweepSpec, "seed", "sweep.seed")
        choosing = any(can_choose(row.spec.model) for row in asked)
        model_chooses = choosing and forms.field(ReturnSweepSpec, "model_chooses", "model_chooses")
        planning: dict[str, object] = {}
        with st.expander("More settings", icon=":material/tune:", key="sweep.more", on_change="rerun"):
            acting = forms.field(ReturnSweepSpec, "acting", "acting")
            optimism = ReturnSweepSpec.model_fields["optimism"].default
            if model_chooses:
                optimism = forms.field(ReturnSweepSpec, "optimism", "optimism")
            if any(row.spec.model.kind == "tt" for row in asked):
                st.markdown("**Planning** of Trajectory Transformers, which take the future nearest to the target")
                planning = forms.fields(
                    PlanningSpec, "plan.", skip=TOKEN_SAMPLING, defaults=fitting(asked), advanced_title=""
                )

        def make() -> ReturnSweepSpec:
            """The spec that the form describes."""
            spec = ReturnSweepSpec(
                name=name,
                runs=tuple(chosen),
                targets=forms.numbers(text, "targets") if text.strip() else (),
                episodes=episodes,
                decodings=decodings,
                temperature=temperature,
                model_chooses=model_chooses,
                optimism=optimism,
                acting=acting,
                planning=PlanningSpec.model_validate(planning),
                seed=seed,
            )
            check_return_sweep(spec, {row.name: (row.spec, row.facts) for row in asked})
            return spec

        spec, problem = forms.validated(make)
        forms.complain(problem)
        if spec is not None:
            total = len(spec.runs) * len(spec.decodings) * max(len(spec.targets), 1) * spec.episodes
            targets = count(len(spec.targets), "target") if spec.targets else "no target"
            st.caption(
                f"{targets} × {count(spec.episodes, 'episode')} × "
                f"{count(len(spec.decodings), 'decoding')} × {count(len(spec.runs), 'run')}: "
                f"at most {count(total, 'episode')}"
            )
        pressed = st.button(
            "Run the sweep", type="primary", icon=":material/play_arrow:", disabled=spec is None, key="sweep.submit"
        )
    if pressed and spec is not None and submit(ReturnSweepJob(spec=spec)) is not None:
        return spec.name
    return None
