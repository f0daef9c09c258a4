"""An episode of a sweep as something to see: its name, how it ended, its film with strips, its steps as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.shared.episode_export import film_buttons
from pages.shared.exports import csv_button, html_button
from pages.shared.frame import open_store, presenting, style, theme
from pages.shared.jobs import drawing, submit, unfinished
from pages.shared.strips import strips_of
from pages.shared.sweep_view import Recorded, film, kind_of
from pages.shared.videos import EpisodeVideo, collected, play
from seqrl.config import RenderJob, RenderSpec
from seqrl.plots import EpisodeTrace, episode_strips, episode_strips_info, family_colour
from seqrl.plots.format import count, number
from seqrl.store import SweepRow


@st.cache_data(max_entries=128, show_spinner=False)
def _steps(home: str, sweep: str, created: float, episode_id: int) -> dict[str, np.ndarray]:
    return open_store().episode_steps(sweep, episode_id)


def recorded(sweep: SweepRow, episode_id: int) -> dict[str, np.ndarray]:
    """The per-step arrays of an episode, read once."""
    return _steps(os.environ.get("SEQRL_HOME", ""), sweep.name, sweep.created, episode_id)


def episode_title(kind: str, row: Mapping[str, Any] | pd.Series) -> str:
    """An episode in a few words: "Episode 128, sampled, asked for 200"."""
    words = [f"Episode {row['episode_id']}"]
    if kind == "sweep_beam":
        words.append(f"width {int(row['width'])}, horizon {int(row['horizon'])}" if row["width"] else "no planning")
    else:
        words.append(str(row["decoding"]))
    if kind == "sweep_schedule":
        words.append(str(row["schedule"]))
    elif pd.notna(row["target"]):
        words.append(f"asked for {number(row['target'])}")
    return ", ".join(words)


def outcome(row: pd.Series) -> str:
    """How an episode ended, in words."""
    end = "reached the time limit" if row["truncated"] else "ended" if row["terminated"] else "was cut off"
    return f"collected {number(row['achieved_return'])}, {end} after {count(int(row['length']), 'step')}"


def asked_for(row: pd.Series) -> str:
    """What an episode was asked for, in words."""
    return "not asked for a return" if pd.isna(row["target"]) else f"asked for {number(row['target'])}"


def clip(sweep: SweepRow, row: pd.Series, *, title: str = "", strips: bool = True) -> EpisodeVideo:
    """An episode of a sweep, ready to be played or stepped through.

    Args:
        sweep: that it was measured in.
        row: of its episode table; its video has to be there.
        title: over the picture; what `episode_title` says if empty.
        strips: whether charts of every step stand below the picture.
    """
    run = open_store().run(str(row["run"]))
    steps = recorded(sweep, int(row["episode_id"]))
    return EpisodeVideo(
        path=film(sweep, int(row["episode_id"])),
        title=title or episode_title(sweep.kind, row),
        outcome=outcome(row),
        color=family_colour(kind_of(run), theme()),
        length=int(row["length"]),
        collected=collected(steps["rewards"]),
        target=None if pd.isna(row["target"]) else float(row["target"]),
        strips=strips_of(run.facts, steps, kind_of(run), theme()) if strips else [],
    )


def episode_player(sweep: SweepRow, row: pd.Series, key: str, *, at_once: bool = True) -> None:
    """Play an episode; when it was never rendered, have it rendered first.

    Args:
        sweep: that it was measured in.
        row: of its episode table.
        key: of the player.
        at_once: whether somebody asked for this very episode, or it needs a button first.
    """
    if rendered(sweep, int(row["episode_id"]), key, at_once=at_once):
        play([clip(sweep, row)], key=key)
        if not presenting():
            with st.container(horizontal=True):
                downloads(sweep, row, key)


def rendered(source: SweepRow | Recorded, episode_id: int, key: str, *, at_once: bool = True) -> bool:
    """Whether the video of an episode is there; else it is drawn, and how far that is is shown.

    Args:
        source: that it was measured in, or the dataset that it is part of.
        episode_id: row of the episode table.
        key: prefix of the widgets.
        at_once: whether somebody asked for this very episode, or it needs a button first.
    """
    if film(source, episode_id).is_file():
        return True
    wanted = RenderJob(spec=RenderSpec(sweep=source.name, episode_id=episode_id))
    job = unfinished(wanted)
    if job is None:
        if not at_once and not st.button("Play this episode", icon=":material/play_circle:", key=f"{key}.play"):
            return False
        job = submit(wanted)
    if job is not None:
        drawing(job, f"{key}.render")
    return False


def trace(sweep: SweepRow, row: pd.Series) -> EpisodeTrace:
    """An episode as `seqrl.plots` takes it."""
    steps = recorded(sweep, int(row["episode_id"]))
    return EpisodeTrace(
        label=episode_title(sweep.kind, row),
        kind=kind_of(open_store().run(str(row["run"]))),
        rewards=steps["rewards"],
        returns_to_go=steps["returns_to_go"],
        actions=steps["actions"],
        action_probabilities=steps.get("action_probabilities"),
        values=steps.get("predicted_value"),
        episode_id=int(row["episode_id"]),
    )


def downloads(sweep: SweepRow, row: pd.Series, key: str) -> None:
    """An episode as MP4 and GIF, its strips as an interactive chart, its steps as CSV."""
    episode_id, look = int(row["episode_id"]), style()
    film_buttons(sweep, episode_id, key)
    name = f"{sweep.name}-episode-{episode_id}"

    def strips() -> go.Figure:
        """The strips below the picture as one chart."""
        action = open_store().run(str(row["run"])).facts.action
        names = action.labels if action.kind == "discrete" else action.names
        return episode_strips(episode_strips_info([trace(sweep, row)], action_names=names), *look)

    html_button(strips, f"{name}-strips", "Strips as HTML")
    csv_button(lambda: steps_table(recorded(sweep, episode_id)), f"{name}-steps", "Steps as CSV")


def steps_table(steps: dict[str, np.ndarray], episode: str = "") -> pd.DataFrame:
    """The per-step arrays of an episode as a table, wide arrays as several columns; and its name, if it has one."""
    columns: dict[str, Any] = {"episode": episode} if episode else {}
    columns["step"] = np.arange(len(steps["rewards"]))
    for name, values in steps.items():
        flat = np.asarray(values).reshape(len(values), -1)
        for index in range(flat.shape[1]):
            columns[name if flat.shape[1] == 1 else f"{name}.{index}"] = flat[:, index]
    return pd.DataFrame(columns)
