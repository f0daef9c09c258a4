"""The views of a dataset: one chart and its sentence, or a table, each."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.dataset_export import collect_steps
from pages.shared.exports import csv_button, text_button
from pages.shared.frame import open_store, style
from seqrl import plots
from seqrl.store import DatasetRow, NotFound
from seqrl.store.columns import Columns, ColumnsMissing

VIEWS = ["Returns", "Lengths", "Percentiles", "Coverage", "Return-to-go", "Actions", "Episodes", "Provenance"]
MOST_STEPS = 200_000
"""More steps than these are thinned for the two pictures of single steps."""

MOST_WIDE_STEPS = 20_000
"""And these where the steps are larger than memory should hold."""


def show(row: DatasetRow, view: str) -> None:
    """Draw one view of a dataset that is built."""
    if view == "Provenance":
        provenance(row)
        return
    try:
        episodes = open_store().dataset_episodes(row.name)
    except NotFound as error:
        st.warning(f"{error}", icon=":material/folder_off:")
        return
    if view in ("Coverage", "Return-to-go", "Actions"):
        try:
            columns = Columns.open(open_store().columns_folder(row.name))
        except ColumnsMissing:
            collect_steps(open_store(), row)
            return
        {"Coverage": coverage, "Return-to-go": return_to_go, "Actions": actions}[view](row, columns)
    else:
        {"Returns": returns, "Lengths": lengths, "Percentiles": percentiles, "Episodes": table}[view](row, episodes)


def returns(row: DatasetRow, episodes: pd.DataFrame) -> None:
    """Returns by tier."""
    info = plots.return_histogram_info(episodes["achieved_return"].to_numpy(), tiers_of(episodes))
    chart(
        plots.return_histogram(info, *style()),
        f"{row.name}-returns",
        "Histogram of returns by tier",
        plots.sentence(info),
        table=episodes,
    )


def lengths(row: DatasetRow, episodes: pd.DataFrame) -> None:
    """Lengths, and how many episodes were cut off."""
    info = plots.length_histogram_info(episodes["length"].to_numpy(), episodes["truncated"].to_numpy())
    chart(
        plots.length_histogram(info, *style()),
        f"{row.name}-lengths",
        "Histogram of episode lengths",
        plots.sentence(info),
        table=episodes,
    )


def percentiles(row: DatasetRow, episodes: pd.DataFrame) -> None:
    """Which share of the episodes reaches which return."""
    info = plots.percentile_curve_info(episodes["achieved_return"].to_numpy())
    chart(
        plots.percentile_curve(info, *style()),
        f"{row.name}-percentiles",
        "Returns by percentile",
        plots.sentence(info),
        table=episodes,
    )


def coverage(row: DatasetRow, columns: Columns) -> None:
    """Where the data is in two dimensions of the observation."""
    names = list(columns.facts.observation.names)
    if len(columns.observations.shape) != 2 or len(names) < 2:
        st.info("This dataset has no two numeric dimensions to draw against each other.", icon=":material/grid_off:")
        return
    with st.container(horizontal=True):
        across = st.selectbox("Across", names, index=min(2, len(names) - 1), key="x", bind="query-params", width=260)
        up = st.selectbox("Up", names, index=min(3, len(names) - 1), key="y", bind="query-params", width=260)
    x, y = numbers_of(columns, "observations", thinned(columns), [names.index(across), names.index(up)]).T
    info = plots.coverage_info(x, y, (across, up))
    chart(
        plots.coverage(info, *style()),
        f"{row.name}-coverage",
        f"Coverage of {across} and {up}",
        plots.sentence(info),
        table=lambda: plots.coverage_table(info),
    )


def return_to_go(row: DatasetRow, columns: Columns) -> None:
    """How much reward is still to come at each step of the episodes."""
    info = plots.return_to_go_fan_info(columns.rewards[: columns.steps], columns.episodes["end"].to_numpy())
    chart(
        plots.return_to_go_fan(info, *style()),
        f"{row.name}-return-to-go",
        "Return-to-go over time",
        plots.sentence(info),
        table=lambda: plots.return_to_go_fan_table(info),
    )


def actions(row: DatasetRow, columns: Columns) -> None:
    """What was done, by how much reward was still to come."""
    space = columns.facts.action
    labels: tuple[str, ...] = ()
    name = space.names[0] if space.names else "action"
    if space.kind == "discrete":
        labels = space.labels or tuple(f"action {index}" for index in range(space.categories[0]))
    else:
        if len(space.names) > 1:
            name = st.selectbox("Action", list(space.names), key="action", bind="query-params", width=260)
        if space.kind == "multi_discrete":
            labels = tuple(str(value) for value in range(space.categories[list(space.names).index(name)]))
    steps = thinned(columns)
    many = columns.actions.ndim == 2
    taken = numbers_of(columns, "actions", steps, list(space.names).index(name) if many else None)
    info = plots.action_distribution_info(taken, all_returns_to_go(columns)[steps], labels=labels, name=name)
    chart(
        plots.action_distribution(info, *style()),
        f"{row.name}-actions",
        "Actions against return-to-go",
        plots.sentence(info),
        table=lambda: plots.action_distribution_table(info),
    )


def all_returns_to_go(columns: Columns) -> np.ndarray:
    """(N,) undiscounted return-to-go of every step."""
    rewards = columns.rewards[: columns.steps]
    after = np.cumsum(rewards[::-1])[::-1]
    ends, length = columns.episodes["end"].to_numpy(), columns.episodes["length"].to_numpy()
    rest = np.append(after, 0.0)[ends]
    return after - np.repeat(rest, length)


def thinned(columns: Columns) -> np.ndarray:
    """Indices of at most `MOST_STEPS` evenly spaced steps; fewer where they are larger than memory should hold."""
    most = MOST_WIDE_STEPS if columns.large else MOST_STEPS
    return np.arange(0, columns.steps, max(1, -(-columns.steps // most)))


def numbers_of(
    columns: Columns, name: Literal["observations", "actions"], rows: np.ndarray, dimensions: int | list[int] | None
) -> np.ndarray:
    """Some dimensions of some steps, read piece by piece; of a one-dimensional column the steps alone."""
    pieces = columns.pieces(name, rows)
    return np.concatenate([piece if dimensions is None else piece[:, dimensions] for piece in pieces])


def table(row: DatasetRow, episodes: pd.DataFrame) -> None:
    """Every episode, and the table to take away."""
    wanted = ["episode", "tier", "achieved_return", "length", "terminated", "truncated", "policy", "epsilon", "seed"]
    shown = episodes[[name for name in wanted if name in episodes]]
    tiers = sorted(set(tiers_of(shown)))
    chosen = (
        st.pills("Tiers", tiers, selection_mode="multi", key="tiers", bind="query-params") if len(tiers) > 1 else []
    )
    if chosen:
        shown = shown[shown["tier"].isin(chosen)]
    st.dataframe(
        shown.rename(columns={"achieved_return": "return", "length": "steps", "truncated": "time limit"}),
        hide_index=True,
        height=420,
        alt="Episodes of the dataset",
    )
    csv_button(shown, f"{row.name}-episodes")


def tiers_of(episodes: pd.DataFrame) -> list[str]:
    """The tier of every episode; imported data may have none."""
    if "tier" not in episodes:
        return ["all"] * len(episodes)
    return [str(tier) for tier in episodes["tier"].fillna("unknown")]


def provenance(row: DatasetRow) -> None:
    """Where the data comes from, so that anybody can make it again."""
    facts = row.facts
    if facts is None:
        return
    behaviours = pd.DataFrame(list(row.source.get("behaviours", [])))
    if len(behaviours):
        st.dataframe(
            behaviours.rename(columns={"epsilon": "random share", "noise_std": "action noise"}),
            hide_index=True,
            alt="Behaviours that made the data",
        )
    with st.container(border=True):
        st.markdown(
            f"**Environment** `{facts.environment or 'none'}`  \n"
            f"**Seed** {row.source.get('seed', '–')}  \n"
            f"**Time limit** {facts.max_episode_steps or 'none'}  \n"
            f"**Content** SHA-256 `{facts.content_hash}`  \n"
            f"**Minari** `seqrl/{row.name}-v0` in `{open_store().minari_folder()}`"
        )
    text_button(json.dumps(dict(row.source), indent=2), f"{row.name}-spec.json", "application/json", "Spec as JSON")
