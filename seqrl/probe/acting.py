"""Ask a Decision Transformer, behaviour cloning or RvS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from seqrl.checkpoints import load_model
from seqrl.config import DatasetFacts, RunSpec
from seqrl.config.models import ACTING_SPECS, ActionModelSpec, DecisionTransformerSpec, RvsSpec
from seqrl.config.sweeps import Precision
from seqrl.models.action_model import ActionModel
from seqrl.policies import context_steps
from seqrl.probe.answers import Attention, History, ResponseCurve, changed_observations, value_names
from seqrl.windows import WindowBatch


class Probe:
    """A trained Decision Transformer, behaviour cloning or RvS, to be asked.

    Args:
        model: in evaluation mode, on the CPU.
        spec: of the run.
        facts: of its data.
        precision: number format that it acted in.

    Raises:
        ValueError: if the run is of another kind.
    """

    def __init__(self, model: ActionModel, spec: RunSpec, facts: DatasetFacts, precision: Precision = "fp32") -> None:
        if not isinstance(spec.model, ACTING_SPECS):
            raise ValueError(f"the run {spec.name} plans instead of answering a target; choose a DT or BC run")
        self.model, self.spec, self.facts = model, spec, facts
        self.settings: ActionModelSpec | RvsSpec = spec.model
        self._compute = torch.bfloat16 if precision == "bf16" else torch.float32

    @classmethod
    def open(cls, run_folder: Path) -> Probe:
        """The probe of a run's checkpoint.

        Raises:
            NoCheckpoint: if the run has none.
            ValueError: if it cannot be asked.
        """
        return cls(*load_model(run_folder))

    @property
    def conditioned(self) -> bool:
        """Whether the run listens to a request at all."""
        return self.model.conditioned

    def response_curve(
        self,
        history: History,
        step: int,
        returns_to_go: Sequence[float] | np.ndarray,
        *,
        acting: Literal["cached", "window"] = "cached",
    ) -> ResponseCurve:
        """What the run would do at a step for each of these requests.

        The requests of earlier steps in its context change with it, by ``γ^k`` k steps before, so that what it sees is
        an episode in which this was asked from the start.

        Args:
            history: the episode.
            step: the moment, 0 to T − 1.
            returns_to_go: (N,) to ask for at this step, in the unit of the data.
            acting: how the episode was measured; decides how many steps the run saw.
        """
        asked = np.asarray(returns_to_go, dtype=np.float64)
        seen = self._seen(history, step, acting)
        before = np.arange(step - seen.start, -1, -1)
        change = (asked - history.returns_to_go[step])[:, None] * self.model.discount ** before[None]
        requests = np.nan_to_num(history.returns_to_go[seen] + change)
        observations = _repeated(history.observations[seen], len(asked))
        return self._curve("return-to-go", asked, self._outputs(history, seen, observations, requests))

    def response_to_observation(
        self,
        history: History,
        step: int,
        dimension: str,
        values: Sequence[float] | np.ndarray,
        *,
        acting: Literal["cached", "window"] = "cached",
    ) -> ResponseCurve:
        """What the run would do at a step if one dimension of what it observes there were different.

        Earlier observations stay what they were.

        Args:
            history: the episode.
            step: the moment, 0 to T − 1.
            dimension: of the observation, see `changed_observations`.
            values: (N,) to try, in the unit of the observation.
            acting: how the episode was measured.
        """
        seen = self._seen(history, step, acting)
        present = changed_observations(self.facts, history.observations[step], dimension, values)
        observations = _repeated(history.observations[seen], len(present)).clone()
        observations[:, -1] = torch.from_numpy(present)
        requests = np.repeat(np.nan_to_num(history.returns_to_go[seen])[None], len(present), axis=0)
        outputs = self._outputs(history, seen, observations, requests)
        return self._curve(dimension, np.asarray(values, dtype=np.float64), outputs)

    def _outputs(self, history: History, seen: slice, observations: torch.Tensor, requests: np.ndarray) -> torch.Tensor:
        """What the head says at the last of the steps seen, (N, ...) float64."""
        with torch.inference_mode():
            outputs = self.model.act_logits(
                observations,
                _repeated(history.actions[seen.start : seen.stop - 1], len(observations)),
                torch.from_numpy(requests).float(),
                torch.arange(seen.start, seen.stop),
                self._compute,
            )
        return outputs.double()

    def attention(self, history: History, step: int, *, acting: Literal["cached", "window"] = "cached") -> Attention:
        """Attention of every layer and head at a step, and at the steps before it in the context.

        Raises:
            ValueError: if the run has no attention.
        """
        if not isinstance(self.settings, ActionModelSpec):
            raise ValueError(f"{self.spec.name} is a plain network without attention; choose a DT or BC run")
        seen = self._seen(history, step, acting)
        steps = np.arange(seen.start, step + 1)
        batch = WindowBatch(
            observations=_repeated(history.observations[seen], 1),
            actions=_repeated(history.actions[seen], 1),
            returns_to_go=_repeated(np.nan_to_num(history.returns_to_go[seen]).astype(np.float32), 1),
            timesteps=torch.from_numpy(steps)[None],
            mask=torch.ones((1, len(steps)), dtype=torch.bool),
        )
        layers: list[torch.Tensor] = []
        with torch.inference_mode():
            self.model.forward(batch, seen=layers)  # type: ignore[call-arg]
        told_a_goal = isinstance(self.settings, DecisionTransformerSpec) and not self.conditioned
        kinds = ("R", "s", "a") if self.conditioned else ("g", "s", "a") if told_a_goal else ("s", "a")
        asked = slice(kinds.index("s"), None, len(kinds))
        # the last layer is computed for the observation tokens alone, the others for every token
        weights = [layer[0] if layer.shape[2] == len(steps) else layer[0][:, asked] for layer in layers]
        return Attention(
            weights=torch.stack(weights).numpy(),
            kinds=(kinds * len(steps))[:-1],
            names=(kinds * len(steps))[:-1],
            timesteps=np.repeat(steps, len(kinds))[:-1],
        )

    def _seen(self, history: History, step: int, acting: Literal["cached", "window"]) -> slice:
        """The steps in the context at a step."""
        if not 0 <= step < len(history.actions):
            raise ValueError(f"step is {step} but the episode has steps 0 to {len(history.actions) - 1}")
        return slice(step + 1 - context_steps(step, self.settings.context_length, acting), step + 1)

    def _curve(self, varied: str, values: np.ndarray, outputs: torch.Tensor) -> ResponseCurve:
        action = self.facts.action
        if self.model.head.kind == "categorical":
            parts = [part.softmax(-1) for part in outputs.split(action.categories, dim=-1)]
            probabilities = torch.cat(parts, dim=-1).numpy()
            return ResponseCurve(varied, values, probabilities, None, None, value_names(action))
        fixed = self.model.head.kind != "gaussian"
        mean = outputs if fixed else outputs[:, 0]
        std = torch.zeros_like(outputs) if fixed else outputs[:, 1]
        return ResponseCurve(varied, values, None, mean.numpy(), std.numpy(), action.names)


def _repeated(rows: np.ndarray, count: int) -> torch.Tensor:
    """(L, ...) → (count, L, ...)."""
    values = torch.from_numpy(np.ascontiguousarray(rows))
    return values[None].expand(count, *values.shape)
