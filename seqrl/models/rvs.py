"""RvS (Emmons et al. 2022, https://arxiv.org/abs/2112.10751): a plain network given observation and target.

It sees the present step only, so what it does is what a sequence adds nothing to. Here the target is the return-to-go
in the unit of the data, as for a Decision Transformer, so that both are asked the same; the paper divides it by the
steps that are left.

Shape suffixes: B batch, L steps, N rows, I inputs, D width, O outputs of the head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from seqrl.config import DatasetFacts, RvsSpec
from seqrl.models.acting import padded_rows
from seqrl.models.action_model import ActionModel, largest_return
from seqrl.models.heads import make_head
from seqrl.models.layers import ACTIVATIONS, DropoutNoise, Linear
from seqrl.store.columns import Columns
from seqrl.windows import WindowBatch, Windows


class NoMemory:
    """The context of a model that has none: nothing is cached, every step starts anew."""

    is_full = True

    def keep(self, running: Tensor) -> None:
        """Nothing is held."""


class RvsNetwork(ActionModel):
    """Hidden layers from (observation, return-to-go) to an action.

    Args:
        spec: settings.
        facts: the dataset's spaces and statistics.

    Attributes:
        return_scale: returns-to-go are divided by this, reward units.
    """

    conditioned = True
    context_length = 1
    return_scale: Tensor

    def __init__(self, spec: RvsSpec, facts: DatasetFacts) -> None:
        super().__init__(spec, facts)
        self.discount, self.dropout, self.activation = spec.discount, spec.dropout, ACTIVATIONS[spec.activation]
        self.register_buffer("return_scale", torch.tensor(spec.return_scale or largest_return(facts, spec.discount)))
        widths = [facts.observation.size + 1] + [spec.embedding_dim] * spec.layers
        self.hidden = nn.ModuleList(Linear(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.head = make_head(spec.action_head, facts.action)
        self.predict_action = Linear(spec.embedding_dim, self.head.outputs)

    @classmethod
    def eligible_episodes(cls, spec: RvsSpec, columns: Columns) -> np.ndarray:
        """All episodes."""
        return np.arange(len(columns.spans))

    def batches(self, columns: Columns, episodes: np.ndarray) -> Windows:
        """Single steps of these episodes."""
        return Windows(columns, 1, discount=self.discount, episodes=episodes)

    def reset(self, generator: torch.Generator) -> None:
        """Fresh weights from the generator (He et al. 2015)."""
        for layer in self.hidden:
            layer.reset(generator, (2 / layer.weight.shape[1]) ** 0.5)  # type: ignore[operator, index]
        self.predict_action.reset(generator, 0.02)

    def loss(
        self, batch: WindowBatch, *, noise: DropoutNoise | None = None, compute: torch.dtype = torch.float32
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the real steps of a batch, and measures of fit; see `ActionHead.loss`."""
        outputs_BLO = self.forward(batch, noise=noise, compute=compute)
        return self.head.loss(outputs_BLO.flatten(0, 1), batch.actions.flatten(0, 1), batch.mask.flatten())

    def forward(
        self, batch: WindowBatch, *, noise: DropoutNoise | None = None, compute: torch.dtype = torch.float32
    ) -> Tensor:
        """Outputs of the head at every step, each on its own: (B, L, O) float32."""
        x_NI = self._inputs(batch.observations, batch.returns_to_go).flatten(0, 1)
        return self._outputs(x_NI, noise, compute).unflatten(0, batch.mask.shape)

    def embedding_norms(self, batch: WindowBatch) -> dict[str, float]:
        """Mean length of the real steps' inputs."""
        x_BLI = self._inputs(batch.observations, batch.returns_to_go)[batch.mask]
        return {
            "observation": float(x_BLI[:, :-1].norm(dim=-1).mean()),
            "return": float(x_BLI[:, -1:].norm(dim=-1).mean()),
        }

    def begin(self, n_rows: int, max_context: int | None = None, compute: torch.dtype = torch.float32) -> NoMemory:
        """It remembers nothing."""
        return NoMemory()

    def act_logits(
        self,
        observations: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        compute: torch.dtype = torch.float32,
    ) -> Tensor:
        """What the head says at the last step: see `ActionHead.decode`. Earlier steps and actions are not looked at.

        Args:
            observations: (N, L, *observation), the last one being the one to act on.
            actions: ignored.
            returns_to_go: (N, L) reward units.
            timesteps: ignored.
            compute: number format of the hidden layers.
        """
        count = len(observations)
        rows = torch.arange(padded_rows(count)).clamp(max=count - 1)
        x_NI = self._inputs(observations[rows, -1], returns_to_go[rows, -1])
        return self.head.decode(self._outputs(x_NI, None, compute))[:count]

    def prefill(
        self, state: NoMemory, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """The same as `act_logits`."""
        return self.act_logits(observations, actions, returns_to_go, timesteps)

    def _inputs(self, observations: Tensor, returns_to_go: Tensor) -> Tensor:
        return torch.cat([self.normalise(observations), (returns_to_go / self.return_scale)[..., None]], dim=-1)

    def _outputs(self, x_NI: Tensor, noise: DropoutNoise | None, compute: torch.dtype) -> Tensor:
        x_ND = x_NI.to(compute)
        for layer in self.hidden:
            x_ND = self.activation(layer(x_ND))
            mask = noise.mask(x_ND) if noise is not None else None
            x_ND = x_ND if mask is None else x_ND * mask
        return self.predict_action(x_ND.float())
