"""The form that starts a beam sweep."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.shared import forms
from pages.shared.jobs import submit
from pages.shared.names import name_field
from pages.shared.new_sweep import TOKEN_SAMPLING, fitting
from seqrl.config import BeamSweepJob, BeamSweepSpec, PlanningSpec, TrajectoryTransformerSpec, check_planning
from seqrl.plots.format import count
from seqrl.store import RunRow, Store


def whole_numbers(text: str, what: str) -> tuple[int, ...]:
    """Whole numbers typed as ``1, 2, 4`` or ``0:8:2``.

    Raises:
        ValueError: naming the one that is not whole.
    """
    found = forms.numbers(text, what)
    wrong = next((value for value in found if value != int(value)), None)
    if wrong is not None:
        raise ValueError(f"{what} names {wrong:g}; give whole numbers")
    return tuple(int(value) for value in found)


def new_beam_sweep(store: Store, runs: Sequence[RunRow]) -> str | None:
    """Draw the form; the name of the sweep when one was just started."""
    names = [row.name for row in runs]
    with st.container(border=True):
        chosen = st.multiselect(
            "Runs", names, default=names[:1], key="plan.with", bind="query-params", help="Trajectory Transformers."
        )
        asked = [row for row in runs if row.name in chosen]
        first, second, third = st.columns(3)
        widths = first.text_input(
            "Beam widths",
            "0, 1, 2, 4, 8",
            key="widths",
            bind="query-params",
            help="How many imagined futures are kept at every step; 0 draws actions without planning.",
        )
        horizons = second.text_input(
            "Horizons (steps)", "4", key="horizons", bind="query-params", help="How many steps are imagined ahead."
        )
        with third:
            episodes = forms.field(BeamSweepSpec, "episodes", "beam.episodes", default=5)
        left, right = st.columns([2, 1])
        wish = f"beam-{chosen[0].removeprefix('demo/')}" if chosen else "beam"
        name = name_field(left, "Name", wish, f"beam.name.{'.'.join(chosen)}", "How the sweep is called on every page.")
        with right:
            seed = forms.field(BeamSweepSpec, "seed", "beam.seed")
        with st.expander("More settings", icon=":material/tune:", key="beam.more", on_change="rerun"):
            skip = (*TOKEN_SAMPLING, "beam_width", "horizon")
            planning = forms.fields(PlanningSpec, "beam.plan.", skip=skip, defaults=fitting(asked), advanced_title="")
            recorded = forms.fields(
                BeamSweepSpec,
                "beam.",
                skip=("name", "runs", "widths", "horizons", "episodes", "planning", "seed"),
                advanced_title="",
            )

        def make() -> BeamSweepSpec:
            """The spec that the form describes."""
            horizon_values = whole_numbers(horizons, "horizons")
            values = planning | {"horizon": max(horizon_values), "beam_width": 1}
            spec = BeamSweepSpec(
                name=name,
                runs=tuple(chosen),
                widths=whole_numbers(widths, "widths"),
                horizons=horizon_values,
                episodes=episodes,
                planning=PlanningSpec.model_validate(values),
                seed=seed,
                **recorded,
            )
            for row in asked:
                if isinstance(row.spec.model, TrajectoryTransformerSpec):
                    check_planning(spec.planning, row.spec.model)
            return spec

        spec, problem = forms.validated(make)
        forms.complain(problem)
        if spec is not None:
            points = len(spec.cells()) * len(spec.runs)
            st.caption(f"{count(points, 'point')} of {count(spec.episodes, 'episode')} each. Wide beams take a while.")
        pressed = st.button(
            "Run the sweep", type="primary", icon=":material/play_arrow:", disabled=spec is None, key="beam.submit"
        )
    if pressed and spec is not None and submit(BeamSweepJob(spec=spec)) is not None:
        return spec.name
    return None
