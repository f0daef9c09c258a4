"""What the model looked at in one step of an episode, and what it would have done otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.exports import json_button
from pages.shared.frame import controls, open_store, presenting, style, two_columns
from pages.shared.sweep_view import kind_of, returns_in_data
from seqrl import plots
from seqrl.config import AttentionSpec, ResponseSpec
from seqrl.plots.format import number
from seqrl.store import SweepRow
from seqrl.store.runs import CHECKPOINT
from seqrl.tokens import TokenDimension, transition_layout

if TYPE_CHECKING:
    from seqrl.probe import EpisodeProbe, Loaded

TARGETS = 61
RETURN_TO_GO = "What it is asked for"


def probe_of(sweep: SweepRow, row: pd.Series) -> EpisodeProbe:
    """The episode and the run that played it, ready to be asked; loaded once.

    Raises:
        ValueError: if the run is gone, or the replay is not the recorded episode.
        OSError: if its checkpoint cannot be read.
    """
    store = open_store()
    weights = store.run_folder(str(row["run"])) / CHECKPOINT / "model.safetensors"
    if not weights.is_file():
        raise ValueError(f"the weights of {row['run']} are not here, only its records; train it again to ask it")
    home, changed = os.environ.get("SEQRL_HOME", ""), weights.stat().st_mtime_ns
    return _probe(home, sweep.name, int(row["episode_id"]), sweep.created, str(row["run"]), changed)


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _loaded(home: str, run: str, changed_ns: int) -> Loaded:
    from seqrl.probe import Loaded

    # questions are small; beside a training, threads would only wait for each other
    return Loaded.of(open_store().run_folder(run), threads=1)


@st.cache_resource(max_entries=24, show_spinner="Playing the episode again")
def _probe(home: str, sweep: str, episode_id: int, created: float, run: str, changed_ns: int) -> EpisodeProbe:
    from seqrl.probe import EpisodeProbe

    return EpisodeProbe.open(open_store(), sweep, episode_id, _loaded(home, run, changed_ns))


def answers(sweep: SweepRow, row: pd.Series, step: int, *, beside: bool) -> None:
    """Response and attention at a step, below each other ``beside`` the episode, else in two columns."""
    try:
        probe = probe_of(sweep, row)
    except (ValueError, OSError) as error:
        st.info(f"This model cannot be asked: {error}.", icon=":material/psychology_alt:")
        return
    if step >= probe.length:
        st.info("The episode is over here: nothing is decided. Go back a step.", icon=":material/sports_score:")
        return
    left, right = (st.container(), st.container()) if beside else two_columns()
    with left:
        response(sweep, row, step, probe)
    with right:
        attention(sweep, row, step, probe)


def response(sweep: SweepRow, row: pd.Series, step: int, probe: EpisodeProbe) -> None:
    """The response curve over targets, or over one dimension of what is seen."""
    st.subheader("What if it were otherwise?", anchor=False)
    entries: tuple[TokenDimension, ...] = ()
    if probe.facts.observation.kind != "image":  # of a picture no single number says anything
        layout = transition_layout(probe.facts)
        entries = layout.dimensions[layout.observation]
    options = [*([RETURN_TO_GO] if probe.conditioned else []), *(entry.name for entry in entries)]
    if not options:
        text = "It is told no return, and sees pictures, of which no single number can be varied."
        st.info(text, icon=":material/image:")
        return
    with controls("What is varied"):
        varied = st.selectbox(
            "What is varied",
            options,
            key="lab.varied",
            bind="query-params",
            help="At this very moment, after exactly this history: what would the model do?",
        )
    if varied == RETURN_TO_GO:
        spec, present, data = targets_spec(sweep, row, step, probe)
        curve = probe.to_targets(step, spec.values)
    else:
        spec, present, data = observation_spec(sweep, row, step, probe, str(varied))
        curve = probe.to_observation(step, str(varied), spec.values)
    info = plots.response_curve_info(
        curve.values,
        curve.responses,
        curve.names,
        kind=kind_of(open_store().run(str(row["run"]))),
        data=data,
        present=present,
        varied=spec.dimension,
        discrete=spec.dimension in [entry.name for entry in entries if entry.categories],
    )
    name = f"response-{sweep.name}-{row['episode_id']}-{step}"
    chart(
        plots.response_curve(info, *style()),
        "lab.response",
        f"Response at step {step}",
        plots.sentence(info),
        table=lambda: plots.response_table(info),
    )
    question(spec, name)
    if not probe.conditioned and row.get("width") is not None:
        st.caption(
            "A Trajectory Transformer is not told a return: planning chooses among the futures that it imagines. This "
            "is what it does before any planning."
        )


def question(spec: AttentionSpec | ResponseSpec, name: str) -> None:
    """The question as a spec, which the command line answers too."""
    if not presenting():
        with st.container(horizontal=True, horizontal_alignment="right"):
            json_button(spec, name, "Question as JSON")


def targets_spec(
    sweep: SweepRow, row: pd.Series, step: int, probe: EpisodeProbe
) -> tuple[ResponseSpec, float | None, tuple[float, float] | None]:
    """Requests over the range of the data's returns and a bit beyond, the present one, and the data's range."""
    returns = returns_in_data(open_store().run(str(row["run"])))
    least, most = float(returns.min()), float(returns.max())
    now = float(probe.history.returns_to_go[step])
    low, high = min(least, 0.0), most + 0.1 * max(most - least, 1e-9)
    if np.isfinite(now):
        low, high = min(low, now), max(high, now)
    values = tuple(float(f"{value:.6g}") for value in np.linspace(low, high, TARGETS))
    spec = ResponseSpec(sweep=sweep.name, episode_id=int(row["episode_id"]), step=step, values=values)
    known = (min(least, 0.0), max(most, 0.0))  # near its end every episode has little to come
    return spec, now if np.isfinite(now) else None, known


def observation_spec(
    sweep: SweepRow, row: pd.Series, step: int, probe: EpisodeProbe, dimension: str
) -> tuple[ResponseSpec, float | None, tuple[float, float] | None]:
    """Values of a dimension worth trying, and the one that is seen."""
    from seqrl.probe import observation_value, suggested_values

    seen = probe.history.observations[step]
    values = tuple(float(f"{value:.6g}") for value in suggested_values(probe.facts, seen, dimension))
    spec = ResponseSpec(
        sweep=sweep.name, episode_id=int(row["episode_id"]), step=step, dimension=dimension, values=values
    )
    return spec, observation_value(probe.facts, seen, dimension), None


def attention(sweep: SweepRow, row: pd.Series, step: int, probe: EpisodeProbe) -> None:
    """How every head reads the past at this step; one of them large on request."""
    st.subheader("What does it look at?", anchor=False)
    try:
        seen = probe.attention(step)
    except ValueError as error:
        st.info(f"{error}.", icon=":material/visibility_off:")
        return
    layers, heads = seen.weights.shape[:2]
    names = [f"layer {layer + 1}, head {head + 1}" for layer in range(layers) for head in range(heads)]
    if st.session_state.get("lab.head", names[-1]) not in names:  # a smaller model than the one before
        st.session_state["lab.head"] = names[-1]
    with controls("Which attention"):
        head = st.selectbox(
            "Head",
            names[::-1],
            key="lab.head",
            bind="query-params",
            help="Its row is framed, and read out in the sentence below.",
        )
        whole = st.toggle("The whole window of this head", False, key="lab.whole", bind="query-params")
    place = names.index(head)
    tokens = seen.names if seen.kinds != seen.names else ()
    info = plots.attention_info(
        seen.weights, seen.kinds, seen.timesteps, layer=place // heads, head=place % heads, names=tokens
    )

    def choose(clicked: object) -> None:
        if isinstance(clicked, int) and clicked < len(names):
            st.session_state["lab.head"] = names[clicked]

    figure = plots.attention(info, *style()) if whole else plots.attention_heads(info, *style())
    chart(
        figure,
        "lab.attention.whole" if whole else "lab.attention",
        f"Attention at step {number(step)}",
        plots.sentence(info),
        table=lambda: plots.attention_table(info),
        on_click=None if whole else choose,
    )
    spec = AttentionSpec(sweep=sweep.name, episode_id=int(row["episode_id"]), step=step)
    question(spec, f"attention-{sweep.name}-{row['episode_id']}-{step}")
    if max(seen.timesteps) == 0 and layers:
        st.caption("At the first step there is little to look at yet; move on a few steps.")
