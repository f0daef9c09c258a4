"""Lessons below the surface: numbers as tokens, imagining ahead, and data as an ensemble."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.exports import csv_button
from pages.shared.frame import controls, start_with, style, two_columns
from pages.shared.lessons.lesson import Link, Missing, Told
from pages.shared.lessons.records import choose_sample, command, records, sample
from pages.shared.lessons.worlds import GAMBLE
from pages.shared.plan_view import decision
from pages.shared.token_tables import edges_of
from seqrl import calibration, plots
from seqrl.config import DatasetFacts
from seqrl.ensembles import asked_weights, delivered_return, effective_sample_size, imitated, path_weights, sample_sizes
from seqrl.plots.format import count, number, percent
from seqrl.store import Store
from seqrl.store.samples import Sample
from seqrl.tokens import TokenDimension, error_by_bins, fit_discretizer, transition_layout

TRIED_BINS = (4, 8, 16, 32, 64, 128, 256)
"""Numbers of bins whose rounding error is measured live."""


def tokens(store: Store) -> Told:
    """Numbers cut into bins, coarse or fine, of equal width or equally full, live."""
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        name, some = choose_sample(store, "tokens", "demo/cartpole", _numeric)
        seen = transition_layout(some.facts).observation_columns(some.observations)
        numbers = {entry.name: seen[:, at] for at, entry in _numeric(some.facts).items() if np.ptp(seen[:, at]) > 0}
        if not numbers:
            raise Missing("numbers that differ")
        options, key = list(numbers), f"tokens.number.{name}"
        start_with(key, options[min(1, len(options) - 1)])
        chosen = st.selectbox("Number", options, index=None, key=key, bind="query-params", width=200) or options[0]
        bins = int(st.select_slider("Bins", TRIED_BINS, 16, key="tokens.bins", bind="query-params", width=240))
    column = np.asarray(numbers[chosen], dtype=np.float64)
    errors = error_by_bins(column, TRIED_BINS)
    cuts = {kind: edges_of(fit_discretizer(column[:, None], bins, kind), 0) for kind in ("uniform", "quantile")}
    left, right = two_columns()
    with left:
        edges = plots.bin_edges_info(column, cuts, chosen)
        chart(
            plots.bin_edges(edges, *style()),
            "lesson-edges",
            f"Distribution of {chosen} and the edges of its bins",
            plots.sentence(edges),
        )
    with right:
        info = plots.reconstruction_error_info(TRIED_BINS, errors, bins, chosen, spread=float(column.std()))
        chart(
            plots.reconstruction_error(info, *style()),
            "lesson-rounding",
            f"Rounding error of {chosen} against the number of bins",
            plots.sentence(info),
        )
    at = TRIED_BINS.index(bins)
    uniform, quantile = float(errors["uniform"][at]), float(errors["quantile"][at])
    better, worse = ("quantile", "uniform") if quantile < uniform else ("uniform", "quantile")
    spread = float(column.std())
    halving = float(errors["uniform"][0] / max(errors["uniform"][-1], 1e-12))
    return Told(
        f"With {count(bins, 'bin')}, {better} bins lose less: {number(min(uniform, quantile))} against "
        f"{number(max(uniform, quantile))} with {worse} ones, where the data spreads by {number(spread)}. From "
        f"{TRIED_BINS[0]} to {TRIED_BINS[-1]} uniform bins the error becomes {number(halving)} times smaller. Quantile "
        "bins are fine where data is dense and coarse in the tails, so rare dangers may share one token.",
        (
            Link(
                "See the bins of every dimension",
                "pages/bins.py",
                {"bins.of": f"dataset {name}", "bins.view": "Rounding error", "dimension": chosen},
                ":material/view_week:",
            ),
        ),
    )


def _numeric(facts: DatasetFacts) -> dict[int, TokenDimension]:
    """Place → what is observed there, where it is a number: one of several kinds is a token as it is."""
    layout = transition_layout(facts)
    entries = enumerate(layout.dimensions[layout.observation])
    return {at: entry for at, entry in entries if entry.categories is None}


def imagining(store: Store) -> Told:
    """Return and time against the number of imagined futures, and the futures of one decision."""
    sweep = records(store, "planning", "imagining")
    episodes = store.sweep_episodes(sweep.name)
    cell = ["run", "width", "horizon"]
    points = calibration.points(episodes, by=cell).merge(
        episodes.groupby(cell, as_index=False)["seconds_per_decision"].mean(), on=cell
    )
    horizons = sorted(int(h) for h in points.loc[points["width"] > 0, "horizon"].unique())
    if not horizons:
        raise Missing("a sweep that plans")
    chosen = controls().pills(
        "Steps imagined ahead (horizon)",
        horizons,
        selection_mode="multi",
        default=horizons,
        key="imagining.horizons",
        bind="query-params",
    )
    shown = points[(points["width"] == 0) | points["horizon"].isin(chosen)]
    info = plots.beam_sweep_info(shown, kinds=dict.fromkeys(sweep.spec.runs, "tt"))
    chart(
        plots.beam_sweep(info, *style()),
        "lesson-beam",
        "Return and time per decision against beam width",
        plots.sentence(info),
        table=points,
    )
    planned = points[points["width"] > 0]
    best = planned.sort_values(["mean", "seconds_per_decision"], ascending=[False, True]).iloc[0]
    unplanned = points[points["width"] == 0]
    without = (
        f" Drawing actions without planning gets {number(float(unplanned['mean'].iloc[0]))}." if len(unplanned) else ""
    )
    slowest = float(planned["seconds_per_decision"].max() / max(float(planned["seconds_per_decision"].min()), 1e-9))
    with_plans = episodes[episodes["episode"] < sweep.spec.recorded_episodes]
    for row in with_plans.iloc[::-1].itertuples():
        steps = store.episode_steps(sweep.name, int(row.episode_id))
        if "plan_scores" in steps:
            decision(steps, store.run(str(row.run)).facts, f"lesson-{sweep.name}-{row.episode_id}")
            break
    return Told(
        f"The best mean return is **{number(float(best['mean']))}**, with "
        f"{count(int(best['width']), 'imagined future')} "
        f"of {count(int(best['horizon']), 'step')}.{without} More imagination costs time: the slowest plan here takes "
        f"{number(slowest, 2)} times as long as the fastest.",
        (Link("Open this sweep", "pages/beam_planning.py", {"beams": sweep.name}, ":material/account_tree:"),),
        command(sweep),
    )


def _returns(store: Store) -> dict[str, pd.DataFrame]:
    """Datasets with their episode tables, the ones of the lessons first."""
    names = [row.name for row in store.datasets() if row.facts is not None and row.facts.episodes > 1]
    first = [name for name in ("demo/gamble", "demo/cartpole") if name in names]
    ordered = [*first, *(name for name in names if name not in first)][:8]
    if not ordered:
        raise Missing("a dataset")
    return {name: store.dataset_episodes(name) for name in ordered}


def path_integral(store: Store) -> Told:
    """Data as an ensemble: weights of a temperature beside asking for a return, computed live and exactly."""
    tables = _returns(store)
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        start_with("paths.data", next(iter(tables)), list(tables))
        name = st.selectbox("Dataset", list(tables), index=None, key="paths.data", bind="query-params", width=190)
        name = name if name in tables else next(iter(tables))
        episodes = tables[name]
        returns = episodes["achieved_return"].to_numpy(float)
        span = float(np.ptp(returns)) or 1.0
        powers = [round(-2.5 + 0.1 * i, 1) for i in range(41)]
        power = st.select_slider(
            "Temperature T",
            powers,
            -0.7,
            format_func=lambda power: number(span * 10.0**power),
            key=f"paths.t.{name}",
            bind="query-params",
            width=260,
        )
        temperature = span * 10.0**power
        low, high = float(returns.min()), float(returns.max())
        top, key = max(high, low + 1e-6), f"paths.target.{name}"
        asked_for = st.slider(
            "Asked for", low, top, high, span / 20, format="%.4g", key=key, bind="query-params", width=220
        )
        target = float(asked_for)
    weights = path_weights(returns, temperature)
    asked = asked_weights(returns, target, span / 40)
    effective = effective_sample_size(weights)
    left, right = two_columns()
    with left:
        info = plots.ensemble_info(returns, weights, asked, temperature=temperature, target=target, effective=effective)
        table = pd.DataFrame({"return from": info.edges[:-1], "return to": info.edges[1:], "the data": info.plain})
        chart(
            plots.ensemble(info, *style()),
            "lesson-ensemble",
            "Returns, plain and weighted",
            plots.sentence(info),
            table=table.assign(weighted=info.weighted, asked_for=info.asked),
        )
    with right:
        tried = span * 10.0 ** np.linspace(-2.5, 1.5, 41)
        sizes = plots.sample_size_info(tried, sample_sizes(returns, tried), temperature, effective, len(returns))
        chart(
            plots.sample_size(sizes, *style()),
            "lesson-sample-size",
            "Effective sample size against temperature",
            plots.sentence(sizes),
        )
    told = (
        f"At T = {number(temperature)} the weighted data has a mean return of **{number(info.means[1])}** instead of "
        f"{number(info.means[0])}, but is worth {count(max(1, round(effective)), 'episode')}."
    )
    facts = store.dataset(name).facts
    some = sample(store, name)
    if facts is not None and facts.environment == GAMBLE and some is not None:
        told += " " + _behaviours(some, temperature, target, span)
    else:
        _tiers(episodes, weights, asked)
    links = (Link("Look at the data", "pages/datasets.py", {"do": "", "dataset": name}),)
    return Told(told, links)


def _behaviours(some: Sample, temperature: float, target: float, span: float) -> str:
    """What imitating the weighted, the asked for and the plain episodes does and gets; only where luck decides."""
    starts = some.episodes["start"].to_numpy()
    lengths = some.episodes["length"].to_numpy()
    round_of = np.arange(len(some.rewards)) - np.repeat(starts, lengths)
    actions = np.asarray(some.actions)
    shape = (int(lengths.max()), int(actions.max(initial=0)) + 1)
    returns = some.episodes["achieved_return"].to_numpy(float)
    ensembles = {
        "the data": np.full(len(returns), 1.0 / len(returns)),
        f"weighted, T = {number(temperature)}": path_weights(returns, temperature),
        f"asked for {number(target)}": asked_weights(returns, target, span / 40),
    }
    cells = round_of * shape[1] + actions
    visits = np.bincount(cells, minlength=shape[0] * shape[1])
    sums = np.bincount(cells, some.rewards, minlength=shape[0] * shape[1])
    mean_rewards = (sums / np.maximum(visits, 1)).reshape(shape)
    policies = {name: imitated(round_of, actions, np.repeat(w, lengths), shape) for name, w in ensembles.items()}
    labels = list(some.facts.action.labels) or [f"action {at}" for at in range(shape[1])]
    promised = {name: float(returns @ w) for name, w in ensembles.items()}
    delivered = {name: delivered_return(policy, mean_rewards) for name, policy in policies.items()}
    info = plots.choices_info(
        [f"round {at + 1}" for at in range(shape[0])],
        labels[-1],
        {name: policy[:, -1] for name, policy in policies.items()},
        promised,
        delivered,
    )
    chart(
        plots.choices(info, *style()),
        "lesson-choices",
        f"Probability of {labels[-1]} in every round",
        plots.sentence(info),
    )
    weighted = list(ensembles)[1]
    return (
        f"Imitating those episodes promises {number(promised[weighted])} and gets **{number(delivered[weighted])}**: "
        "the weights picked luck together with the actions, and only the actions can be imitated."
    )


def _tiers(episodes: pd.DataFrame, weights: np.ndarray, asked: np.ndarray) -> None:
    """Who acted in the episodes that have the weight."""
    if "tier" not in episodes:
        return
    tiers = list(dict.fromkeys(episodes["tier"].astype(str)))
    of = [episodes["tier"].astype(str).to_numpy() == tier for tier in tiers]
    table = pd.DataFrame(
        {
            "who acted": tiers,
            "of the episodes": [percent(float(mask.mean())) for mask in of],
            "of the weight exp(G/T)": [percent(float(weights[mask].sum())) for mask in of],
            "of what was asked for": [percent(float(asked[mask].sum())) for mask in of],
        }
    )
    st.dataframe(table, hide_index=True, alt="Which players the weights and the request choose")
    csv_button(table, "lesson-weights-by-player")
