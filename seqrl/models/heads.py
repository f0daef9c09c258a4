"""Action heads: what the numbers at a state token mean, their loss, and what acting gets to see.

Shape suffixes: N positions, M components of a discrete action, A dimensions of a continuous one, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqrl.config import SpaceFacts

LOG_STD_RANGE = (-5.0, 2.0)
"""Bounds of a Gaussian head's log standard deviation, in half action ranges."""


class ActionHead(Protocol):
    """The meaning of the outputs at a state token.

    Attributes:
        outputs: numbers that the network produces for an action (O).
        kind: "categorical", "tanh", "linear" or "gaussian".
    """

    outputs: int
    kind: str

    def loss(self, outputs_NO: Tensor, actions: Tensor, mask_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the N positions whose mask is set, and measures of fit by name."""

    def decode(self, outputs_NO: Tensor) -> Tensor:
        """What acting gets: logits (N, O), actions (N, A), or means and standard deviations (N, 2, A)."""


class CategoricalHead(nn.Module):
    """One softmax for each component of a discrete action."""

    kind = "categorical"

    def __init__(self, categories: Sequence[int]) -> None:
        super().__init__()
        self.categories = tuple(categories)
        self.outputs = sum(self.categories)

    def loss(self, outputs_NO: Tensor, actions: Tensor, mask_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy in nats, summed over components; accuracy counts a step when all components are right.

        Args:
            outputs_NO: logits, components side by side.
            actions: (N,) or (N, M) int64.
            mask_N: bool.
        """
        actions_NM = actions if actions.ndim == 2 else actions[:, None]
        total, right_N = outputs_NO.new_zeros(()), mask_N
        for component, logits in enumerate(outputs_NO.split(self.categories, dim=-1)):
            target_N = actions_NM[:, component]
            total = total + F.cross_entropy(logits, target_N.masked_fill(~mask_N, -100), reduction="sum")
            right_N = right_N & (logits.detach().argmax(-1) == target_N)
        count = mask_N.sum()
        return total / count, {"accuracy": right_N.sum() / count}

    def decode(self, outputs_NO: Tensor) -> Tensor:
        """Logits (N, O), components side by side."""
        return outputs_NO


class BoxHead(nn.Module):
    """What continuous heads share: networks see actions in half ranges, people in the environment's units."""

    center: Tensor
    half_range: Tensor

    def __init__(self, action: SpaceFacts) -> None:
        super().__init__()
        center, half_range = action_scale(action)
        self.register_buffer("center", center)
        self.register_buffer("half_range", half_range)

    def normalise(self, actions: Tensor) -> Tensor:
        """Actions in half ranges around the middle, (..., A)."""
        return (actions - self.center) / self.half_range


class TanhHead(BoxHead):
    """One action, squashed into the bounds, fitted by least squares (Chen et al. 2021)."""

    kind = "tanh"

    def __init__(self, action: SpaceFacts) -> None:
        super().__init__(action)
        self.outputs = action.size

    def loss(self, outputs_NO: Tensor, actions: Tensor, mask_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error in half ranges, mean over positions and dimensions."""
        error_NA = torch.tanh(outputs_NO) - self.normalise(actions)
        return _mean(error_NA.square(), mask_N), {"action_error": _mean(error_NA.detach().abs(), mask_N)}

    def decode(self, outputs_NO: Tensor) -> Tensor:
        """Actions (N, A) in the environment's units."""
        return torch.tanh(outputs_NO) * self.half_range + self.center


class LinearHead(BoxHead):
    """One action without bounds, fitted by least squares."""

    kind = "linear"

    def __init__(self, action: SpaceFacts) -> None:
        super().__init__(action)
        self.outputs = action.size

    def loss(self, outputs_NO: Tensor, actions: Tensor, mask_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error in half ranges, mean over positions and dimensions."""
        error_NA = outputs_NO - self.normalise(actions)
        return _mean(error_NA.square(), mask_N), {"action_error": _mean(error_NA.detach().abs(), mask_N)}

    def decode(self, outputs_NO: Tensor) -> Tensor:
        """Actions (N, A) in the environment's units."""
        return outputs_NO * self.half_range + self.center


class GaussianHead(BoxHead):
    """A diagonal normal distribution, fitted by maximum likelihood."""

    kind = "gaussian"

    def __init__(self, action: SpaceFacts) -> None:
        super().__init__(action)
        self.outputs = 2 * action.size

    def loss(self, outputs_NO: Tensor, actions: Tensor, mask_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood in nats per dimension, of actions in half ranges."""
        mean_NA, log_std_NA = self._split(outputs_NO)
        error_NA = mean_NA - self.normalise(actions)
        nll_NA = 0.5 * (error_NA * torch.exp(-log_std_NA)).square() + log_std_NA + 0.5 * math.log(2 * math.pi)
        return _mean(nll_NA, mask_N), {"action_error": _mean(error_NA.detach().abs(), mask_N)}

    def decode(self, outputs_NO: Tensor) -> Tensor:
        """Means and standard deviations (N, 2, A) in the environment's units."""
        mean_NA, log_std_NA = self._split(outputs_NO)
        return torch.stack([mean_NA * self.half_range + self.center, log_std_NA.exp() * self.half_range], dim=-2)

    def _split(self, outputs_NO: Tensor) -> tuple[Tensor, Tensor]:
        mean_NA, log_std_NA = outputs_NO.chunk(2, dim=-1)
        return mean_NA, log_std_NA.clamp(*LOG_STD_RANGE)


def action_scale(action: SpaceFacts) -> tuple[Tensor, Tensor]:
    """Middle and half range of a box, each (A,); an unbounded dimension is left as it is (0 and 1)."""
    low = torch.tensor([float("nan") if value is None else value for value in action.low], dtype=torch.float64)
    high = torch.tensor([float("nan") if value is None else value for value in action.high], dtype=torch.float64)
    center, half_range = (high + low) / 2, (high - low) / 2
    bounded = torch.isfinite(half_range) & (half_range > 0)
    center, half_range = torch.where(bounded, center, 0.0), torch.where(bounded, half_range, 1.0)
    return center.float(), half_range.float()


def make_head(choice: str, action: SpaceFacts) -> CategoricalHead | TanhHead | LinearHead | GaussianHead:
    """The head of a setting; "auto" is categorical for discrete actions, tanh for bounded and Gaussian for open boxes.

    Raises:
        ValueError: if the head cannot represent the actions.
    """
    if action.kind in ("discrete", "multi_discrete"):
        return CategoricalHead(action.categories)
    if action.kind != "box":
        raise ValueError(f"the actions are {action.kind}; a model acts with discrete, multi-discrete or box actions")
    bounded = all(value is not None for value in (*action.low, *action.high))
    if choice == "tanh" and not bounded:
        raise ValueError("action_head is tanh but an action dimension has no bounds; choose gaussian")
    if choice == "linear":
        return LinearHead(action)
    if choice == "gaussian" or not bounded:
        return GaussianHead(action)
    return TanhHead(action)


def _mean(values_NA: Tensor, mask_N: Tensor) -> Tensor:
    """Mean over dimensions and over the positions whose mask is set; what the others hold never matters.

    Summed axis by axis: a sum of everything at once is cut into as many parts as there are threads.
    """
    kept_NA = torch.where(mask_N[:, None], values_NA, 0.0)
    return kept_NA.sum(0).sum() / (mask_N.sum() * values_NA.shape[-1])
