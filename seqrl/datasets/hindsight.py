"""Goals in hindsight: stretches of episodes as if what they reached had been their goal (Andrychowicz et al. 2017).

Whatever an episode was after, it shows how to get to every place that it came by. A stretch begins at any of its
steps, wishes for what was reached some steps later, and ends when that is first reached; its observations name the new
goal, every step costs 1, and it is terminated. The return-to-go of a step is then minus the steps that the walk took
from there, which is what a model can be asked for, or left to choose.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seqrl.config import GoalFacts, Hindsight
from seqrl.store.columns import Episode


def stretches(episode: Episode, goal: GoalFacts, spec: Hindsight, number: int) -> Iterator[Episode]:
    """The stretches of an episode of T steps; those that would begin at their goal are left out.

    Args:
        episode: whose observations name their goal.
        goal: where they do.
        spec: how many, how long.
        number: of the episode; with the seed it fixes what is drawn.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((spec.seed, 0x60A1, number))))
    length = len(episode.rewards)
    reached = episode.observations[:, goal.achieved]
    starts = generator.integers(length, size=spec.stretches)
    ahead = generator.geometric(1 / spec.mean_steps, size=spec.stretches)
    for start, last in zip(starts, np.minimum(starts + ahead, length), strict=True):
        apart = np.linalg.norm(reached[start : last + 1] - reached[last], axis=1)
        if apart[0] <= spec.tolerance:
            continue
        end = start + int(np.argmax(apart <= spec.tolerance))
        observations = episode.observations[start : end + 1].copy()
        observations[:, goal.desired] = reached[last]
        yield Episode(observations, episode.actions[start:end], np.full(end - start, -1.0))
