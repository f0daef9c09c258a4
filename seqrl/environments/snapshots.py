"""Small trained policies as plain tensors: kept in a safetensors file, run with NumPy alone.

They come out of `seqrl.policy_training`, or from the package: ``bundled:medium`` and ``bundled:expert`` of the MuJoCo
environments, made by ``python -m seqrl policy train`` and ``python -m seqrl policy bundle``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from seqrl.environments.making import EnvironmentFacts
from seqrl.files import atomic_write_bytes, read_capped

BUNDLED_PREFIX = "bundled:"
FOLDER = Path(__file__).parent / "trained"
_MOST_BYTES = 32 * 2**20
_CLIP = 10.0  # normalised observations, as stable-baselines3 clips them while training


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A policy at one moment of its training.

    Attributes:
        environment: registered Gymnasium id it was trained in.
        step: environment steps it has learned from.
        weights: matrices of the layers, (inputs, outputs) each, float32.
        biases: one vector a layer.
        observation_mean: (D,) subtracted from observations.
        observation_std: (D,) that they are divided by.
        activation: "relu" or "tanh" between the layers.
        output: how the last layer becomes an action: "clip" or "squash" (tanh) into the bounds, or "categories".
        mean_return: over its measuring episodes, reward units; None before it was measured.
    """

    environment: str
    step: int
    weights: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]
    observation_mean: np.ndarray
    observation_std: np.ndarray
    activation: str
    output: str
    mean_return: float | None = None

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """The last layer's numbers for flattened observations: (n, D) → (n, outputs) float64.

        In double precision, so that after rounding an action does not depend on how many are computed at once.
        """
        x = (observations.astype(np.float64) - self.observation_mean) / self.observation_std
        x = np.clip(x, -_CLIP, _CLIP)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight.astype(np.float64) + bias
            if number < len(self.weights) - 1:
                x = np.maximum(x, 0.0) if self.activation == "relu" else np.tanh(x)
        return x


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot, whole or not at all."""
    tensors = {"observation_mean": snapshot.observation_mean, "observation_std": snapshot.observation_std}
    for number, (weight, bias) in enumerate(zip(snapshot.weights, snapshot.biases, strict=True)):
        tensors |= {f"layer{number}.weight": weight, f"layer{number}.bias": bias}
    about = {
        "environment": snapshot.environment,
        "step": snapshot.step,
        "activation": snapshot.activation,
        "output": snapshot.output,
        "mean_return": snapshot.mean_return,
    }
    plain = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    atomic_write_bytes(path, save(plain, metadata={"snapshot": json.dumps(about, sort_keys=True)}))


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        ValueError: if the file is not one, with its name.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_capped(path, _MOST_BYTES)
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about: dict[str, Any] = json.loads(header["__metadata__"]["snapshot"])
        layers = sum(name.endswith(".weight") for name in tensors)
        return Snapshot(
            weights=[tensors[f"layer{number}.weight"] for number in range(layers)],
            biases=[tensors[f"layer{number}.bias"] for number in range(layers)],
            observation_mean=tensors["observation_mean"],
            observation_std=tensors["observation_std"],
            **about,
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is not a snapshot of a policy; train it again") from error


class SnapshotController:
    """Snapshots as a behaviour: each episode is played by one of them, in turn by its seed, without randomness.

    Args:
        snapshots: at least one.
        facts: the environment it acts in.

    Raises:
        ValueError: if a snapshot was trained for other spaces.
    """

    def __init__(self, snapshots: Sequence[Snapshot], facts: EnvironmentFacts) -> None:
        self._snapshots, self._action = list(snapshots), facts.action
        outputs = sum(facts.action.categories) if facts.action.kind != "box" else facts.action.size
        for snapshot in self._snapshots:
            trained = (len(snapshot.observation_mean), len(snapshot.biases[-1]))
            if trained != (facts.observation.size, outputs):
                raise ValueError(
                    f"the policy of {snapshot.environment} turns {trained[0]} numbers into {trained[1]}, but "
                    f"{facts.environment} needs {facts.observation.size} and {outputs}; choose a policy of this one"
                )
        self._which = np.zeros(0, dtype=np.int64)

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin an episode for each seed."""
        self._which = np.array(seeds, dtype=np.int64) % len(self._snapshots)

    def keep(self, running: np.ndarray) -> None:
        """Forget the episodes where ``running`` is false."""
        self._which = self._which[running]

    def act(self, observations: np.ndarray) -> np.ndarray:
        """The likeliest actions."""
        actions: np.ndarray | None = None
        for number, snapshot in enumerate(self._snapshots):
            rows = self._which == number
            if rows.any():
                some = self._decode(snapshot, snapshot.outputs(observations[rows]))
                if actions is None:
                    actions = np.zeros((len(observations), *some.shape[1:]), dtype=some.dtype)
                actions[rows] = some
        if actions is None:
            raise RuntimeError("the controller acts before its first reset")
        return actions

    def _decode(self, snapshot: Snapshot, outputs: np.ndarray) -> np.ndarray:
        if snapshot.output == "categories":
            parts = np.split(outputs, np.cumsum(self._action.categories)[:-1], axis=1)
            choices = np.stack([part.argmax(axis=1) for part in parts], axis=1)
            return choices[:, 0] if self._action.kind == "discrete" else choices
        low = np.array([-np.inf if bound is None else bound for bound in self._action.low])
        high = np.array([np.inf if bound is None else bound for bound in self._action.high])
        if snapshot.output == "squash":
            outputs = low + (high - low) * (np.tanh(outputs) + 1) / 2
        return np.clip(outputs, low, high).astype(np.float32)


def bundled_path(environment: str, quality: str) -> Path:
    """Where the package keeps a policy: ``HalfCheetah-v5`` and ``medium`` for example."""
    return FOLDER / f"{environment.replace('/', '-')}-{quality}.safetensors"


def bundled_controller(policy: str, facts: EnvironmentFacts) -> SnapshotController:
    """The controller of ``bundled:QUALITY``.

    Raises:
        ValueError: if the package has none of that quality, naming those that it has.
    """
    quality = policy.removeprefix(BUNDLED_PREFIX)
    found = {path.stem.rpartition("-")[2]: path for path in FOLDER.glob(bundled_path(facts.environment, "*").name)}
    if quality not in found:
        known = ", ".join(BUNDLED_PREFIX + name for name in sorted(found)) or "random"
        raise ValueError(f"there is no policy {policy!r} for {facts.environment}; choose from {known}")
    return SnapshotController([load_snapshot(found[quality])], facts)
