"""Drawing tokens: temperature, top-k, top-p, and drawing several different ones at once.

Nothing here writes to its arguments: the same logits serve a draw and an expectation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seqrl.config import SamplingSpec

_STREAM = 0x91A4
"""Keeps the noise of plans apart from other noise with the same seed."""


def sampling_log_probabilities(logits_NW: Tensor, sampling: SamplingSpec) -> Tensor:
    """Log-probabilities that tokens are drawn with: (N, W) → (N, W), minus infinity for those left out.

    The likeliest token always stays; of equally likely ones at the border of top-k, the first.
    """
    scores = logits_NW / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        kept = torch.zeros_like(scores, dtype=torch.bool)
        kept.scatter_(-1, scores.argsort(dim=-1, descending=True, stable=True)[:, : sampling.top_k], True)
        scores = scores.masked_fill(~kept, -torch.inf)
    if sampling.top_p < 1:
        ordered, order = scores.softmax(-1).sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        dropped = torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order, before >= sampling.top_p)
        scores = scores.masked_fill(dropped, -torch.inf)
    return scores.log_softmax(-1)


def draw(logits_NW: Tensor, sampling: SamplingSpec, uniforms_N: Tensor | None) -> Tensor:
    """One token a row: (N,) int64.

    Args:
        logits_NW: (N, W).
        sampling: how to draw; ``top_k = 1`` is greedy and needs no noise.
        uniforms_N: (N,) in [0, 1), through the inverse distribution function; None only if greedy.
    """
    if sampling.top_k == 1 or uniforms_N is None:
        return logits_NW.argmax(-1)
    cumulative = sampling_log_probabilities(logits_NW, sampling).exp().double().cumsum(-1)
    threshold = uniforms_N.double()[:, None] * cumulative[:, -1:]
    return (cumulative <= threshold).sum(-1).clamp(max=logits_NW.shape[-1] - 1)


def draw_distinct(
    log_probabilities_NCW: Tensor, total_NC: Tensor, perturbed_NC: Tensor, gumbel_NCW: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Extend partial sequences by one token, keeping ``count`` different ones, drawn without replacement.

    One step of stochastic beam search (Kool, van Hoof and Welling 2019, https://arxiv.org/abs/1903.06059): the
    perturbed log-probability of a partial sequence is the largest among its extensions, so keeping the largest ones
    level by level draws whole sequences without replacement. If ``count`` covers all sequences, all are kept.

    Args:
        log_probabilities_NCW: (N, C, W) of the next token of each of C partial sequences.
        total_NC: (N, C) log-probability of each partial sequence.
        perturbed_NC: (N, C) its perturbed log-probability; minus infinity for one that does not exist.
        gumbel_NCW: (N, C, W) standard Gumbel noise.
        count: how many to keep, at most C * W.

    Returns:
        Flat index ``c * W + w`` of each, its log-probability and its perturbed one, each (N, count); the best first.
    """
    extended = total_NC[..., None] + log_probabilities_NCW
    noisy = extended + gumbel_NCW
    largest = noisy.amax(-1, keepdim=True)
    limit = perturbed_NC[..., None]
    # Shift the noise so that the largest extension has exactly its parent's perturbed value (appendix B.3).
    gap = limit - noisy + torch.log1p(-torch.exp((noisy - largest).clamp(max=0)))
    shifted = limit - gap.clamp(min=0) - torch.log1p(torch.exp(-gap.abs()))
    possible = torch.isfinite(extended) & torch.isfinite(limit)
    shifted = torch.where(noisy == largest, limit, shifted).masked_fill(~possible, -torch.inf)
    perturbed, index = shifted.flatten(1).topk(count, dim=-1)
    return index, extended.flatten(1).gather(1, index), perturbed


class PlanNoise:
    """Noise of one decision of n environments; each has its own, keyed by (episode seed, decision).

    Args:
        seeds: (n,) episode seeds.
        decision: timestep of the decision.
    """

    def __init__(self, seeds: Sequence[int], decision: int) -> None:
        self._generators = [
            np.random.Generator(np.random.Philox(np.random.SeedSequence((int(seed), _STREAM, decision))))
            for seed in seeds
        ]

    def uniforms(self, *shape: int) -> Tensor:
        """(n, *shape) float32 in [0, 1), the next numbers of every environment."""
        return torch.from_numpy(np.stack([generator.random(shape, dtype=np.float32) for generator in self._generators]))

    def gumbel(self, *shape: int) -> Tensor:
        """(n, *shape) float32 standard Gumbel, the next numbers of every environment."""
        tiny = torch.finfo(torch.float32).tiny
        return -torch.log(-torch.log(self.uniforms(*shape).clamp(min=tiny)))
