"""Achieved return against target return: the centre of the product."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from seqrl.plots.format import enumerate_words, number
from seqrl.plots.layout import finite_range, round_step
from seqrl.plots.sentences import sentence
from seqrl.units import as_targets, comparable

_DENSITY_BINS = 40
_FAMILY_NAMES = {"dt": "DT", "tt": "TT", "bc": "BC", "%bc": "%BC", "rvs": "RvS"}


class Series(NamedTuple):
    """One line of the chart: a run under a decoding.

    Arrays have a row a target, sorted; returns are in axis units, but ``asked`` is the target in reward units,
    as the episode table knows it. ``episodes`` says how many are behind each mean, ``place`` is the run's index
    and the number of runs in its family. A run that is asked for nothing has no targets, but a ``flat`` mean,
    low, high and number of episodes. ``choice`` is where the model chose what to ask for: the mean of what it
    chose, mean achieved, low, high and number of episodes.
    """

    run: str
    decoding: str
    kind: str
    label: str
    place: tuple[int, int]
    asked: np.ndarray
    target: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    episodes: np.ndarray
    flat: tuple[float, float, float, int] | None
    mean_error: float
    dots: Dots
    choice: tuple[float, float, float, float, int] | None = None


class Dots(NamedTuple):
    """Single episodes of a series: where they are and which they are; ``target`` is NaN when none was asked."""

    target: np.ndarray
    achieved: np.ndarray
    episode_id: np.ndarray
    length: np.ndarray


class RtgSweepInfo(NamedTuple):
    """What the chart shows, in axis units.

    Attributes:
        series: lines in the order of the given runs, sampled before greedy.
        axis: lowest and highest value of both axes.
        step: distance of ticks on both axes.
        data: the data's lowest and highest return, None when unknown.
        density_edges: (n+1,) bin edges of the data's returns, empty when unknown.
        density: (n,) episodes of the data in each bin.
        outside: spans of targets that the data has no return for.
        unit: "reward", "discounted reward" or "normalised score".
    """

    series: tuple[Series, ...]
    axis: tuple[float, float]
    step: float
    data: tuple[float, float] | None
    density_edges: np.ndarray
    density: np.ndarray
    outside: tuple[tuple[float, float], ...]
    unit: str


def rtg_sweep_info(
    points: pd.DataFrame,
    *,
    kinds: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    episodes: pd.DataFrame | None = None,
    dataset_returns: np.ndarray | Sequence[float] | None = None,
    reference_returns: tuple[float, float] | None = None,
) -> RtgSweepInfo:
    """Arrange the points of a sweep, finished or not, for `rtg_sweep`.

    Args:
        points: as `seqrl.calibration.points` returns them: run, decoding, target (NaN for runs that are asked
            for nothing or choose themselves), n, mean, low, high, and optionally ``comparable`` (mean in the target's
            unit; its interval where targets are discounted) and ``chosen`` (what a model that chose asked for).
        kinds: run → dt, tt, bc, %bc or rvs; decides the colour.
        labels: run → name in the chart; without it, the family's name where it is the only one, else the run's.
        episodes: one row an episode: episode_id, run, decoding, target, achieved_return, optionally length and
            discounted_return.
        dataset_returns: (E,) return of every episode of the training data.
        reference_returns: (random, expert) returns; when given, everything is shown as normalised score
            ``100 (x − random) / (expert − random)`` (Fu et al. 2020).

    Where targets are discounted, everything is shown as they are, and so ``dataset_returns`` have to be.
    """
    scale, unit = _scale(reference_returns)
    if "comparable_low" in points:
        points, unit = as_targets(points), "discounted reward"
    kinds = kinds or {}
    runs = list(dict.fromkeys(points["run"])) if len(points) else []
    names = _names(runs, kinds, labels or {})
    every_target = np.unique(points["target"].dropna().to_numpy(float)) if len(points) else np.empty(0)
    series = []
    for run in runs:
        family = [other for other in runs if kinds.get(other, "") == kinds.get(run, "")]
        of_run = points[points["run"] == run]
        for decoding in sorted(set(of_run["decoding"]), key=lambda name: (name != "sampled", name)):
            cells = of_run[of_run["decoding"] == decoding]
            place = (family.index(run), len(family))
            dots = _dots(episodes, run, decoding)
            line = _series(cells, run, decoding, kinds.get(run, ""), f"{names[run]} {decoding}", place, dots)
            series.append(_in_axis_units(line._replace(mean_error=_error(cells, every_target)), scale))
    returns = scale(np.asarray(dataset_returns if dataset_returns is not None else (), dtype=np.float64))
    returns = returns[np.isfinite(returns)]
    low, high = _axis(series, returns)
    data = (float(returns.min()), float(returns.max())) if len(returns) else None
    edges = _density_edges(data, low, high)
    return RtgSweepInfo(
        series=tuple(series),
        axis=(low, high),
        step=round_step(high - low, 6),
        data=data,
        density_edges=edges,
        density=np.histogram(returns, edges)[0] if data else np.empty(0),
        outside=_outside(data, low, high, scale(every_target)),
        unit=unit,
    )


def _scale(reference_returns: tuple[float, float] | None) -> tuple[Callable[[Any], Any], str]:
    if reference_returns is None:
        return (lambda values: values), "reward"
    random, expert = reference_returns
    if expert == random:
        raise ValueError(f"the random and the expert return are both {random:g}; a normalised score needs two")
    return (lambda values: 100 * (values - random) / (expert - random)), "normalised score"


def _names(runs: Sequence[str], kinds: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    names = {}
    for run in runs:
        kind = kinds.get(run, "")
        alone = sum(kinds.get(other, "") == kind for other in runs) == 1
        family = _FAMILY_NAMES.get(kind)
        names[run] = labels.get(run) or (family if alone and family else run.removeprefix("demo/"))
    return names


def _dots(episodes: pd.DataFrame | None, run: str, decoding: str) -> Dots:
    if episodes is None or episodes.empty:
        return Dots(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), np.empty(0))
    own = episodes[(episodes["run"] == run) & (episodes["decoding"] == decoding)]
    length = own["length"].to_numpy(float) if "length" in own else np.full(len(own), math.nan)
    asked = own["target"].astype(float)
    if "chosen_return" in own:
        asked = asked.fillna(own["chosen_return"].astype(float))
    return Dots(
        asked.to_numpy(),
        comparable(own).to_numpy(float),
        own["episode_id"].to_numpy(np.int64),
        length,
    )


def _series(
    cells: pd.DataFrame, run: str, decoding: str, kind: str, label: str, place: tuple[int, int], dots: Dots
) -> Series:
    """The series in reward units, its error still to be computed."""
    asked = cells[cells["target"].notna()].sort_values("target")
    unasked, choice = cells[cells["target"].isna()], None
    if "chosen" in cells and unasked["chosen"].notna().any():
        row = unasked[unasked["chosen"].notna()].iloc[0]
        choice = (float(row["chosen"]), float(row["mean"]), float(row["low"]), float(row["high"]), int(row["n"]))
        unasked = unasked[unasked["chosen"].isna()]
    target, mean, low, high, n = (asked[name].to_numpy(np.float64) for name in ("target", "mean", "low", "high", "n"))
    flat = None
    if len(unasked):
        row = unasked.iloc[0]
        flat = (float(row["mean"]), float(row["low"]), float(row["high"]), int(row["n"]))
    return Series(run, decoding, kind, label, place, target, target, mean, low, high, n, flat, math.nan, dots, choice)


def _error(cells: pd.DataFrame, targets: np.ndarray) -> float:
    """Mean distance of mean achieved and target, in the target's unit, as `seqrl.calibration` defines it."""
    asked = cells[cells["target"].notna()].sort_values("target")
    own = asked if len(asked) else cells.head(1)
    achieved = (own["comparable"] if "comparable" in own else own["mean"]).to_numpy(np.float64)
    distance = np.abs(achieved - (own["target"].to_numpy(np.float64) if len(asked) else targets))
    return float(distance.mean()) if len(distance) else math.nan


def _in_axis_units(line: Series, scale: Callable[[Any], Any]) -> Series:
    flat = line.flat and (
        float(scale(line.flat[0])),
        float(scale(line.flat[1])),
        float(scale(line.flat[2])),
        line.flat[3],
    )
    choice = line.choice and (
        float(scale(line.choice[0])),
        float(scale(line.choice[1])),
        float(scale(line.choice[2])),
        float(scale(line.choice[3])),
        line.choice[4],
    )
    return line._replace(
        target=scale(line.target),
        mean=scale(line.mean),
        low=scale(line.low),
        high=scale(line.high),
        flat=flat,
        choice=choice,
        mean_error=line.mean_error * abs(float(scale(1.0) - scale(0.0))),
        dots=line.dots._replace(target=scale(line.dots.target), achieved=scale(line.dots.achieved)),
    )


def _axis(series: Sequence[Series], returns: np.ndarray) -> tuple[float, float]:
    """One range for both axes. Intervals and single episodes are inside; the data's returns too."""
    parts: list[np.ndarray] = [returns]
    for line in series:
        parts += [line.target, line.mean, line.low, line.high, line.dots.achieved]
        parts += [np.array(line.flat[:3])] if line.flat else []
        parts += [np.array(line.choice[:4])] if line.choice else []
    low, high = finite_range(*parts)
    smallest = min((float(np.nanmin(part)) for part in parts if len(part) and np.isfinite(part).any()), default=low)
    return (0.0 if low < 0 <= smallest else low), high


def _density_edges(data: tuple[float, float] | None, low: float, high: float) -> np.ndarray:
    """Bins of a round width that start at the data's lowest return and are as wide for every part of the axis."""
    if data is None:
        return np.empty(0)
    width = round_step(high - low, _DENSITY_BINS)
    first = math.floor(data[0] / width) * width
    count = math.floor((data[1] - first) / width) + 1
    return first + width * np.arange(count + 1)


def _outside(
    data: tuple[float, float] | None, low: float, high: float, targets: np.ndarray
) -> tuple[tuple[float, float], ...]:
    """Spans of the axis without data, when a target lies in them or they are wide enough to be seen."""
    if data is None:
        return ()
    spans = ((low, data[0]), (data[1], high))
    visible = 0.03 * (high - low)
    return tuple(
        (start, end)
        for start, end in spans
        if end > start and (end - start >= visible or bool(((targets > start) & (targets < end)).any()))
    )


@sentence.register
def _(info: RtgSweepInfo) -> str:
    if not info.series:
        return "No point is measured yet."
    listening = [line for line in info.series if len(line.target)]
    single = len({line.run for line in listening}) == 1
    parts: list[str] = []
    for decoding in dict.fromkeys(line.decoding for line in listening):
        told: list[str] = []
        for line in (line for line in listening if line.decoding == decoding):
            name, error = line.label.removesuffix(f" {decoding}"), number(line.mean_error, 2)
            if not parts and not told:
                told.append(f"{name} is off by {error} on average")
            else:
                told.append(f"by {error}" if single else f"{name} by {error}")
        parts.append(f"{decoding if parts else decoding.capitalize()}, {enumerate_words(told)}")
    sentences = ["; ".join(parts) + "."] if parts else []
    for line in info.series:
        if line.flat and not len(line.target):
            sentences.append(f"{line.label} is asked for nothing and reaches {number(line.flat[0])}.")
        if line.choice:
            asks, gets = number(line.choice[0]), number(line.choice[1])
            sentences.append(f"Left to choose, {line.label} asks for {asks} and reaches {gets}.")
    return " ".join(sentences)
