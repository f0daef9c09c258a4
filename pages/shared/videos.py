"""Episodes as moving pictures: one, or several that play in step, with strips on the same time axis."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import streamlit as st

MAX_STRIP_POINTS = 1000


@dataclass(frozen=True)
class Series:
    """One line of a strip.

    Attributes:
        name: shown beside the value at the cursor.
        values: one number a step.
        color: a CSS colour.
    """

    name: str
    values: list[float]
    color: str


@dataclass(frozen=True)
class Strip:
    """A small chart under a video, sharing its time axis.

    Attributes:
        title: quantity and unit.
        series: its lines.
        low: lower end of the axis, None follows the data.
        high: upper end of the axis, None follows the data.
    """

    title: str
    series: list[Series]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class EpisodeVideo:
    """An episode to be played.

    Attributes:
        path: its MP4 file.
        title: over the picture.
        outcome: under the picture.
        color: of the bar that fills with collected reward.
        length: steps.
        collected: reward collected after each step.
        target: the return that was asked for, or None.
        strips: charts on the same time axis.
    """

    path: Path
    title: str
    outcome: str
    color: str
    length: int
    collected: list[float]
    target: float | None = None
    strips: list[Strip] = field(default_factory=list)


_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "seqrl_episodes",
    html='<div class="player">\n</div>',
    css=(_HERE / "videos.css").read_text(),
    js=(_HERE / "videos.js").read_text(),
)


@st.cache_data(max_entries=64, show_spinner=False)
def _data_url(path: str, modified_ns: int) -> str:
    """The file as a URL that needs no server; ``modified_ns`` makes a new file a new entry."""
    return "data:video/mp4;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def video_url(path: Path) -> str:
    """An MP4 file as a URL that needs no server."""
    return _data_url(str(path), path.stat().st_mtime_ns)


def thinned(values: np.ndarray | Sequence[float]) -> list[float]:
    """At most `MAX_STRIP_POINTS` evenly spaced values, so that long episodes stay light."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) > MAX_STRIP_POINTS:
        array = array[np.linspace(0, len(array) - 1, MAX_STRIP_POINTS).round().astype(int)]
    return [round(float(value), 4) for value in array]


def play(episodes: Sequence[EpisodeVideo], key: str) -> None:
    """Play episodes in step: muted, looping, all starting together and waiting for the longest."""
    payload = []
    for episode in episodes:
        values = asdict(episode)
        del values["path"]
        values["video"] = video_url(episode.path)
        payload.append(values)
    fingerprint = "|".join(f"{e.path}{e.path.stat().st_mtime_ns}{e.title}{e.color}" for e in episodes)
    _mount(key=key, data={"episodes": payload, "fingerprint": fingerprint})
