"""``config.json`` of a ``DecisionTransformerModel``: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqrl.config import DatasetFacts, DecisionTransformerSpec, explain
from seqrl.datasets.importers import ImportRefused
from seqrl.files import read_capped
from seqrl.models.decision_transformer import DecisionTransformer
from seqrl.models.heads import BoxHead

CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Names the files of weights that are cut into several."""

MOST_JSON_BYTES = 16 * 2**20

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
NOTES = "seqrl"
"""Key under which an export writes down what the format cannot say."""


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ExportNotes(BaseModel):
    """What an export of ours writes down under `NOTES`; empty for models from elsewhere.

    Attributes:
        facts: what the model was trained on, with the mean and the spread that its network subtracts and divides by.
        context_length: K, steps that it sees.
        discount: of the returns-to-go that it was trained on.
        return_scale: what returns-to-go are divided by.
        action_center: what actions of 0 of the network mean in the environment's units; None if actions are discrete.
        action_half_range: and how far from it an action of 1 is.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    facts: DatasetFacts | None = None
    context_length: int | None = None
    discount: _Number = 1.0
    return_scale: _Positive | None = None
    action_center: tuple[_Number, ...] | None = None
    action_half_range: tuple[_Positive, ...] | None = None


class HuggingFaceConfig(BaseModel):
    """What matters of a ``DecisionTransformerConfig``, with its defaults."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model_type: Literal["decision_transformer"] = "decision_transformer"
    state_dim: int = Field(17, ge=1, le=1_000_000)
    act_dim: int = Field(4, ge=1, le=100_000)
    hidden_size: int = Field(128, ge=8, le=2048)
    max_ep_len: int = Field(4096, ge=1, le=100_000)
    action_tanh: bool = True
    n_positions: int = Field(1024, ge=1, le=1_000_000)
    n_layer: int = Field(3, ge=1, le=48)
    n_head: int = Field(1, ge=1, le=64)
    n_inner: int | None = Field(None, ge=8, le=16_384)
    activation_function: str = "relu"
    resid_pdrop: float = Field(0.1, ge=0, lt=1)
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    add_cross_attention: bool = False
    seqrl: ExportNotes = ExportNotes()


def read_config(folder: Path) -> HuggingFaceConfig:
    """The settings in a folder that ``save_pretrained`` wrote.

    Raises:
        ImportRefused: naming the setting that is malformed, or that no transformer here has.
    """
    if not (folder / CONFIG).is_file():
        raise ImportRefused(f"{folder.name} has no {CONFIG}; give a folder that save_pretrained wrote")
    values = json.loads(read_capped(folder / CONFIG, MOST_JSON_BYTES))
    if not isinstance(values, dict):
        raise ImportRefused(f"{CONFIG} is no JSON object; give a folder that save_pretrained wrote")
    try:
        config = HuggingFaceConfig.model_validate(values)
    except ValidationError as error:
        raise ImportRefused(f"{CONFIG}: {explain(error)}") from error
    if config.activation_function not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ImportRefused(f"activation_function is {config.activation_function[:40]!r}; seqrl knows {known}")
    if config.hidden_size % config.n_head:
        raise ImportRefused(f"n_head is {config.n_head}, which does not divide hidden_size {config.hidden_size}")
    for name, value, expected in (
        ("layer_norm_epsilon", config.layer_norm_epsilon, 1e-5),
        ("add_cross_attention", config.add_cross_attention, False),
    ):
        if value != expected:
            raise ImportRefused(f"{name} is {value}; seqrl's transformer has {expected}")
    return config


def written_config(
    model: DecisionTransformer, spec: DecisionTransformerSpec, facts: DatasetFacts, head: str
) -> dict[str, Any]:
    """What ``config.json`` of an exported run says."""
    activation = {"gelu_tanh": "gelu_new"}.get(spec.activation, spec.activation)
    return {
        "architectures": ["DecisionTransformerModel"],
        "model_type": "decision_transformer",
        "state_dim": facts.observation.size,
        "act_dim": model.head.outputs,
        "hidden_size": spec.embedding_dim,
        "max_ep_len": model.max_timestep,
        "action_tanh": head == "tanh",
        "vocab_size": 1,
        "n_positions": 1024,
        "n_layer": spec.layers,
        "n_head": spec.heads,
        "n_inner": spec.feedforward_dim,
        "activation_function": activation,
        "resid_pdrop": spec.dropout,
        "embd_pdrop": spec.dropout,
        "attn_pdrop": 0.0,
        "dtype": "float32",
        NOTES: export_notes(model, spec, facts).model_dump(mode="json"),
    }


def export_notes(model: DecisionTransformer, spec: DecisionTransformerSpec, facts: DatasetFacts) -> ExportNotes:
    """What the format itself cannot say of an exported run."""
    mean, std = model.observation_mean.tolist(), model.observation_std.tolist()  # of one-hot ones 0 and 1
    scale = (model.head.center, model.head.half_range) if isinstance(model.head, BoxHead) else None
    return ExportNotes(
        facts=facts.model_copy(update={"observation_mean": tuple(mean), "observation_std": tuple(std)}),
        context_length=spec.context_length,
        discount=spec.discount,
        return_scale=float(model.return_scale),
        action_center=tuple(scale[0].tolist()) if scale else None,
        action_half_range=tuple(scale[1].tolist()) if scale else None,
    )
