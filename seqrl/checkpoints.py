"""Checkpoints: safetensors and JSON, whole or absent, in the run's ``checkpoint`` folder.

* ``model.safetensors``: the weights to act with, and the statistics that belong to them: those of the best validation,
  or the latest where there is no validation.
* ``spec.json``: run spec, dataset facts, versions.
* ``training_state.safetensors``: what resuming needs: latest weights, optimizer, step, everything that is counted.
  Noise and batches are functions of (seed, step), so no generator state is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

import seqrl
from seqrl.config import DatasetFacts, RunSpec
from seqrl.files import atomic_folder, read_capped
from seqrl.registry import MODELS, resolve

FOLDER = "checkpoint"
FORMAT = 1
_MODEL, _SPEC, _STATE = "model.safetensors", "spec.json", "training_state.safetensors"
_JSON_LIMIT = 16 * 2**20
_TENSOR_LIMIT = 8 * 2**30


class NoCheckpoint(FileNotFoundError):
    """The run has no checkpoint (yet)."""


@dataclass(frozen=True)
class TrainingState:
    """Everything that decides how training goes on.

    Attributes:
        step: updates done.
        tensors: latest parameters and optimizer moments by name, on the CPU.
        values: counters, sums of the metrics, best validation so far; JSON values.
    """

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """What is saved of a run at one step.

    Attributes:
        weights: the model's ``state_dict`` to act with, on the CPU.
        training: what resuming needs; None for an imported or exported model.
    """

    weights: Mapping[str, Tensor]
    training: TrainingState | None = None


def save_checkpoint(
    run_folder: Path, checkpoint: Checkpoint, spec: RunSpec, facts: DatasetFacts, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a checkpoint; an older one stays until this one is complete on disk.

    Args:
        run_folder: the run's folder.
        checkpoint: weights and training state.
        spec: the run.
        facts: the dataset it was trained on.
        extra: further JSON values to keep in ``spec.json``.

    Raises:
        OSError: if the disk is full, among others; the older checkpoint is then untouched.
    """
    about = {
        "format": FORMAT,
        "seqrl_version": seqrl.__version__,
        "torch_version": torch.__version__,
        "git_commit": git_commit(Path(__file__).parent),
        "spec": spec.model_dump(mode="json"),
        "facts": facts.model_dump(mode="json"),
        **(extra or {}),
    }
    state = checkpoint.training
    with atomic_folder(Path(run_folder) / FOLDER) as folder:
        (folder / _MODEL).write_bytes(save(_plain(checkpoint.weights)))
        if state is not None:
            about["training"] = {"step": state.step, "values": dict(state.values)}
            (folder / _STATE).write_bytes(save(_plain(state.tensors)))
        (folder / _SPEC).write_text(json.dumps(about, indent=1, sort_keys=True))


def load_model(run_folder: Path) -> tuple[Any, RunSpec, DatasetFacts]:
    """The model of a run (a `SequenceModel`), ready to act, its spec and the facts of its data.

    Raises:
        NoCheckpoint: if nothing was saved yet.
        ValueError: if the files do not belong together.
    """
    about, weights = read_files(run_folder)
    return model_of(about, weights, str(_folder(run_folder)))


def read_files(run_folder: Path) -> tuple[bytes, bytes]:
    """What acting needs of a checkpoint: ``spec.json`` and ``model.safetensors``.

    Raises:
        NoCheckpoint: if nothing was saved yet.
    """
    folder = _folder(run_folder)
    return read_capped(folder / _SPEC, _JSON_LIMIT), read_capped(folder / _MODEL, _TENSOR_LIMIT)


def model_of(about_json: bytes, weights_safetensors: bytes, source: str) -> tuple[Any, RunSpec, DatasetFacts]:
    """The model of the two files that `read_files` reads, wherever they have come from.

    Args:
        about_json: ``spec.json``.
        weights_safetensors: ``model.safetensors``.
        source: where they are from, for messages.

    Raises:
        ValueError: if they do not belong together.
    """
    about = _parsed(about_json, source)
    spec, facts = RunSpec.model_validate(about["spec"]), DatasetFacts.model_validate(about["facts"])
    weights = load(weights_safetensors)
    model_class = resolve(MODELS[spec.model.kind].model)
    try:
        model = model_class.from_weights(spec.model, facts, weights)
    except RuntimeError as error:
        raise ValueError(f"{source}: {_MODEL} does not hold the weights that its {_SPEC} describes: {error}") from error
    model.requires_grad_(False)
    return model, spec, facts


def load_training_state(run_folder: Path) -> TrainingState | None:
    """What resuming needs, or None if the checkpoint holds weights only.

    Raises:
        NoCheckpoint: if nothing was saved yet.
    """
    folder = _folder(run_folder)
    about = read_about(run_folder).get("training")
    if about is None:
        return None
    tensors = load(read_capped(folder / _STATE, _TENSOR_LIMIT))
    return TrainingState(step=about["step"], tensors=tensors, values=about["values"])


def read_about(run_folder: Path) -> dict[str, Any]:
    """``spec.json`` of a checkpoint: format, versions, spec, facts, extra values.

    Raises:
        NoCheckpoint: if nothing was saved yet.
        ValueError: if it was written by another format.
    """
    return _parsed(read_capped(_folder(run_folder) / _SPEC, _JSON_LIMIT), str(run_folder))


def git_commit(folder: Path) -> str | None:
    """The commit that ``folder`` was checked out at, read without git; None outside a checkout."""
    for parent in (folder, *folder.parents):
        head = parent / ".git" / "HEAD"
        if not head.is_file():
            continue
        text = head.read_text().strip()
        if not text.startswith("ref: "):
            return text
        reference = text.removeprefix("ref: ")
        loose, packed = parent / ".git" / reference, parent / ".git" / "packed-refs"
        if loose.is_file():
            return loose.read_text().strip()
        lines = packed.read_text().splitlines() if packed.is_file() else []
        return next((line.split()[0] for line in lines if line.endswith(" " + reference)), None)
    return None


def _folder(run_folder: Path) -> Path:
    folder = Path(run_folder) / FOLDER
    if not (folder / _MODEL).is_file():
        raise NoCheckpoint(f"{run_folder} has no checkpoint yet; train the run first")
    return folder


def _parsed(about_json: bytes, source: str) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(about_json)
    if about.get("format") != FORMAT:
        raise ValueError(f"{source} has a checkpoint of format {about.get('format')}; this version reads {FORMAT}")
    return about


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies: safetensors refuses views that share memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
