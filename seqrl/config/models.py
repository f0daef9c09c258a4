"""What a model is made of."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from seqrl.config.base import Spec, setting

Activation = Literal["relu", "gelu", "gelu_tanh", "silu", "tanh"]
ActionHead = Literal["auto", "categorical", "tanh", "gaussian", "linear"]


class TransformerSpec(Spec):
    """Settings that every causal transformer here shares."""

    embedding_dim: int = setting(128, "Width", "Numbers that describe a token inside the network.", ge=8, le=2048)
    layers: int = setting(3, "Layers", "How many times tokens look at each other.", ge=1, le=48)
    heads: int = setting(1, "Heads", "Independent looks per layer; must divide the width.", ge=1, le=64)
    dropout: float = setting(0.1, "Dropout", "Share of activations silenced while training.", ge=0, lt=1, step=0.05)
    activation: Activation = setting("relu", "Activation", "Non-linearity of the feed-forward part.", advanced=True)
    feedforward_dim: int | None = setting(
        None,
        "Feed-forward width",
        "Numbers inside the feed-forward part; empty takes four times the width.",
        ge=8,
        le=16_384,
        advanced=True,
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.embedding_dim % self.heads:
            raise ValueError(
                f"heads is {self.heads} but does not divide embedding_dim {self.embedding_dim}; "
                f"choose a divisor of {self.embedding_dim}"
            )
        return self


class ActionModelSpec(TransformerSpec):
    """Settings shared by Decision Transformer and behaviour cloning."""

    context_length: int = setting(
        20, "Context length K", "Steps that the model sees, the present one included.", unit="steps", ge=1, le=1000
    )
    max_timestep: int | None = setting(
        None,
        "Timestep table",
        "Largest timestep with an embedding; empty takes the longest possible episode.",
        unit="steps",
        ge=1,
        le=100_000,
        advanced=True,
    )
    embedding: Literal["linear", "mlp"] = setting(
        "linear",
        "Embedding",
        "How numbers become tokens: one linear map (the paper) or a small network.",
        advanced=True,
    )
    action_head: ActionHead = setting(
        "auto",
        "Action head",
        "Categorical for discrete actions; for continuous ones tanh (within the bounds, L2 loss), linear (the same "
        "without bounds) or Gaussian.",
    )


class DecisionTransformerSpec(ActionModelSpec):
    """Decision Transformer (Chen et al. 2021)."""

    kind: Literal["dt"] = "dt"
    conditioning: Literal["return", "goal"] = setting(
        "return",
        "Asked for",
        "A return; or the goal that the observations name, where they do: then train on goals in hindsight.",
    )
    discount: float = setting(
        1.0,
        "Discount γ",
        "1 counts every reward alike; with less, targets are discounted too.",
        gt=0,
        le=1,
        step=0.01,
        advanced=True,
    )
    return_scale: float | None = setting(
        None,
        "Return scale",
        "Returns-to-go are divided by this; empty takes the largest absolute return in the data.",
        unit="reward",
        gt=0,
        advanced=True,
    )
    rtg_gain: float = setting(
        1.0,
        "Return gain",
        "Multiplies the return token's embedding, so that the request is heard louder.",
        gt=0,
        le=100,
        advanced=True,
    )
    return_head: Literal["none", "bins", "expectile"] = setting(
        "none",
        "Return head",
        "Also learn which returns are attainable from a state, so that a sweep can let the model choose what to ask "
        "for: as a distribution over bins, or as an upper expectile.",
        advanced=True,
    )
    return_expectile: float = setting(
        0.99,
        "Expectile",
        "Of an expectile return head: 0.5 is the mean, towards 1 the best that the data shows.",
        gt=0,
        lt=1,
        step=0.01,
        advanced=True,
    )

    @model_validator(mode="after")
    def _a_goal_is_no_return(self) -> Self:
        if self.conditioning == "goal" and self.return_head != "none":
            raise ValueError(
                f"return_head is {self.return_head} but a model that is asked for a goal hears no return; choose none"
            )
        return self


class BehaviourCloningSpec(ActionModelSpec):
    """The same network without return tokens; with ``top_fraction < 1``, %BC (Chen et al. 2021, section 4)."""

    kind: Literal["bc"] = "bc"
    top_fraction: float = setting(
        1.0,
        "Best share of episodes",
        "Imitate only the episodes with the highest returns (%BC).",
        gt=0,
        le=1,
        step=0.05,
    )


def best_count(episodes: int, fraction: float) -> int:
    """How many episodes are the best ``fraction`` of so many, for %BC: at least one."""
    return max(1, math.ceil(fraction * episodes - 1e-9))


class RvsSpec(Spec):
    """RvS: a plain network given observation and target (Emmons et al. 2022), the baseline without a sequence."""

    kind: Literal["rvs"] = "rvs"
    embedding_dim: int = setting(256, "Width", "Numbers in each hidden layer.", ge=8, le=4096)
    layers: int = setting(2, "Layers", "Hidden layers.", ge=1, le=16)
    dropout: float = setting(0.1, "Dropout", "Share of activations silenced while training.", ge=0, lt=1, step=0.05)
    activation: Activation = setting("relu", "Activation", "Non-linearity of the hidden layers.", advanced=True)
    action_head: ActionHead = setting(
        "auto",
        "Action head",
        "Categorical for discrete actions; for continuous ones tanh (within the bounds, L2 loss), linear (the same "
        "without bounds) or Gaussian.",
    )
    discount: float = setting(
        1.0,
        "Discount γ",
        "1 counts every reward alike; with less, targets are discounted too.",
        gt=0,
        le=1,
        step=0.01,
        advanced=True,
    )
    return_scale: float | None = setting(
        None,
        "Return scale",
        "Returns-to-go are divided by this; empty takes the largest absolute return in the data.",
        unit="reward",
        gt=0,
        advanced=True,
    )

    @property
    def context_length(self) -> int:
        """It sees the present step only."""
        return 1


class TrajectoryTransformerSpec(TransformerSpec):
    """Trajectory Transformer (Janner et al. 2021): every number of a transition is a token."""

    kind: Literal["tt"] = "tt"
    embedding_dim: int = setting(64, "Width", "Numbers that describe a token inside the network.", ge=8, le=2048)
    heads: int = setting(4, "Heads", "Independent looks per layer; must divide the width.", ge=1, le=64)
    context_length: int = setting(
        10, "Context length", "Transitions that the model sees, history and imagination together.", unit="steps", ge=2
    )
    bins: int = setting(100, "Bins", "Most bins of one dimension.", unit="bins", ge=3, le=1000)
    strategy: Literal["quantile", "uniform"] = setting(
        "quantile", "Binning", "Quantile bins hold equal numbers of steps, uniform bins have equal widths."
    )
    discount: float = setting(
        0.99,
        "Discount γ",
        "Factor by which a reward counts with every step that it lies ahead; nearer to 1 looks further. Value tokens "
        "and plans use the same.",
        gt=0,
        lt=1,
        step=0.005,
    )
    action_weight: float = setting(
        5.0, "Action weight", "How much more an action token counts in the loss.", gt=0, le=100, advanced=True
    )


ModelSpec = Annotated[
    DecisionTransformerSpec | BehaviourCloningSpec | TrajectoryTransformerSpec | RvsSpec,
    Field(discriminator="kind"),
]


def takes_target(model: ModelSpec) -> bool:
    """Whether a model can be asked for a return: behaviour cloning hears nothing, and some are asked for a goal."""
    if isinstance(model, DecisionTransformerSpec):
        return model.conditioning == "return"
    return not isinstance(model, BehaviourCloningSpec)


ACTING_SPECS = (ActionModelSpec, RvsSpec)
"""Models that answer an observation with an action; the others plan."""

_ADAPTER: TypeAdapter[Any] = TypeAdapter(ModelSpec)


def parse_model(values: dict[str, Any]) -> Any:
    """A model spec from plain values; ``kind`` chooses the class."""
    return _ADAPTER.validate_python(values)
