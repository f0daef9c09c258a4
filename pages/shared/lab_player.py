"""Episodes on one time axis, frame by frame: pictures, strips and one scrubber that moves in the browser alone.

The browser holds every frame (`frames.js`), so a step takes milliseconds; the server hears of a step when it was let
go, and only then are attention and response computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import streamlit as st

from pages.shared.frame import presenting
from pages.shared.videos import video_url
from seqrl.config import DatasetFacts
from seqrl.plots.template import PALETTES, Theme, family_colour

MOST_POINTS = 5000
MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class Line:
    """One line of a strip.

    Attributes:
        name: shown beside the value at the cursor.
        values: one number a step, None where there is none.
        color: a CSS colour.
        spread: half the width of a ribbon at each step, or empty.
    """

    name: str
    values: list[float | None]
    color: str
    spread: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class LabStrip:
    """A small chart below the picture: lines, or the chosen one of several rows.

    Attributes:
        title: quantity and unit.
        series: its lines; empty for rows.
        low: lower end of the axis, None follows the data.
        high: upper end of the axis, None follows the data.
        rows: names of what can be chosen.
        chosen: row of each step.
        colors: of the rows.
    """

    title: str
    series: list[Line] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    rows: list[str] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    colors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LabEpisode:
    """An episode to be stepped through.

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
    target: float | None
    strips: list[LabStrip]


_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "seqrl_lab",
    html='<div class="lab" tabindex="0" role="group" aria-label="Episode: arrow keys step, space plays">\n</div>',
    css=(_HERE / "lab_player.css").read_text(),
    js=(_HERE / "frames.js").read_text() + (_HERE / "lab_player.js").read_text(),
)


def step_through(
    episodes: Sequence[LabEpisode],
    key: str,
    *,
    visit: str,
    start: int,
    on_step: Callable[[int], None],
    on_go: Callable[[int], None] | None = None,
    playing: bool = False,
) -> None:
    """Show episodes that move in step.

    Args:
        episodes: one to three.
        key: of the element.
        visit: it keeps its step as long as this stays the same.
        start: the step that it begins with.
        on_step: called with the step that was chosen, once the scrubber is let go.
        on_go: called with +1 or −1 when the next or previous episode is wished for.
        playing: whether it begins by moving.
    """

    def stepped() -> None:
        of, _, step = str((st.session_state.get(key) or {}).get("step") or "").rpartition(" ")
        if of == visit:  # not that of an episode which is gone from the screen
            on_step(int(step))

    def gone() -> None:
        by = (st.session_state.get(key) or {}).get("go")
        if on_go is not None and by:
            on_go(int(by))

    payload = []
    for episode in episodes:
        values = asdict(episode)
        values["video"] = video_url(values.pop("path"))
        payload.append(values)
    data = {
        "episodes": payload,
        "fingerprint": "|".join([visit, *(f"{e.path}{e.path.stat().st_mtime_ns}{e.title}{e.color}" for e in episodes)]),
        "visit": visit,
        "start": start,
        "play": playing,
        "presenting": presenting(),
        "neighbours": on_go is not None,
    }
    _mount(key=key, data=data, on_step_change=stepped, on_go_change=gone)


def numbers(values: np.ndarray | Sequence[float]) -> list[float | None]:
    """One number a step, as JSON has it; at most `MOST_POINTS`, evenly chosen."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) > MOST_POINTS:
        array = array[_chosen_rows(len(array))]
    return [round(float(value), 4) if np.isfinite(value) else None for value in array]


def _chosen_rows(length: int) -> np.ndarray:
    return np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(int)


def lab_strips(facts: DatasetFacts, steps: dict[str, np.ndarray], kind: str, theme: Theme) -> list[LabStrip]:
    """What is known of every step: return-to-go, reward, value, probabilities and the action that was taken.

    Args:
        facts: of the data that the model learned from, for names.
        steps: per-step arrays of the episode.
        kind: family of the model, for its colour.
        theme: for the other colours.
    """
    palette, colour = PALETTES[theme], family_colour(kind, theme)
    strips = []
    asked = steps.get("returns_to_go")
    if asked is not None and np.isfinite(asked).any():
        strips.append(LabStrip("still asked for (return-to-go, reward)", [Line("", numbers(asked), colour)]))
    strips.append(LabStrip("reward of each step", [Line("", numbers(steps["rewards"]), palette.reward)]))
    if "predicted_value" in steps:
        line = Line("", numbers(steps["predicted_value"]), palette.filtered)
        strips.append(LabStrip("value: reward expected after this step", [line]))
    if facts.action.kind != "discrete":
        return strips + _amounts(facts, steps, colour, palette.muted)
    count = facts.action.categories[0]
    shades = [family_colour(kind, theme, index, count) for index in range(count)] if count <= 4 else [colour]
    return strips + _choices(facts, steps, colour, shades)


def _choices(facts: DatasetFacts, steps: dict[str, np.ndarray], colour: str, shades: list[str]) -> list[LabStrip]:
    """Probabilities of a discrete action, and which one was taken."""
    count = facts.action.categories[0]
    names = [facts.action.labels[i] if i < len(facts.action.labels) else f"action {i}" for i in range(count)]
    actions = np.asarray(steps["actions"]).astype(int)
    strips = []
    chances = steps.get("action_probabilities")
    if chances is not None and chances.ndim == 2:
        if count == 2:
            lines = [Line("", numbers(chances[:, 1]), colour)]
            strips.append(LabStrip(f"probability of “{names[1]}”", lines, 0.0, 1.0))
        else:
            taken = np.take_along_axis(chances, actions[:, None], axis=1)[:, 0]
            strips.append(LabStrip("probability of the action taken", [Line("", numbers(taken), colour)], 0.0, 1.0))
    chosen = [int(actions[row]) for row in _chosen_rows(len(actions))]
    strips.append(LabStrip("action taken", rows=names, chosen=chosen, colors=shades))
    return strips


def _amounts(facts: DatasetFacts, steps: dict[str, np.ndarray], colour: str, faint: str) -> list[LabStrip]:
    """The first dimensions of the action taken, with mean and spread of what it was drawn from."""
    actions = np.asarray(steps["actions"], dtype=np.float64).reshape(len(steps["rewards"]), -1)
    chances = steps.get("action_probabilities")
    strips = []
    for dimension, name in enumerate(facts.action.names[:MOST_DIMENSIONS]):
        taken = numbers(actions[:, dimension])
        lines = [Line("", taken, colour)]
        if facts.action.kind == "box" and chances is not None and chances[:, 1, dimension].any():
            spread = [value or 0.0 for value in numbers(chances[:, 1, dimension])]
            model = Line("model", numbers(chances[:, 0, dimension]), faint, spread)
            lines = [model, Line("taken", taken, colour)]
        strips.append(LabStrip(f"action taken: {name}", lines))
    return strips
