"""Ask a Trajectory Transformer what it looks at, and what it would do if it saw something else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from seqrl.config import DatasetFacts, PlanningSpec, RunSpec
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.planning import Planner
from seqrl.planning.beam_search import History as TokenHistory
from seqrl.probe.answers import Attention, History, ResponseCurve, changed_observations, value_names

_KINDS = {"observation": "s", "action": "a", "reward": "r"}


class TokenProbe:
    """A trained Trajectory Transformer, to be asked. It is never told a target: its planning is, after it answered.

    Args:
        model: in evaluation mode, on the CPU.
        spec: of the run.
        facts: of its data.
        planning: how the episode was played; decides how many transitions the model saw.
        planned: False where actions were drawn without a plan.
    """

    conditioned = False

    def __init__(
        self,
        model: TrajectoryTransformer,
        spec: RunSpec,
        facts: DatasetFacts,
        planning: PlanningSpec,
        *,
        planned: bool = True,
    ) -> None:
        self.model, self.spec, self.facts, self.planning, self.planned = model, spec, facts, planning, planned
        self.tokenizer = model.tokenizer()

    def attention(self, history: History, step: int) -> Attention:
        """Attention of every layer and head before the first action token of a plan, or of the step, is drawn."""
        context = Planner(self.model, self.planning).past if self.planned else self.planning.context
        transitions, first = self._transitions(history, step, context)
        present = self._present(history.observations[step : step + 1])
        prefix = torch.cat([transitions.flatten()[None], present], dim=1)
        layers: list[torch.Tensor] = []
        with torch.inference_mode():
            self.model.transformer(self.model.embed(prefix), seen=layers)
        dimensions = self.model.layout.dimensions[: self.model.positions]
        count = prefix.shape[1]
        repeats = -(-count // len(dimensions))
        return Attention(
            weights=torch.stack([layer[0] for layer in layers]).numpy(),
            kinds=tuple(_KINDS[dimension.kind] for dimension in dimensions * repeats)[:count],
            names=tuple(dimension.name for dimension in dimensions * repeats)[:count],
            timesteps=np.repeat(np.arange(first, step + 1), len(dimensions))[:count],
        )

    def response_to_observation(
        self, history: History, step: int, dimension: str, values: Sequence[float] | np.ndarray
    ) -> ResponseCurve:
        """The model's own distribution of the first action token, before any planning.

        Args:
            history: the episode.
            step: the moment, 0 to T − 1.
            dimension: of the observation at that step, see `changed_observations`.
            values: (N,) to try; they are seen as tokens, so values in one bin give one answer.
        """
        transitions, _ = self._transitions(history, step, self.planning.context)
        present = self._present(changed_observations(self.facts, history.observations[step], dimension, values))
        seen = TokenHistory(transitions[None].expand(len(present), -1, -1), present)
        chances = Planner(self.model, self.planning).action_probabilities(seen).double().numpy()
        action = self.facts.action
        varied, tried = dimension, np.asarray(values, dtype=np.float64)
        if action.kind != "box":
            names = value_names(action)[: action.categories[0]]
            return ResponseCurve(varied, tried, chances[:, : len(names)], None, None, names)
        centres = self.tokenizer.bins.values[self.model.layout.action.start][: chances.shape[1]]
        chances, centres = chances[:, : len(centres)], np.nan_to_num(centres)
        mean = chances @ centres
        std = np.sqrt(np.maximum(chances @ centres**2 - mean**2, 0.0))
        return ResponseCurve(varied, tried, None, mean[:, None], std[:, None], action.names[:1])

    def _transitions(self, history: History, step: int, context: int) -> tuple[torch.Tensor, int]:
        """Complete transitions (C, P) in the context at a step, and the step that the first of them belongs to."""
        if not 0 <= step < len(history.actions):
            raise ValueError(f"step is {step} but the episode has steps 0 to {len(history.actions) - 1}")
        first = max(0, step + 1 - context)
        seen = slice(first, step)
        parts = [
            self.tokenizer.encode_observations(history.observations[seen]),
            self.tokenizer.encode_actions(history.actions[seen]),
            np.asarray(self.tokenizer.encode_rewards(history.rewards[seen])).reshape(-1, 1),
        ]
        return torch.from_numpy(np.concatenate([part.astype(np.int64) for part in parts], axis=1)), first

    def _present(self, observations: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.tokenizer.encode_observations(observations).astype(np.int64))
