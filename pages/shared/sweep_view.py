"""What Home and the RTG sweep show of a sweep: its points, its chart, and the episode behind a point."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.episode_export import film_buttons
from pages.shared.exports import csv_button
from pages.shared.frame import open_store, presenting, theme
from pages.shared.jobs import progress, submit
from pages.shared.videos import EpisodeVideo, Series, Strip, play, thinned
from seqrl.calibration import summarise
from seqrl.config import RenderJob, RenderSpec
from seqrl.plots import family_colour
from seqrl.plots.format import count, number
from seqrl.plots.template import PALETTES
from seqrl.registry import MODELS, environment_row
from seqrl.store import NotFound, RunRow, Store, SweepRow


class Measured(NamedTuple):
    """What was measured so far.

    Attributes:
        episodes: one row an episode.
        points: mean and interval of every cell, see `seqrl.calibration.points`.
        calibration: one row a run and decoding.
        kinds: run → dt, bc, %bc or tt.
    """

    episodes: pd.DataFrame
    points: pd.DataFrame
    calibration: pd.DataFrame
    kinds: dict[str, str]


def measured(sweep: SweepRow) -> Measured:
    """The episodes of a sweep and their summary; only what is new is computed."""
    store = open_store()
    episodes = store.sweep_episodes(sweep.name)
    home = os.environ.get("SEQRL_HOME", "")
    points, calibration = _summary(home, sweep.name, len(episodes), episodes, tuple(sweep.spec.targets))
    return Measured(episodes, points, calibration, kinds(store, sweep))


@st.cache_data(max_entries=64, show_spinner=False)
def _summary(
    home: str, name: str, size: int, _episodes: pd.DataFrame, targets: tuple[float, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    return summarise(_episodes, targets=targets)


def kinds(store: Store, sweep: SweepRow) -> dict[str, str]:
    """Run → its family, which decides the colour. A run whose row is gone counts as no family."""
    found = {}
    for name in sweep.spec.runs:
        try:
            found[name] = kind_of(store.run(name))
        except NotFound:
            found[name] = ""
    return found


def kind_of(run: RunRow) -> str:
    """The family of a run: its model's kind, or %bc for behaviour cloning of the best episodes."""
    return "%bc" if getattr(run.spec.model, "top_fraction", 1.0) < 1 else run.spec.model.kind


def dataset_returns(store: Store, sweep: SweepRow) -> np.ndarray:
    """Returns of the episodes that the first run learned from; empty when they are gone."""
    try:
        table = store.dataset_episodes(store.run(sweep.spec.runs[0]).spec.dataset)
    except NotFound:
        return np.empty(0)
    return table["achieved_return"].to_numpy(float)


def normalisation(store: Store, sweep: SweepRow) -> tuple[tuple[float, float], str] | None:
    """What counts as 0 and 100, and in words; None when nothing is known to compare with."""
    try:
        facts = store.run(sweep.spec.runs[0]).facts
    except NotFound:
        return None
    reference = environment_row(facts.environment or "").reference_returns
    if reference is not None:
        return reference, f"0 is a random policy ({number(reference[0])}), 100 an expert ({number(reference[1])})"
    tiers = sorted(facts.returns_by_tier.items(), key=lambda item: item[1].mean)
    if len(tiers) < 2 or tiers[0][1].mean == tiers[-1][1].mean:
        return None
    (worst, low), (best, high) = tiers[0], tiers[-1]
    return (low.mean, high.mean), (
        f"0 is the mean of the data's tier {worst} ({number(low.mean)}), 100 that of {best} ({number(high.mean)})"
    )


def luck_of(store: Store, sweep: SweepRow) -> str:
    """What chance does to a target in the sweep's environment; empty where it plays no part, or nothing is known."""
    try:
        return environment_row(store.run(sweep.spec.runs[0]).facts.environment or "").luck
    except NotFound:
        return ""


def point_name(run: str, decoding: str, target: float | None) -> str:
    """How a point is called in lists and in the address: "dt · sampled · 200"."""
    asked = "–" if target is None or pd.isna(target) else f"{target:g}"
    return f"{run} · {decoding} · {asked}"


def point_names(episodes: pd.DataFrame) -> pd.Series:
    """The point that each episode belongs to."""
    if episodes.empty:
        return pd.Series(dtype=str)
    rows = zip(episodes["run"], episodes["decoding"], episodes["target"], strict=True)
    return pd.Series([point_name(*row) for row in rows], index=episodes.index)


def by_typicality(episodes: pd.DataFrame) -> list[int]:
    """The episodes, those nearest to the median return first: neither lucky nor unlucky."""
    distance = (episodes["achieved_return"] - episodes["achieved_return"].median()).abs()
    return [int(identifier) for identifier in episodes.loc[distance.sort_values(kind="stable").index, "episode_id"]]


def filmed(sweep: SweepRow, data: Measured) -> dict[float, int]:
    """Target → a typical episode of the first run that listens, where its video is there already.

    Sampled episodes where there are any; only the most typical ones of each target are looked up.
    """
    listening = [run for run, kind in data.kinds.items() if kind in ("dt", "tt", "rvs")]
    asked = data.episodes[data.episodes["run"].isin(listening[:1]) & data.episodes["target"].notna()]
    sampled = asked[asked["decoding"] == "sampled"]
    asked = sampled if len(sampled) else asked
    candidates = {float(target): by_typicality(group)[:8] for target, group in asked.groupby("target")}
    media = open_store().home / "media"
    changed = media.stat().st_mtime_ns if media.is_dir() else 0
    found = _filmed(os.environ.get("SEQRL_HOME", ""), sweep.name, str(candidates), changed, candidates)
    return found


@st.cache_data(max_entries=16, show_spinner=False)
def _filmed(
    home: str, name: str, asked_for: str, changed_ns: int, _candidates: dict[float, list[int]]
) -> dict[float, int]:
    store = open_store()
    found = {}
    for target, identifiers in _candidates.items():
        there = (identifier for identifier in identifiers if store.media_path(name, identifier).is_file())
        if (first := next(there, None)) is not None:
            found[target] = first
    return found


def outcome(row: pd.Series) -> str:
    """How an episode ended, in words."""
    end = "reached the time limit" if row["truncated"] else "ended" if row["terminated"] else "was cut off"
    return f"collected {number(row['achieved_return'])}, {end} after {count(int(row['length']), 'step')}"


def clip(sweep: SweepRow, row: pd.Series, kind: str, *, strips: bool) -> EpisodeVideo:
    """An episode of a sweep, ready to be played."""
    store = open_store()
    steps = store.episode_steps(sweep.name, int(row["episode_id"]))
    colour = family_colour(kind, theme())
    asked = None if pd.isna(row["target"]) else float(row["target"])
    title = f"asked for {number(asked)}" if asked is not None else "not asked for a return"
    return EpisodeVideo(
        path=store.media_path(sweep.name, int(row["episode_id"])),
        title=title
        if not strips
        else f"Episode {row['episode_id']}, {row['decoding']}" + (f", {title}" if asked else ""),
        outcome=outcome(row),
        color=colour,
        length=int(row["length"]),
        collected=thinned(np.cumsum(steps["rewards"])),
        target=asked,
        strips=strips_of(store.run(str(row["run"])), steps, colour) if strips else [],
    )


def strips_of(run: RunRow, steps: dict[str, np.ndarray], colour: str) -> list[Strip]:
    """Return-to-go, reward and action probabilities of an episode over its steps."""
    palette = PALETTES[theme()]
    strips = []
    asked = steps.get("returns_to_go")
    if asked is not None and len(asked) and np.isfinite(asked).any():
        strips.append(Strip("reward still asked for (return-to-go)", [Series("", thinned(asked), colour)]))
    rewards = steps["rewards"]
    if np.ptp(rewards) > 0:
        strips.append(Strip("reward of each step", [Series("", thinned(rewards), palette.reward)]))
    chances = steps.get("action_probabilities")
    if chances is not None and chances.ndim == 2 and run.facts.action.kind == "discrete":
        names = run.facts.action.labels or [f"action {index}" for index in range(chances.shape[1])]
        shades = (colour, palette.tt, palette.reward, palette.muted)
        if chances.shape[1] == 2:
            lines = [Series("", thinned(chances[:, 1]), colour)]
            strips.append(Strip(f"probability of “{names[1]}”", lines, 0.0, 1.0))
        else:
            lines = [
                Series(str(name), thinned(chances[:, index]), shades[index % len(shades)])
                for index, name in enumerate(names[:4])
            ]
            strips.append(Strip("action probabilities", lines, 0.0, 1.0))
    elif chances is not None and chances.ndim == 3:
        names = run.facts.action.names
        lines = [
            Series(str(name), thinned(chances[:, 0, index]), (colour, palette.tt, palette.reward, palette.muted)[index])
            for index, name in enumerate(names[:4])
        ]
        strips.append(Strip("mean action", lines))
    return strips


def episode_player(sweep: SweepRow, row: pd.Series, kind: str, key: str, *, at_once: bool = True) -> None:
    """Play an episode; when it was never rendered, have it rendered first.

    Args:
        sweep: that it was measured in.
        row: of its episode table.
        kind: family of the model, for the colour.
        key: of the player.
        at_once: whether somebody asked for this very episode, or it needs a button first.
    """
    store = open_store()
    episode_id = int(row["episode_id"])
    path = store.media_path(sweep.name, episode_id)
    if path.is_file():
        play([clip(sweep, row, kind, strips=True)], key=key)
        if presenting():
            return
        name = f"{sweep.name}-episode-{episode_id}"
        with st.container(horizontal=True):
            film_buttons(store, sweep.name, episode_id, key)
            csv_button(
                lambda: steps_table(store.episode_steps(sweep.name, episode_id)), f"{name}-steps", "Steps as CSV"
            )
        return
    wanted = RenderJob(spec=RenderSpec(sweep=sweep.name, episode_id=episode_id))
    job = next((job for job in store.jobs() if job.kind == wanted.kind and job.job == wanted), None)
    if job is None or job.state == "succeeded":
        if not at_once and not st.button("Play this episode", icon=":material/play_circle:", key=f"{key}.play"):
            return
        job = submit(wanted)
    if job is not None:
        progress(job.id, f"{key}.render")


def steps_table(steps: dict[str, np.ndarray]) -> pd.DataFrame:
    """The per-step arrays of an episode as a table, wide arrays as several columns."""
    columns: dict[str, np.ndarray] = {"step": np.arange(len(steps["rewards"]))}
    for name, values in steps.items():
        flat = np.asarray(values).reshape(len(values), -1)
        for index in range(flat.shape[1]):
            columns[name if flat.shape[1] == 1 else f"{name}.{index}"] = flat[:, index]
    return pd.DataFrame(columns)


def labels(kinds: dict[str, str]) -> dict[str, str]:
    """Run → short name for sentences: the family's where only one run has it, else the run's own."""
    short = {"%bc": "%BC"} | {kind: row.label for kind, row in MODELS.items()}
    families = list(kinds.values())
    return {
        run: short[kind] if kind in short and families.count(kind) == 1 else run.removeprefix("demo/")
        for run, kind in kinds.items()
    }
