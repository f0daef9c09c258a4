"""Models: their specs, their networks, their presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seqrl.config import (
    BehaviourCloningSpec,
    DecisionTransformerSpec,
    RvsSpec,
    Spec,
    TrajectoryTransformerSpec,
)


@dataclass(frozen=True)
class ModelRow:
    """A kind of model: its spec, its implementation, its place in the visual language.

    Attributes:
        kind: the ``kind`` field of its spec.
        title: long name.
        label: short name for chart labels.
        spec: its spec class.
        model: ``module:class`` of the network, built by ``class.build(spec, facts, seed)``.
        presets: preset → (model values, training values, honest duration in seconds on two cores).
        conditioned: whether it listens to a target return.
    """

    kind: str
    title: str
    label: str
    spec: type[Spec]
    model: str
    presets: Mapping[str, Preset]
    conditioned: bool


@dataclass(frozen=True)
class Preset:
    """Named settings of a model and its training, with the duration measured on two cores."""

    title: str
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    seconds: float


_ACTION_PRESETS = {
    "quick": Preset(
        title="Quick",
        # Few passes over much data: dropout costs a quarter of the time and, measured on CartPole, calibration too.
        model={"embedding_dim": 64, "layers": 3, "context_length": 10, "dropout": 0.0},
        # So small a network is faster on one thread than on two: 25 steps a second against 18.
        training={"steps": 1700, "batch_size": 128, "learning_rate": 2e-3, "warmup_steps": 100, "threads": 1},
        seconds=70,
    ),
    "good": Preset(
        title="Good",
        model={"embedding_dim": 128, "layers": 3, "context_length": 20},
        training={"steps": 15000, "batch_size": 64, "learning_rate": 6e-4, "warmup_steps": 500},
        seconds=600,
    ),
}

_RARE_REWARDS = Preset(
    title="Rare rewards",
    # Where few episodes in a hundred are rewarded, a request hardly changes the loss: it takes large batches and a loud
    # return token to be heard, and dropout, or a narrower network, keeps it from being heard (Key-to-Door).
    model={"embedding_dim": 64, "layers": 1, "dropout": 0.0, "context_length": 1, "rtg_gain": 30.0},
    training={
        **{"steps": 400, "batch_size": 2048, "learning_rate": 5e-3, "validation_fraction": 0.0, "precision": "fp32"},
        "threads": 1,
    },
    seconds=25,
)

_PLANNING_PRESETS = {
    "quick": Preset(
        title="Quick",
        # Episodes end where data is rare, and quantile bins lump just those states together: planning on CartPole
        # reached 444 with them and 500 with uniform ones.
        model={"strategy": "uniform", "embedding_dim": 64, "layers": 3, "heads": 4, "context_length": 10},
        training={"steps": 3000, "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 100},
        seconds=145,
    ),
    "good": Preset(
        title="Good",
        model={"strategy": "uniform", "embedding_dim": 128, "layers": 4, "heads": 4, "context_length": 10},
        training={"steps": 10000, "batch_size": 64, "learning_rate": 6e-4, "warmup_steps": 500},
        seconds=1500,
    ),
}

_PLAIN_PRESETS = {
    "quick": Preset(
        title="Quick",
        model={"embedding_dim": 256, "layers": 2},
        training={"steps": 3000, "batch_size": 256, "learning_rate": 1e-3, "warmup_steps": 100},
        seconds=15,
    ),
    "good": Preset(
        title="Good",
        model={"embedding_dim": 1024, "layers": 2},
        training={"steps": 15000, "batch_size": 512, "learning_rate": 1e-3, "warmup_steps": 500},
        seconds=600,
    ),
}

MODELS: dict[str, ModelRow] = {
    row.kind: row
    for row in (
        ModelRow(
            kind="dt",
            title="Decision Transformer",
            label="DT",
            spec=DecisionTransformerSpec,
            model="seqrl.models.decision_transformer:DecisionTransformer",
            presets=_ACTION_PRESETS | {"rare": _RARE_REWARDS},
            conditioned=True,
        ),
        ModelRow(
            kind="bc",
            title="Behaviour cloning",
            label="BC",
            spec=BehaviourCloningSpec,
            model="seqrl.models.decision_transformer:BehaviourCloning",
            presets=_ACTION_PRESETS,
            conditioned=False,
        ),
        ModelRow(
            kind="rvs",
            title="RvS, a plain network",
            label="RvS",
            spec=RvsSpec,
            model="seqrl.models.rvs:RvsNetwork",
            presets=_PLAIN_PRESETS,
            conditioned=True,
        ),
        ModelRow(
            kind="tt",
            title="Trajectory Transformer",
            label="TT",
            spec=TrajectoryTransformerSpec,
            model="seqrl.models.trajectory_transformer:TrajectoryTransformer",
            presets=_PLANNING_PRESETS,
            conditioned=True,
        ),
    )
}
