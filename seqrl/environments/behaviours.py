"""Who acts while data is collected: a policy of the registry, made worse by noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from seqrl.config import BehaviourSpec, SpaceFacts
from seqrl.environments.making import EnvironmentFacts
from seqrl.environments.noise import EpisodeNoise
from seqrl.environments.snapshots import BUNDLED_PREFIX, bundled_controller
from seqrl.registry import environment_row, resolve


class Controller(Protocol):
    """A policy that acts in several episodes at once and may remember something of each."""

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin ``len(seeds)`` new episodes; a policy that samples draws from these seeds alone."""
        ...

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions, (n,), (n, M) or (n, A), for flattened observations (n, *observation) of the same timestep."""
        ...

    def keep(self, running: np.ndarray) -> None:
        """Forget the episodes where ``running``, (n,) bool, is false."""
        ...


MakeController = Callable[[EnvironmentFacts], Controller]


class _Memoryless:
    """A function of observations as a `Controller`."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.act = function

    def reset(self, seeds: Sequence[int]) -> None:
        pass

    def keep(self, running: np.ndarray) -> None:
        pass


def make_controller(
    policy: str, facts: EnvironmentFacts, policies: Mapping[str, MakeController] | None = None
) -> Controller | None:
    """The controller that a behaviour's ``policy`` names, None for ``random``.

    Args:
        policy: ``random``, ``heuristic``, ``bundled:QUALITY``, or a key of ``policies``.
        facts: the environment it will act in.
        policies: further policies that the caller provides, ``run:NAME`` for trained runs for example.

    Raises:
        ValueError: if there is no such policy, naming those that exist.
    """
    if policy == "random":
        return None
    if policies and policy in policies:
        return policies[policy](facts)
    if policy.startswith(BUNDLED_PREFIX):
        return bundled_controller(policy, facts)
    reference = environment_row(facts.environment).heuristic
    if policy != "heuristic":
        known = ["random", *(["heuristic"] if reference else []), *(policies or {})]
        raise ValueError(f"there is no policy {policy!r} for {facts.environment}; choose from {', '.join(known)}")
    if reference is None:
        raise ValueError(f"{facts.environment} has no heuristic; choose random")
    heuristic = resolve(reference)
    controller: Controller = heuristic(facts) if isinstance(heuristic, type) else _Memoryless(heuristic)
    return controller


class Behaviour:
    """A policy with Gaussian noise on its continuous actions and a share of random actions.

    The noise of an episode is a function of its seed and the timestep (`EpisodeNoise`).

    Args:
        spec: policy, ``epsilon`` and ``noise_std`` (in half action ranges).
        facts: the environment.
        policies: see `make_controller`.

    Raises:
        ValueError: if the policy does not exist or the noise does not fit the actions.
    """

    def __init__(
        self, spec: BehaviourSpec, facts: EnvironmentFacts, policies: Mapping[str, MakeController] | None = None
    ) -> None:
        if spec.noise_std > 0 and facts.action.kind != "box":
            raise ValueError(
                f"noise_std of the tier {spec.tier} is {spec.noise_std:g} but {facts.environment} has discrete "
                "actions; use epsilon"
            )
        self.spec = spec
        self._action = facts.action
        self._controller = make_controller(spec.policy, facts, policies)
        self._t = 0
        self.reset(())

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin one episode for each seed."""
        self._t = 0
        if self._controller:
            self._controller.reset(seeds)
        width = 1 + self._action.size
        self._uniform = EpisodeNoise(seeds, width, "behaviour") if self._acts_at_random() else None
        # one stream would make both from the same bits; without the other, data is collected again as it always was
        stream = "behaviour normal" if self._uniform else "behaviour"
        self._normal = EpisodeNoise(seeds, self._action.size, stream, normal=True) if self._needs_normal() else None

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions for the next timestep: (n,) int64, (n, M) int64 or (n, A) float32."""
        normal = self._normal.at(self._t) if self._normal else None
        actions = None
        if self._controller:
            actions = np.asarray(self._controller.act(observations))
            if normal is not None and self.spec.noise_std > 0:
                actions = self._with_noise(actions, normal)
        if self._uniform:
            uniform = self._uniform.at(self._t)
            drawn = random_actions(self._action, uniform[:, 1:], normal)
            chosen = uniform[:, 0] < self.spec.epsilon
            actions = drawn if actions is None else np.where(_column(chosen, actions), drawn, actions)
        self._t += 1
        if actions is None:
            raise AssertionError("a behaviour without a policy acts at random")
        return actions.astype(np.float32 if self._action.kind == "box" else np.int64)

    def keep(self, running: np.ndarray) -> None:
        """Forget the episodes where ``running`` is false."""
        for part in (self._controller, self._uniform, self._normal):
            if part:
                part.keep(running)

    def _acts_at_random(self) -> bool:
        return self._controller is None or self.spec.epsilon > 0

    def _needs_normal(self) -> bool:
        unbounded = self._action.kind == "box" and None in (*self._action.low, *self._action.high)
        return self.spec.noise_std > 0 or (unbounded and self._acts_at_random())

    def _with_noise(self, actions: np.ndarray, normal: np.ndarray) -> np.ndarray:
        low, high = box_bounds(self._action)
        half_range = np.where(np.isfinite(high - low), (high - low) / 2, 1.0)
        return np.clip(actions + self.spec.noise_std * half_range * normal, low, high)


def box_bounds(action: SpaceFacts) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each dimension of a box, (A,) float64; infinite where there is none."""
    low = np.array([-np.inf if value is None else value for value in action.low])
    high = np.array([np.inf if value is None else value for value in action.high])
    return low, high


def random_actions(action: SpaceFacts, uniform: np.ndarray, normal: np.ndarray | None = None) -> np.ndarray:
    """Actions as Gymnasium's ``space.sample`` distributes them, from given random numbers.

    Uniform over discrete values and bounded dimensions, exponential from a single bound, normal where there is none.

    Args:
        action: the action space.
        uniform: (n, size) in [0, 1).
        normal: (n, size) standard normal, needed where a dimension is unbounded on both sides.

    Returns:
        (n,) int64, (n, M) int64 or (n, A) float64.
    """
    if action.kind != "box":
        values = np.minimum((uniform * np.array(action.categories)).astype(np.int64), np.array(action.categories) - 1)
        return values[:, 0] if action.kind == "discrete" else values
    low, high = box_bounds(action)
    bounded_below, bounded_above = np.isfinite(low), np.isfinite(high)
    exponential = -np.log1p(-uniform)
    values = np.zeros(uniform.shape) if normal is None else np.array(normal, dtype=np.float64)
    values = np.where(bounded_below & ~bounded_above, np.where(bounded_below, low, 0.0) + exponential, values)
    values = np.where(~bounded_below & bounded_above, np.where(bounded_above, high, 0.0) - exponential, values)
    both = bounded_below & bounded_above
    bottom, width = np.where(both, low, 0.0), np.where(both, high, 0.0) - np.where(both, low, 0.0)
    return np.where(both, bottom + width * uniform, values)


def _column(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *(1,) * (like.ndim - 1))
