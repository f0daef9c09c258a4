"""seqrl/Catch-v0: catch falling balls, seen as pixels (the smallest of the games of Mnih et al. 2014 and of bsuite).

Nothing but the picture says where ball and paddle are, so a model has to learn to see. Every ball caught pays 1; how
many are caught is a matter of skill, so a model can be asked for any number.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from seqrl.environments.canvas import AGENT, INK, LINE, MUTED, PAPER, WARNING, Canvas

_LEFT, _STAY, _RIGHT = range(3)
_BALL, _PADDLE = 255, 128


class Catch(gymnasium.Env):
    """Move a paddle of one cell below a falling ball, ``balls`` times.

    The observation is a grey picture of ``size`` x ``size`` pixels, uint8: black, the ball white, the paddle grey. A
    ball falls one row a step from a random column; in the lowest row it is caught (reward 1) or lost (0), and the next
    one appears at the top.

    Args:
        size: pixels along a side.
        balls: balls of an episode.
        render_mode: None or rgb_array.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}

    def __init__(self, size: int = 10, balls: int = 8, render_mode: str | None = None) -> None:
        if not (4 <= size <= 96 and 1 <= balls <= 100):
            raise gymnasium.error.Error(
                f"size is {size} and balls {balls}; choose a size of 4 to 96 and 1 to 100 balls"
            )
        self.size, self.balls = size, balls
        self.observation_space = spaces.Box(0, 255, (size, size, 1), np.uint8)
        self.action_space = spaces.Discrete(3)
        self.render_mode = render_mode
        self._row = self._column = self._paddle = self._dropped = self._caught = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The first ball at the top, the paddle in the middle."""
        super().reset(seed=seed)
        self._paddle, self._dropped, self._caught = self.size // 2, 0, 0
        self._drop()
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the paddle left (0), not at all (1) or right (2); the ball falls a row."""
        self._paddle = min(max(self._paddle + int(action) - _STAY, 0), self.size - 1)
        self._row += 1
        if self._row < self.size - 1:
            return self._observation(), 0.0, False, False, {}
        caught = self._column == self._paddle
        self._caught += caught
        seen = self._observation()
        if self._dropped == self.balls:
            return seen, float(caught), True, False, {}
        self._drop()
        return self._observation(), float(caught), False, False, {}

    def render(self) -> np.ndarray | None:
        """The picture enlarged, and how many were caught, (440, 400, 3) uint8."""
        return self._draw() if self.render_mode == "rgb_array" else None

    def _drop(self) -> None:
        self._row, self._column = 0, int(self.np_random.integers(self.size))
        self._dropped += 1

    def _observation(self) -> np.ndarray:
        picture = np.zeros((self.size, self.size, 1), dtype=np.uint8)
        picture[-1, self._paddle] = _PADDLE
        picture[self._row, self._column] = _BALL
        return picture

    def _draw(self) -> np.ndarray:
        canvas = Canvas(400, 440)
        cell = 360 / self.size
        canvas.box((20, 60), (380, 420), "#F4F6F8", outline=LINE)
        left, top = 20 + self._paddle * cell, 60 + (self.size - 1) * cell
        canvas.box((left, top), (left + cell, top + cell), AGENT, radius=3)
        x, y = 20 + (self._column + 0.5) * cell, 60 + (self._row + 0.5) * cell
        canvas.circle((x, y), 0.36 * cell, WARNING, outline=PAPER)
        canvas.text((20, 30), f"caught {self._caught}", INK, 20, anchor="lm")
        canvas.text((380, 30), f"ball {self._dropped} of {self.balls}", MUTED, 14, anchor="rm")
        return canvas.frame()


def follow_the_ball(observations: np.ndarray) -> np.ndarray:
    """Heuristic: move towards the column of the ball; it catches every one.

    Args:
        observations: (n, size, size, 1) uint8.
    """
    ball = observations[:, :-1, :, 0].max(axis=1).argmax(axis=1)
    paddle = (observations[:, -1, :, 0] == _PADDLE).argmax(axis=1)
    return np.sign(ball - paddle) + _STAY
