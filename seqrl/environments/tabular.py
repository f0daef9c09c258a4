"""The best policy of a small environment that publishes its transition table, as Gymnasium's toy texts do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqrl.environments.making import EnvironmentFacts, make_environment

_DISCOUNT = 0.999  # below 1, so that of two ways the shorter one is better
_TOLERANCE = 1e-9


class TablePolicy:
    """Heuristic: acts by value iteration on the environment's own table ``P`` (Bellman 1957)."""

    def __init__(self, facts: EnvironmentFacts) -> None:
        env = make_environment(facts.environment, facts.kwargs)
        self._best = best_actions(env.unwrapped.P)  # type: ignore[attr-defined]
        env.close()

    def reset(self, seeds: Sequence[int]) -> None:
        """Nothing is remembered."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """The best actions in one-hot states (n, S)."""
        return self._best[observations.argmax(axis=1)]

    def keep(self, running: np.ndarray) -> None:
        """Nothing is remembered."""


def best_actions(table: dict[int, dict[int, list[tuple[float, int, float, bool]]]]) -> np.ndarray:
    """The best action of each state, (S,) int64.

    Args:
        table: state → action → list of (probability, next state, reward, terminated).
    """
    states, actions = len(table), len(table[0])
    transition = np.zeros((states, actions, states))
    reward = np.zeros((states, actions))
    for state, choices in table.items():
        for action, outcomes in choices.items():
            for probability, following, gain, terminated in outcomes:
                reward[state, action] += probability * gain
                if not terminated:
                    transition[state, action, following] += probability
    value = np.zeros(states)
    while True:
        returns = reward + _DISCOUNT * transition @ value
        change = np.abs(returns.max(axis=1) - value).max()
        value = returns.max(axis=1)
        if change < _TOLERANCE:
            return returns.argmax(axis=1)
