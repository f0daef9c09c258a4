"""Environments with every kind of space, small enough to check by hand. Registered on import."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
from gymnasium import spaces

OBSERVATIONS = {
    "Box": spaces.Box(-1, 1, (2, 3), np.float64),
    "Whole": spaces.Box(-5, 9, (2,), np.int32),
    "Discrete": spaces.Discrete(5, start=2),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2, 4], start=[1, 0, -1]),
    "MultiBinary": spaces.MultiBinary(3),
    "Dict": spaces.Dict(
        {
            "where": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "goal": spaces.Discrete(3),
            "inner": spaces.Dict({"flags": spaces.MultiBinary(2), "level": spaces.Box(0, 1, (), np.float32)}),
        }
    ),
    "Unsorted": spaces.Dict(zeta=spaces.Box(-1, 1, (2,), np.float32), alpha=spaces.Discrete(3)),
    "Tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2,), np.float32))),
    "Image": spaces.Box(0, 255, (6, 5, 3), np.uint8),
    "LargeImage": spaces.Box(0, 255, (36, 32, 3), np.uint8),
}
ACTIONS = {
    "Discrete": spaces.Discrete(3, start=-1),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2], start=[5, 0]),
    "MultiBinary": spaces.MultiBinary(2),
    "Box": spaces.Box(np.array([[-1.0, 0.0]], np.float32), np.array([[1.0, 3.0]], np.float32), (1, 2), np.float32),
    "Unbounded": spaces.Box(np.array([-np.inf, 0.0, -np.inf], np.float32), np.array([np.inf, np.inf, 2.0], np.float32)),
}


class Tiny(gymnasium.Env):
    """Random observations from its own seed, random ends; refuses actions outside its space."""

    def __init__(self, observation: str = "Box", action: str = "Discrete", ends: bool = True) -> None:
        self.observation_space = copy.deepcopy(OBSERVATIONS[observation])
        self.action_space = copy.deepcopy(ACTIONS[action])
        self._ends = ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        total = float(np.sum(action)) + self.np_random.random()
        return self.observation_space.sample(), total, bool(self._ends and self.np_random.random() < 0.2), False, {}


for _observation in OBSERVATIONS:
    for _action in ACTIONS:
        gymnasium.register(
            f"tiny/{_observation}{_action}-v0",
            entry_point="tests.tiny_environments:Tiny",
            max_episode_steps=9,
            kwargs={"observation": _observation, "action": _action},
        )
gymnasium.register("tiny/Endless-v0", entry_point="tests.tiny_environments:Tiny")
gymnasium.register("tiny/Callable-v0", entry_point=Tiny, max_episode_steps=9)
