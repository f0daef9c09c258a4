"""An episode of a sweep as something to see: its name, how it ended, its film with strips, its steps as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.episode_export import film_buttons
from pages.shared.exports import csv_button
from pages.shared.frame import open_store, presenting, theme
from pages.shared.jobs import progress, submit
from pages.shared.strips import strips_of
from pages.shared.sweep_view import film, kind_of
from pages.shared.videos import EpisodeVideo, collected, play
from seqrl.config import RenderJob, RenderSpec
from seqrl.plots import family_colour
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
    store = open_store()
    episode_id = int(row["episode_id"])
    if film(sweep, episode_id).is_file():
        play([clip(sweep, row)], key=key)
        if not presenting():
            with st.container(horizontal=True):
                downloads(sweep, episode_id, key)
        return
    wanted = RenderJob(spec=RenderSpec(sweep=sweep.name, episode_id=episode_id))
    job = next((job for job in store.jobs() if job.kind == wanted.kind and job.job == wanted), None)
    if job is None or job.state == "succeeded":
        if not at_once and not st.button("Play this episode", icon=":material/play_circle:", key=f"{key}.play"):
            return
        job = submit(wanted)
    if job is not None:
        progress(job.id, f"{key}.render")


def downloads(sweep: SweepRow, episode_id: int, key: str) -> None:
    """An episode as MP4, GIF and CSV."""
    film_buttons(sweep, episode_id, key)
    name = f"{sweep.name}-episode-{episode_id}-steps"
    csv_button(lambda: steps_table(recorded(sweep, episode_id)), name, "Steps as CSV")


def steps_table(steps: dict[str, np.ndarray]) -> pd.DataFrame:
    """The per-step arrays of an episode as a table, wide arrays as several columns."""
    columns: dict[str, np.ndarray] = {"step": np.arange(len(steps["rewards"]))}
    for name, values in steps.items():
        flat = np.asarray(values).reshape(len(values), -1)
        for index in range(flat.shape[1]):
            columns[name if flat.shape[1] == 1 else f"{name}.{index}"] = flat[:, index]
    return pd.DataFrame(columns)
