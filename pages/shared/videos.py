"""Episodes as moving pictures: one, or several that play in step, with strips on the same time axis."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.shared.strips import Strip


@dataclass(frozen=True)
class EpisodeVideo:
    """An episode to be played, or stepped through.

    Attributes:
        path: its MP4 file.
        title: over the picture.
        outcome: under the picture when it is over.
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

    @property
    def payload(self) -> dict[str, Any]:
        """What the browser gets: its fields, and the film itself."""
        values = asdict(self)
        del values["path"]
        return values | {"video": video_url(self.path)}

    @property
    def fingerprint(self) -> str:
        """Changes whenever something else is to be seen; strips follow from the episode and the theme."""
        return f"{self.path} {self.path.stat().st_mtime_ns} {self.title} {self.color}"


_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "seqrl_episodes",
    html='<div class="player">\n</div>',
    css=(_HERE / "videos.css").read_text(),
    js="".join((_HERE / part).read_text() for part in ("elements.js", "strips.js", "videos.js")),
)


@st.cache_data(max_entries=64, show_spinner=False)
def _data_url(path: str, modified_ns: int) -> str:
    """The file as a URL that needs no server; ``modified_ns`` makes a new file a new entry."""
    return "data:video/mp4;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def video_url(path: Path) -> str:
    """An MP4 file as a URL that needs no server."""
    return _data_url(str(path), path.stat().st_mtime_ns)


def collected(rewards: np.ndarray) -> list[float]:
    """Reward collected after each step."""
    return [round(float(value), 4) for value in np.cumsum(rewards)]


def play(episodes: Sequence[EpisodeVideo], key: str) -> None:
    """Play episodes in step: muted, looping, all starting together and waiting for the longest."""
    data = {
        "episodes": [episode.payload for episode in episodes],
        "fingerprint": "|".join(episode.fingerprint for episode in episodes),
    }
    _mount(key=key, data=data)
