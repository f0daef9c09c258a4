"""A Trajectory Transformer acting: many episodes in lock step, planning or drawing actions without a plan.

The interface is that of `seqrl.policies.SequencePolicy`. An episode depends on (model, settings, seed, target) and
never on those beside it: rows are padded where matrix products are concerned, and the noise of a decision is keyed by
(episode seed, timestep).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from seqrl.config import PlanningSpec
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.planning.beam_search import Beams, History, Planner
from seqrl.planning.sampling import PlanNoise

_UNLIKELY = 1e-9
"""A smaller chance of having come so far counts as this: what is left of an expectation is rounding then."""


@dataclass(frozen=True)
class PlannedDecision:
    """What n episodes do at one step.

    Attributes:
        actions: (n,) int64 discrete, (n, M) int64 multi-discrete, or (n, A) float32.
        probabilities: (n, categories) float32 the model's own probabilities of a single discrete action, before any
            planning; (n, 2, A) for boxes, the action taken and a spread of 0.
        returns_to_go: (n,) float64 return asked for from here on, reward units; NaN where none is.
        imagined: by name, arrays with a row for each episode; empty without planning, see `recorded_beams`.
    """

    actions: np.ndarray
    probabilities: np.ndarray
    returns_to_go: np.ndarray
    imagined: dict[str, np.ndarray] = field(default_factory=dict)


class PlanningPolicy:
    """Plays n episodes in lock step, all at the same timestep.

    Args:
        model: a trained Trajectory Transformer.
        planning: how to plan.
        seeds: (n,) of the episodes; key of their noise.
        targets: (n,) undiscounted return asked for at the first step; None or NaN for the best that is imagined. With
            NaN, what is predicted for the best is reported as what was asked for.
        planned: False draws every action from the model without planning.
        recorded_beams: surviving futures to report with every decision.
    """

    def __init__(
        self,
        model: TrajectoryTransformer,
        planning: PlanningSpec,
        *,
        seeds: Sequence[int],
        targets: np.ndarray | None = None,
        planned: bool = True,
        recorded_beams: int = 0,
    ) -> None:
        self.model, self.planning, self.planned = model, planning, planned
        self.planner, self.tokenizer = Planner(model, planning), model.tokenizer()
        self.recorded_beams = recorded_beams
        self.timestep = 0
        self.discount = 1.0  # of the targets: they are undiscounted, whatever the model's value tokens are
        self._seeds = np.asarray(seeds)
        self.returns_to_go = None if targets is None else np.asarray(targets, dtype=np.float64)
        self._transitions = torch.zeros(len(self._seeds), 0, model.positions, dtype=torch.int64)
        self._present = torch.zeros(len(self._seeds), 0, dtype=torch.int64)
        self._beams: Beams | None = None
        self._age = 0

    def act(self, observations: np.ndarray) -> PlannedDecision:
        """Decide in every episode still running.

        Args:
            observations: (n, size) of the present timestep, flattened.
        """
        self._present = torch.from_numpy(self.tokenizer.encode_observations(observations).astype(np.int64))
        history = History(self._transitions, self._present)
        noise = PlanNoise([int(seed) for seed in self._seeds], self.timestep)
        asked = np.full(len(observations), np.nan) if self.returns_to_go is None else self.returns_to_go
        imagined: dict[str, np.ndarray] = {}
        if self.planned:
            if self._beams is None or self._age == self.planning.plan_every:
                self._beams, self._age = self.planner.plan(history, noise, self.returns_to_go), 0
            action = self._beams.tokens[:, 0, self._age, self.model.layout.action]
            imagined = self._imagined(self._beams)
            if self.returns_to_go is not None:
                asked = np.where(np.isnan(asked), imagined["predicted_return"], asked)
            self._age += 1
        else:
            action = self.planner.sample(history, noise)
        self._action = action
        actions = self.tokenizer.decode_actions(action.numpy())
        return PlannedDecision(actions, self._probabilities(history, actions), asked.copy(), imagined)

    def follow(self, observations: np.ndarray, actions: np.ndarray) -> PlannedDecision:
        """Go along with actions that are given, without a plan; the policy remembers them as its own.

        Args:
            observations: (n, size) of the present timestep, flattened.
            actions: (n, ...) that are carried out there.
        """
        self._present = torch.from_numpy(self.tokenizer.encode_observations(observations).astype(np.int64))
        self._action = torch.from_numpy(self.tokenizer.encode_actions(actions).astype(np.int64))
        self._beams = None
        history = History(self._transitions, self._present)
        asked = np.full(len(actions), np.nan) if self.returns_to_go is None else self.returns_to_go
        return PlannedDecision(actions, self._probabilities(history, actions), asked.copy())

    def ask(self, returns_to_go: np.ndarray, *, rewrite: bool = False) -> None:
        """Ask for something else from the present timestep on; to be called before `act`.

        Args:
            returns_to_go: (n,) undiscounted.
            rewrite: without effect, because the model is told no return and so remembers none.
        """
        self.returns_to_go = np.asarray(returns_to_go, dtype=np.float64)
        self._beams = None

    def observe(self, rewards: np.ndarray) -> None:
        """Tell what the actions earned, (n,) reward units; what is asked for falls by it."""
        self.timestep += 1
        if self.returns_to_go is not None:
            self.returns_to_go = self.returns_to_go - rewards
        reward = torch.from_numpy(self.tokenizer.encode_rewards(rewards).astype(np.int64))
        transition = torch.cat([self._present, self._action, reward[:, None]], dim=1)
        most = self.model.context_length - 1
        self._transitions = torch.cat([self._transitions, transition[:, None]], dim=1)[:, -most:]

    def keep(self, running: np.ndarray) -> None:
        """Drop the episodes where ``running``, (n,) bool, is false."""
        rows = torch.from_numpy(np.flatnonzero(running))
        self._seeds, self._transitions = self._seeds[running], self._transitions[rows]
        if self.returns_to_go is not None:
            self.returns_to_go = self.returns_to_go[running]
        if self._beams is not None:
            self._beams = self._beams.environments(rows)

    def _probabilities(self, history: History, actions: np.ndarray) -> np.ndarray:
        action = self.model.layout.dimensions[self.model.layout.action]
        if len(action) == 1 and action[0].categories:
            probabilities = self.planner.action_probabilities(history)
            return probabilities[:, : action[0].categories].numpy().astype(np.float32)
        taken = actions.reshape(len(actions), -1).astype(np.float32)
        return np.stack([taken, np.zeros_like(taken)], axis=1)

    def _imagined(self, beams: Beams) -> dict[str, np.ndarray]:
        """What the plan in force says about this step, and its beams.

        ``predicted_reward`` and ``predicted_value`` (n,): of this step in the best future; ``predicted_return`` (n,):
        undiscounted, from this step on, which was reached. With ``recorded_beams`` also
        ``plan_age`` (n,): steps since the plan was made; and, best future first, ``plan_scores`` and ``plan_returns``
        (n, K), ``plan_rewards``, ``plan_values``, ``plan_ends`` (n, K, H), ``plan_tokens`` (n, K, H, tokens),
        ``plan_observations`` (n, K, H, size), ``plan_actions`` (n, K, H, ...).
        """
        # of the plan's expectation: what the steps that were carried out added, and the chance of having come so far
        alive = torch.cat([torch.ones_like(beams.alive[:, :1]), (1 - beams.ends[:, 0]).cumprod(1)], dim=1)
        before = (alive[:, : self._age] * beams.rewards[:, 0, : self._age]).sum(1)
        come = alive[:, self._age].clamp_min(_UNLIKELY)
        said = {
            "predicted_reward": beams.rewards[:, 0, self._age].numpy(),
            "predicted_value": beams.values[:, 0, self._age].numpy(),
            "predicted_return": ((beams.returns[:, 0] - before) / come).numpy(),
        }
        if not self.recorded_beams:
            return said
        kept = slice(0, self.recorded_beams)
        tokens = beams.tokens[:, kept].numpy()
        layout = self.model.layout
        floats = {
            "plan_scores": beams.scores,
            "plan_returns": beams.returns,
            "plan_rewards": beams.rewards,
            "plan_values": beams.values,
            "plan_ends": beams.ends,
        }
        return said | {
            "plan_age": np.full(len(tokens), self._age, dtype=np.int64),
            "plan_tokens": tokens.astype(self.tokenizer.bins.dtype),
            "plan_observations": self.tokenizer.decode_observations(tokens[..., layout.observation]),
            "plan_actions": self.tokenizer.decode_actions(tokens[..., layout.action]),
            **{name: value[:, kept].float().numpy() for name, value in floats.items()},
        }
