"""How well what was achieved follows what was asked: points with intervals, calibration figures, one sentence.

Everything here works on the episode table of a sweep, also while the sweep is still running, and
needs neither torch nor an environment: pages, command line and plots show the same numbers.

A run that listens to no target (behaviour cloning) is measured once per decoding; its episodes have
target NaN, its point is flagged ``conditioned=False``, and its calibration compares that one mean
with every target of the sweep, because that is what it would do whatever is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from seqrl.units import comparable

RESAMPLES = 2000
_CELL = ("run", "decoding", "target")
_LARGEST_TABLE = 4_000_000

MOST_TYPICAL = 16
"""Episodes of a point that may stand for it; a video among them spares drawing another."""


def by_typicality(episodes: pd.DataFrame) -> list[int]:
    """The ids of episodes, those nearest to the median return first: neither lucky nor unlucky."""
    distance = (episodes["achieved_return"] - episodes["achieved_return"].median()).abs()
    return [int(identifier) for identifier in episodes.loc[distance.sort_values(kind="stable").index, "episode_id"]]


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of the mean (Efron 1979), for many equally large samples at once.

    Columns share their resampling indices, which depend on the seed and the sample size only, so an
    interval does not change when other samples are added.

    Args:
        values: (n, G) float, one sample a column.
        level: share of the bootstrap distribution inside the interval.
        seed: of the resampling.
        resamples: number of bootstrap samples.

    Returns:
        (G,) lower and (G,) upper ends, in the unit of the values.

    Raises:
        ValueError: if there are no values.
    """
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"values has shape {values.shape}; give at least one row of (n, samples)")
    size = len(values)
    values = values.astype(np.float64)
    if size * resamples <= _LARGEST_TABLE:
        means = _resampling_weights(size, seed, resamples) @ values
    else:
        rng = np.random.default_rng([seed, size])
        rows = max(_LARGEST_TABLE // size, 1)
        blocks = [_draw_weights(rng, size, min(rows, resamples - at)) @ values for at in range(0, resamples, rows)]
        means = np.concatenate(blocks)
    outside = (1 - level) / 2
    low, high = np.quantile(means, [outside, 1 - outside], axis=0)
    return low, high


@lru_cache(maxsize=16)
def _resampling_weights(size: int, seed: int, resamples: int) -> np.ndarray:
    weights = _draw_weights(np.random.default_rng([seed, size]), size, resamples)
    weights.setflags(write=False)
    return weights


def _draw_weights(rng: np.random.Generator, size: int, resamples: int) -> np.ndarray:
    """How often each of ``size`` values is in each resample, divided by ``size``: (resamples, size)."""
    drawn = rng.integers(size, size=(resamples, size)) + np.arange(resamples)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size) / size


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation; tied values get their mean rank.

    Args:
        x: (n,) float.
        y: (n,) float.

    Returns:
        In [-1, 1]; NaN for fewer than two points or when one side is constant, where no order exists.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    if len(x) < 2:
        return math.nan
    ranks = [_mean_ranks(np.asarray(values, dtype=np.float64)) for values in (x, y)]
    centred = [rank - rank.mean() for rank in ranks]
    spread = math.sqrt(float(centred[0] @ centred[0]) * float(centred[1] @ centred[1]))
    return float(centred[0] @ centred[1]) / spread if spread > 0 else math.nan


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def points(episodes: pd.DataFrame, *, by: Sequence[str] = _CELL, seed: int = 0) -> pd.DataFrame:
    """Mean achieved return of every cell, with a bootstrap 95 % interval.

    Args:
        episodes: one row an episode with the columns of ``by``, ``achieved_return`` and, where a run was
            trained with a discount below 1, ``discounted_return`` (the target's unit there).
        by: the columns that make a cell, such as width and horizon in a beam sweep.
        seed: of the bootstrap.

    Returns:
        One row a cell, words in order of first appearance, numbers by size: the columns of
        ``by``, ``n``, ``mean``, ``std`` (population), ``low``, ``high`` (environment's reward), ``comparable`` (mean in
        the unit of the target), where targets are discounted ``comparable_low`` and ``comparable_high`` (its interval),
        ``length`` (mean steps) when known, ``chosen`` (mean of what a model asked for where
        the choice was its own, else NaN) when there is such a cell, and ``conditioned`` when there are targets.
    """
    by = list(by)
    columns = [*by, "n", "mean", "std", "low", "high", "comparable"]
    if episodes.empty:
        return pd.DataFrame(
            {name: pd.Series(dtype=object if name in ("run", "decoding") else float) for name in columns}
        )
    frame = episodes.assign(_comparable=comparable(episodes))
    rows: list[dict[str, Any]] = []
    samples: list[np.ndarray] = []
    discounted: list[np.ndarray] = []
    for key, cell in frame.groupby(by, dropna=False, sort=False):
        achieved = cell["achieved_return"].to_numpy(np.float64)
        row = dict(zip(by, key, strict=True))
        row |= {"n": len(achieved), "mean": achieved.mean(), "std": achieved.std()}
        row |= {"low": math.nan, "high": math.nan, "comparable": cell["_comparable"].mean()}
        if "length" in cell:
            row["length"] = cell["length"].mean()
        if "chosen_return" in cell:
            row["chosen"] = cell["chosen_return"].mean()
        rows.append(row)
        samples.append(achieved)
        discounted.append(cell["_comparable"].to_numpy(np.float64))
    _fill_intervals(rows, samples, seed)
    if "discounted_return" in episodes:
        _fill_intervals(rows, discounted, seed, "comparable_")
    table = pd.DataFrame(rows)
    if "target" in by:
        table["target"] = table["target"].astype(float)
        table["conditioned"] = table["target"].notna()
    return table.sort_values(by, key=_sort_key).reset_index(drop=True)


_MOST_GROUPS = 12


def success(episodes: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How often goals are reached, by how far away they were at the start.

    Distances are grouped where there are more than a dozen different ones: then each group holds about as many
    episodes. Where some cells have no target (a model that is told the goal, or chooses), those with one are left out.

    Args:
        episodes: one row an episode: run, decoding, target, terminated, length, goal_distance.
        seed: of the bootstrap.

    Returns:
        One row a run, decoding, target and group: these, ``distance`` (mean of the group), ``n``, ``reached`` (share of
        the episodes), ``low``, ``high`` (95 % interval of the share), ``steps`` (mean length of those that reached it).
    """
    names = ["run", "decoding", "target", "distance", "n", "reached", "low", "high", "steps"]
    if "goal_distance" not in episodes or episodes["goal_distance"].isna().all():
        return pd.DataFrame(columns=names)
    frame = episodes[episodes["goal_distance"].notna()]
    frame = frame[frame["target"].isna()] if frame["target"].isna().any() else frame
    distance = frame["goal_distance"].astype(float)
    if distance.nunique() > _MOST_GROUPS:
        edges = np.unique(np.quantile(distance, np.linspace(0, 1, _MOST_GROUPS // 2 + 1)))
        group = pd.Series(np.searchsorted(edges[1:-1], distance, side="right"), index=frame.index)
    else:
        group = distance
    rows: list[dict[str, Any]] = []
    samples: list[np.ndarray] = []
    keys = [frame["run"], frame["decoding"], frame["target"], group]
    for (run, decoding, target, _), cell in frame.groupby(keys, dropna=False, sort=False):
        reached = cell["terminated"].to_numpy(bool)
        row = {"run": run, "decoding": decoding, "target": target, "distance": cell["goal_distance"].mean()}
        row |= {"n": len(cell), "reached": reached.mean(), "low": math.nan, "high": math.nan}
        rows.append(row | {"steps": cell["length"].to_numpy(float)[reached].mean() if reached.any() else math.nan})
        samples.append(reached.astype(np.float64))
    _fill_intervals(rows, samples, seed)
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values(names[:4], key=_sort_key, kind="stable").reset_index(drop=True)


def _sort_key(column: pd.Series) -> pd.Series:
    """Numbers by size, words in order of first appearance."""
    return column if pd.api.types.is_numeric_dtype(column) else pd.Series(pd.factorize(column)[0], column.index)


def _fill_intervals(rows: list[dict[str, Any]], samples: list[np.ndarray], seed: int, prefix: str = "") -> None:
    by_size: dict[int, list[int]] = {}
    for place, sample in enumerate(samples):
        by_size.setdefault(len(sample), []).append(place)
    for places in by_size.values():
        low, high = bootstrap_interval(np.stack([samples[place] for place in places], axis=1), seed=seed)
        for column, place in enumerate(places):
            rows[place] |= {f"{prefix}low": low[column], f"{prefix}high": high[column]}


def calibration(points: pd.DataFrame, targets: Iterable[float] | None = None) -> pd.DataFrame:
    """How far achieved is from asked, for every run and decoding.

    Args:
        points: as `points` returns them, measured so far; where a model chose what to ask for, nothing is compared.
        targets: what a run without targets is compared with; None takes all targets among the points.

    Returns:
        One row a run and decoding: ``run``, ``decoding``, ``conditioned``, ``targets`` (how many were compared),
        ``mae`` (mean over targets of the distance between mean achieved and target), ``bias`` (mean of achieved
        minus target), ``rank_correlation`` (Spearman, of target and mean achieved), ``best`` (largest mean achieved,
        environment's reward). ``mae`` and ``bias`` are in the unit of the target.
    """
    if points.empty:
        names = ["run", "decoding", "conditioned", "targets", "mae", "bias", "rank_correlation", "best"]
        return pd.DataFrame(columns=names)
    if "chosen" in points:
        points = points[points["chosen"].isna()]
    asked = sorted(set(points["target"].dropna()) if targets is None else set(targets))
    rows = []
    for (run, decoding), cells in points.groupby(["run", "decoding"], sort=False):
        conditioned = bool(cells["target"].notna().any())
        if conditioned:
            cells = cells[cells["target"].notna()]
            target, achieved = cells["target"].to_numpy(float), cells["comparable"].to_numpy(float)
        else:
            target = np.asarray(asked, dtype=float)
            achieved = np.full(len(target), float(cells["comparable"].iloc[0]))
        error = achieved - target
        rows.append(
            {
                "run": run,
                "decoding": decoding,
                "conditioned": conditioned,
                "targets": len(target),
                "mae": float(np.abs(error).mean()) if len(error) else math.nan,
                "bias": float(error.mean()) if len(error) else math.nan,
                "rank_correlation": rank_correlation(target, achieved),
                "best": float(cells["mean"].max()),
            }
        )
    return pd.DataFrame(rows)


def summarise(
    episodes: pd.DataFrame, *, targets: Iterable[float] | None = None, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`points` and `calibration` of a return sweep's episode table, finished or not."""
    measured = points(episodes, seed=seed)
    return measured, calibration(measured, targets)


def normalised_score(achieved: np.ndarray | float, reference_returns: tuple[float, float]) -> np.ndarray | float:
    """``100 (G − random) / (expert − random)``, the score of D4RL (Fu et al. 2020, section 5).

    Args:
        achieved: returns, reward units.
        reference_returns: (random, expert) returns, as the registry has them.

    >>> normalised_score(3234.3, (-20.272305, 3234.3))
    100.0
    """
    random, expert = reference_returns
    return 100 * (achieved - random) / (expert - random)


def to_json(
    points: pd.DataFrame, calibration: pd.DataFrame, goals: pd.DataFrame | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Points and calibration, and where there are goals `success`, as plain values; what has no value is None."""
    told = {"points": _records(points), "calibration": _records(calibration)}
    return told if goals is None or goals.empty else told | {"goals": _records(goals)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.astype(object).to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sentence(calibration: pd.DataFrame, labels: Mapping[str, str] | None = None) -> str:
    """What to look for in the chart, in words.

    Args:
        calibration: as `calibration` returns it.
        labels: run → the name it has in the chart; runs not named keep their own name.

    >>> table = pd.DataFrame({"run": "dt", "decoding": ["sampled", "greedy"], "conditioned": True, "targets": 10,
    ...     "mae": [23.1, 225.0], "bias": 0.0, "rank_correlation": [1.0, math.nan], "best": [490.0, 500.0]})
    >>> sentence(table, {"dt": "DT"})
    'Sampled, DT is off by 23 on average; greedy, by 225.'
    """
    labels = labels or {}
    rows = [row for row in calibration.to_dict("records") if not math.isnan(row["mae"])]
    listening = [row for row in rows if row["conditioned"]]
    deaf = [row for row in calibration.to_dict("records") if not row["conditioned"]]
    sentences = []
    if listening:
        sentences.append(_errors_in_words(listening, labels))
    for run in dict.fromkeys(row["run"] for row in deaf):
        reached = [f"{_number(row['best'])} {row['decoding']}" for row in deaf if row["run"] == run]
        sentences.append(f"{labels.get(run, run)} is not asked for a return: it reaches {_enumerate(reached)}.")
    return " ".join(sentences) or "No point is measured yet."


def _errors_in_words(rows: list[dict[str, Any]], labels: Mapping[str, str]) -> str:
    single = len({row["run"] for row in rows}) == 1
    parts: list[str] = []
    for decoding in dict.fromkeys(row["decoding"] for row in rows):
        told: list[str] = []
        for row in (row for row in rows if row["decoding"] == decoding):
            name, error = labels.get(row["run"], row["run"]), _number(row["mae"])
            if not parts and not told:
                told.append(f"{name} is off by {error} on average")
            else:
                told.append(f"by {error}" if single else f"{name} by {error}")
        parts.append(f"{decoding if parts else decoding.capitalize()}, {_enumerate(told)}")
    return "; ".join(parts) + "."


def _enumerate(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _number(value: float) -> str:
    """Whole from ten on, with thin spaces between thousands; two significant digits below."""
    if abs(value) >= 10 or value == 0:
        return f"{value:,.0f}".replace(",", "\u2009").replace("-", "−")
    return f"{value:.2g}".replace("-", "−")
