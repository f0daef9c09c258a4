"""Episodes on one time axis: return-to-go, reward, value and action, with a cursor at a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqrl.plots.format import count, enumerate_words, number
from seqrl.plots.sentences import sentence

MOST_ACTION_LINES = 3
"""Up to this many continuous action dimensions have a strip of lines each; more make a heat map."""


class EpisodeTrace(NamedTuple):
    """One episode to show, as the store keeps it.

    Attributes:
        label: its name in the chart, "asked for 300" for example.
        kind: family of the model that played: dt, tt, bc, %bc or rvs.
        rewards: (T,) reward units.
        returns_to_go: (T,) what the model was asked for at each step, NaN where it was asked for nothing.
        actions: (T,) whole numbers, (T, M) whole numbers or (T, A) floats.
        action_probabilities: (T, A) of discrete actions, (T, 2, A) means and standard deviations of continuous
            ones, or None.
        values: (T,) the model's estimate of what is still to come, or None.
        episode_id: row of the sweep's episode table, or None.
    """

    label: str
    kind: str
    rewards: np.ndarray
    returns_to_go: np.ndarray
    actions: np.ndarray
    action_probabilities: np.ndarray | None = None
    values: np.ndarray | None = None
    episode_id: int | None = None


class ActionStrip(NamedTuple):
    """What one strip of actions shows.

    Attributes:
        title: above the strip.
        episodes: indices of the episodes in it: one for a heat map, all for lines.
        rows: names of the heat map's rows, empty for lines.
        cells: (rows, T) of a heat map: probabilities, or values in [0, 1] of their dimension's range.
        chosen: (T,) row of the chosen action, empty when the actions are continuous.
        dimension: of the lines, −1 for a heat map.
    """

    title: str
    episodes: tuple[int, ...]
    rows: tuple[str, ...]
    cells: np.ndarray
    chosen: np.ndarray
    dimension: int


class EpisodeStripsInfo(NamedTuple):
    """Episodes and what can be shown of them.

    Attributes:
        traces: in the order given.
        places: (index, count) of each among the episodes of its family.
        actions: strips of actions from top to bottom.
        length: steps of the longest episode.
        returns: achieved return of each.
        continuous: whether actions are floats.
        names: of discrete actions or continuous dimensions.
    """

    traces: tuple[EpisodeTrace, ...]
    places: tuple[tuple[int, int], ...]
    actions: tuple[ActionStrip, ...]
    length: int
    returns: tuple[float, ...]
    continuous: bool
    names: tuple[str, ...]

    @property
    def asked(self) -> bool:
        """Whether any of the episodes was asked for a return."""
        return any(bool(np.isfinite(trace.returns_to_go).any()) for trace in self.traces)

    @property
    def valued(self) -> bool:
        """Whether any of the models estimated values."""
        return any(trace.values is not None for trace in self.traces)


def episode_strips_info(traces: Sequence[EpisodeTrace], *, action_names: Sequence[str] = ()) -> EpisodeStripsInfo:
    """Arrange episodes for `episode_strips`.

    Args:
        traces: one to four episodes of one environment.
        action_names: of discrete actions or of the dimensions of continuous ones; others are numbered.
    """
    kinds = [trace.kind for trace in traces]
    places = tuple((kinds[:index].count(kind), kinds.count(kind)) for index, kind in enumerate(kinds))
    continuous = any(np.issubdtype(np.asarray(trace.actions).dtype, np.floating) for trace in traces)
    wide = max((_width(trace, continuous) for trace in traces), default=0)
    names = tuple(action_names[i] if i < len(action_names) else f"action {i}" for i in range(wide))
    if continuous and wide <= MOST_ACTION_LINES:
        every = tuple(range(len(traces)))
        strips = [ActionStrip(name, every, (), np.empty((0, 0)), np.empty(0), d) for d, name in enumerate(names)]
    else:
        strips = [_heat_map(trace, index, names, continuous) for index, trace in enumerate(traces)]
        if len(strips) == 1:
            strips = [strips[0]._replace(title=strips[0].title.removesuffix(f", {traces[0].label}"))]
    return EpisodeStripsInfo(
        traces=tuple(traces),
        places=places,
        actions=tuple(strips),
        length=max((len(trace.rewards) for trace in traces), default=0),
        returns=tuple(float(np.sum(trace.rewards)) for trace in traces),
        continuous=continuous,
        names=names,
    )


def _width(trace: EpisodeTrace, continuous: bool) -> int:
    """Number of discrete actions, or of continuous dimensions."""
    if trace.action_probabilities is not None:
        return int(np.shape(trace.action_probabilities)[-1])
    actions = np.asarray(trace.actions)
    if continuous:
        return 1 if actions.ndim == 1 else actions.shape[1]
    return int(actions.max()) + 1 if actions.size else 0


def _heat_map(trace: EpisodeTrace, index: int, names: tuple[str, ...], continuous: bool) -> ActionStrip:
    actions = np.asarray(trace.actions)
    if continuous:
        values = actions.astype(np.float64).T
        low, high = np.nanmin(values, axis=1, keepdims=True), np.nanmax(values, axis=1, keepdims=True)
        cells = np.divide(values - low, high - low, out=np.full(values.shape, 0.5), where=high > low)
        return ActionStrip(f"actions, {trace.label}", (index,), names, cells, np.empty(0), -1)
    chosen = actions if actions.ndim == 1 else np.empty(0)
    if trace.action_probabilities is not None:
        cells = np.asarray(trace.action_probabilities, dtype=np.float64).T
        title = f"probability of each action, {trace.label}"
    else:
        cells = (np.arange(len(names))[:, None] == chosen[None, :]).astype(np.float64)
        title = f"chosen action, {trace.label}"
    return ActionStrip(title, (index,), names, cells, chosen, -1)


def step_sentence(info: EpisodeStripsInfo, step: int) -> str:
    """What happens at a step, in words, for every episode that reaches it."""
    told = []
    for trace in info.traces:
        if not 0 <= step < len(trace.rewards):
            told.append(f"{trace.label}: over after {count(len(trace.rewards), 'step')}")
            continue
        parts = []
        if math.isfinite(trace.returns_to_go[step]):
            parts.append(f"{number(trace.returns_to_go[step])} still asked for (return-to-go)")
        parts.append(f"{_action_in_words(info, trace, step)}, reward {number(trace.rewards[step])}")
        told.append(f"{trace.label}: {', '.join(parts)}")
    return f"Step {number(step)}. " + "; ".join(told) + "."


def _action_in_words(info: EpisodeStripsInfo, trace: EpisodeTrace, step: int) -> str:
    action = np.atleast_1d(np.asarray(trace.actions)[step])
    if info.continuous:
        return enumerate_words([f"{name} {number(value)}" for name, value in zip(info.names, action, strict=False)])
    if len(action) > 1:
        return "actions " + enumerate_words([str(int(value)) for value in action])
    name = info.names[int(action[0])]
    if trace.action_probabilities is None:
        return f"“{name}”"
    return f"“{name}” with probability {number(trace.action_probabilities[step, int(action[0])], 2)}"


@sentence.register
def _(info: EpisodeStripsInfo) -> str:
    if not info.traces:
        return "No episode is chosen yet."
    told = [
        f"{trace.label}: {number(achieved)} in {count(len(trace.rewards), 'step')}"
        for trace, achieved in zip(info.traces, info.returns, strict=True)
    ]
    return "Return reached: " + "; ".join(told) + "." if len(told) > 1 else f"Return reached, {told[0]}."
