"""The few layers that every model here is built of, and the random masks of dropout.

They differ from ``torch.nn``'s in three ways. Weights come from an explicit generator, so that building a model never
touches global random state. A layer computes in the number format of its input (``bfloat16`` while training, where that
pays) while its weights stay ``float32``. And dropout masks come from cheap random bytes that depend on (seed, step,
part) alone: torch's own dropout costs as much as a matrix product on a CPU, and a resumed run has to draw them again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu_,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
}
"""Name → non-linearity. ReLU works in place: nothing needs its input again. (Autograd copies a view that is changed in
place, so give it two-dimensional outputs of `Linear`, which are none.)"""


class Linear(nn.Module):
    """``x @ weight.T + bias`` in the number format of ``x``.

    Args:
        inputs: width of the last axis of the input.
        outputs: width of the last axis of the output.

    Attributes:
        decays: whether weight decay pulls the ``weight`` of a module; only matrices of linear maps say yes.
    """

    decays = True

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def reset(self, generator: torch.Generator, std: float) -> None:
        """Normal weights of the given standard deviation, zero bias."""
        nn.init.normal_(self.weight, std=std, generator=generator)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) → (..., outputs)."""
        return F.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))

    def parts(self, *sizes: int) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of consecutive groups of outputs, for inputs that differ between them."""
        return list(zip(self.weight.split(sizes), self.bias.split(sizes), strict=True))


class LayerNorm(nn.Module):
    """Normalisation over the last axis, with a learnt gain and offset."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) → (..., width)."""
        gain, offset = self.weight.to(x.dtype), self.bias.to(x.dtype)
        if torch.is_grad_enabled() and (x.requires_grad or gain.requires_grad):
            return _Norm.apply(x, gain, offset, self.eps)
        return F.layer_norm(x, gain.shape, gain, offset, self.eps)


def norm_gradients(
    grad: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor, gain: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, gain and offset of a layer norm; their bits do not depend on the number of threads.

    torch's own sums for gain and offset are cut into as many parts as there are threads.

    Args:
        grad: (..., width), of the output.
        x: (..., width), the input.
        mean: (..., 1).
        inverse_std: (..., 1).
        gain: (width,).
        offset: (width,).
    """
    grad_x, _, _ = torch.ops.aten.native_layer_norm_backward(
        grad, x, gain.shape, mean, inverse_std, gain, offset, [True, False, False]
    )
    exact = x if x.dtype == torch.float64 else x.float()
    product = (exact - mean).mul_(inverse_std).mul_(grad)
    width = len(gain)
    return grad_x, product.view(-1, width).sum(0).to(gain.dtype), grad.reshape(-1, width).sum(0)


class _Norm(torch.autograd.Function):
    """A layer norm with the gradients of `norm_gradients`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, offset: Tensor, eps: float) -> Tensor:
        y, *moments = torch.native_layer_norm(x, gain.shape, gain, offset, eps)
        ctx.save_for_backward(x, *moments, gain, offset)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *norm_gradients(grad.contiguous(), *ctx.saved_tensors), None


class Embedding(nn.Module):
    """A table of learnt vectors."""

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(entries, width))

    def reset(self, generator: torch.Generator, std: float) -> None:
        """Normal entries of the given standard deviation."""
        nn.init.normal_(self.weight, std=std, generator=generator)

    def forward(self, index: Tensor) -> Tensor:
        """(...) int64 → (..., width) float32."""
        return F.embedding(index, self.weight)


class DropoutNoise:
    """Dropout masks that depend on (seed, step, part) alone, one after the other.

    The rate is rounded to a multiple of 1/256 (0.1 becomes 26/256), above 0 to at least 1/256 and at most 255/256; kept
    values are scaled by the inverse of the share that is kept.

    Args:
        rate: share of values to silence, in [0, 1).
        seed: seed of the run.
        step: number of the update; equal (seed, step, part) give equal masks on equal devices.
        part: which part of the update's batch they are for.
    """

    def __init__(self, rate: float, seed: int, step: int, part: int = 0) -> None:
        self.threshold = min(max(round(256 * rate), 1), 255) if rate > 0 else 0
        self._sequence = np.random.SeedSequence((seed, step), spawn_key=(part,) if part else ())
        self._bits = np.random.SFC64(self._sequence)
        self._device_bits: torch.Generator | None = None

    def mask(self, like: Tensor) -> Tensor | None:
        """Factors (0, or 1 / share kept) of the shape, format and device of ``like``; None if nothing is dropped."""
        if self.threshold == 0:
            return None
        scale = 256 / (256 - self.threshold)
        if like.device.type != "cpu":
            return self._device_mask(like, scale)
        random_bytes = self._bits.random_raw(-(-like.numel() // 8)).view(np.uint8)[: like.numel()]
        kept = (random_bytes >= self.threshold).view(np.uint8)
        if like.dtype == torch.bfloat16:  # numpy has no bfloat16: write its bit pattern
            pattern = np.uint16(torch.tensor(scale, dtype=torch.bfloat16).view(torch.uint16).item())
            factors = torch.from_numpy(np.multiply(kept, pattern, dtype=np.uint16)).view(torch.bfloat16)
        else:
            factors = torch.from_numpy(np.multiply(kept, np.float32(scale), dtype=np.float32)).to(like.dtype)
        return factors.view(like.shape)

    def _device_mask(self, like: Tensor, scale: float) -> Tensor:
        if self._device_bits is None:
            self._device_bits = torch.Generator(like.device)
            self._device_bits.manual_seed(int(self._sequence.generate_state(1)[0]))
        random_bytes = torch.randint(
            256, like.shape, dtype=torch.uint8, device=like.device, generator=self._device_bits
        )
        return (random_bytes >= self.threshold).to(like.dtype) * scale


def residual_dropout(residual: Tensor, update: Tensor, noise: DropoutNoise | None) -> Tensor:
    """``residual + dropout(update)``, both of one shape, in one pass over memory."""
    mask = noise.mask(update) if noise is not None else None
    return residual + update if mask is None else torch.addcmul(residual, update, mask)
