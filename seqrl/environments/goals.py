"""How far away the goals are that observations name."""

from __future__ import annotations

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.registry import environment_row, resolve


def goal_distances(facts: DatasetFacts, observations: np.ndarray) -> np.ndarray | None:
    """From what is reached to what is to be reached, in the unit that the environment's row names.

    Args:
        facts: of data of the environment.
        observations: (n, size), flattened.

    Returns:
        (n,) float, None where observations name no goal. It is the straight line, unless the row has its own measure.
    """
    goal = facts.observation.goal
    if goal is None:
        return None
    achieved, desired = observations[:, goal.achieved], observations[:, goal.desired]
    measure = environment_row(facts.environment or "").goal_distance
    if measure is None:
        return np.linalg.norm(desired - achieved, axis=1)
    return np.asarray(resolve(measure)(facts.environment_kwargs, achieved, desired), dtype=np.float64)
