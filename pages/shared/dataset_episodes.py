"""The episodes of a dataset: all of them as a table, and any one of them as a film with its strips."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.dataset_export import collect_steps
from pages.shared.episode_export import film_buttons
from pages.shared.episode_view import outcome, rendered, steps_table
from pages.shared.exports import csv_button
from pages.shared.frame import finite, open_store, presenting, theme, two_columns
from pages.shared.strips import strips_of
from pages.shared.sweep_view import Recorded, film
from pages.shared.videos import EpisodeVideo, collected, play
from seqrl.config import DatasetFacts
from seqrl.config.sweeps import dataset_reference
from seqrl.plots.template import PALETTES
from seqrl.store import DatasetRow
from seqrl.store.columns import Columns, ColumnsMissing

COLUMNS = ["episode", "tier", "achieved_return", "length", "terminated", "truncated", "policy", "epsilon", "seed"]

NARROWEST = 340  # pixels of a column: on a projector, too, the film stands beside the table


def tiers_of(episodes: pd.DataFrame) -> list[str]:
    """The tier of every episode; imported data may have none."""
    if "tier" not in episodes:
        return ["all"] * len(episodes)
    return [str(tier) for tier in episodes["tier"].fillna("unknown")]


def browse(row: DatasetRow, episodes: pd.DataFrame) -> None:
    """The table, and beside it the episode that was chosen in it."""
    left, right = two_columns(NARROWEST)
    with left:
        _table(row, episodes.reset_index(drop=True))
    with right:
        _chosen(row, episodes.reset_index(drop=True))


def _table(row: DatasetRow, episodes: pd.DataFrame) -> None:
    shown = episodes[[name for name in COLUMNS if name in episodes]]
    tiers = sorted(set(tiers_of(shown)))
    if len(tiers) > 1:
        chosen = st.pills("Tiers", tiers, selection_mode="multi", key="tiers", bind="query-params")
        shown = shown[shown["tier"].isin(chosen)] if chosen else shown
    key = f"dataset.episodes.{row.name}"

    def choose() -> None:
        """A click on a row of the table chooses its episode."""
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            st.session_state["data.episode"] = int(shown.index[rows[0]])

    st.dataframe(
        shown.rename(
            columns={
                "achieved_return": "return",
                "length": "steps",
                "truncated": "time limit",
                "epsilon": "random share",
            }
        ),
        hide_index=True,
        height=420,
        on_select=choose,
        selection_mode="single-row",
        key=key,
        alt="Episodes of the dataset",
    )
    csv_button(shown, f"{row.name}-episodes")


def _chosen(row: DatasetRow, episodes: pd.DataFrame) -> None:
    """The episode that the table or the address names."""
    last = len(episodes) - 1
    number = st.number_input(
        f"Watch episode (0 to {last})",
        0,
        last,
        None,
        key=finite("data.episode"),
        bind="query-params",
        placeholder="click a row",
    )
    if number is None or row.facts is None:
        st.caption(":material/ads_click: **Click a row** to watch exactly that episode.")
        return
    episode = episodes.iloc[int(number)]
    if reason := _never_seen(row.facts, episode):
        st.info(reason, icon=":material/videocam_off:")
        return
    try:
        columns = Columns.open(open_store().columns_folder(row.name))
    except ColumnsMissing:
        collect_steps(open_store(), row)
        return
    _film(row, columns, episode, int(number))


def _never_seen(facts: DatasetFacts, episode: pd.Series) -> str:
    """Why an episode cannot be played again; empty if it can."""
    if facts.environment is None:
        return "This data comes without an environment, so its episodes cannot be played again."
    seed = episode.get("seed")
    if seed is None or not seed >= 0:  # columns say -1
        return "The seeds of these episodes were not recorded, so they cannot be played again."
    return ""


def _film(row: DatasetRow, columns: Columns, episode: pd.Series, number: int) -> None:
    """Play the episode, drawn first if it never was; its replay has to earn the recorded rewards."""
    source, key = Recorded(dataset_reference(row.name), row.created), f"dataset.player.{row.name}"
    if not rendered(source, number, key):
        return
    recorded = columns.episode(number)
    steps = {"actions": np.array(recorded.actions), "rewards": np.array(recorded.rewards)}
    player = f", played by {episode['policy']}" if isinstance(episode.get("policy"), str) else ""
    play(
        [
            EpisodeVideo(
                path=film(source, number),
                title=f"Episode {number}{player}",
                outcome=outcome(episode),
                color=PALETTES[theme()].reward,
                length=len(recorded.rewards),
                collected=collected(recorded.rewards),
                strips=strips_of(columns.facts, steps, "data", theme()),
            )
        ],
        key=key,
    )
    if not presenting():
        with st.container(horizontal=True):
            film_buttons(source, number, key)
            csv_button(lambda: steps_table(steps), f"{row.name}-episode-{number}-steps", "Steps as CSV")
