"""A model from elsewhere as a run: a Hugging Face folder, or an archive that another seqrl exported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seqrl.checkpoints import FOLDER, Checkpoint, load_model, save_checkpoint
from seqrl.config import DatasetFacts, DecisionTransformerSpec, RunImportSpec, RunSpec, TrainingSpec, check_run, explain
from seqrl.datasets.importers import ImportRefused
from seqrl.datasets.importers.archives import unpack
from seqrl.datasets.importers.sources import reading
from seqrl.files import read_capped
from seqrl.huggingface.acting import acting_facts, placed
from seqrl.huggingface.settings import ACTIVATIONS, INDEX, MOST_JSON_BYTES, WEIGHTS, read_config
from seqrl.huggingface.weights import EXTRA_NAMES, check_tensors, contiguous, to_ours
from seqrl.models.decision_transformer import DecisionTransformer

EXTRAS = "huggingface.safetensors"
"""Kept beside the checkpoint of an imported run: what its original predicts besides actions, for exporting it again."""

_MOST_WEIGHT_BYTES = 4 * 2**30
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.safetensors")


@dataclass(frozen=True)
class ImportedRun:
    """A model from elsewhere, ready to be kept as a run.

    Attributes:
        spec: what it is.
        facts: what it acts on.
        weights: its ``state_dict``.
        extras: tensors that only an export needs, see `EXTRAS`.
    """

    spec: RunSpec
    facts: DatasetFacts
    weights: Mapping[str, Tensor]
    extras: Mapping[str, Tensor]

    def save(self, run_folder: Path) -> None:
        """Write the checkpoint and what an export needs."""
        save_checkpoint(run_folder, Checkpoint(self.weights), self.spec, self.facts, {"imported": True})
        if self.extras:
            (Path(run_folder) / FOLDER / EXTRAS).write_bytes(save(contiguous(self.extras)))


def import_run(spec: RunImportSpec, facts: DatasetFacts | None, scratch: Path) -> ImportedRun:
    """Read a model from elsewhere.

    Args:
        spec: what to read, and what the files do not say.
        facts: of the dataset that ``spec.dataset`` names.
        scratch: an empty folder to unpack archives in.

    Raises:
        ImportRefused: in one sentence that names the field.
        ValueError: if the model does not fit its environment or dataset.
    """
    path = Path(spec.path).expanduser()
    if not path.exists():
        raise ImportRefused(f"{path} does not exist; give a folder or archive of this machine")
    with reading(path):
        folder = unpack(path, scratch) if path.is_file() else path
        imported = _from_huggingface(spec, folder, facts) if spec.format == "hf" else _from_archive(spec, folder)
    return imported


def _from_huggingface(spec: RunImportSpec, folder: Path, facts: DatasetFacts | None) -> ImportedRun:
    config = read_config(folder)
    tensors = _tensors(folder)
    check_tensors(config, tensors)
    about = acting_facts(spec, config, facts)
    discrete = about.action.kind != "box"
    if discrete and config.action_tanh:
        raise ImportRefused("action_tanh is true but the actions are discrete; give the environment it was trained for")
    notes = config.seqrl
    model = DecisionTransformerSpec(
        embedding_dim=config.hidden_size,
        layers=config.n_layer,
        heads=config.n_head,
        dropout=config.resid_pdrop,
        activation=ACTIVATIONS[config.activation_function],
        feedforward_dim=config.n_inner,
        context_length=notes.context_length or min(spec.context_length, config.max_ep_len),
        max_timestep=config.max_ep_len,
        action_head="categorical" if discrete else "tanh" if config.action_tanh else "linear",
        discount=notes.discount,
        return_scale=notes.return_scale or spec.return_scale,
    )
    run = _run_spec(spec, model)
    check_run(run, about)
    weights = to_ours(config, tensors, about, model)
    DecisionTransformer.from_weights(model, about, weights)
    return ImportedRun(run, about, weights, {name: tensors[name] for name in EXTRA_NAMES if name in tensors})


def _from_archive(spec: RunImportSpec, folder: Path) -> ImportedRun:
    inner = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    if inner.name != FOLDER:
        raise ImportRefused(f"{Path(spec.path).name} has no folder {FOLDER}; give an archive that run export wrote")
    about = json.loads(read_capped(inner / "spec.json", MOST_JSON_BYTES))
    if not isinstance(about, dict):
        raise ImportRefused("spec.json is no JSON object; export the run again")
    try:
        original = RunSpec.model_validate(about.get("spec"))
        facts = DatasetFacts.model_validate(about.get("facts"))
    except ValidationError as error:
        raise ImportRefused(f"spec.json is malformed: {explain(error)}") from error
    read_capped(inner / WEIGHTS, _MOST_WEIGHT_BYTES)
    facts = placed(spec, facts)
    check_run(original, facts)
    try:
        model, _, _ = load_model(inner.parent)
    except SafetensorError as error:
        raise ImportRefused(f"{WEIGHTS} is damaged or cut short: {error}") from error
    weights = model.state_dict()
    for name, tensor in weights.items():
        _check_finite(name, tensor)
    extras = {}
    if (inner / EXTRAS).is_file():
        extras = read_tensors(inner / EXTRAS)
    run = original.model_copy(update={"name": spec.name, "preset": "imported"})
    return ImportedRun(run, facts, weights, extras)


def _run_spec(spec: RunImportSpec, model: DecisionTransformerSpec) -> RunSpec:
    return RunSpec(
        name=spec.name,
        dataset=spec.dataset or "elsewhere",
        model=model,
        training=TrainingSpec(steps=1, validation_fraction=0),
        preset="imported",
    )


def _tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        tensors |= read_tensors(path)
    for name, tensor in tensors.items():
        _check_finite(name, tensor)
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    """The one file of weights, or the shards that its index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickled = any(folder.glob("pytorch_model*.bin"))
        remedy = "pytorch_model.bin is pickled code; save it again with transformers" if pickled else "give one with it"
        raise ImportRefused(f"{folder.name} has no {WEIGHTS}; {remedy}")
    index = json.loads(read_capped(folder / INDEX, MOST_JSON_BYTES))
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ImportRefused(f"{INDEX} has no weight_map; save the model again with transformers")
    files = []
    for name in sorted(set(names.values())):
        if not _SHARD.fullmatch(name) or not (folder / name).is_file():
            raise ImportRefused(f"{INDEX} names {name[:60]!r}, which is no file of the folder; copy the folder again")
        files.append(folder / name)
    if sum(path.stat().st_size for path in files) > _MOST_WEIGHT_BYTES:
        raise ImportRefused(f"the weights have more than {_MOST_WEIGHT_BYTES:,} bytes, which is more than is read")
    return files


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, floating-point ones in single precision.

    Raises:
        ImportRefused: if it is malformed.
    """
    try:
        return {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in load(read_capped(path, _MOST_WEIGHT_BYTES)).items()
        }
    except SafetensorError as error:
        raise ImportRefused(f"{path.name} is damaged or cut short: {error}") from error


def _check_finite(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise ImportRefused(f"{name} holds a number that is not finite; give undamaged weights")
