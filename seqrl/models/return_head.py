"""Which returns are attainable from a state, learnt beside the actions, so that a model can choose what to ask for.

A small network of its own looks at the present observation and timestep, never at a requested return, and learns the
return-to-go of the data: as a distribution over bins, of which high returns are then favoured by tilting it (Lee et al.
2022, https://arxiv.org/abs/2205.15241, section 4.4), or as an upper expectile (Newey & Powell 1987; Zhuang et al.
2024, https://arxiv.org/abs/2402.02017). Both tell how well the data went from here, luck included.

Shape suffixes: N states, D width, S bins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqrl.models.acting import padded_rows
from seqrl.models.layers import Linear

BINS = 100
ATTAINABLE = 0.01
"""A return counts as attainable if at least this share of the predicted distribution is as high or higher; it plays the
part of Lee et al.'s restriction to the top percentiles, without which a tilt asks for what no data shows."""

_WIDTH = 128


class ReturnHead(nn.Module):
    """Predicts the return-to-go of a state.

    Args:
        kind: "bins" or "expectile".
        observation_size: of a normalised observation.
        max_timestep: timesteps are given as a share of it.
        expectile: in (0, 1), of the "expectile" kind.

    Attributes:
        span: (2,) the lowest and the highest return-to-go of the training data, reward units.
    """

    span: Tensor

    def __init__(self, kind: str, observation_size: int, max_timestep: int, expectile: float) -> None:
        super().__init__()
        self.kind, self.max_timestep, self.expectile = kind, max_timestep, expectile
        self.first = Linear(observation_size + 1, _WIDTH)
        self.second = Linear(_WIDTH, _WIDTH)
        self.predict = Linear(_WIDTH, BINS if kind == "bins" else 1)
        self.register_buffer("span", torch.tensor([0.0, 1.0]))

    def reset(self, generator: torch.Generator) -> None:
        """Fresh weights from the generator (He et al. 2015)."""
        for layer in (self.first, self.second):
            layer.reset(generator, (2 / layer.weight.shape[1]) ** 0.5)
        self.predict.reset(generator, 0.02)

    def set_span(self, low: float, high: float) -> None:
        """The returns-to-go that the data has, reward units."""
        self.span.copy_(torch.tensor([low, high if high > low else low + 1.0]))

    def loss(self, observations_NO: Tensor, timesteps_N: Tensor, returns_N: Tensor) -> Tensor:
        """Cross-entropy in nats of the bin that a return lies nearest to, or the expectile's squared error.

        Args:
            observations_NO: normalised observations of real steps.
            timesteps_N: steps since the episode began.
            returns_N: their returns-to-go, reward units.
        """
        said = self._predict(observations_NO, timesteps_N)
        share_N = ((returns_N - self.span[0]) / (self.span[1] - self.span[0])).clamp(0, 1)
        if self.kind == "bins":
            return F.cross_entropy(said, (share_N * (BINS - 1)).round().long())
        error_N = share_N - said[:, 0]
        weight_N = torch.where(error_N > 0, self.expectile, 1 - self.expectile)
        return (weight_N * error_N.square()).mean()

    def choose(self, observations_NO: Tensor, timestep: int, optimism: float) -> Tensor:
        """The return to ask for in each state, (N,) float64 reward units; a row does not depend on the others.

        Args:
            observations_NO: normalised observations.
            timestep: the same for all.
            optimism: κ of the tilt ``P(R) exp(κ R)``, R from 0 to 1 over `span`; an expectile has its own.
        """
        count = len(observations_NO)
        rows = torch.arange(padded_rows(count)).clamp(max=count - 1)
        said = self._predict(observations_NO[rows], torch.full((len(rows),), timestep))[:count].double()
        share_N = favoured_bin(said.softmax(-1), optimism) / (BINS - 1) if self.kind == "bins" else said[:, 0]
        low, high = self.span.double()
        return low + (high - low) * share_N.clamp(0, 1)

    def _predict(self, observations_NO: Tensor, timesteps_N: Tensor) -> Tensor:
        time_N1 = (timesteps_N / self.max_timestep).to(observations_NO.dtype)[:, None]
        x_ND = torch.relu(self.first(torch.cat([observations_NO, time_N1], dim=-1)))
        return self.predict(torch.relu(self.second(x_ND)))


def favoured_bin(probabilities_NS: Tensor, optimism: float) -> Tensor:
    """The likeliest bin after tilting towards high ones, among those that are attainable, (N,) int64.

    >>> favoured_bin(torch.tensor([[0.6, 0.0, 0.395, 0.005]]), optimism=0.0)
    tensor([0])
    >>> favoured_bin(torch.tensor([[0.6, 0.0, 0.395, 0.005]]), optimism=10.0)
    tensor([2])
    """
    as_high_NS = probabilities_NS.flip(-1).cumsum(-1).flip(-1)
    attainable_NS = as_high_NS >= ATTAINABLE
    attainable_NS[:, 0] = True
    share_S = torch.linspace(0, 1, probabilities_NS.shape[-1], dtype=probabilities_NS.dtype)
    tilted_NS = probabilities_NS.clamp(min=1e-30).log() + optimism * share_S
    return torch.where(attainable_NS, tilted_NS, -torch.inf).argmax(-1)
