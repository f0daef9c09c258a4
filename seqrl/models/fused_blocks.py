"""The transformer's blocks while training: one autograd function whose backward pass is written out.

The formulas are those of `seqrl.models.transformer.Block`; what differs is the number of passes over memory. Weights
are brought into the number format of the tokens once, the activation works in place where it can, gradients are
masked in place, and attention leaves out what causality hides: queries are taken in groups of `GROUP`, each of which
multiplies only with the keys up to its own last one. Keys are padded to a multiple of `ALIGNMENT`, because a softmax
over rows of another length is three times as slow in bfloat16; the padding is hidden, so its weight is exactly zero.

Shape suffixes: N rows of all tokens (B * T), M rows asked for (B * Q), B sequences, G = B * H, Q queries, T tokens,
S keys (T, padded), D embedding, H heads, K = D // H.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqrl.models.layers import DropoutNoise, norm_gradients

ALIGNMENT = 32
"""Keys come in multiples of this."""

GROUP = 64
"""Queries that share their keys; fewer multiply less that is hidden, more multiply faster."""

PIECE = 1024
"""Rows of the feed-forward network that are computed together, so that its wide hidden layer stays in the cache."""

_HIDDEN = -1e9
_aten = torch.ops.aten


class Weights(NamedTuple):
    """Parameters of one block in the order of the autograd function's arguments."""

    gain_1: Tensor
    offset_1: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    projection: Tensor
    projection_bias: Tensor
    gain_2: Tensor
    offset_2: Tensor
    expand: Tensor
    expand_bias: Tensor
    contract: Tensor
    contract_bias: Tensor


@dataclass(frozen=True)
class Shape:
    """What the blocks share.

    Attributes:
        sequences: B.
        tokens: T.
        heads: H.
        activation: name in `seqrl.models.layers.ACTIVATIONS`.
        epsilon: of the layer norms.
        queries: the tokens whose states leave the last block.
    """

    sequences: int
    tokens: int
    heads: int
    activation: str
    epsilon: float
    queries: slice


class Spare:
    """Memory of an update that the next one uses again: fresh pages cost as much as computing what they hold."""

    def __init__(self) -> None:
        self._held: list[Tensor] = []

    def take(self, rows: int, weight: Tensor) -> Tensor:
        """(rows, outputs of the weight), undefined; held before or new."""
        fits = [held for held in self._held if held.shape == (rows, len(weight)) and held.dtype == weight.dtype]
        if not fits:
            return weight.new_empty((rows, len(weight)))
        self._held = [held for held in self._held if held is not fits[0]]
        return fits[0]

    def give(self, *tensors: Tensor) -> None:
        """Not needed any more."""
        self._held += {id(tensor): tensor for tensor in tensors}.values()


def fused_blocks(
    x_BTD: Tensor, weights: Sequence[Tensor], shape: Shape, noise: DropoutNoise | None, spare: Spare
) -> Tensor:
    """States after all blocks of the tokens ``shape.queries``: (B, Q, D).

    Args:
        x_BTD: embedded tokens, dropped out already; their format is what is computed in.
        weights: of all blocks, twelve each, see `Weights`.
        shape: what the blocks share.
        noise: dropout of this update; None for none.
        spare: memory of the update before, of this network alone.
    """
    x_MD = _Blocks.apply(x_BTD.flatten(0, 1), shape, noise, spare, *weights)
    return x_MD.unflatten(0, (shape.sequences, -1))


class _Blocks(torch.autograd.Function):
    """All blocks, one after the other."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, shape: Shape, noise: DropoutNoise | None, spare: Spare, *weights: Tensor
    ) -> Tensor:
        """(N, D) → (M, D)."""
        ctx.formats = [weight.dtype for weight in weights]
        cast = [weight.to(x_ND.dtype) for weight in weights]
        count = len(weights) // len(Weights._fields)
        ctx.blocks = []
        for number in range(count):
            block = _Block(Weights(*cast[12 * number : 12 * number + 12]), shape, spare, last=number == count - 1)
            x_ND = block.forward(x_ND, noise)
            ctx.blocks.append(block)
        return x_ND

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_MD: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tokens (N, D) and of all weights."""
        gradients: list[Tensor] = []
        grad_MD = grad_MD.contiguous()
        while ctx.blocks:
            grad_MD, own = ctx.blocks.pop().backward(grad_MD)
            gradients = [*own, *gradients]
        return grad_MD, None, None, None, *(grad.to(dtype) for grad, dtype in zip(gradients, ctx.formats, strict=True))


class _Block:
    """One block and what its backward pass needs of the forward pass."""

    def __init__(self, weights: Weights, shape: Shape, spare: Spare, last: bool) -> None:
        self.weights, self.shape, self.spare = weights, shape, spare
        self.asked = shape.queries if last else slice(None)
        self.activation = _ACTIVATIONS[shape.activation]

    def forward(self, x_ND: Tensor, noise: DropoutNoise | None) -> Tensor:
        w, self.x_ND = self.weights, x_ND
        self.normed_1, *self.moments_1 = self._norm(x_ND, w.gain_1, w.offset_1)
        self.mixed_MD = self._attend()
        update_MD = linear(self.mixed_MD, w.projection, w.projection_bias)
        self.mask_1 = None if noise is None else noise.mask(update_MD)
        self.middle_MD = _added(self._of_queries(x_ND), update_MD, self.mask_1)
        self.normed_2, *self.moments_2 = self._norm(self.middle_MD, w.gain_2, w.offset_2)
        update_MD = self._feed_forward()
        self.mask_2 = None if noise is None else noise.mask(update_MD)
        return _added(self.middle_MD, update_MD, self.mask_2)

    def backward(self, grad_MD: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gradients of the input (N, D) and of the twelve weights."""
        w = self.weights
        update_MD = grad_MD if self.mask_2 is None else grad_MD * self.mask_2
        normed_MD, feed_forward = self._feed_forward_gradients(update_MD)
        middle_MD, *norm_2 = self._norm_gradients(normed_MD, self.middle_MD, self.moments_2, 6)
        middle_MD += grad_MD
        update_MD = middle_MD if self.mask_1 is None else middle_MD * self.mask_1
        projection = _linear_gradients(update_MD, self.mixed_MD)
        normed_ND, qkv = self._attention_gradients(update_MD @ w.projection)
        grad_ND, *norm_1 = self._norm_gradients(normed_ND, self.x_ND, self.moments_1, 0)
        self._of_queries(grad_ND, view=True).add_(middle_MD.unflatten(0, (self.shape.sequences, -1)))
        return grad_ND, [*norm_1, *qkv, *projection, *norm_2, *feed_forward]

    # --- feed-forward ----------------------------------------------------------------------------------

    def _feed_forward(self) -> Tensor:
        """(M, D), in pieces that stay in the processor's cache between the two products."""
        w, count = self.weights, len(self.normed_2)
        self.kept = self.spare.take(count, w.expand)
        self.hidden = self.kept if self.activation.in_place else self.spare.take(count, w.expand)
        update_MD = torch.empty_like(self.normed_2)
        for rows in _pieces(count):
            torch.addmm(w.expand_bias, self.normed_2[rows], w.expand.t(), out=self.kept[rows])
            self.activation.forward(self.kept[rows], out=self.hidden[rows])
            torch.addmm(w.contract_bias, self.hidden[rows], w.contract.t(), out=update_MD[rows])
        return update_MD

    def _feed_forward_gradients(self, update_MD: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gradients of the normed input (M, D), and of the weights of both maps."""
        w = self.weights
        contract = _linear_gradients(update_MD, self.hidden)
        normed_MD, piece_PF = torch.empty_like(self.normed_2), self.spare.take(PIECE, w.expand)
        hidden_MF = self.kept  # what was kept of a row is needed for the last time when its gradient takes its place
        for rows in _pieces(len(update_MD)):
            grad_PF = torch.mm(update_MD[rows], w.contract, out=piece_PF[: len(update_MD[rows])])
            self.activation.backward(grad_PF, self.kept[rows], grad_input=hidden_MF[rows])
            torch.mm(hidden_MF[rows], w.expand, out=normed_MD[rows])
        expand = _linear_gradients(hidden_MF, self.normed_2)
        self.spare.give(piece_PF, self.kept, self.hidden)
        del self.kept, self.hidden
        return normed_MD, [*expand, *contract]

    # --- attention -------------------------------------------------------------------------------------

    def _attend(self) -> Tensor:
        """(M, D), before the projection."""
        w, shape, width = self.weights, self.shape, self.normed_1.shape[1]
        if self.asked == slice(None):
            q_GQK, k_GTK, v_GTK = self._by_head(linear(self.normed_1, w.qkv, w.qkv_bias), 3)
        else:
            self.asked_MD = self._of_queries(self.normed_1)
            (q_GQK,) = self._by_head(linear(self.asked_MD, w.qkv[:width], w.qkv_bias[:width]), 1)
            k_GTK, v_GTK = self._by_head(linear(self.normed_1, w.qkv[width:], w.qkv_bias[width:]), 2)
        self.scale = q_GQK.shape[-1] ** -0.5
        self.groups = _groups(range(shape.tokens)[self.asked], k_GTK.shape[1])
        self.q, self.k, self.v, self.seen = q_GQK, k_GTK, v_GTK, []
        mixed_GQK = torch.empty_like(q_GQK)
        for rows, keys, bias in self.groups:
            scores = torch.baddbmm(bias.to(q_GQK), q_GQK[:, rows], k_GTK[:, :keys].transpose(1, 2), alpha=self.scale)
            seen = torch.softmax(scores, -1)
            mixed_GQK[:, rows] = torch.bmm(seen, v_GTK[:, :keys])
            self.seen.append(seen)
        return self._joined(mixed_GQK[None, :, : len(range(shape.tokens)[self.asked])])

    def _attention_gradients(self, mixed_MD: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gradients of the normed input (N, D), and of weight and bias of the projections."""
        w, width, tokens = self.weights, mixed_MD.shape[1], self.shape.tokens
        if self.asked == slice(None):
            grad_3GTK = self.k.new_empty((3, *self.k.shape))
            self._fill_gradients(mixed_MD, *grad_3GTK)
            qkv_NP = self._joined(grad_3GTK[:, :, :tokens])
            return qkv_NP @ w.qkv, _linear_gradients(qkv_NP, self.normed_1)
        q_GQK, kv_2GTK = torch.empty_like(self.q), self.k.new_empty((2, *self.k.shape))
        self._fill_gradients(mixed_MD, q_GQK, *kv_2GTK)
        q_MD = self._joined(q_GQK[None, :, : len(range(tokens)[self.asked])])
        kv_NP = self._joined(kv_2GTK[:, :, :tokens])
        grad_ND = kv_NP @ w.qkv[width:]
        self._of_queries(grad_ND, view=True).add_((q_MD @ w.qkv[:width]).unflatten(0, (self.shape.sequences, -1)))
        both = zip(_linear_gradients(q_MD, self.asked_MD), _linear_gradients(kv_NP, self.normed_1), strict=True)
        return grad_ND, [torch.cat(parts) for parts in both]

    def _fill_gradients(self, mixed_MD: Tensor, q_GQK: Tensor, k_GTK: Tensor, v_GTK: Tensor) -> None:
        """Write the gradients of queries, keys and values; the last group sees most keys, so it comes first."""
        (mixed_GQK,) = self._by_head(mixed_MD, 1)
        first, seen_by_any = True, self.groups[-1][1]
        for grad_GTK in (k_GTK, v_GTK):
            grad_GTK[:, seen_by_any:] = 0
        for rows, keys, _ in reversed(self.groups):
            seen = self.seen.pop()
            _accumulate(v_GTK[:, :keys], seen.transpose(1, 2), mixed_GQK[:, rows], 1.0, first)
            grad_seen = torch.bmm(mixed_GQK[:, rows], self.v[:, :keys].transpose(1, 2))
            scores = torch._softmax_backward_data(grad_seen, seen, -1, seen.dtype)
            _accumulate(q_GQK[:, rows], scores, self.k[:, :keys], self.scale, first=True)
            _accumulate(k_GTK[:, :keys], scores.transpose(1, 2), self.q[:, rows], self.scale, first)
            first = False

    def _by_head(self, x_NP: Tensor, parts: int) -> Tensor:
        """(B * T, parts * D) → (parts, B * H, S, K), padded with zeros."""
        shape = self.shape
        x_BTPHK = x_NP.view(shape.sequences, -1, parts, shape.heads, x_NP.shape[1] // (parts * shape.heads))
        tokens = x_BTPHK.shape[1]
        padded = -(-tokens // ALIGNMENT) * ALIGNMENT
        result = x_NP.new_empty((parts, shape.sequences, shape.heads, padded, x_BTPHK.shape[-1]))
        result[:, :, :, :tokens] = x_BTPHK.permute(2, 0, 3, 1, 4)
        result[:, :, :, tokens:] = 0
        return result.flatten(1, 2)

    def _joined(self, x_PGTK: Tensor) -> Tensor:
        """(parts, B * H, T, K) → (B * T, parts * D)."""
        shape = self.shape
        x_PBHTK = x_PGTK.unflatten(1, (shape.sequences, shape.heads))
        return x_PBHTK.permute(1, 3, 0, 2, 4).reshape(shape.sequences * x_PGTK.shape[2], -1)

    # --- small parts -----------------------------------------------------------------------------------

    def _of_queries(self, x_ND: Tensor, view: bool = False) -> Tensor:
        """The rows of the tokens asked for: (M, D), or a view (B, Q, D)."""
        x_BQD = x_ND.unflatten(0, (self.shape.sequences, -1))[:, self.asked]
        return x_BQD if view else x_BQD.flatten(0, 1)

    def _norm(self, x_ND: Tensor, gain: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.native_layer_norm(x_ND, gain.shape, gain, offset, self.shape.epsilon)

    def _norm_gradients(
        self, grad_ND: Tensor, x_ND: Tensor, moments: Sequence[Tensor], first: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return norm_gradients(grad_ND, x_ND, *moments, *self.weights[first : first + 2])


def _groups(asked: range, keys: int) -> list[tuple[slice, int, Tensor]]:
    """Rows of the queries, the number of keys that any of them sees (padded), and what hides the others."""
    groups = []
    positions = torch.tensor(asked)
    for start in range(0, len(asked), GROUP):
        rows = slice(start, min(start + GROUP, len(asked)))
        reach = min(-(-(asked[rows.stop - 1] + 1) // ALIGNMENT) * ALIGNMENT, keys)
        hidden = torch.arange(reach) > positions[rows, None]
        groups.append((rows, reach, torch.zeros(hidden.shape).masked_fill_(hidden, _HIDDEN)[None]))
    return groups


def _pieces(rows: int) -> list[slice]:
    return [slice(start, start + PIECE) for start in range(0, rows, PIECE)]


def _accumulate(into: Tensor, left: Tensor, right: Tensor, scale: float, first: bool) -> None:
    """Add a batch of products to a part of a tensor, or begin with them.

    The products go by way of memory of their own: written into a part, they would be computed one by one, slower and
    with bits that depend on the number of threads.
    """
    product = torch.bmm(left, right)
    if first:
        torch.mul(product, scale, out=into)
    else:
        into.add_(product, alpha=scale)


def _added(residual: Tensor, update: Tensor, mask: Tensor | None) -> Tensor:
    return residual + update if mask is None else torch.addcmul(residual, update, mask)


def _linear_gradients(grad_NO: Tensor, x_NI: Tensor) -> list[Tensor]:
    """Of weight and bias of ``x @ weight.T + bias``."""
    return [grad_NO.t() @ x_NI, grad_NO.sum(0)]


def linear(x_NI: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x @ weight.T + bias``, in one pass over the output where oneDNN is at hand."""
    if x_NI.device.type == "cpu" and torch.backends.mkldnn.is_available() and x_NI.dtype != torch.float64:
        return torch.ops.mkldnn._linear_pointwise(x_NI, weight, bias, "none", [], "")
    return F.linear(x_NI, weight, bias)


class _Activation(NamedTuple):
    """An activation as operators that write where they are told.

    ``backward`` takes the gradient and what was kept: the output if ``in_place``, else the input.
    """

    forward: Callable[..., Tensor]
    backward: Callable[..., Tensor]
    in_place: bool = False


def _relu_gradient(grad: Tensor, kept: Tensor, grad_input: Tensor) -> Tensor:
    return _aten.threshold_backward.grad_input(grad, kept, 0, grad_input=grad_input)


_ACTIVATIONS = {
    "relu": _Activation(partial(torch.clamp, min=0), _relu_gradient, in_place=True),
    "gelu": _Activation(_aten.gelu.out, _aten.gelu_backward.grad_input),
    "gelu_tanh": _Activation(
        partial(_aten.gelu.out, approximate="tanh"), partial(_aten.gelu_backward.grad_input, approximate="tanh")
    ),
    "silu": _Activation(_aten.silu.out, _aten.silu_backward.grad_input),
    "tanh": _Activation(torch.tanh, _aten.tanh_backward.grad_input, in_place=True),
}
"""See `seqrl.models.layers.ACTIVATIONS`."""
