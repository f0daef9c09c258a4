"""What was measured in one episode that a model played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """One episode of a sweep, with everything needed to replay it and to draw it.

    Attributes:
        run: name of the run that acted.
        decoding: how its output became an action, "greedy" or "sampled" for example.
        target: return asked for, reward units; None for a model that takes none.
        episode: number of the episode within its cell of the sweep.
        seed: seed of the environment's reset.
        terminated: whether the environment ended the episode.
        truncated: whether a time limit cut it off.
        actions: (T,) int64 discrete, (T, M) int64 multi-discrete, or (T, A) float32.
        rewards: (T,) float64, the environment's own rewards.
        returns_to_go: (T,) float64, reward units: what the model was asked for at each step.
        action_probabilities: (T, A) float32 probabilities used, for boxes (T, 2, A) mean and standard deviation.
        cell: further columns of the sweep's episode table, width or horizon for example.
        extra: further step arrays, (T, ...), predicted_reward for example.
    """

    run: str
    decoding: str
    target: float | None
    episode: int
    seed: int
    terminated: bool
    truncated: bool
    actions: np.ndarray
    rewards: np.ndarray
    returns_to_go: np.ndarray
    action_probabilities: np.ndarray | None = None
    cell: Mapping[str, float | int | str] = field(default_factory=dict)
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = {name: len(values) for name, values in self.step_arrays().items()}
        if len(set(steps.values())) > 1:
            raise ValueError(f"the step arrays of a record differ in length: {steps}; give one row a step")

    @property
    def length(self) -> int:
        """T, the number of steps."""
        return len(self.rewards)

    @property
    def achieved_return(self) -> float:
        """Sum of the environment's rewards, reward units."""
        return float(np.sum(self.rewards, dtype=np.float64))

    def step_arrays(self) -> dict[str, np.ndarray]:
        """Everything that has a row for each step, by name."""
        arrays = {"actions": self.actions, "rewards": self.rewards, "returns_to_go": self.returns_to_go}
        if self.action_probabilities is not None:
            arrays["action_probabilities"] = self.action_probabilities
        return arrays | dict(self.extra)
