"""One causal transformer for every model here: GPT-2's pre-norm blocks without token or position embeddings.

The weights map one to one to Hugging Face's ``DecisionTransformerGPT2Model`` (their ``Conv1D`` is transposed). What is
left out is dropout on attention probabilities; dropout on the input and on both residual branches is kept.

Shape suffixes: B batch, T tokens, S tokens seen, D embedding, H heads, K = D // H, Q queries. Number format: everything
is computed in the format of the input (``bfloat16`` or ``float32``), weights are ``float32``.

Two ways through the network, equal to float rounding:

* `CausalTransformer.forward` sees whole sequences (training, or recomputing a window); where gradients are wanted, the
  same formulas run as `seqrl.models.fused_blocks`;
* `CausalTransformer.extend` sees only new tokens and finds the projected keys and values of earlier ones in a
  `KeyValueCache`. The cache never slides: keys of deep layers hold information of the tokens they once saw, so dropping
  old tokens means to start again (``cache.clear()``) with the tokens that stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqrl.models.fused_blocks import Shape, Spare, Weights, fused_blocks
from seqrl.models.layers import ACTIVATIONS, DropoutNoise, LayerNorm, Linear, residual_dropout

HIDDEN = -1e9
"""Added to the score of a key that must not be seen: exactly zero weight after the softmax, and no NaN in a row that
sees nothing."""


@dataclass
class KeyValueCache:
    """Projected keys and values of the tokens seen so far, in memory allocated once.

    Attributes:
        held: (layers, 2, B, H, capacity, K), keys and values.
        weights: of the blocks that extend it, in its number format: brought into it once, not for every token.
        length: tokens held; the rest of the capacity is undefined.
    """

    held: Tensor
    weights: list[Weights]
    length: int = 0

    @property
    def keys(self) -> Tensor:
        """(layers, B, H, capacity, K)."""
        return self.held[:, 0]

    @property
    def values(self) -> Tensor:
        """(layers, B, H, capacity, K)."""
        return self.held[:, 1]

    @property
    def rows(self) -> int:
        """Sequences held (B)."""
        return self.held.shape[2]

    @property
    def capacity(self) -> int:
        """Tokens that fit."""
        return self.held.shape[4]

    def clear(self, length: int = 0) -> None:
        """Forget all but the first ``length`` tokens; costs nothing."""
        self.length = min(self.length, length)

    def keep(self, rows: Tensor) -> None:
        """Hold only these rows from now on. ``rows``: (n,) int64 or (B,) bool."""
        self.held = self.held[:, :, rows]


class Attention(nn.Module):
    """Causal self-attention with any number of heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.scale = (width // heads) ** -0.5
        self.qkv = Linear(width, 3 * width)
        self.projection = Linear(width, width)

    def forward(self, x_BTD: Tensor, bias: Tensor, queries: slice, seen: list[Tensor] | None) -> Tensor:
        """Update of the tokens ``queries``: (B * Q, D). ``bias``: (1 or B, Q, T) added to the scores."""
        q, k, v = (self._by_head(part) for part in self._project(x_BTD, queries))
        if bias.shape[0] > 1:
            bias = bias.repeat_interleave(self.heads, dim=0)
        weights = torch.baddbmm(bias, q * self.scale, k.transpose(1, 2)).softmax(-1)
        if seen is not None:
            seen.append(weights.unflatten(0, (-1, self.heads)).detach())
        return self.projection(self._joined(weights @ v).flatten(0, 1))

    def _project(self, x_BTD: Tensor, queries: slice) -> tuple[Tensor, ...]:
        """Queries (B, Q, D), keys and values (B, T, D): in the last layer every token is a key, few are asked."""
        if queries == slice(None):
            return self.qkv(x_BTD.flatten(0, 1)).view(*x_BTD.shape[:2], -1).split(self.width, dim=-1)
        (weight_q, bias_q), (weight_kv, bias_kv) = self.qkv.parts(self.width, 2 * self.width)
        q = F.linear(x_BTD[:, queries], weight_q.to(x_BTD.dtype), bias_q.to(x_BTD.dtype))
        k_and_v = F.linear(x_BTD, weight_kv.to(x_BTD.dtype), bias_kv.to(x_BTD.dtype))
        return q, *k_and_v.split(self.width, dim=-1)

    def _by_head(self, x_BTD: Tensor) -> Tensor:
        if self.heads == 1:
            return x_BTD
        return x_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2).flatten(0, 1)  # (B * H, T, K)

    def _joined(self, x_NQK: Tensor) -> Tensor:
        if self.heads == 1:
            return x_NQK
        return x_NQK.unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2)  # (B, T, D)


class Block(nn.Module):
    """Attention, then a feed-forward network, each on a normalised copy and added to the residual stream."""

    def __init__(self, width: int, heads: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.norm_1 = LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_2 = LayerNorm(width)
        self.expand = Linear(width, hidden)
        self.contract = Linear(hidden, width)
        self.activation = ACTIVATIONS[activation]

    def weights(self) -> Weights:
        """All parameters, as `seqrl.models.fused_blocks` takes them."""
        modules = (self.norm_1, self.attention.qkv, self.attention.projection, self.norm_2, self.expand, self.contract)
        return Weights(*(parameter for module in modules for parameter in (module.weight, module.bias)))

    def reset(self, generator: torch.Generator, std: float, residual_std: float) -> None:
        """Normal weights; the two maps that write to the residual stream have a spread of their own."""
        self.attention.qkv.reset(generator, std)
        self.attention.projection.reset(generator, residual_std)
        self.expand.reset(generator, std)
        self.contract.reset(generator, residual_std)

    def forward(
        self, x_BTD: Tensor, bias: Tensor, queries: slice, noise: DropoutNoise | None, seen: list[Tensor] | None
    ) -> Tensor:
        """(B, T, D) → (B, Q, D)."""
        return self._add(x_BTD[:, queries], self.attention(self.norm_1(x_BTD), bias, queries, seen), noise)

    def _add(self, residual_BQD: Tensor, update_ND: Tensor, noise: DropoutNoise | None) -> Tensor:
        """What attention and the feed-forward network add to the residual stream: (B, Q, D)."""
        x_ND = residual_dropout(residual_BQD.flatten(0, 1), update_ND, noise)
        update_ND = self.contract(self.activation(self.expand(self.norm_2(x_ND))))
        return residual_dropout(x_ND, update_ND, noise).view(residual_BQD.shape)


class CausalTransformer(nn.Module):
    """A stack of blocks and a final norm; every token sees itself and earlier ones.

    Args:
        width: embedding width D.
        layers: number of blocks.
        heads: attention heads H, a divisor of the width.
        activation: name in `ACTIVATIONS`.
        hidden: width of the feed-forward part; None takes 4 D.
    """

    def __init__(
        self, *, width: int, layers: int, heads: int, activation: str = "relu", hidden: int | None = None
    ) -> None:
        super().__init__()
        self.width, self.heads, self.activation = width, heads, activation
        self.blocks = nn.ModuleList(Block(width, heads, hidden or 4 * width, activation) for _ in range(layers))
        self.norm = LayerNorm(width)
        self._spare = Spare()

    @property
    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))

    def reset(self, generator: torch.Generator) -> None:
        """GPT-2's initial weights: normal, 0.02, residual projections divided by sqrt(2 layers)."""
        for block in self._blocks:
            block.reset(generator, 0.02, 0.02 / math.sqrt(2 * len(self.blocks)))

    def forward(
        self,
        x_BTD: Tensor,
        *,
        visible: Tensor | None = None,
        queries: slice = slice(None),
        noise: DropoutNoise | None = None,
        seen: list[Tensor] | None = None,
    ) -> Tensor:
        """Final states of the tokens ``queries`` of whole sequences: (B, Q, D).

        Args:
            x_BTD: token embeddings, positions included.
            visible: (T, T) or (B, T, T) bool, False where query (row) must not see key (column); on top of causality.
            queries: the tokens whose final states are wanted; the last layer is computed for these alone.
            noise: dropout masks of this step; None means no dropout.
            seen: a list that receives the attention weights of every layer, each (B, H, Q of that layer, T).
        """
        if noise is not None and (mask := noise.mask(x_BTD)) is not None:
            x_BTD = x_BTD * mask
        if visible is None and seen is None and torch.is_grad_enabled() and x_BTD.requires_grad:
            weights = [weight for block in self._blocks for weight in block.weights()]
            count, tokens = x_BTD.shape[:2]
            shape = Shape(count, tokens, self.heads, self.activation, self.norm.eps, queries)
            return self.norm(fused_blocks(x_BTD, weights, shape, noise, self._spare))
        bias = _bias(x_BTD.shape[1], 0, visible, x_BTD)
        for block in self.blocks[:-1]:
            x_BTD = block(x_BTD, bias, slice(None), noise, seen)
        return self.norm(self.blocks[-1](x_BTD, bias[:, queries], queries, noise, seen))

    def extend(
        self, x_BTD: Tensor, cache: KeyValueCache, *, visible: Tensor | None = None, queries: slice = slice(None)
    ) -> Tensor:
        """Final states of new tokens, whose projected keys and values join the cache: (B, Q, D).

        Args:
            x_BTD: embeddings of the T new tokens of every row of the cache.
            cache: keys and values of the S earlier tokens; grows by T.
            visible: (T, S + T) or (B, T, S + T) bool, False where a new token must not see a key.
            queries: the new tokens whose final states are wanted.

        Raises:
            ValueError: if the tokens do not fit into the cache.
        """
        tokens = x_BTD.shape[1]
        if cache.length + tokens > cache.capacity:
            raise ValueError(
                f"{tokens} tokens do not fit into a cache of {cache.capacity} that holds {cache.length}; clear it first"
            )
        bias = None if tokens == 1 and visible is None else _bias(tokens, cache.length, visible, x_BTD)
        activate = ACTIVATIONS[self.activation]
        for layer, w in enumerate(cache.weights):
            asked = queries if layer + 1 == len(cache.weights) else slice(None)
            mixed_ND = self._extended(x_BTD, w, cache, layer, bias if bias is None else bias[:, asked], asked)
            x_ND = x_BTD[:, asked].flatten(0, 1) + F.linear(mixed_ND, w.projection, w.projection_bias)
            normed_ND = F.layer_norm(x_ND, w.gain_2.shape, w.gain_2, w.offset_2, self.norm.eps)
            hidden_NF = activate(F.linear(normed_ND, w.expand, w.expand_bias))
            x_ND = x_ND + F.linear(hidden_NF, w.contract, w.contract_bias)
            x_BTD = x_ND.view(len(x_BTD), -1, self.width)
        cache.length += tokens
        return self.norm(x_BTD)

    def _extended(
        self, x_BTD: Tensor, w: Weights, cache: KeyValueCache, layer: int, bias: Tensor | None, asked: slice
    ) -> Tensor:
        """What attention of a layer mixes for the tokens ``asked``: (B * Q, D); keys and values join the cache."""
        rows, tokens, width = x_BTD.shape
        end, heads = cache.length + tokens, self.heads
        normed_BTD = F.layer_norm(x_BTD, w.gain_1.shape, w.gain_1, w.offset_1, self.norm.eps)
        if asked == slice(None):
            qkv = F.linear(normed_BTD.view(-1, width), w.qkv, w.qkv_bias).view(rows, tokens, 3, heads, -1)
            q_BQHK, kv_BT2HK = qkv[:, :, 0], qkv[:, :, 1:]
        else:
            q_ND = F.linear(normed_BTD[:, asked].flatten(0, 1), w.qkv[:width]) + w.qkv_bias[:width]
            q_BQHK = q_ND.view(rows, -1, heads, width // heads)
            kv_BT2HK = F.linear(normed_BTD, w.qkv[width:], w.qkv_bias[width:]).view(rows, tokens, 2, heads, -1)
        cache.held[layer, :, :, :, cache.length : end] = kv_BT2HK.permute(2, 0, 3, 1, 4)
        keys, values = cache.held[layer, :, :, :, :end].flatten(1, 2)
        q_NQK = (q_BQHK * (width // heads) ** -0.5).transpose(1, 2).flatten(0, 1)
        scores = torch.bmm(q_NQK, keys.transpose(1, 2))
        if bias is not None:
            scores += bias if bias.shape[0] == 1 else bias.repeat_interleave(heads, dim=0)
        mixed_NQK = torch.bmm(scores.softmax(-1), values)
        return mixed_NQK.view(rows, heads, -1, width // heads).transpose(1, 2).reshape(-1, width)

    def new_cache(self, rows: int, capacity: int, dtype: torch.dtype = torch.float32) -> KeyValueCache:
        """An empty cache for ``rows`` sequences of up to ``capacity`` tokens, on the device of the weights.

        ``dtype`` is the number format of the tokens that will extend it.
        """
        weight = self.norm.weight
        shape = (len(self.blocks), 2, rows, self.heads, capacity, self.width // self.heads)
        weights = [Weights(*(part.detach().to(dtype) for part in block.weights())) for block in self._blocks]
        return KeyValueCache(torch.empty(shape, dtype=dtype, device=weight.device), weights)


def _bias(tokens: int, before: int, visible: Tensor | None, like: Tensor) -> Tensor:
    """What is added to the scores: (1 or B, T, before + T), zero where a key may be seen."""
    bias = torch.full((1, tokens, before + tokens), HIDDEN, dtype=like.dtype, device=like.device).triu_(before + 1)
    if visible is not None:
        bias = bias.masked_fill(~(visible if visible.ndim == 3 else visible[None]), HIDDEN)
    return bias
