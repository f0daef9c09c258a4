"""Ask a trained run what it would do: other requests at the same moment, and what it looks at while deciding.

Everything is computed on the very steps that the run saw at a step of a measured episode, so the answer for the
request that was made is the answer that was given. Loading this module imports torch; pages import it inside
the function that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from seqrl.checkpoints import load_model
from seqrl.config import DatasetFacts, RunSpec
from seqrl.config.models import ACTING_SPECS, ActionModelSpec, RvsSpec
from seqrl.environments.replay import Replay
from seqrl.models.action_model import ActionModel
from seqrl.policies import context_steps
from seqrl.store.records import EpisodeRecord
from seqrl.windows import WindowBatch


@dataclass(frozen=True)
class History:
    """An episode as a run saw it.

    Attributes:
        observations: (T, *observation) float32 or uint8, the one that each action was taken in.
        actions: (T,), (T, M) or (T, A).
        returns_to_go: (T,) asked for, in the unit of the data; NaN where none is asked.
    """

    observations: np.ndarray
    actions: np.ndarray
    returns_to_go: np.ndarray


@dataclass(frozen=True)
class ResponseCurve:
    """What a run would do at one moment, depending on what it is asked for.

    Attributes:
        returns_to_go: (N,) asked for at this step, in the unit of the data.
        probabilities: (N, sum of categories) of discrete actions, components side by side; None for boxes.
        mean: (N, A) of continuous actions; None for discrete ones.
        std: (N, A) standard deviation, zero for a tanh head; None for discrete actions.
        names: of the values of a discrete action (component by component), or of the dimensions of a continuous one.
    """

    returns_to_go: np.ndarray
    probabilities: np.ndarray | None
    mean: np.ndarray | None
    std: np.ndarray | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Attention:
    """Where a run looks while it decides.

    Attributes:
        weights: (layers, heads, L, tokens) from the observation token of each of the L steps seen; rows sum to 1, and
            later tokens have exactly 0. The last of the L is the step that was asked about.
        kinds: of the tokens: "R" return-to-go, "s" observation, "a" action.
        timesteps: (tokens,) the step that each token belongs to.
    """

    weights: np.ndarray
    kinds: tuple[str, ...]
    timesteps: np.ndarray


class Probe:
    """A trained Decision Transformer, behaviour cloning or RvS, to be asked.

    Args:
        model: in evaluation mode, on the CPU.
        spec: of the run.
        facts: of its data.

    Raises:
        ValueError: if the run is of another kind.
    """

    def __init__(self, model: ActionModel, spec: RunSpec, facts: DatasetFacts) -> None:
        if not isinstance(spec.model, ACTING_SPECS):
            raise ValueError(f"the run {spec.name} plans instead of answering a target; choose a DT or BC run")
        self.model, self.spec, self.facts = model, spec, facts
        self.settings: ActionModelSpec | RvsSpec = spec.model

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

    def history(self, record: EpisodeRecord) -> History:
        """What the run saw in a measured episode; observations come from replaying it.

        Raises:
            ValueError: if the replay is not the recorded episode.
        """
        observations = Replay(record, self.facts, render_mode=None).observations()
        return History(observations[:-1], record.actions, record.returns_to_go)

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
        count = len(asked)
        with torch.inference_mode():
            outputs = self.model.act_logits(
                _repeated(history.observations[seen], count),
                _repeated(history.actions[seen.start : step], count),
                torch.from_numpy(requests).float(),
                torch.arange(seen.start, step + 1),
            )
        return self._curve(asked, outputs.double())

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
        kinds = ("R", "s", "a") if self.conditioned else ("s", "a")
        asked = slice(kinds.index("s"), None, len(kinds))
        # the last layer is computed for the observation tokens alone, the others for every token
        weights = [layer[0] if layer.shape[2] == len(steps) else layer[0][:, asked] for layer in layers]
        return Attention(
            weights=torch.stack(weights).numpy(),
            kinds=(kinds * len(steps))[:-1],
            timesteps=np.repeat(steps, len(kinds))[:-1],
        )

    def _seen(self, history: History, step: int, acting: Literal["cached", "window"]) -> slice:
        """The steps in the context at a step."""
        if not 0 <= step < len(history.actions):
            raise ValueError(f"step is {step} but the episode has steps 0 to {len(history.actions) - 1}")
        return slice(step + 1 - context_steps(step, self.settings.context_length, acting), step + 1)

    def _curve(self, asked: np.ndarray, outputs: torch.Tensor) -> ResponseCurve:
        action = self.facts.action
        if self.model.head.kind == "categorical":
            parts = [part.softmax(-1) for part in outputs.split(action.categories, dim=-1)]
            return ResponseCurve(asked, torch.cat(parts, dim=-1).numpy(), None, None, _value_names(self.facts))
        fixed = self.model.head.kind == "tanh"
        mean = outputs if fixed else outputs[:, 0]
        std = torch.zeros_like(outputs) if fixed else outputs[:, 1]
        return ResponseCurve(asked, None, mean.numpy(), std.numpy(), action.names)


def _repeated(rows: np.ndarray, count: int) -> torch.Tensor:
    """(L, ...) → (count, L, ...)."""
    values = torch.from_numpy(np.ascontiguousarray(rows))
    return values[None].expand(count, *values.shape)


def _value_names(facts: DatasetFacts) -> tuple[str, ...]:
    action = facts.action
    if action.kind == "discrete":
        return action.labels or tuple(f"action {i}" for i in range(action.categories[0]))
    groups = zip(action.names, action.categories, strict=True)
    return tuple(f"{name} is {value}" for name, count in groups for value in range(count))
