"""How a behaviour policy is trained online: the environment, an algorithm, and the snapshots that become tiers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seqrl.config.base import Name, Spec, setting


class NetworkSpec(Spec):
    """What both algorithms have: the policy's network and how fast it learns."""

    width: int = setting(64, "Width", "Numbers in each hidden layer of the policy.", ge=4, le=512)
    layers: int = setting(2, "Layers", "Hidden layers of the policy.", ge=1, le=4)
    activation: Literal["relu", "tanh"] = setting("relu", "Activation", "Non-linearity of the hidden layers.")
    learning_rate: float = setting(3e-4, "Learning rate", "Size of an update.", gt=0, le=1, step=1e-5)
    batch_size: int = setting(64, "Batch size", "Steps of experience per update.", unit="steps", ge=2, le=65_536)
    discount: float = setting(
        0.99,
        "Discount γ",
        "Factor by which a reward counts with every step that it lies ahead; nearer to 1 looks further.",
        gt=0,
        le=1,
        step=0.001,
    )


class PpoSpec(NetworkSpec):
    """Proximal policy optimisation (Schulman et al. 2017): many quick updates on the latest experience."""

    kind: Literal["ppo"] = "ppo"
    rollout_steps: int = setting(
        2048, "Rollout", "Steps of experience between two rounds of updates.", unit="steps", ge=8, le=1_000_000
    )
    environments: int = setting(
        1, "Environments", "Play so many episodes at once; a rollout is shared among them.", ge=1, le=64, advanced=True
    )
    epochs: int = setting(10, "Epochs", "Passes over each rollout.", ge=1, le=100)
    gae_lambda: float = setting(
        0.95, "GAE λ", "How far an action's worth looks ahead: 0 one step, 1 to the end.", ge=0, le=1, advanced=True
    )
    clip_range: float = setting(0.2, "Clip range", "How far an update may move the policy.", gt=0, le=1, advanced=True)
    entropy_weight: float = setting(0.0, "Entropy weight", "Reward for staying random.", ge=0, le=1, advanced=True)
    value_weight: float = setting(
        0.5, "Value weight", "How much the critic's loss counts beside the policy's.", ge=0, le=10, advanced=True
    )
    gradient_clip: float = setting(0.5, "Gradient clip", "Largest norm of a gradient.", gt=0, le=1000, advanced=True)
    initial_log_std: float = setting(
        0.0,
        "Initial log deviation",
        "Logarithm of the spread of continuous actions at the start; less explores less.",
        ge=-5,
        le=2,
        advanced=True,
    )

    @model_validator(mode="after")
    def _environments_share_a_rollout(self) -> Self:
        if self.rollout_steps % self.environments:
            raise ValueError(
                f"environments is {self.environments} but does not divide rollout_steps {self.rollout_steps}; "
                f"choose a divisor of {self.rollout_steps}"
            )
        return self


class SacSpec(NetworkSpec):
    """Soft actor-critic (Haarnoja et al. 2018): reuses all experience; for continuous actions only."""

    kind: Literal["sac"] = "sac"
    batch_size: int = setting(256, "Batch size", "Steps of experience per update.", unit="steps", ge=2, le=65_536)
    buffer_steps: int = setting(
        300_000, "Replay buffer", "Latest steps that are remembered.", unit="steps", ge=1000, le=10_000_000
    )
    learning_starts: int = setting(
        5000, "Random start", "Steps taken at random before learning begins.", unit="steps", ge=0, le=1_000_000
    )
    train_every: int = setting(
        1, "Train every", "Steps between two rounds of updates.", unit="steps", ge=1, le=10_000, advanced=True
    )
    updates: int = setting(1, "Updates", "Updates of each round.", ge=1, le=10_000, advanced=True)


PolicyTrainer = Annotated[PpoSpec | SacSpec, Field(discriminator="kind")]


class PolicySpec(Spec):
    """A policy to train in an environment. Its snapshots are tiers of data, as those of D4RL were made."""

    name: Name = setting(..., "Name", "How the policy is called.")
    environment: str = setting(..., "Environment", "Where it learns.", min_length=1)
    environment_kwargs: dict[str, bool | int | float | str] = setting(
        {}, "Environment settings", "Keyword arguments of gymnasium.make.", advanced=True
    )
    trainer: PolicyTrainer = PpoSpec()
    steps: int = setting(300_000, "Steps", "Environment steps to learn from.", unit="steps", ge=1, le=100_000_000)
    snapshots: int = setting(10, "Snapshots", "How often the policy is kept, evenly spaced.", ge=1, le=100)
    episodes: int = setting(
        5, "Episodes", "Episodes that measure each snapshot, without randomness of its own.", ge=1, le=1000
    )
    seed: int = setting(0, "Seed", "The same seed gives the same policy.", ge=0, le=2**31 - 1)


class PolicyJob(Spec):
    """Train a policy online and keep its snapshots."""

    kind: Literal["policy"] = "policy"
    spec: PolicySpec


class SnapshotFacts(Spec):
    """What is known of a snapshot of a policy.

    Attributes:
        step: environment steps it has learned from.
        mean_return: over its measuring episodes, reward units.
    """

    step: int
    mean_return: float


RUN_PREFIX = "run:"
"""``run:NAME`` as a behaviour: a trained run, sampled."""

POLICY_PREFIX = "policy:"
"""``policy:NAME@TIER`` as a behaviour: a snapshot of a trained policy, see `snapshot_tiers`."""


def policy_reference(name: str, tier: str) -> str:
    """What a behaviour calls a tier of a trained policy.

    >>> policy_reference("cheetah", "medium")
    'policy:cheetah@medium'
    """
    return f"{POLICY_PREFIX}{name}@{tier}"


def parse_policy_reference(text: str) -> tuple[str, str]:
    """Name and tier of ``policy:NAME@TIER``; without a tier the best snapshot is meant.

    >>> parse_policy_reference("policy:cheetah")
    ('cheetah', 'expert')
    """
    name, _, tier = text.removeprefix(POLICY_PREFIX).partition("@")
    return name, tier or "expert"


def snapshot_tiers(snapshots: tuple[SnapshotFacts, ...]) -> dict[str, tuple[int, ...]]:
    """Tier → steps of its snapshots, in the sense of D4RL (Fu et al. 2020, section 5).

    ``expert`` is the best snapshot; ``medium`` an earlier one that is nearest to a third of the way there from the
    worst; ``replay`` all up to the medium one, an episode each in turn; ``step-N`` every snapshot by itself.

    >>> tiers = snapshot_tiers(tuple(SnapshotFacts(step=s, mean_return=r) for s, r in ((0, 0), (1, 40), (2, 90))))
    >>> tiers["expert"], tiers["medium"], tiers["replay"]
    ((2,), (1,), (0, 1))
    """
    if not snapshots:
        return {}
    best = max(snapshots, key=lambda snapshot: snapshot.mean_return)
    worst = min(snapshot.mean_return for snapshot in snapshots)
    third = worst + (best.mean_return - worst) / 3
    medium = min(
        (snapshot for snapshot in snapshots if snapshot.step <= best.step),
        key=lambda snapshot: abs(snapshot.mean_return - third),
    )
    named = {
        "medium": (medium.step,),
        "expert": (best.step,),
        "replay": tuple(snapshot.step for snapshot in snapshots if snapshot.step <= medium.step),
    }
    return named | {f"step-{snapshot.step}": (snapshot.step,) for snapshot in snapshots}
