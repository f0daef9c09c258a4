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
        luck: what chance does to a target here, in a sentence for the sweep page; empty where the dynamics are
            deterministic, or nearly so.
        trainers: algorithm → settings that are known to suit it, see `seqrl.config.PolicySpec`.
        goal_distance: ``module:function`` of (kwargs, achieved, desired), rows of goals (n, G) each, to how far they
            are apart, (n,); None takes the straight line. Only for observations that name their goal.
        goal_unit: of the distance.
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
    luck: str = ""
    trainers: Mapping[str, Mapping[str, bool | int | float | str]] = field(default_factory=dict)
    goal_distance: str | None = None
    goal_unit: str = ""

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


def _trained(noise_std: float = 0.1) -> dict[str, BehaviourSpec]:
    """The bundled snapshots of a policy. A little noise, since a dataset without any shows one action a state."""
    return {
        quality: BehaviourSpec(tier=quality, policy=f"bundled:{quality}", noise_std=noise_std)
        for quality in ("medium", "expert")
    }


_MEDIUM_EXPERT = {"medium": 0.5, "expert": 0.5}
_PPO = {"width": 128, "batch_size": 64, "rollout_steps": 512, "environments": 4, "initial_log_std": -2.0}
"""What the tuned settings of RL Baselines3 Zoo for MuJoCo have in common; smaller networks than theirs."""

_THREE_TIERS = {"poor": 0.3, "medium": 0.4, "expert": 0.3}
_HEURISTICS = "seqrl.environments.heuristics"
_VECTORS = "seqrl.environments.classic_control"
_TABLE = "seqrl.environments.tabular:TablePolicy"

_LANDER_OBSERVATIONS = (
    *("horizontal position", "height", "horizontal speed", "vertical speed", "angle", "angular speed"),
    *("left leg touches", "right leg touches"),
)
_WALKER_JOINTS = ("hip angle", "hip speed", "knee angle", "knee speed", "ground contact")
_LAKE_CELLS = tuple(f"row {row}, column {column}" for row in range(1, 5) for column in range(1, 5))
_CHEETAH_JOINTS = ("back thigh", "back shin", "back foot", "front thigh", "front shin", "front foot")
_LEG = ("thigh", "leg", "foot")
_TWO_LEGS = ("right thigh", "right leg", "right foot", "left thigh", "left leg", "left foot")

ENVIRONMENTS: dict[str, EnvironmentRow] = {
    row.id: row
    for row in (
        EnvironmentRow(
            id="CartPole-v1",
            title="CartPole",
            family="Classic control",
            max_episode_steps=500,
            heuristic=f"{_HEURISTICS}:cartpole",
            vector=f"{_VECTORS}:CartPoleVector",
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
            vector=f"{_VECTORS}:AcrobotVector",
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
            vector=f"{_VECTORS}:MountainCarVector",
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
            vector=f"{_VECTORS}:MountainCarContinuousVector",
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
            vector=f"{_VECTORS}:PendulumVector",
            tiers=_noisy(0.6, 0.3, 0.0),
            default_mix={"random": 0.4, "poor": 0.4, "medium": 0.2},
            observation_names=("cos(angle)", "sin(angle)", "angular velocity"),
            action_names=("torque",),
        ),
        EnvironmentRow(
            id="LunarLander-v3",
            title="Lunar Lander",
            family="Box2D",
            max_episode_steps=1000,
            heuristic=f"{_HEURISTICS}:lunar_lander",
            tiers=_noisy(0.5, 0.3, 0.0),
            default_mix=_THREE_TIERS,
            observation_names=_LANDER_OBSERVATIONS,
            action_names=("do nothing", "fire left engine", "fire main engine", "fire right engine"),
        ),
        EnvironmentRow(
            id="LunarLanderContinuous-v3",
            title="Lunar Lander, continuous",
            family="Box2D",
            max_episode_steps=1000,
            heuristic=f"{_HEURISTICS}:lunar_lander_continuous",
            tiers=_noisy(0.5, 0.3, 0.0),
            default_mix=_THREE_TIERS,
            observation_names=_LANDER_OBSERVATIONS,
            action_names=("main engine", "side engines"),
        ),
        EnvironmentRow(
            id="BipedalWalker-v3",
            title="Bipedal Walker",
            family="Box2D",
            max_episode_steps=1600,
            heuristic=f"{_HEURISTICS}:BipedalWalk",
            tiers=_noisy(0.1, 0.02, 0.0),
            default_mix=_THREE_TIERS,
            observation_names=(
                "hull angle",
                "hull angular velocity",
                "speed forward",
                "speed upward",
                *(f"{joint} {leg}" for leg in (1, 2) for joint in _WALKER_JOINTS),
                *(f"lidar {i}" for i in range(1, 11)),
            ),
            action_names=("hip 1", "knee 1", "hip 2", "knee 2"),
        ),
        EnvironmentRow(
            id="FrozenLake-v1",
            title="Frozen Lake, slippery",
            family="Toy text",
            max_episode_steps=100,
            heuristic=_TABLE,
            tiers=_noisy(0.6, 0.3, 0.0),
            default_mix=_THREE_TIERS,
            observation_names=_LAKE_CELLS,
            action_names=("left", "down", "right", "up"),
            luck="The ice is slippery: two moves of three go astray. Who arrives was often lucky, so a model that is "
            "asked for 1 copies some moves that luck made look good, and nobody can arrive every time.",
        ),
        EnvironmentRow(
            id="seqrl/FrozenLakeNotSlippery-v1",
            title="Frozen Lake, not slippery",
            family="Toy text",
            max_episode_steps=100,
            heuristic=_TABLE,
            tiers=_noisy(0.6, 0.3, 0.0),
            default_mix=_THREE_TIERS,
            observation_names=_LAKE_CELLS,
            action_names=("left", "down", "right", "up"),
        ),
        EnvironmentRow(
            id="Taxi-v4",
            title="Taxi",
            family="Toy text",
            max_episode_steps=200,
            heuristic=_TABLE,
            tiers=_noisy(0.6, 0.3, 0.0),
            default_mix=_THREE_TIERS,
            action_names=("south", "north", "east", "west", "pick up", "drop off"),
        ),
        EnvironmentRow(
            id="HalfCheetah-v5",
            title="Half Cheetah",
            family="MuJoCo",
            max_episode_steps=1000,
            observation_names=(
                *("height", "pitch", *_CHEETAH_JOINTS),
                *("speed forward", "speed upward", "speed of pitch", *(f"speed of {j}" for j in _CHEETAH_JOINTS)),
            ),
            action_names=_CHEETAH_JOINTS,
            tiers=_trained(),
            default_mix=_MEDIUM_EXPERT,
            trainers={
                "ppo": _PPO
                | {
                    **{"learning_rate": 2e-5, "discount": 0.98, "epochs": 20, "gae_lambda": 0.92, "clip_range": 0.1},
                    **{"entropy_weight": 4e-4, "value_weight": 0.58, "gradient_clip": 0.8},
                }
            },
            reference_returns=(-280.178953, 12135.0),
        ),
        EnvironmentRow(
            id="Hopper-v5",
            title="Hopper",
            family="MuJoCo",
            max_episode_steps=1000,
            observation_names=(
                *("height", "pitch", *_LEG),
                *("speed forward", "speed upward", "speed of pitch", *(f"speed of {j}" for j in _LEG)),
            ),
            action_names=_LEG,
            tiers=_trained(),
            default_mix=_MEDIUM_EXPERT,
            trainers={
                "ppo": _PPO
                | {
                    **{"learning_rate": 1e-4, "discount": 0.999, "epochs": 5, "gae_lambda": 0.99, "batch_size": 32},
                    **{"entropy_weight": 2.3e-3, "value_weight": 0.84, "gradient_clip": 0.7},
                }
            },
            reference_returns=(-20.272305, 3234.3),
        ),
        EnvironmentRow(
            id="Walker2d-v5",
            title="Walker 2D",
            family="MuJoCo",
            max_episode_steps=1000,
            observation_names=(
                *("height", "pitch", *_TWO_LEGS),
                *("speed forward", "speed upward", "speed of pitch", *(f"speed of {j}" for j in _TWO_LEGS)),
            ),
            action_names=_TWO_LEGS,
            tiers=_trained(),
            default_mix=_MEDIUM_EXPERT,
            trainers={
                "sac": {"width": 128, "batch_size": 128},
                "ppo": _PPO
                | {
                    **{"learning_rate": 7e-5, "discount": 0.99, "epochs": 20, "gae_lambda": 0.95, "clip_range": 0.1},
                    **{"entropy_weight": 6e-4, "value_weight": 0.87, "gradient_clip": 1.0},
                },
            },
            reference_returns=(1.629008, 4592.3),
        ),
        EnvironmentRow(
            id="PointMaze_UMaze-v3",
            title="Point Maze",
            family="Goals",
            max_episode_steps=300,
            observation_names=(
                *("achieved x", "achieved y", "goal x", "goal y"),
                *("position x", "position y", "speed x", "speed y"),
            ),
            action_names=("force x", "force y"),
            package="gymnasium-robotics",
            module="gymnasium_robotics",
            kwargs={"continuing_task": False},  # an episode ends at the goal
            goal_unit="m",
        ),
        EnvironmentRow(
            id="seqrl/GraphWalk-v0",
            title="Graph walk",
            family="seqrl",
            max_episode_steps=50,
            heuristic="seqrl.environments.graph_walk:ShortestWay",
            tiers=_noisy(0.9, 0.5, 0.0),
            observation_names=tuple(f"node {i}" for i in range(20)),
            action_names=("exit 1", "exit 2", "exit 3"),
        ),
        EnvironmentRow(
            id="seqrl/GraphGoals-v0",
            title="Graph goals",
            family="seqrl",
            max_episode_steps=50,
            heuristic="seqrl.environments.graph_walk:ShortestWay",
            tiers=_noisy(0.9, 0.5, 0.0),
            observation_names=tuple(f"{what} node {i}" for what in ("reached", "wished", "present") for i in range(20)),
            action_names=("exit 1", "exit 2", "exit 3"),
            goal_distance="seqrl.environments.graph_walk:steps_to_goal",
            goal_unit="steps",
        ),
        EnvironmentRow(
            id="seqrl/KeyToDoor-v0",
            title="Key to door",
            family="seqrl",
            max_episode_steps=27,
            heuristic="seqrl.environments.key_to_door:FetchAndOpen",
            tiers=_noisy(0.9, 0.5, 0.0),
            observation_names=(
                *("room: of the key", "room: empty", "room: of the door"),
                *(f"column {i}" for i in range(1, 5)),
                *(f"row {i}" for i in range(1, 5)),
                *("key: out of sight", "key: in sight"),
            ),
            action_names=("up", "right", "down", "left"),
        ),
        EnvironmentRow(
            id="seqrl/Catch-v0",
            title="Catch, seen as pixels",
            family="seqrl",
            max_episode_steps=80,
            heuristic="seqrl.environments.catch:follow_the_ball",
            tiers=_noisy(0.8, 0.5, 0.1),
            default_mix=_THREE_TIERS,
            action_names=("left", "stay", "right"),
        ),
        EnvironmentRow(
            id="seqrl/Gamble-v0",
            title="Gamble",
            family="seqrl",
            max_episode_steps=20,
            heuristic="seqrl.environments.gamble:always_keep",
            tiers=_noisy(0.9, 0.5, 0.0),
            observation_names=(
                *(f"rounds played: {i}" for i in range(6)),
                *("last bet: none", "last bet: lost", "last bet: won"),
            ),
            action_names=("keep", "bet"),
            luck="A bet pays −0.2 on average and keeping pays 1, but the highest returns of the data are those of "
            "lucky bets. Asked for a high return, a model does what came before high returns: it bets, and loses. It "
            "learnt who was lucky, not what is wise (Paster et al. 2022).",
        ),
    )
}
