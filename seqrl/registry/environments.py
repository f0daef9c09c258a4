"""Environments: what no space can tell, and the behaviours that make data in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seqrl.config import BehaviourSpec


@dataclass(frozen=True)
class EnvironmentRow:
    """Facts about an environment that no space can tell.

    Attributes:
        id: registered Gymnasium id.
        title: what people call it.
        family: heading under which forms list it.
        max_episode_steps: time limit in steps, None if it has none.
        heuristic: ``module:attribute`` of a vectorised controller, see `seqrl.environments.heuristics`.
        vector: ``module:class`` of an `EnvironmentVector` faster than stepping one by one, or None.
        tiers: tier → behaviour; what ``--mix poor=0.3,...`` refers to. "random" always exists.
        default_mix: shares of the tiers that a form starts with.
        observation_names: a name for each dimension, or empty to take generic ones.
        action_names: names of discrete actions, or of continuous dimensions.
        reference_returns: (random, expert) return of the D4RL normalised score, or None.
        package: the pip package that provides it beyond the base requirements, or None.
        module: the module whose import registers it with Gymnasium, or None.
        kwargs: keyword arguments of ``gymnasium.make`` that belong to this row.
    """

    id: str
    title: str
    family: str
    max_episode_steps: int | None
    heuristic: str | None = None
    vector: str | None = None
    tiers: Mapping[str, BehaviourSpec] = field(default_factory=dict)
    default_mix: Mapping[str, float] = field(default_factory=lambda: {"random": 1.0})
    observation_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    reference_returns: tuple[float, float] | None = None
    package: str | None = None
    module: str | None = None
    kwargs: Mapping[str, bool | int | float | str] = field(default_factory=dict)

    def behaviours(self, mix: Mapping[str, float]) -> tuple[BehaviourSpec, ...]:
        """Behaviours of a mixture of this environment's tiers.

        Raises:
            ValueError: naming a tier that does not exist here and those that do.
        """
        known = {"random": BehaviourSpec(tier="random", policy="random"), **self.tiers}
        for tier in mix:
            if tier not in known:
                raise ValueError(f"{self.id} has no tier {tier!r}; choose from {', '.join(known)}")
        return tuple(known[tier].model_copy(update={"share": share}) for tier, share in mix.items() if share > 0)


def _noisy(poor: float, medium: float, expert: float) -> dict[str, BehaviourSpec]:
    """Three tiers: the heuristic with these shares of random actions."""
    shares = {"poor": poor, "medium": medium, "expert": expert}
    return {tier: BehaviourSpec(tier=tier, policy="heuristic", epsilon=epsilon) for tier, epsilon in shares.items()}


_THREE_TIERS = {"poor": 0.3, "medium": 0.4, "expert": 0.3}
_HEURISTICS = "seqrl.environments.heuristics"

ENVIRONMENTS: dict[str, EnvironmentRow] = {
    row.id: row
    for row in (
        EnvironmentRow(
            id="CartPole-v1",
            title="CartPole",
            family="Classic control",
            max_episode_steps=500,
            heuristic=f"{_HEURISTICS}:cartpole",
            vector="seqrl.environments.cartpole:CartPoleVector",
            tiers=_noisy(0.6, 0.3, 0.1),
            default_mix=_THREE_TIERS,
            observation_names=("cart position", "cart velocity", "pole angle", "pole angular velocity"),
            action_names=("push left", "push right"),
        ),
        EnvironmentRow(
            id="Acrobot-v1",
            title="Acrobot",
            family="Classic control",
            max_episode_steps=500,
            heuristic=f"{_HEURISTICS}:acrobot",
            tiers=_noisy(0.8, 0.5, 0.1),
            default_mix=_THREE_TIERS,
            observation_names=(
                "cos(angle 1)",
                "sin(angle 1)",
                "cos(angle 2)",
                "sin(angle 2)",
                "angular velocity 1",
                "angular velocity 2",
            ),
            action_names=("torque −1", "no torque", "torque +1"),
        ),
        EnvironmentRow(
            id="MountainCar-v0",
            title="Mountain Car",
            family="Classic control",
            max_episode_steps=200,
            heuristic=f"{_HEURISTICS}:mountain_car",
            tiers=_noisy(0.8, 0.4, 0.0),
            default_mix=_THREE_TIERS,
            observation_names=("position", "velocity"),
            action_names=("push left", "coast", "push right"),
        ),
        EnvironmentRow(
            id="MountainCarContinuous-v0",
            title="Mountain Car, continuous",
            family="Classic control",
            max_episode_steps=999,
            heuristic=f"{_HEURISTICS}:mountain_car_continuous",
            tiers=_noisy(0.8, 0.4, 0.0),
            default_mix=_THREE_TIERS,
            observation_names=("position", "velocity"),
            action_names=("force",),
        ),
        EnvironmentRow(
            id="Pendulum-v1",
            title="Pendulum",
            family="Classic control",
            max_episode_steps=200,
            heuristic=f"{_HEURISTICS}:pendulum",
            tiers=_noisy(0.9, 0.6, 0.0),
            default_mix={"random": 0.4, "poor": 0.4, "medium": 0.2},
            observation_names=("cos(angle)", "sin(angle)", "angular velocity"),
            action_names=("torque",),
        ),
    )
}
