"""Behaviour policies that learn online: train one in the background, and see what its snapshots reach."""

from __future__ import annotations

from importlib.util import find_spec

import pandas as pd
import streamlit as st

from pages.shared import forms
from pages.shared.charts import chart
from pages.shared.exports import json_button
from pages.shared.frame import start_with, style
from pages.shared.jobs import progress, submit
from seqrl import plots
from seqrl.config import PolicyJob, PolicySpec, PpoSpec, SacSpec, Spec, policy_reference
from seqrl.registry import ENVIRONMENTS, environment_row
from seqrl.store import PolicyRow, Store

TRAINERS: dict[str, type[Spec]] = {"PPO": PpoSpec, "SAC": SacSpec}


def policies(store: Store) -> None:
    """The form, the training that runs, and the policies that there are."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        spec, problem = forms.validated(lambda: _form(store))
    with right, st.container(border=True):
        st.markdown(
            "A policy learns by itself in the environment. It is kept from time to time, and the snapshots become "
            "tiers of data: **expert** is the best, **medium** an earlier one a third of the way there, **replay** "
            "all up to that one."
        )
        missing = find_spec("stable_baselines3") is None
        if missing:
            st.info(
                "Training needs stable-baselines3, which is not installed: `pip install -r requirements-policies.txt`. "
                "Collecting data with a trained policy does not.",
                icon=":material/extension_off:",
            )
        forms.complain(problem)
        pressed = st.button(
            "Train the policy",
            type="primary",
            icon=":material/play_arrow:",
            disabled=spec is None or missing,
            key="policy.submit",
        )
    if pressed and spec is not None and submit(PolicyJob(spec=spec)) is not None:
        st.session_state["policy"] = spec.name
        st.rerun()
    known = store.policies()
    if not known:
        st.info("No policy is trained yet.", icon=":material/smart_toy:")
        return
    names = [row.name for row in known]
    start_with("policy", names[0], names)
    name = st.selectbox("Policy", names, index=None, key="policy", bind="query-params") or names[0]
    job = next((job for job in store.jobs() if job.kind == "policy" and job.name == name), None)
    if job is not None:
        progress(job.id, f"policy.{name}")
    detail(known[names.index(name)])


def _form(store: Store) -> PolicySpec:
    """Draw the form; the spec that it describes."""
    environment = st.selectbox("Environment", list(ENVIRONMENTS), key="environment", bind="query-params")
    row = environment_row(environment)
    algorithm = st.segmented_control(
        "Algorithm",
        list(TRAINERS),
        default="PPO",
        required=True,
        key="algorithm",
        bind="query-params",
        help="PPO: many quick updates on the latest experience. SAC reuses all of it, for continuous actions only.",
    )
    kind = algorithm.lower()
    first, second, third = st.columns([3, 2, 2])
    known = [policy.name for policy in store.policies()]
    base = f"{row.title.lower().replace(', ', '-').replace(' ', '-')}-{kind}"
    name = first.text_input(
        "Name",
        next(f"{base}-{number}" for number in range(1, len(known) + 2) if f"{base}-{number}" not in known),
        key=f"policy.name.{environment}.{kind}.{len(known)}",
        help="How the policy is called.",
    )
    values: dict[str, object] = {}
    for column, field in ((second, "steps"), (third, "snapshots")):
        with column:
            values[field] = forms.field(PolicySpec, field, f"policy.{field}")
    first, second, _ = st.columns([3, 2, 2])
    for column, field in ((first, "episodes"), (second, "seed")):
        with column:
            values[field] = forms.field(PolicySpec, field, f"policy.{field}")
    with st.expander("How it learns", icon=":material/tune:", key="policy.more", on_change="rerun"):
        trainer = forms.fields(
            TRAINERS[algorithm],
            f"policy.{environment}.{kind}.",
            defaults=row.trainers.get(kind, {}),
            bind=False,
            advanced_title="",
        )
    return PolicySpec.model_validate(
        {
            "name": name,
            "environment": environment,
            "environment_kwargs": dict(row.kwargs),
            "trainer": {"kind": kind, **trainer},
            **values,
        }
    )


def detail(row: PolicyRow) -> None:
    """What the snapshots of a policy reach, and how to play with them."""
    tiers = row.tiers
    if not tiers:
        st.info("Its first snapshot appears in a few seconds.", icon=":material/hourglass_empty:")
        return
    info = plots.policy_progress_info(
        [snapshot.step for snapshot in row.snapshots],
        [snapshot.mean_return for snapshot in row.snapshots],
        best=tiers["expert"][0],
        medium=tiers["medium"][0],
    )
    table = pd.DataFrame([snapshot.model_dump() for snapshot in row.snapshots])
    chart(
        plots.policy_progress(info, *style()),
        f"policy-{row.name}",
        f"Mean return of the snapshots of {row.name}",
        plots.sentence(info),
        table=table,
    )
    json_button(row.spec, f"policy-{row.name}-spec", "Spec as JSON")
    st.caption(
        f"It plays in data of `{row.spec.environment}`: under Build, *Who plays, and how noisily*, choose "
        f"`{policy_reference(row.name, 'expert')}` or another of its tiers."
    )
