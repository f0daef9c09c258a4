"""Weights of Hugging Face's ``DecisionTransformerModel`` in ours, and back.

Theirs is the same network with three differences. It reads normalised observations and scaled returns, and emits
actions in half ranges, so the statistics have to be given on import. Its ``Conv1D`` weights are transposed. And its
GPT-2 adds the position embedding ``wpe[0]`` to every token after ``embed_ln`` (all position ids are 0), which is a
constant that belongs into the bias of that norm.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from seqrl.config import DatasetFacts, DecisionTransformerSpec
from seqrl.datasets.importers import ImportRefused
from seqrl.huggingface.settings import WEIGHTS, HuggingFaceConfig
from seqrl.models.decision_transformer import DecisionTransformer

EXTRA_NAMES = ("predict_state.weight", "predict_state.bias", "predict_return.weight", "predict_return.bias")
"""What the original predicts besides actions; nothing here uses it, but an export gives it back."""

_PARTS = {
    "attention.qkv": "attn.c_attn",
    "attention.projection": "attn.c_proj",
    "expand": "mlp.c_fc",
    "contract": "mlp.c_proj",
}


def tensor_shapes(config: HuggingFaceConfig) -> dict[str, tuple[int, ...]]:
    """Name → shape of the tensors that an import reads."""
    width, inner = config.hidden_size, config.n_inner or 4 * config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.wpe.weight": (config.n_positions, width),
        "encoder.ln_f.weight": (width,),
        "encoder.ln_f.bias": (width,),
        "embed_timestep.weight": (config.max_ep_len, width),
        "embed_ln.weight": (width,),
        "embed_ln.bias": (width,),
        "predict_action.0.weight": (config.act_dim, width),
        "predict_action.0.bias": (config.act_dim,),
    }
    for name, inputs in (("return", 1), ("state", config.state_dim), ("action", config.act_dim)):
        shapes[f"embed_{name}.weight"], shapes[f"embed_{name}.bias"] = (width, inputs), (width,)
    for i in range(config.n_layer):
        for name, inputs, outputs in (
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, inner),
            ("mlp.c_proj", inner, width),
        ):
            shapes[f"encoder.h.{i}.{name}.weight"] = (inputs, outputs)
            shapes[f"encoder.h.{i}.{name}.bias"] = (outputs,)
        for name in ("ln_1", "ln_2"):
            shapes[f"encoder.h.{i}.{name}.weight"] = shapes[f"encoder.h.{i}.{name}.bias"] = (width,)
    return shapes


def check_tensors(config: HuggingFaceConfig, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that lack a tensor or have it in another shape, before a model is made for them."""
    for name, shape in tensor_shapes(config).items():
        if name not in tensors:
            raise ImportRefused(f"{WEIGHTS} has no {name}, which config.json asks for; give files that belong together")
        if tuple(tensors[name].shape) != shape or not tensors[name].is_floating_point():
            found = f"{tensors[name].dtype} {tuple(tensors[name].shape)}"
            raise ImportRefused(f"{name} is {found} but config.json asks for {shape}; give files that belong together")


def to_ours(
    config: HuggingFaceConfig, theirs: Mapping[str, Tensor], facts: DatasetFacts, model: DecisionTransformerSpec
) -> dict[str, Tensor]:
    """The ``state_dict`` of a `DecisionTransformer` that acts like theirs."""
    ours: dict[str, Tensor] = {
        "observation_mean": torch.tensor(facts.observation_mean),
        "observation_std": torch.tensor(facts.observation_std),
        "return_scale": torch.tensor(model.return_scale),
        "embed_timestep.weight": theirs["embed_timestep.weight"],
        "embed_norm.weight": theirs["embed_ln.weight"],
        "embed_norm.bias": theirs["embed_ln.bias"] + theirs["encoder.wpe.weight"][0],
        "transformer.norm.weight": theirs["encoder.ln_f.weight"],
        "transformer.norm.bias": theirs["encoder.ln_f.bias"],
    }
    if facts.action.kind == "box":
        center, half_range = _action_scale(config, facts.action.size)
        for module in ("head", "embed_action"):
            ours[f"{module}.center"], ours[f"{module}.half_range"] = center, half_range
    else:
        table = theirs["embed_action.weight"].T + theirs["embed_action.bias"]
        ours["embed_action.table.weight"] = table
    for kind in ("weight", "bias"):
        ours[f"embed_return.input.{kind}"] = theirs[f"embed_return.{kind}"]
        ours[f"embed_observation.input.{kind}"] = theirs[f"embed_state.{kind}"]
        ours[f"predict_action.{kind}"] = theirs[f"predict_action.0.{kind}"]
        if facts.action.kind == "box":
            ours[f"embed_action.input.{kind}"] = theirs[f"embed_action.{kind}"]
        for i in range(config.n_layer):
            block, source = f"transformer.blocks.{i}", f"encoder.h.{i}"
            for name, part in _PARTS.items():
                ours[f"{block}.{name}.{kind}"] = _transposed(theirs[f"{source}.{part}.{kind}"])
            for number in (1, 2):
                ours[f"{block}.norm_{number}.{kind}"] = theirs[f"{source}.ln_{number}.{kind}"]
    for i in range(config.n_layer):
        for kind in ("weight", "bias"):  # a factor on the scores is one on the queries
            qkv = ours[f"transformer.blocks.{i}.attention.qkv.{kind}"].clone()
            qkv[: config.hidden_size] *= _score_factor(config, i)
            ours[f"transformer.blocks.{i}.attention.qkv.{kind}"] = qkv
    return {name: tensor.contiguous() for name, tensor in ours.items()}


def _action_scale(config: HuggingFaceConfig, size: int) -> tuple[Tensor, Tensor]:
    """What turns outputs into actions, each (A,): what an export of ours wrote down, or nothing for other models."""
    center = config.seqrl.action_center or (0.0,) * size
    half_range = config.seqrl.action_half_range or (1.0,) * size
    for name, given in (("action_center", center), ("action_half_range", half_range)):
        if len(given) != size:
            raise ImportRefused(f"seqrl.{name} has {len(given)} numbers but actions have {size}; export the run again")
    return torch.tensor(center), torch.tensor(half_range)


def _score_factor(config: HuggingFaceConfig, layer: int) -> float:
    """What the attention scores of their layer are multiplied by, over what ours are."""
    unscaled = 1.0 if config.scale_attn_weights else (config.hidden_size / config.n_head) ** 0.5
    return unscaled / (layer + 1) if config.scale_attn_by_inverse_layer_idx else unscaled


def to_theirs(
    model: DecisionTransformer, spec: DecisionTransformerSpec, facts: DatasetFacts, extras: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of a ``DecisionTransformerModel`` that acts like ours.

    Args:
        model: ours.
        spec: its settings.
        facts: what it acts on.
        extras: tensors of the original that it was imported from.
    """
    ours = model.state_dict()
    width, size = spec.embedding_dim, facts.observation.size
    theirs: dict[str, Tensor] = {
        "encoder.wte.weight": torch.zeros(1, width),
        "encoder.wpe.weight": torch.zeros(1024, width),
        "encoder.ln_f.weight": ours["transformer.norm.weight"],
        "encoder.ln_f.bias": ours["transformer.norm.bias"],
        "embed_timestep.weight": ours["embed_timestep.weight"],
        "embed_ln.weight": ours["embed_norm.weight"],
        "embed_ln.bias": ours["embed_norm.bias"],
        "predict_state.weight": torch.zeros(size, width),
        "predict_state.bias": torch.zeros(size),
        "predict_return.weight": torch.zeros(1, width),
        "predict_return.bias": torch.zeros(1),
    }
    theirs |= {name: tensor for name, tensor in extras.items() if tensor.shape == theirs.get(name, tensor).shape}
    if facts.action.kind == "box":
        theirs["embed_action.weight"] = ours["embed_action.input.weight"]
        theirs["embed_action.bias"] = ours["embed_action.input.bias"]
    else:
        theirs["embed_action.weight"] = ours["embed_action.table.weight"].T
        theirs["embed_action.bias"] = torch.zeros(width)
    for kind in ("weight", "bias"):
        theirs[f"embed_return.{kind}"] = spec.rtg_gain * ours[f"embed_return.input.{kind}"]
        theirs[f"embed_state.{kind}"] = ours[f"embed_observation.input.{kind}"]
        theirs[f"predict_action.0.{kind}"] = ours[f"predict_action.{kind}"]
        for i in range(spec.layers):
            block, target = f"transformer.blocks.{i}", f"encoder.h.{i}"
            for name, part in _PARTS.items():
                theirs[f"{target}.{part}.{kind}"] = _transposed(ours[f"{block}.{name}.{kind}"])
            for number in (1, 2):
                theirs[f"{target}.ln_{number}.{kind}"] = ours[f"{block}.norm_{number}.{kind}"]
    return contiguous(theirs)


def contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that safetensors can write: it refuses views that share memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _transposed(tensor: Tensor) -> Tensor:
    """``Conv1D`` keeps its weight as (inputs, outputs); biases stay."""
    return tensor.t()
