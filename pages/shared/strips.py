"""What is known of every step of an episode, as small charts below its picture and on its time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

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
class Strip:
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


def numbers(values: np.ndarray | Sequence[float]) -> list[float | None]:
    """One number a step, as JSON has it; at most `MOST_POINTS`, evenly chosen."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) > MOST_POINTS:
        array = array[_chosen_rows(len(array))]
    return [round(float(value), 4) if np.isfinite(value) else None for value in array]


def _chosen_rows(length: int) -> np.ndarray:
    return np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(int)


def strips_of(facts: DatasetFacts, steps: dict[str, np.ndarray], kind: str, theme: Theme) -> list[Strip]:
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
        strips.append(Strip("still asked for (return-to-go, reward)", [Line("", numbers(asked), colour)]))
    strips.append(Strip("reward of each step", [Line("", numbers(steps["rewards"]), palette.reward)]))
    if "predicted_value" in steps:
        line = Line("", numbers(steps["predicted_value"]), palette.filtered)
        strips.append(Strip("value: reward expected after this step", [line]))
    if facts.action.kind != "discrete":
        return strips + _amounts(facts, steps, colour, palette.muted)
    count = facts.action.categories[0]
    shades = [family_colour(kind, theme, index, count) for index in range(count)] if count <= 4 else [colour]
    return strips + _choices(facts, steps, colour, shades)


def _choices(facts: DatasetFacts, steps: dict[str, np.ndarray], colour: str, shades: list[str]) -> list[Strip]:
    """Probabilities of a discrete action, and which one was taken."""
    count = facts.action.categories[0]
    names = [facts.action.labels[i] if i < len(facts.action.labels) else f"action {i}" for i in range(count)]
    actions = np.asarray(steps["actions"]).astype(int)
    strips = []
    chances = steps.get("action_probabilities")
    if chances is not None and chances.ndim == 2:
        if count == 2:
            lines = [Line("", numbers(chances[:, 1]), colour)]
            strips.append(Strip(f"probability of “{names[1]}”", lines, 0.0, 1.0))
        else:
            taken = np.take_along_axis(chances, actions[:, None], axis=1)[:, 0]
            strips.append(Strip("probability of the action taken", [Line("", numbers(taken), colour)], 0.0, 1.0))
    chosen = [int(actions[row]) for row in _chosen_rows(len(actions))]
    strips.append(Strip("action taken", rows=names, chosen=chosen, colors=shades))
    return strips


def _amounts(facts: DatasetFacts, steps: dict[str, np.ndarray], colour: str, faint: str) -> list[Strip]:
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
        strips.append(Strip(f"action taken: {name}", lines))
    return strips
