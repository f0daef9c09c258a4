"""The form that collects a dataset: an environment, a mixture of behaviours, an amount."""

from __future__ import annotations

import streamlit as st

from pages.shared import forms
from pages.shared.estimates import dataset_cost
from pages.shared.jobs import submit
from pages.shared.names import name_field
from seqrl.config import BehaviourSpec, DatasetJob, DatasetSpec, policy_reference
from seqrl.config.models import ACTING_SPECS
from seqrl.config.policies import RUN_PREFIX
from seqrl.plots.format import count, duration, size
from seqrl.registry import ENVIRONMENTS, EnvironmentRow, environment_row
from seqrl.store import JobRow, Store


def new_dataset(store: Store) -> JobRow | None:
    """Draw the form; the job when one was just started."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        environment = st.selectbox("Environment", list(ENVIRONMENTS), key="environment", bind="query-params")
        row = environment_row(environment)
        first, second, third = st.columns([3, 2, 2])
        wish = row.title.lower().replace(", ", "-").replace(" ", "-")
        name = name_field(
            first, "Name", wish, f"dataset.name.{environment}", "How the dataset is called on every page."
        )
        with second:
            episodes = forms.field(DatasetSpec, "episodes", "data.episodes")
        with third:
            seed = forms.field(DatasetSpec, "seed", "data.seed")
        shares = _mixture(row)
        with st.expander("Who plays, and how noisily", icon=":material/tune:"):
            behaviours = _behaviours(store, row, shares)
            limit = forms.field(DatasetSpec, "max_episode_steps", f"data.{environment}.limit")

    def make() -> DatasetSpec:
        """The spec that the form describes."""
        return DatasetSpec(
            name=name,
            environment=environment,
            environment_kwargs=dict(row.kwargs),
            episodes=episodes,
            behaviours=tuple(BehaviourSpec(**values) for values in behaviours),
            max_episode_steps=limit,
            seed=seed,
        )

    spec, problem = forms.validated(make)
    with right, st.container(border=True):
        if spec is None:
            forms.complain(problem)
        else:
            steps, size_bytes, seconds = dataset_cost(store, spec)
            time_column, size_column = st.columns(2)
            time_column.metric("At most", duration(seconds))
            size_column.metric("On disk, at most", size(size_bytes))
            st.caption(
                f"{count(spec.episodes, 'episode')} of at most {count(round(steps / spec.episodes), 'step')}; "
                + ", ".join(
                    f"{amount} {behaviour.tier}"
                    for amount, behaviour in zip(spec.episodes_by_tier(), spec.behaviours, strict=True)
                )
            )
        pressed = st.button(
            "Build", type="primary", icon=":material/play_arrow:", disabled=spec is None, key="dataset.submit"
        )
    return submit(DatasetJob(spec=spec)) if pressed and spec is not None else None


def _tiers(row: EnvironmentRow) -> dict[str, BehaviourSpec]:
    return {"random": BehaviourSpec(tier="random", policy="random"), **row.tiers}


def _noise(behaviour: BehaviourSpec) -> str:
    """How a tier's policy is made worse, for a tooltip."""
    if behaviour.noise_std > 0:
        return f"{behaviour.policy}, with noise of {behaviour.noise_std:g} half action ranges"
    return f"{behaviour.policy}, {behaviour.epsilon:.0%} random actions"


def _policies(store: Store, row: EnvironmentRow) -> list[str]:
    """Everybody who can play in an environment: the package's own, trained policies by their tiers, trained runs."""
    bundled = [tier.policy for tier in row.tiers.values() if tier.policy not in ("random", "heuristic")]
    trained = [
        policy_reference(policy.name, tier)
        for policy in store.policies()
        if policy.spec.environment == row.id
        for tier in policy.tiers
    ]
    runs = [
        f"{RUN_PREFIX}{run.name}"
        for run in store.runs()
        if run.facts.environment == row.id and isinstance(run.spec.model, ACTING_SPECS)
    ]
    return ["random", *(["heuristic"] if row.heuristic else []), *bundled, *trained, *runs]


def _mixture(row: EnvironmentRow) -> dict[str, float]:
    """One slider a tier; their sum, and a button that brings it to 1."""
    st.markdown("**Mixture**: which share of the episodes each behaviour plays")
    tiers = list(_tiers(row))
    keys = {tier: f"mix.{row.id}.{tier}" for tier in tiers}
    shares: dict[str, float] = {}
    for column, tier in zip(st.columns(len(tiers)), tiers, strict=True):
        behaviour = _tiers(row)[tier]
        noise = "only random actions" if behaviour.policy == "random" else _noise(behaviour)
        shares[tier] = column.slider(
            tier, 0.0, 1.0, row.default_mix.get(tier, 0.0), 0.05, key=keys[tier], bind="query-params", help=noise
        )
    total = sum(shares.values())
    if abs(total - 1) > 1e-6 and total > 0:

        def balance() -> None:
            """Scale the shares to a sum of one, on the sliders' grid; the largest takes the rest."""
            units = {tier: round(20 * share / total) for tier, share in shares.items()}
            units[max(shares, key=lambda tier: shares[tier])] += 20 - sum(units.values())
            for tier, unit in units.items():
                st.session_state[keys[tier]] = unit / 20

        st.button(f"The shares sum to {total:g}: scale them to 1", icon=":material/balance:", on_click=balance)
    return shares


def _behaviours(store: Store, row: EnvironmentRow, shares: dict[str, float]) -> list[dict[str, object]]:
    """Policy and noise of every tier that plays."""
    policies = _policies(store, row)
    behaviours: list[dict[str, object]] = []
    for tier, share in shares.items():
        if share <= 0:
            continue
        known = _tiers(row)[tier]
        prefix = f"{row.id}.{tier}"
        first, second, third = st.columns([3, 2, 2])
        with first:
            policy = st.selectbox(
                f"Who plays {tier}",
                policies,
                index=policies.index(known.policy) if known.policy in policies else 0,
                key=f"{prefix}.policy",
                bind="query-params",
                help="random, the environment's heuristic, a bundled or trained policy, or a trained run.",
            )
        with second:
            epsilon = forms.field(BehaviourSpec, "epsilon", f"{prefix}.epsilon", default=known.epsilon)
        with third:
            noise = forms.field(BehaviourSpec, "noise_std", f"{prefix}.noise", default=known.noise_std)
        behaviours.append(
            {"tier": tier, "share": round(share, 6), "policy": policy, "epsilon": epsilon, "noise_std": noise}
        )
    return behaviours
