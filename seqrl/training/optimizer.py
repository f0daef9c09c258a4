"""AdamW on one flat buffer, and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from seqrl.config import TrainingSpec
from seqrl.training.group import Group

MOMENTS = ("exp_avg", "exp_avg_sq")

BESIDE = 64
"""Numbers that may travel with the gradients of processes that share a batch."""


def learning_rate(step: int, spec: TrainingSpec) -> float:
    """Learning rate of update number ``step`` (from 0): linear warm-up, then a cosine down to a hundredth, or constant.

    >>> spec = TrainingSpec(steps=1000, learning_rate=1.0, warmup_steps=10)
    >>> [round(learning_rate(step, spec), 3) for step in (0, 9, 505, 999)]
    [0.1, 1.0, 0.505, 0.01]
    """
    if step < spec.warmup_steps:
        return spec.learning_rate * (step + 1) / spec.warmup_steps
    if spec.schedule == "constant":
        return spec.learning_rate
    progress = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    return spec.learning_rate * (0.01 + 0.495 * (1 + math.cos(math.pi * progress)))


def decayed_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay pulls: matrices of linear maps, not biases, norms or embeddings."""
    return {
        name
        for name, _ in model.named_parameters()
        if name.endswith("weight") and getattr(model.get_submodule(name.rpartition(".")[0]), "decays", False)
    }


class FlatAdamW:
    """AdamW (Loshchilov & Hutter 2019) whose parameters, gradients and moments are one buffer each.

    The model's parameters become views into the buffer, decayed ones first, so that an update is two fused calls and a
    gradient norm is one, however many tensors the model has. The kernel is that of ``torch.optim.AdamW(fused=True)``,
    called directly: the class brings in torch's compiler, 70 MB and some seconds that nothing here uses.

    Args:
        model: its parameters and gradients are moved into the buffers.
        weight_decay: of `decayed_parameters`.
    """

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        decayed = decayed_parameters(model)
        named = sorted(model.named_parameters(), key=lambda item: item[0] not in decayed)
        self.slices: dict[str, slice] = {}
        self.parameters = torch.cat([parameter.detach().reshape(-1) for _, parameter in named])
        self._summed = self.parameters.new_zeros(len(self.parameters) + BESIDE)
        self.gradients, self._beside = self._summed[:-BESIDE], self._summed[-BESIDE:]
        start = 0
        for name, parameter in named:
            part = slice(start, start := start + parameter.numel())
            self.slices[name] = part
            parameter.data = self.parameters[part].view_as(parameter)
            parameter.grad = self.gradients[part].view_as(parameter)
        split = sum(parameter.numel() for name, parameter in named if name in decayed)
        self._groups = ((slice(0, split), weight_decay), (slice(split, start), 0.0))
        self._moments: dict[str, Tensor] = {}
        self.set_state({name: torch.zeros_like(self.parameters) for name in MOMENTS}, updates=0)

    def sum_gradients(self, group: Group, numbers: Sequence[float]) -> list[float]:
        """Sum gradients over the processes of a group, and some numbers with them: one message instead of two.

        Args:
            group: who takes part.
            numbers: at most `BESIDE`, as many in each process.

        Returns:
            The sums of the numbers, in single precision.
        """
        self._beside[: len(numbers)] = torch.tensor(numbers)
        group.sum(self._summed)
        return [float(value) for value in self._beside[: len(numbers)].cpu()]

    def zero_gradients(self) -> None:
        """Ready for the next backward pass."""
        self.gradients.zero_()

    def clip(self, largest: float) -> float:
        """Scale the gradient down to a norm of at most ``largest``; returns its norm before."""
        norm = float(torch.linalg.vector_norm(self.gradients))
        if norm > largest and math.isfinite(norm):
            self.gradients.mul_(largest / norm)
        return norm

    def update(self, rate: float) -> None:
        """One step with this learning rate."""
        self._updates += 1
        first, second = (self._moments[name] for name in MOMENTS)
        for part, weight_decay in self._groups:
            torch._fused_adamw_(
                [self.parameters[part]],
                [self.gradients[part]],
                [first[part]],
                [second[part]],
                [],
                [self._updates],
                lr=rate,
                beta1=0.9,
                beta2=0.999,
                weight_decay=weight_decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Copies of the parameters and moments, on the CPU."""
        tensors = {"parameters": self.parameters, **self._moments}
        return {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}

    def set_state(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a copy.

        Args:
            tensors: moments by name and, optionally, "parameters", each as long as the flat buffer.
            updates: steps done, for the bias correction.

        Raises:
            ValueError: if the sizes differ, because they belong to another model.
        """
        size = len(self.parameters)
        for name, tensor in tensors.items():
            if tensor.shape != (size,):
                raise ValueError(f"{name} holds {tensor.numel()} numbers but the model has {size} parameters")
        if "parameters" in tensors:
            self.parameters.copy_(tensors["parameters"])
        device = self.parameters.device
        self._moments = {name: tensors[name].to(device, copy=True) for name in MOMENTS}
        self._updates = torch.tensor(float(updates), device=device)
