"""Trajectory Transformer (Janner et al. 2021, https://arxiv.org/abs/2106.02039).

A transition is D tokens (s..., a..., r, V), see `seqrl.tokens.transitions`. Every dimension has its own part of one
embedding table (by offsets) and its own output head; all heads are one batched product.

The value token is a target and never an input. Nothing may attend to it and its content may change no other logit, so
instead of a masked key it has no position at all: the reward position predicts two tokens, the value of its own
transition and the first token of the next one. A window of L transitions is then L * (D - 1) positions and
L * D - 1 predicted tokens, the same targets as with a masked value token, for less work and with nothing to leak in
either the plain or the cached path.

Shape suffixes: B batch, L transitions, D tokens of a transition, P = D - 1 positions of a transition, T = L * P,
E embedding, W bins (width of a head), N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqrl.config import DatasetFacts, TrajectoryTransformerSpec
from seqrl.models.layers import DropoutNoise, Embedding
from seqrl.models.token_windows import TokenBatch, TokenWindows
from seqrl.models.transformer import CausalTransformer
from seqrl.store.columns import Columns
from seqrl.tokens import TransitionTokenizer, fit_tokenizer, transition_layout


class TokenHeads(nn.Module):
    """A linear map to the bins of each dimension, all of them one batched product."""

    decays = True

    def __init__(self, dimensions: int, width: int, bins: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dimensions, bins, width))
        self.bias = nn.Parameter(torch.zeros(dimensions, bins))

    def reset(self, generator: torch.Generator) -> None:
        """Normal weights of spread 0.02, zero bias."""
        nn.init.normal_(self.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.bias)

    def forward(self, x_DNE: Tensor, order: Tensor, vocabulary_bias: Tensor) -> Tensor:
        """Logits (D, N, W) of the dimensions ``order`` from a state of their own each, (D, N, E)."""
        weight_DEW = self.weight[order].to(x_DNE.dtype).transpose(1, 2)
        bias_D1W = (self.bias + vocabulary_bias)[order, None].to(x_DNE.dtype)
        return torch.baddbmm(bias_D1W, x_DNE, weight_DEW)


class TrajectoryTransformer(nn.Module):
    """Predicts every token of a trajectory from those before it; see the module's docstring.

    The bins travel with the weights as buffers. A fresh model has none: `fit` makes them from a dataset.

    Args:
        spec: settings.
        facts: the dataset's spaces.

    Raises:
        ValueError: if the observations are images.
    """

    conditioned = True
    token_counts: Tensor
    token_edges: Tensor
    token_values: Tensor
    value_returns: Tensor
    offsets: Tensor
    loss_weights: Tensor

    def __init__(self, spec: TrajectoryTransformerSpec, facts: DatasetFacts) -> None:
        super().__init__()
        self.spec = spec
        self.layout = transition_layout(facts)
        self._tokenised: tuple[Columns, TokenWindows] | None = None
        self.context_length, self.discount, self.dropout = spec.context_length, spec.discount, spec.dropout
        tokens = len(self.layout)
        self.positions = tokens - 1
        self.bins = max([spec.bins, *(dimension.categories or 0 for dimension in self.layout.dimensions)])
        self.embed_token = Embedding(self.positions * self.bins, spec.embedding_dim)
        self.embed_position = Embedding(self.context_length * self.positions, spec.embedding_dim)
        self.transformer = CausalTransformer(
            width=spec.embedding_dim,
            layers=spec.layers,
            heads=spec.heads,
            activation=spec.activation,
            hidden=spec.feedforward_dim,
        )
        self.heads = TokenHeads(tokens, spec.embedding_dim, self.bins)
        self.register_buffer("token_counts", torch.zeros(tokens, dtype=torch.int64))
        self.register_buffer("token_edges", torch.zeros(tokens, self.bins + 1, dtype=torch.float64))
        self.register_buffer("token_values", torch.zeros(tokens, self.bins, dtype=torch.float64))
        self.register_buffer("value_returns", torch.zeros(self.bins, dtype=torch.float64))
        self.register_buffer("offsets", torch.arange(self.positions) * self.bins, persistent=False)
        self.register_buffer("loss_weights", self._loss_weights(spec.action_weight), persistent=False)

    def _loss_weights(self, action_weight: float) -> Tensor:
        """(D, 1) weight of each predicted token, in the order of `_logits`."""
        weights = torch.ones(len(self.layout))
        weights[self.layout.action] = action_weight
        return weights.roll(-1)[:, None]

    @classmethod
    def build(cls, spec: TrajectoryTransformerSpec, facts: DatasetFacts, seed: int) -> Self:
        """A model with fresh weights and no bins yet; equal arguments give equal weights."""
        model = cls(spec, facts)
        model.reset(torch.Generator().manual_seed(seed))
        return model

    @classmethod
    def from_columns(cls, spec: TrajectoryTransformerSpec, columns: Columns, episodes: np.ndarray, seed: int) -> Self:
        """A model with fresh weights and bins fitted to these episodes."""
        model = cls.build(spec, columns.facts, seed)
        model.fit(columns, episodes)
        return model

    @classmethod
    def from_weights(cls, spec: TrajectoryTransformerSpec, facts: DatasetFacts, weights: Mapping[str, Tensor]) -> Self:
        """A model with the weights and bins of a checkpoint."""
        model = cls(spec, facts)
        model.load_state_dict(weights)
        return model

    @classmethod
    def eligible_episodes(cls, spec: TrajectoryTransformerSpec, columns: Columns) -> np.ndarray:
        """All episodes: a model of the world learns from good and bad ones alike."""
        return np.arange(len(columns.spans))

    def reset(self, generator: torch.Generator) -> None:
        """Fresh weights from the generator."""
        self.embed_token.reset(generator, 0.02)
        self.embed_position.reset(generator, 0.02)
        self.transformer.reset(generator)
        self.heads.reset(generator)

    # --- data --------------------------------------------------------------------------------------

    def fit(self, columns: Columns, episodes: np.ndarray | None = None) -> None:
        """Make the bins from a dataset, or from some of its episodes."""
        tokenizer = fit_tokenizer(
            self.layout,
            columns.observations,
            columns.actions,
            columns.rewards,
            columns.spans["end"],
            columns.spans["terminated"],
            bins=self.spec.bins,
            strategy=self.spec.strategy,
            discount=self.discount,
            episodes=episodes,
        )
        self.set_tokenizer(tokenizer)

    def set_tokenizer(self, tokenizer: TransitionTokenizer) -> None:
        """Take over fitted bins."""
        arrays = tokenizer.arrays()
        for buffer, name in (
            (self.token_counts, "counts"),
            (self.token_edges, "edges"),
            (self.token_values, "values"),
            (self.value_returns, "value_returns"),
        ):
            buffer.copy_(torch.from_numpy(arrays[name]))

    def tokenizer(self) -> TransitionTokenizer:
        """The bins that the model was trained with.

        Raises:
            ValueError: if the model has none yet.
        """
        if not self.token_counts.any():
            raise ValueError("this model has no bins yet; fit() it to a dataset or load its checkpoint")
        arrays = {
            "counts": self.token_counts,
            "edges": self.token_edges,
            "values": self.token_values,
            "value_returns": self.value_returns,
        }
        return TransitionTokenizer.from_arrays(self.layout, {name: x.cpu().numpy() for name, x in arrays.items()})

    def batches(self, columns: Columns, episodes: np.ndarray) -> TokenWindows:
        """Training windows of these episodes; the tokens of a dataset are made once."""
        if self._tokenised is None or self._tokenised[0] is not columns:
            windows = TokenWindows(columns, self.tokenizer(), self.context_length, discount=self.discount)
            self._tokenised = columns, windows
        return self._tokenised[1].subset(episodes)

    def vocabulary_bias(self) -> Tensor:
        """(D, W): 0 for tokens in use, minus infinity for those that a dimension does not have."""
        counts = self.token_counts.clone()
        counts[self.layout.value] += 1  # the end token
        unused = torch.arange(self.bins, device=counts.device) >= counts[:, None]
        return torch.zeros(unused.shape, device=counts.device).masked_fill(unused, -torch.inf)

    # --- whole windows -----------------------------------------------------------------------------

    def embed(self, tokens_BT: Tensor, first: int = 0) -> Tensor:
        """Embeddings of consecutive input tokens: (B, T) → (B, T, E).

        Args:
            tokens_BT: tokens without values.
            first: position of the first one in the context, ``transition * P + place in the transition``.
        """
        places = torch.arange(first, first + tokens_BT.shape[1], device=tokens_BT.device)
        return self.embed_token(tokens_BT + self.offsets[places % self.positions]) + self.embed_position.weight[places]

    def forward(
        self,
        tokens_BLD: Tensor,
        *,
        noise: DropoutNoise | None = None,
        compute: torch.dtype = torch.float32,
        seen: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits of every token given those before it: (B, L, D, W) float32.

        ``logits[:, l, d]`` predicts ``tokens[:, l, d]``. The very first token is predicted by nothing: its logits are
        those of an observation after the window. ``seen`` receives the attention weights, over positions.
        """
        logits_DNW = self._logits(tokens_BLD, noise, compute, seen)
        logits = logits_DNW.unflatten(1, tokens_BLD.shape[:2]).permute(1, 2, 0, 3)
        first = logits[:, :, -1:].roll(1, dims=1)
        return torch.cat([first, logits[:, :, :-1]], dim=2)

    def _logits(
        self, tokens_BLD: Tensor, noise: DropoutNoise | None, compute: torch.dtype, seen: list[Tensor] | None = None
    ) -> Tensor:
        """Logits (D, B * L, W) of dimensions 1, 2, ..., D - 1, and of dimension 0 of the next transition."""
        inputs_BT = tokens_BLD[:, :, :-1].long().flatten(1, 2)
        x_BTE = self.transformer(self.embed(inputs_BT).to(compute), noise=noise, seen=seen)
        x_PNE = x_BTE.reshape(-1, self.positions, x_BTE.shape[-1]).transpose(0, 1)
        x_DNE = torch.cat([x_PNE, x_PNE[-1:]])  # the reward position answers twice
        order = torch.arange(1, len(self.layout) + 1, device=x_DNE.device) % len(self.layout)
        return self.heads(x_DNE, order, self.vocabulary_bias()).float()

    def loss(
        self, batch: TokenBatch, *, noise: DropoutNoise | None = None, compute: torch.dtype = torch.float32
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean weighted cross-entropy over the real tokens of a batch, and measures of fit.

        Args:
            batch: windows; what padded transitions hold changes nothing.
            noise: dropout of this update; None for validation.
            compute: number format of the transformer's blocks.

        Returns:
            Scalar loss and scalars by name: "accuracy_KIND" and "loss_KIND" for every kind of token.
        """
        logits_DNW = self._logits(batch.tokens, noise, compute)
        targets_DN, mask_DN = self._targets(batch)
        losses_DN = F.cross_entropy(logits_DNW.flatten(0, 1), targets_DN.flatten(), reduction="none").view_as(mask_DN)
        losses_DN = losses_DN * mask_DN
        count = mask_DN.sum()
        loss = (losses_DN * self.loss_weights).sum(1).sum() / count.clamp(min=1)
        with torch.no_grad():
            hits_DN = (logits_DNW.argmax(-1) == targets_DN) & mask_DN
            return loss, self._measures(losses_DN.detach(), hits_DN, mask_DN)

    def _targets(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Tokens to predict and whether they count, both (D, B * L), in the order of `_logits`."""
        tokens, mask = batch.tokens.long(), batch.mask
        following = F.pad(tokens[:, 1:, :1], (0, 0, 0, 1))
        targets_BLD = torch.cat([tokens[:, :, 1:], following], dim=2)
        own = mask[:, :, None].expand(-1, -1, tokens.shape[2] - 1)
        mask_BLD = torch.cat([own, F.pad(mask[:, 1:, None], (0, 0, 0, 1))], dim=2)
        return targets_BLD.flatten(0, 1).t().contiguous(), mask_BLD.flatten(0, 1).t().contiguous()

    def _measures(self, losses_DN: Tensor, hits_DN: Tensor, mask_DN: Tensor) -> dict[str, Tensor]:
        """Accuracy and unweighted loss of every kind of token, over real tokens."""
        losses, hits, counts = losses_DN.sum(1), hits_DN.sum(1), mask_DN.sum(1)
        kinds = [dimension.kind for dimension in self.layout.dimensions]
        kinds = kinds[1:] + kinds[:1]
        measures: dict[str, Tensor] = {}
        for kind in ("observation", "action", "reward", "value"):
            rows = [row for row, other in enumerate(kinds) if other == kind]
            total = counts[rows].sum().clamp(min=1)
            measures[f"accuracy_{kind}"] = hits[rows].sum() / total
            measures[f"loss_{kind}"] = losses[rows].sum() / total
        return measures

    def embedding_norms(self, batch: TokenBatch) -> dict[str, float]:
        """Mean length of the real tokens' embeddings, by kind of token."""
        with torch.inference_mode():
            tokens = batch.tokens[batch.mask][:, :-1].long()
            norms = self.embed_token(tokens + self.offsets).norm(dim=-1).mean(0)
            parts = {"observation": self.layout.observation, "action": self.layout.action}
            return {name: float(norms[part].mean()) for name, part in parts.items()} | {
                "reward": float(norms[self.layout.reward])
            }
