"""The views of a dataset: one chart and its sentence, or a table, each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.dataset_episodes import browse, tiers_of
from pages.shared.dataset_export import collect_steps
from pages.shared.exports import csv_button, text_button
from pages.shared.frame import open_store, style
from seqrl import plots
from seqrl.plots.format import count
from seqrl.store import DatasetRow, NotFound
from seqrl.store.base import minari_id
from seqrl.store.columns import Columns, ColumnsMissing
from seqrl.tokens import TokenDimension, transition_layout

VIEWS = ["Returns", "Lengths", "Percentiles", "Coverage", "Return-to-go", "Actions", "Episodes", "Provenance"]
TIME = "time (steps)"
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
        {"Returns": returns, "Lengths": lengths, "Percentiles": percentiles, "Episodes": browse}[view](row, episodes)


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
    if columns.facts.observation.kind == "image":
        st.info("These observations are pictures; no single number of one says anything.", icon=":material/grid_off:")
        return
    names = [*(entry.name for entry in _seen(columns)), TIME]
    with st.container(horizontal=True):
        across = st.selectbox("Across", names, index=min(2, len(names) - 1), key="x", bind="query-params", width=260)
        rest = [name for name in names if name != across]
        up = st.selectbox("Up", rest, index=min(2, len(rest) - 1), key="y", bind="query-params", width=260)
    steps = thinned(columns)
    x, y = _numbers_seen(columns, steps, across), _numbers_seen(columns, steps, up)
    info = plots.coverage_info(x, y, (across, up))
    chart(
        plots.coverage(info, *style()),
        f"{row.name}-coverage",
        f"Coverage of {across} and {up}",
        plots.sentence(info),
        table=lambda: plots.coverage_table(info),
    )


def _seen(columns: Columns) -> Sequence[TokenDimension]:
    """The numbers of an observation; one of several kinds is one number."""
    layout = transition_layout(columns.facts)
    return layout.dimensions[layout.observation]


def _numbers_seen(columns: Columns, steps: np.ndarray, name: str) -> np.ndarray:
    """(K,) what a number of the observation, or the time, is at some steps."""
    if name == TIME:
        starts, lengths = (columns.episodes[what].to_numpy() for what in ("start", "length"))
        return (steps - np.repeat(starts, lengths)[steps]).astype(np.float64)
    entry = next(one for one in _seen(columns) if one.name == name)
    if not entry.one_hot:
        return numbers_of(columns, "observations", steps, entry.first)
    hot = numbers_of(columns, "observations", steps, list(range(entry.first, entry.first + int(entry.categories or 1))))
    return hot.argmax(axis=1).astype(np.float64)


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
        csv_button(behaviours, f"{row.name}-behaviours")
    limit = count(facts.max_episode_steps, "step") if facts.max_episode_steps else "none"
    told = [
        f"**Environment** `{facts.environment or 'none'}`",
        f"**Seed** {row.source.get('seed', '–')}",
        f"**Time limit** {limit}",
        f"**Content** SHA-256 `{facts.content_hash}`",
    ]
    if open_store().minari_dataset_folder(row.name).is_dir():
        told.append(f"**Minari** `{minari_id(row.name)}` in `{open_store().minari_folder()}`")
    with st.container(border=True):
        st.markdown("  \n".join(told))
    text_button(json.dumps(dict(row.source), indent=2), f"{row.name}-spec.json", "application/json", "Spec as JSON")
