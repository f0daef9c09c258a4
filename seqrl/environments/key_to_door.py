"""seqrl/KeyToDoor-v0: three rooms; the door of the last opens only if the key of the first was picked up.

The long-credit task of Mesnard et al. (2021), used in the Decision Transformer paper (Chen et al. 2021, section 5.4).
The environment was not released by either; sizes and times here are seqrl's own, chosen so that random actions are
rewarded as often as in the paper (table 6: 3.1 % of the episodes). Nothing that the agent sees in the second and third
room tells whether it has the key: it has to remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from seqrl.environments.canvas import AGENT, GOAL, GOLD, INK, LINE, MUTED, PAPER, WARNING, Canvas
from seqrl.environments.making import EnvironmentFacts

_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # column and row: up, right, down, left
_KEY_ROOM, _EMPTY_ROOM, _DOOR_ROOM = range(3)


class KeyToDoor(gymnasium.Env):
    """Walk through three rooms of ``size`` x ``size`` cells; reward 1 at the door if the key was picked up.

    The agent spends a fixed time in the first two rooms and is put in the middle of the next. The observation is
    (room, column, row, whether the key is in sight), each one-hot. The key lies in the last corner of the first
    room, the door is in the first corner of the third. Reaching the door ends the episode, with or without the key.

    Args:
        size: cells along a side.
        key_steps: steps in the first room.
        empty_steps: steps in the second room.
        render_mode: None or rgb_array.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(
        self, size: int = 4, key_steps: int = 10, empty_steps: int = 5, render_mode: str | None = None
    ) -> None:
        if not (2 <= size <= 20 and 1 <= key_steps <= 1000 and 0 <= empty_steps <= 1000):
            raise gymnasium.error.Error(
                f"size is {size}, key_steps {key_steps} and empty_steps {empty_steps}; choose a size of 2 to 20 and "
                "at most 1000 steps"
            )
        self.size, self.key_steps, self.empty_steps = size, key_steps, empty_steps
        self.observation_space = spaces.MultiDiscrete([3, size, size, 2])
        self.action_space = spaces.Discrete(4)
        self.render_mode = render_mode
        self._elapsed, self._room, self._has_key = 0, _KEY_ROOM, False
        self._column = self._row = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start in a random cell of the first room, not on the key."""
        super().reset(seed=seed)
        self._elapsed, self._room, self._has_key = 0, _KEY_ROOM, False
        self._row, self._column = divmod(int(self.np_random.integers(self.size**2 - 1)), self.size)
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move one cell; walls hold."""
        self._elapsed += 1
        right, down = _MOVES[action]
        self._column = min(max(self._column + right, 0), self.size - 1)
        self._row = min(max(self._row + down, 0), self.size - 1)
        if self._room == _KEY_ROOM and self._column == self._row == self.size - 1:
            self._has_key = True
        if self._room == _DOOR_ROOM and self._column == self._row == 0:
            return self._observation(), float(self._has_key), True, False, {}
        room = sum(self._elapsed >= end for end in (self.key_steps, self.key_steps + self.empty_steps))
        if room != self._room:
            self._room = room
            self._column = self._row = self.size // 2
        return self._observation(), 0.0, False, False, {}

    def render(self) -> np.ndarray | None:
        """The three rooms side by side, (220, 560, 3) uint8."""
        return self._draw() if self.render_mode == "rgb_array" else None

    def _observation(self) -> np.ndarray:
        key_in_sight = self._room == _KEY_ROOM and not self._has_key
        return np.array([self._room, self._column, self._row, key_in_sight], dtype=np.int64)

    def _draw(self) -> np.ndarray:
        canvas = Canvas(560, 220)
        side = 156
        cell = side / self.size
        for room, title in enumerate(("the key", "an empty room", "the door")):
            left, top = 20 + room * (side + 26), 40
            here = room == self._room
            canvas.text((left + side / 2, 22), title, INK if here else MUTED, 14)
            canvas.box((left, top), (left + side, top + side), PAPER if here else "#F4F6F8", outline=LINE)
            for i in range(1, self.size):
                canvas.line([(left + i * cell, top), (left + i * cell, top + side)], "#E9ECEF", 1)
                canvas.line([(left, top + i * cell), (left + side, top + i * cell)], "#E9ECEF", 1)
            if room == _KEY_ROOM and not self._has_key:
                self._draw_key(canvas, left + side - cell / 2, top + side - cell / 2, cell)
            if room == _DOOR_ROOM:
                colour = GOAL if self._has_key else WARNING
                canvas.box(
                    (left + cell * 0.2, top + cell * 0.1), (left + cell * 0.8, top + cell * 0.9), colour, radius=3
                )
            if here:
                x, y = left + (self._column + 0.5) * cell, top + (self._row + 0.5) * cell
                canvas.circle((x, y), cell * 0.3, AGENT)
                if self._has_key:
                    self._draw_key(canvas, x, y, cell * 0.6)
        carried = "has the key" if self._has_key else "has no key"
        canvas.text((20, 208), f"step {self._elapsed}, {carried}", MUTED, 12, anchor="lm")
        return canvas.frame()

    @staticmethod
    def _draw_key(canvas: Canvas, x: float, y: float, cell: float) -> None:
        canvas.circle((x - cell * 0.16, y), cell * 0.16, GOLD)
        canvas.line([(x - cell * 0.05, y), (x + cell * 0.3, y)], GOLD, max(cell * 0.09, 2))
        canvas.line([(x + cell * 0.24, y), (x + cell * 0.24, y + cell * 0.14)], GOLD, max(cell * 0.09, 2))


class FetchAndOpen:
    """Heuristic: to the key, then to the door, along the columns first."""

    def __init__(self, facts: EnvironmentFacts) -> None:
        self._size = (facts.observation.size - 5) // 2

    def reset(self, seeds: Sequence[int]) -> None:
        """Nothing is remembered."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Moves for one-hot observations (n, 5 + 2 * size)."""
        room = observations[:, :3].argmax(axis=1)
        column = observations[:, 3 : 3 + self._size].argmax(axis=1)
        to_key = np.where(column < self._size - 1, 1, 2)
        to_door = np.where(column > 0, 3, 0)
        return np.where(room == _KEY_ROOM, to_key, to_door)

    def keep(self, running: np.ndarray) -> None:
        """Nothing is remembered."""
