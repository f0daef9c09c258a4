"""Behaviour policies trained online with stable-baselines3, an optional extra, kept as plain snapshots on the way.

The library only trains: snapshots are tensors (`seqrl.environments.snapshots`), so nothing else ever needs it, and
what it would pickle is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from seqrl.config import BehaviourSpec, DatasetSpec, PolicySpec, PpoSpec
from seqrl.datasets.collection import collect
from seqrl.environments import EnvironmentFacts, make_environment, space_facts
from seqrl.environments.snapshots import Snapshot, SnapshotController

if TYPE_CHECKING:
    import gymnasium

_MEASURED = "policy:measured"
_DIVISOR_FLOOR = 1e-8  # VecNormalize adds it to the variance


class PolicyExtraMissing(ValueError):
    """stable-baselines3 is not installed; the sentence says how to get it."""


def train_policy(
    spec: PolicySpec,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int], None] = lambda step: None,
) -> Iterator[Snapshot]:
    """Train a policy; yields its snapshots, measured: the untrained one, then evenly spaced ones.

    Args:
        spec: what to train.
        should_stop: asked at every step; the generator then ends early.
        on_step: told the steps taken so far.

    Raises:
        PolicyExtraMissing: if stable-baselines3 is not installed.
        ValueError: if the algorithm does not fit the environment.
    """
    facts = space_facts(spec.environment, spec.environment_kwargs)
    _check(spec, facts)
    model = _make_model(spec)
    watch = _watcher(should_stop, on_step)
    try:
        yield _measured(_snapshot(model, spec, facts, 0), spec, facts)
        for number in range(1, spec.snapshots + 1):
            due = spec.steps * number // spec.snapshots
            if due > model.num_timesteps:
                model.learn(due - model.num_timesteps, callback=watch, reset_num_timesteps=False)
            if should_stop():
                return
            yield _measured(_snapshot(model, spec, facts, int(model.num_timesteps)), spec, facts)
    finally:
        model.get_env().close()


def _check(spec: PolicySpec, facts: EnvironmentFacts) -> None:
    if facts.observation.kind == "image":
        raise ValueError(f"{spec.environment} shows images, which these small networks cannot read; choose another")
    if not isinstance(spec.trainer, PpoSpec) and facts.action.kind != "box":
        raise ValueError(f"sac needs continuous actions but those of {spec.environment} are discrete; choose ppo")
    if facts.max_episode_steps is None:
        raise ValueError(f"{spec.environment} has no time limit, so an episode may never end; choose another")


def _make_model(spec: PolicySpec) -> Any:
    try:
        from stable_baselines3 import PPO, SAC
        from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
    except ImportError as error:
        raise PolicyExtraMissing(
            "training a policy needs stable-baselines3, which is not installed; "
            "install it with pip install -r requirements-policies.txt"
        ) from error
    import torch
    from torch import nn

    torch.set_num_threads(1)  # the networks are far too small to be shared out
    trainer = spec.trainer
    copies = trainer.environments if isinstance(trainer, PpoSpec) else 1
    vector = VecNormalize(DummyVecEnv([lambda: _flat(spec)] * copies), gamma=trainer.discount)
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[trainer.activation]
    network: dict[str, Any] = {"net_arch": [trainer.width] * trainer.layers, "activation_fn": activation}
    network["optimizer_kwargs"] = {"fused": True}  # a fifth less time for networks of this size
    common: dict[str, Any] = {
        "learning_rate": trainer.learning_rate,
        "batch_size": trainer.batch_size,
        "gamma": trainer.discount,
        "seed": spec.seed,
        "device": "cpu",
    }
    if isinstance(trainer, PpoSpec):
        network |= {"log_std_init": trainer.initial_log_std, "ortho_init": False}
        return PPO(
            "MlpPolicy",
            vector,
            n_steps=trainer.rollout_steps // trainer.environments,
            n_epochs=trainer.epochs,
            gae_lambda=trainer.gae_lambda,
            clip_range=trainer.clip_range,
            ent_coef=trainer.entropy_weight,
            vf_coef=trainer.value_weight,
            max_grad_norm=trainer.gradient_clip,
            policy_kwargs=network,
            **common,
        )
    vector.norm_reward = False  # a replay buffer mixes rewards of all ages
    return SAC(
        "MlpPolicy",
        vector,
        buffer_size=trainer.buffer_steps,
        learning_starts=trainer.learning_starts,
        train_freq=trainer.train_every,
        gradient_steps=trainer.updates,
        policy_kwargs=network,
        **common,
    )


def _flat(spec: PolicySpec) -> gymnasium.Env:
    from gymnasium.wrappers import FlattenObservation

    return FlattenObservation(make_environment(spec.environment, spec.environment_kwargs))


def _watcher(should_stop: Callable[[], bool], on_step: Callable[[int], None]) -> Any:
    from stable_baselines3.common.callbacks import BaseCallback

    class Watcher(BaseCallback):
        def _on_step(self) -> bool:
            on_step(int(self.num_timesteps))
            return not should_stop()

    return Watcher()


def _snapshot(model: Any, spec: PolicySpec, facts: EnvironmentFacts, step: int) -> Snapshot:
    """The deterministic part of a policy: what it would do without noise."""
    from torch import nn

    policy = model.policy
    if isinstance(spec.trainer, PpoSpec):
        body, last = policy.mlp_extractor.policy_net, policy.action_net
        output = "clip" if facts.action.kind == "box" else "categories"
    else:
        body, last, output = policy.actor.latent_pi, policy.actor.mu, "squash"
    layers = [layer for layer in body if isinstance(layer, nn.Linear)] + [last]
    statistics = model.get_env().obs_rms
    return Snapshot(
        environment=spec.environment,
        step=step,
        weights=[layer.weight.detach().numpy().T.copy() for layer in layers],
        biases=[layer.bias.detach().numpy().copy() for layer in layers],
        observation_mean=np.array(statistics.mean, dtype=np.float32),
        observation_std=np.sqrt(statistics.var + _DIVISOR_FLOOR).astype(np.float32),
        activation=spec.trainer.activation,
        output=output,
    )


def _measured(snapshot: Snapshot, spec: PolicySpec, facts: EnvironmentFacts) -> Snapshot:
    """The snapshot with its mean return over some episodes of its own."""
    from dataclasses import replace

    episodes = DatasetSpec(
        name="measured",
        environment=spec.environment,
        environment_kwargs=spec.environment_kwargs,
        episodes=spec.episodes,
        behaviours=(BehaviourSpec(policy=_MEASURED),),
        seed=spec.seed,
    )
    policies = {_MEASURED: lambda here: SnapshotController([snapshot], here)}
    returns = [
        float(episode.rewards.sum())
        for piece in collect(episodes, facts=facts, policies=policies)
        for episode in piece.episodes
    ]
    return replace(snapshot, mean_return=float(np.mean(returns)))
