"""seqrl/GraphWalk-v0: find the shortest path through a graph, having seen random walks only; seqrl/GraphGoals-v0: to a
goal that is another in every episode.

The illustrative example of the Decision Transformer paper (Chen et al. 2021, figure 2): a fixed directed graph, -1 a
step until the goal. A random walk rarely takes a short path from end to end; pieces of several have to be put together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from seqrl.environments.canvas import AGENT, GOAL, INK, LINE, MUTED, PAPER, Canvas, Point
from seqrl.environments.making import EnvironmentFacts


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed graph in the unit square.

    Attributes:
        positions: (N, 2) of the nodes.
        exits: (N, K) int, the nodes that a node leads to.
        goal: the node to reach.
        steps: (N, N) float, steps of the shortest path from the node of the row to that of the column; infinite where
            there is no way.
    """

    positions: np.ndarray
    exits: np.ndarray
    goal: int
    steps: np.ndarray

    @property
    def distances(self) -> np.ndarray:
        """(N,) int, steps of the shortest path to the goal, which all nodes reach."""
        return self.steps[:, self.goal].astype(int)


@lru_cache(maxsize=32)
def make_graph(nodes: int = 20, exits: int = 3, seed: int = 0) -> Graph:
    """A graph whose nodes lead to their nearest neighbours; the goal is the node farthest from all others.

    Args:
        nodes: number of nodes, at least ``exits + 1``.
        exits: edges out of each node.
        seed: of the positions. Seeds whose graph has no node that all others reach are passed over.
    """
    rng = np.random.default_rng(seed)
    while True:
        positions = _spread(rng, nodes)
        between = np.linalg.norm(positions[:, None] - positions[None], axis=2) + np.diag(np.full(nodes, np.inf))
        nearest = np.sort(np.argsort(between, axis=1)[:, :exits], axis=1)
        steps = np.stack([_distances(nearest, goal) for goal in range(nodes)], axis=1)
        reached = np.isfinite(steps).all(axis=0)
        if reached.any():
            goal = int(np.where(reached, steps.sum(axis=0), -1).argmax())
            return Graph(positions, nearest, goal, steps)


def _spread(rng: np.random.Generator, nodes: int) -> np.ndarray:
    """Points that keep a distance: the best of several candidates each time (Mitchell 1991)."""
    points = rng.random((1, 2))
    while len(points) < nodes:
        candidates = rng.random((20, 2))
        gaps = np.linalg.norm(candidates[:, None] - points[None], axis=2).min(axis=1)
        points = np.concatenate([points, candidates[[gaps.argmax()]]])
    return points


def _distances(exits: np.ndarray, goal: int) -> np.ndarray:
    steps = np.full(len(exits), np.inf)
    steps[goal] = 0
    for _ in range(len(exits)):
        steps = np.minimum(steps, 1 + steps[exits].min(axis=1))
    return steps


class GraphWalk(gymnasium.Env):
    """Walk from a random node to the goal; the action says which exit to take, each step costs 1.

    Args:
        nodes: number of nodes.
        exits: exits of each node, that is actions.
        graph_seed: which graph; it is the same in every episode.
        render_mode: None or rgb_array.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(self, nodes: int = 20, exits: int = 3, graph_seed: int = 0, render_mode: str | None = None) -> None:
        if not 2 <= exits < nodes <= 200:
            raise gymnasium.error.Error(f"nodes is {nodes} and exits {exits}; choose 2 <= exits < nodes <= 200")
        self.graph = make_graph(nodes, exits, graph_seed)
        self.observation_space = spaces.Discrete(nodes)
        self.action_space = spaces.Discrete(exits)
        self.render_mode = render_mode
        self._path: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start on any node but the goal."""
        super().reset(seed=seed)
        start = int(self.np_random.integers(len(self.graph.exits) - 1))
        self._path = [start + (start >= self.graph.goal)]
        return self._path[0], {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Take an exit."""
        node = int(self.graph.exits[self._path[-1], action])
        self._path.append(node)
        return node, -1.0, node == self.graph.goal, False, {}

    def render(self) -> np.ndarray | None:
        """The graph with the way so far, (480, 480, 3) uint8."""
        return draw_walk(self.graph, self._path) if self.render_mode == "rgb_array" else None


class GraphGoals(GraphWalk):
    """The same graph, but another goal in every episode; the observation names it, as Gymnasium-Robotics does.

    Start and goal are drawn among the pairs of nodes that a way joins. See `GraphWalk` for the arguments.
    """

    def __init__(self, nodes: int = 20, exits: int = 3, graph_seed: int = 0, render_mode: str | None = None) -> None:
        super().__init__(nodes, exits, graph_seed, render_mode)
        names = ("achieved_goal", "desired_goal", "observation")
        self.observation_space = spaces.Dict({name: spaces.Discrete(nodes) for name in names})
        self._goal = self.graph.goal

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, int], dict[str, Any]]:
        """Draw a start and a goal."""
        super().reset(seed=seed)
        pairs = np.argwhere(np.isfinite(self.graph.steps) & (self.graph.steps > 0))
        start, goal = pairs[self.np_random.integers(len(pairs))]
        self._path, self._goal = [int(start)], int(goal)
        return self._observation(), {}

    def step(self, action: int) -> tuple[dict[str, int], float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Take an exit."""
        node, reward, _, truncated, info = super().step(action)
        return self._observation(), reward, node == self._goal, truncated, info

    def render(self) -> np.ndarray | None:
        """The graph with the goal and the way so far, (480, 480, 3) uint8."""
        return draw_walk(self.graph, self._path, self._goal) if self.render_mode == "rgb_array" else None

    def _observation(self) -> dict[str, int]:
        here = self._path[-1]
        return {"achieved_goal": here, "desired_goal": self._goal, "observation": here}


def graph_of(kwargs: Mapping[str, Any]) -> Graph:
    """The graph of an environment that was made with these arguments."""
    names = {"nodes": "nodes", "exits": "exits", "graph_seed": "seed"}
    return make_graph(**{names[key]: value for key, value in kwargs.items() if key in names})


def steps_to_goal(kwargs: Mapping[str, Any], achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """Steps of the shortest path between one-hot nodes, (n, N) each; see `EnvironmentRow.goal_distance`."""
    return graph_of(kwargs).steps[achieved.argmax(axis=1), desired.argmax(axis=1)]


class ShortestWay:
    """Heuristic: take an exit that leads one step closer to the goal."""

    def __init__(self, facts: EnvironmentFacts) -> None:
        self._graph, self._goal = graph_of(facts.kwargs), facts.observation.goal

    def reset(self, seeds: Sequence[int]) -> None:
        """Nothing is remembered."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Exits for one-hot nodes (n, N), or for observations that name their goal."""
        if self._goal is None:
            node, goal = observations.argmax(axis=1), np.full(len(observations), self._graph.goal)
        else:
            columns = (self._goal.achieved, self._goal.desired)
            node, goal = (observations[:, column].argmax(axis=1) for column in columns)
        return self._graph.steps[self._graph.exits[node], goal[:, None]].argmin(axis=1)

    def keep(self, running: np.ndarray) -> None:
        """Nothing is remembered."""


def draw_walk(graph: Graph, path: Sequence[int], goal: int | None = None) -> np.ndarray:
    """A picture of a graph and a path on it, (480, 480, 3) uint8; ``goal`` is the graph's own if there is no other."""
    goal = graph.goal if goal is None else goal
    canvas = Canvas(480, 480)
    places: list[Point] = [(40 + 400 * x, 60 + 380 * y) for x, y in graph.positions]
    for node, exits in enumerate(graph.exits):
        for other in exits:
            _arrow(canvas, places[node], places[other], LINE, 1.5)
    for age, (node, other) in enumerate(zip(path[:-1], path[1:], strict=True)):
        recent = age >= len(path) - 4
        _arrow(canvas, places[node], places[other], AGENT if recent else "#8FBBDD", 4 if recent else 2.5)
    for node, place in enumerate(places):
        visited = node in path
        canvas.circle(place, 11, "#D6E6F4" if visited else PAPER, outline=MUTED, width=1.5)
        canvas.text(place, str(node), INK, 11)
    canvas.circle(places[goal], 14, GOAL)
    canvas.text(places[goal], "goal", PAPER, 11)
    if path:
        canvas.circle(places[path[-1]], 14, AGENT, outline=PAPER)
        canvas.text(places[path[-1]], str(path[-1]), PAPER, 12)
        shortest = int(graph.steps[path[0], goal])
        steps = "1 step" if len(path) == 2 else f"{len(path) - 1} steps"
        canvas.text((20, 24), f"{steps} from node {path[0]}; the shortest way takes {shortest}", anchor="lm")
    return canvas.frame()


def _arrow(canvas: Canvas, start: Point, end: Point, colour: str, width: float) -> None:
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    tip = end[0] - 13 * math.cos(angle), end[1] - 13 * math.sin(angle)
    canvas.line([start, tip], colour, width)
    size = 5 + width
    corners = [tip]
    corners += [
        (tip[0] - size * math.cos(angle + turn), tip[1] - size * math.sin(angle + turn)) for turn in (0.45, -0.45)
    ]
    canvas.polygon(corners, colour)
