"""A run as a folder for Hugging Face ``transformers``, or as an archive for another seqrl."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from safetensors.torch import save

from seqrl.checkpoints import FOLDER, load_model
from seqrl.config import DecisionTransformerSpec
from seqrl.files import atomic_folder, new_file, refuse_existing
from seqrl.huggingface.reading import EXTRAS, read_tensors
from seqrl.huggingface.settings import CONFIG, WEIGHTS, written_config
from seqrl.huggingface.weights import to_theirs


def export_huggingface(run_folder: Path, path: Path) -> Path:
    """Write a Decision Transformer as a folder that ``DecisionTransformerModel.from_pretrained`` reads.

    What the format cannot say (statistics, return scale, context length) stands in ``config.json`` under ``seqrl``.
    Actions come out as the network emits them: in half ranges around the middle of the action box.

    Raises:
        ValueError: if the run is not a Decision Transformer that the format can represent.
        FileExistsError: if the path exists.
    """
    model, spec, facts = load_model(run_folder)
    settings = spec.model
    if not isinstance(settings, DecisionTransformerSpec):
        raise ValueError(f"the run is a {settings.kind}; only a Decision Transformer can be exported to transformers")
    if settings.embedding != "linear":
        raise ValueError("embedding is mlp, which transformers' model does not have; export the run as zip")
    if facts.observation.kind == "image":
        raise ValueError("the observations are pictures, which transformers' model cannot read; export the run as zip")
    if settings.conditioning == "goal":
        raise ValueError("the run is told a goal, which transformers' model does not know; export the run as zip")
    head = model.head.kind
    if head == "gaussian" or facts.action.kind == "multi_discrete":
        what = "action_head is gaussian" if head == "gaussian" else "the actions are multi-discrete"
        raise ValueError(f"{what}, which transformers' model does not have; export the run as zip")
    refuse_existing(Path(path))
    kept = Path(run_folder) / FOLDER / EXTRAS
    tensors = to_theirs(model, settings, facts, read_tensors(kept) if kept.is_file() else {})
    with atomic_folder(Path(path)) as folder:
        (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
        (folder / CONFIG).write_text(json.dumps(written_config(model, settings, facts, head), indent=2, sort_keys=True))
    return Path(path)


def export_archive(run_folder: Path, path: Path) -> Path:
    """Write a run as a ZIP archive that `import_run` reads: weights, spec and facts, nothing to resume from.

    Raises:
        FileExistsError: if the path exists.
    """
    load_model(run_folder)
    folder = Path(run_folder) / FOLDER
    with new_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name in ("spec.json", WEIGHTS, EXTRAS):
            if (folder / name).is_file():
                archive.write(folder / name, f"{FOLDER}/{name}")
    return Path(path)
