"""What pages show of a sweep: its points, their names, and what they are compared with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.frame import open_store
from seqrl.calibration import MOST_TYPICAL, by_typicality, summarise
from seqrl.config import discounted_bounds, sweep_discount, target_discount
from seqrl.plots.format import count, number, with_interval
from seqrl.registry import MODELS, environment_row
from seqrl.store import ACTIVE_STATES, NotFound, RunRow, Store, SweepRow


class Measured(NamedTuple):
    """What was measured so far.

    Attributes:
        episodes: one row an episode.
        points: mean and interval of every cell, see `seqrl.calibration.points`.
        calibration: one row a run and decoding.
        kinds: run → dt, bc, %bc or tt.
        typical: (run, decoding, target) → its most typical episodes, for points with a target; see `most_typical`.
    """

    episodes: pd.DataFrame
    points: pd.DataFrame
    calibration: pd.DataFrame
    kinds: dict[str, str]
    typical: dict[tuple[str, str, float], list[int]]


def measured(sweep: SweepRow) -> Measured:
    """The episodes of a sweep and their summary; only what is new is computed."""
    store = open_store()
    episodes = store.sweep_episodes(sweep.name)
    home = os.environ.get("SEQRL_HOME", "")
    points, calibration, typical = _summary(home, sweep.name, len(episodes), episodes, tuple(sweep.spec.targets))
    return Measured(episodes, points, calibration, kinds(store, sweep), typical)


@st.cache_data(max_entries=64, show_spinner=False)
def _summary(
    home: str, name: str, size: int, _episodes: pd.DataFrame, targets: tuple[float, ...]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[tuple[str, str, float], list[int]]]:
    return *summarise(_episodes, targets=targets), most_typical(_episodes)


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
    """Returns of the episodes that the first run learned from, in the unit of the targets; empty when they are gone."""
    try:
        runs = [store.run(name).spec for name in sweep.spec.runs]
        discount = sweep_discount(run.model for run in runs)
        return returns_of_data(os.environ.get("SEQRL_HOME", ""), runs[0].dataset, discount)
    except NotFound:
        return np.empty(0)


@st.cache_data(max_entries=16, show_spinner=False)
def returns_of_data(home: str, dataset: str, discount: float) -> np.ndarray:
    """What `seqrl.store.Store.dataset_returns` says; the episodes of a dataset never change."""
    return open_store().dataset_returns(dataset, discount)


def returns_in_data(row: RunRow) -> np.ndarray:
    """Returns that span those of what a run learned from, discounted as its targets are."""
    returns, discount = row.facts.returns, target_discount(row.spec.model)
    if discount == 1:
        return np.array([returns.minimum, *returns.percentiles.values(), returns.maximum])
    try:
        return returns_of_data(os.environ.get("SEQRL_HOME", ""), row.spec.dataset, discount)
    except NotFound:
        return np.linspace(*discounted_bounds(row.facts, discount, row.facts.step_limit), 3)


def normalisation(store: Store, sweep: SweepRow) -> tuple[tuple[float, float], str] | None:
    """What counts as 0 and 100, and in words; None when nothing is known to compare with, or targets are discounted."""
    try:
        runs = [store.run(name) for name in sweep.spec.runs]
    except NotFound:
        return None
    if sweep_discount(run.spec.model for run in runs) < 1:
        return None
    facts = runs[0].facts
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


def goal_unit(store: Store, sweep: SweepRow) -> str | None:
    """The unit of how far away goals are, where the sweep's observations name one; else None."""
    try:
        facts = store.run(sweep.spec.runs[0]).facts
    except NotFound:
        return None
    return None if facts.observation.goal is None else environment_row(facts.environment or "").goal_unit


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


def most_typical(episodes: pd.DataFrame) -> dict[tuple[str, str, float], list[int]]:
    """(run, decoding, target) → its `MOST_TYPICAL` most typical episodes; of points with a target."""
    points = episodes[episodes["target"].notna()].groupby(["run", "decoding", "target"])
    return {
        (str(run), str(decoding), float(target)): by_typicality(group)[:MOST_TYPICAL]
        for (run, decoding, target), group in points
    }


def typical_of(typical: dict[tuple[str, str, float], list[int]], run: str) -> dict[float, list[int]]:
    """Target → the most typical episodes of a run; the sampled ones where there are any."""
    own = {(decoding, target): found for (name, decoding, target), found in typical.items() if name == run}
    sampled = {target: found for (decoding, target), found in own.items() if decoding == "sampled"}
    return sampled or {target: found for (_, target), found in own.items()}


class Recorded(NamedTuple):
    """A dataset whose episodes are shown as those of a sweep are.

    Attributes:
        name: as `dataset_reference` gives it.
        created: when, seconds since the epoch.
    """

    name: str
    created: float


def film(sweep: SweepRow | Recorded, episode_id: int, form: Literal["mp4", "gif"] = "mp4") -> Path:
    """Where the film of an episode is, or will be; its name follows from what it shows, so it is found once."""
    return _film(os.environ.get("SEQRL_HOME", ""), sweep.name, sweep.created, episode_id, form)


@lru_cache(maxsize=4096)
def _film(home: str, sweep: str, created: float, episode_id: int, form: Literal["mp4", "gif"]) -> Path:
    return open_store().media_path(sweep, episode_id, form)


def drawn_among(sweep: SweepRow, episode_ids: Sequence[int]) -> int | None:
    """The first of some episodes of a sweep whose video is there."""
    return next((one for one in episode_ids if film(sweep, one).is_file()), None)


def typical(sweep: SweepRow, episodes: pd.DataFrame) -> int:
    """An episode that stands for these: a typical one whose video is there, else the most typical one."""
    candidates = by_typicality(episodes)[:MOST_TYPICAL]
    drawn = drawn_among(sweep, candidates)
    return candidates[0] if drawn is None else drawn


def filmed(sweep: SweepRow, data: Measured) -> dict[float, int]:
    """Target → a typical episode of the first run that listens, where its video is there already.

    Sampled episodes where there are any; only the most typical ones of each target are looked up.
    """
    listening = next((run for run, kind in data.kinds.items() if kind in ("dt", "tt", "rvs")), "")
    drawn = {target: drawn_among(sweep, found) for target, found in typical_of(data.typical, listening).items()}
    return {target: episode for target, episode in drawn.items() if episode is not None}


def on_average(cell: Mapping[str, Any] | pd.Series) -> str:
    """What the episodes of a point got, in words and in the unit of the target; a single one has no interval."""
    discounted = "comparable_low" in cell
    mean, low, high = (cell[_AS_TARGETS[name] if discounted else name] for name in ("mean", "low", "high"))
    unit = " of discounted reward" if discounted else ""
    if cell["n"] < 2:
        return f"It got **{number(mean)}**{unit} in its only episode"
    got = with_interval(mean, low, high)
    return f"It got **{got}**{unit} on average over {count(int(cell['n']), 'episode')} (95% interval)"


_AS_TARGETS = {"mean": "comparable", "low": "comparable_low", "high": "comparable_high"}


def no_point(sweep: SweepRow, soon: str) -> None:
    """Why a sweep has no point: its first one comes soon, or never."""
    if sweep.state in ACTIVE_STATES:
        st.info(soon, icon=":material/hourglass_empty:")
    else:
        st.info(
            "It ended before its first point. Start a new sweep above, or archive this one below.",
            icon=":material/hourglass_disabled:",
        )


def labels(kinds: dict[str, str]) -> dict[str, str]:
    """Run → short name for sentences: the family's where only one run has it, else the run's own."""
    short = {"%bc": "%BC"} | {kind: row.label for kind, row in MODELS.items()}
    families = list(kinds.values())
    return {
        run: short[kind] if kind in short and families.count(kind) == 1 else run.removeprefix("demo/")
        for run, kind in kinds.items()
    }
