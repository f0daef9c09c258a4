"""seqrl/Gamble-v0: asking for a high return selects luck, not skill.

A few rounds of a choice between a sure point and a bet that loses on average. The best returns of any data are those of
lucky bets, so a model that imitates what came before a high return bets, and loses (Paster et al. 2022; Brandfonbrener
et al. 2022: return conditioning needs nearly deterministic dynamics).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from seqrl.environments.canvas import AGENT, GOAL, INK, LINE, MUTED, PAPER, WARNING, Canvas

_KEEP, _BET = range(2)
_NOTHING, _LOST, _WON = range(3)


class Gamble(gymnasium.Env):
    """Keep a sure point or bet, ``rounds`` times.

    The observation is (rounds played, how the last bet ended), each one-hot.

    Args:
        rounds: how often to choose, 1 to 20.
        chance: that a bet is won.
        win: reward of a won bet.
        loss: reward of a lost bet.
        render_mode: None or rgb_array.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}

    def __init__(
        self,
        rounds: int = 5,
        chance: float = 0.3,
        win: float = 4.0,
        loss: float = -2.0,
        render_mode: str | None = None,
    ) -> None:
        if not (1 <= rounds <= 20 and 0 <= chance <= 1):
            raise gymnasium.error.Error(f"rounds is {rounds} and chance {chance}; choose 1 to 20 rounds, chance 0 to 1")
        self.rounds, self.chance, self.win, self.loss = rounds, chance, win, loss
        self.observation_space = spaces.MultiDiscrete([rounds + 1, 3])
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode
        self._history: list[tuple[int, float]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """No round played yet."""
        super().reset(seed=seed)
        self._history = []
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Keep a point (0) or bet (1)."""
        won = bool(self.np_random.random() < self.chance)
        bet = self.win if won else self.loss
        reward = bet if action == _BET else 1.0
        outcome = (_WON if won else _LOST) if action == _BET else _NOTHING
        self._history.append((outcome, reward))
        return self._observation(), float(reward), len(self._history) == self.rounds, False, {}

    def render(self) -> np.ndarray | None:
        """The rounds as cards and the sum so far, (240, 560, 3) uint8."""
        return self._draw() if self.render_mode == "rgb_array" else None

    def _observation(self) -> np.ndarray:
        last = self._history[-1][0] if self._history else _NOTHING
        return np.array([len(self._history), last], dtype=np.int64)

    def _draw(self) -> np.ndarray:
        canvas = Canvas(560, 240)
        step = 520 / self.rounds
        width = min(step - 8, 92)
        for number in range(self.rounds):
            left, middle = 20 + number * step, 20 + number * step + width / 2
            canvas.text((middle, 30), f"{number + 1}", MUTED, 13)
            if number >= len(self._history):
                canvas.box((left, 48), (left + width, 160), "#F4F6F8", outline=LINE)
                continue
            outcome, reward = self._history[number]
            colour = {_NOTHING: AGENT, _LOST: WARNING, _WON: GOAL}[outcome]
            canvas.box((left, 48), (left + width, 160), colour)
            canvas.text((middle, 84), ("kept", "lost", "won")[outcome], PAPER, 15)
            canvas.text((middle, 122), f"{reward:+g}", PAPER, 24)
        total = sum(reward for _, reward in self._history)
        canvas.text((20, 198), f"sum {total:+g}", INK, 22, anchor="lm")
        average = self.chance * self.win + (1 - self.chance) * self.loss
        canvas.text((540, 198), f"a bet gives {average:+.1f} on average, keeping +1", MUTED, 13, anchor="rm")
        return canvas.frame()


def always_keep(observations: np.ndarray) -> np.ndarray:
    """Heuristic: never bet, the best that can be done on average with the default odds."""
    return np.full(len(observations), _KEEP)
