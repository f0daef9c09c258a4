"""What was achieved, in the unit of the targets that it is compared with: discounted where they are."""

from __future__ import annotations

import pandas as pd


def as_targets(points: pd.DataFrame) -> pd.DataFrame:
    """Points whose mean and interval are in the unit of their targets, see `seqrl.calibration.points`."""
    if "comparable_low" not in points:
        return points
    return points.assign(mean=points["comparable"], low=points["comparable_low"], high=points["comparable_high"])


def comparable(episodes: pd.DataFrame) -> pd.Series:
    """Achieved return in the unit of the target: discounted where the run's targets are."""
    achieved = episodes["achieved_return"].astype(float)
    if "discounted_return" not in episodes:
        return achieved
    return episodes["discounted_return"].astype(float).fillna(achieved)
