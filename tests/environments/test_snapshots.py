"""Trained policies as plain tensors: what they compute, and the ones in the package."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from seqrl.environments import space_facts
from seqrl.environments.behaviours import Behaviour
from seqrl.environments.snapshots import (
    Snapshot,
    SnapshotController,
    bundled_path,
    load_snapshot,
    save_snapshot,
)
from seqrl.registry import ENVIRONMENTS


def snapshot(inputs=3, outputs=1, output="clip", seed=0, environment="Pendulum-v1", activation="relu"):
    rng = np.random.default_rng(seed)
    sizes = [(inputs, 8), (8, 8), (8, outputs)]
    return Snapshot(
        environment=environment,
        step=100,
        weights=[rng.normal(size=size).astype(np.float32) for size in sizes],
        biases=[rng.normal(size=size[1]).astype(np.float32) for size in sizes],
        observation_mean=rng.normal(size=inputs).astype(np.float32),
        observation_std=rng.uniform(0.5, 2, size=inputs).astype(np.float32),
        activation=activation,
        output=output,
        mean_return=-123.5,
    )


def acting(snapshots, environment, observations, seeds=None):
    controller = SnapshotController(snapshots, space_facts(environment))
    controller.reset(seeds or range(len(observations)))
    return controller.act(observations)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_snapshot_computes_what_a_network_of_torch_does(activation):
    policy = snapshot(activation=activation)
    between = {"relu": torch.relu, "tanh": torch.tanh}[activation]
    observations = np.random.default_rng(1).normal(scale=30, size=(50, 3)).astype(np.float32)
    x = torch.tensor((observations - policy.observation_mean) / policy.observation_std).clamp(-10, 10)
    for number, (weight, bias) in enumerate(zip(policy.weights, policy.biases, strict=True)):
        x = torch.nn.functional.linear(x, torch.tensor(weight.T), torch.tensor(bias))
        x = between(x) if number < 2 else x
    np.testing.assert_allclose(policy.outputs(observations), x.numpy(), rtol=1e-4, atol=1e-4)
    actions = acting([policy], "Pendulum-v1", observations)
    np.testing.assert_allclose(actions, x.clamp(-2, 2).numpy(), rtol=1e-4, atol=1e-4)
    assert actions.dtype == np.float32


def test_an_action_does_not_depend_on_how_many_act():
    policy = snapshot()
    observations = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)
    together = acting([policy], "Pendulum-v1", observations)
    alone = np.concatenate([acting([policy], "Pendulum-v1", row[None]) for row in observations])
    np.testing.assert_array_equal(together, alone)


def test_a_squashed_output_stays_within_bounds_that_are_not_one():
    policy = snapshot(output="squash")
    observations = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    expected = 2 * np.tanh(policy.outputs(observations))
    np.testing.assert_allclose(acting([policy], "Pendulum-v1", observations), expected, rtol=1e-6)


def test_categories_take_the_likeliest():
    policy = snapshot(inputs=4, outputs=2, output="categories", environment="CartPole-v1")
    observations = np.random.default_rng(1).normal(scale=10, size=(50, 4)).astype(np.float32)
    policy.biases[-1][:] -= np.median(policy.outputs(observations), axis=0).astype(np.float32)
    actions = acting([policy], "CartPole-v1", observations)
    np.testing.assert_array_equal(actions, policy.outputs(observations).argmax(axis=1))
    assert set(actions) == {0, 1}


def test_several_snapshots_take_turns_by_the_episodes_seed_and_keep_their_episodes():
    first, second = snapshot(seed=0), snapshot(seed=1)
    controller = SnapshotController([first, second], space_facts("Pendulum-v1"))
    observations = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    controller.reset([10, 11, 12, 13])
    actions = controller.act(observations)
    np.testing.assert_array_equal(actions[::2], acting([first], "Pendulum-v1", observations[::2]))
    np.testing.assert_array_equal(actions[1::2], acting([second], "Pendulum-v1", observations[1::2]))
    controller.keep(np.array([False, True, True, False]))
    np.testing.assert_array_equal(controller.act(observations[1:3]), actions[1:3])


def test_a_snapshot_survives_its_file(tmp_path):
    policy = snapshot()
    save_snapshot(tmp_path / "policy.safetensors", policy)
    again = load_snapshot(tmp_path / "policy.safetensors")
    observations = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.outputs(observations), policy.outputs(observations))
    arrays = ("weights", "biases", "observation_mean", "observation_std")
    assert {k: v for k, v in vars(again).items() if k not in arrays} == {
        k: v for k, v in vars(policy).items() if k not in arrays
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 100,
        save({"x": np.zeros(3, np.float32)}),
        save({"observation_mean": np.zeros(3, np.float32)}, metadata={"snapshot": json.dumps({"step": 1})}),
    ],
)
def test_another_file_is_refused_by_its_name(tmp_path, data):
    (tmp_path / "policy.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"policy\.safetensors is not a snapshot of a policy; train it again"):
        load_snapshot(tmp_path / "policy.safetensors")


def test_a_policy_of_other_spaces_is_refused():
    with pytest.raises(ValueError, match=r"turns 3 numbers into 1, but CartPole-v1 needs 4 and 2"):
        SnapshotController([snapshot()], space_facts("CartPole-v1"))
    wider = replace(snapshot(), biases=[*snapshot().biases[:-1], np.zeros(2, np.float32)])
    with pytest.raises(ValueError, match="into 2, but Pendulum-v1 needs 3 and 1"):
        SnapshotController([wider], space_facts("Pendulum-v1"))


BUNDLED = [
    (row.id, behaviour.policy.removeprefix("bundled:"))
    for row in ENVIRONMENTS.values()
    for behaviour in row.tiers.values()
    if behaviour.policy.startswith("bundled:")
]


def test_a_bundle_has_two_qualities():
    qualities = {environment: {q for e, q in BUNDLED if e == environment} for environment, _ in BUNDLED}
    assert {"HalfCheetah-v5", "Hopper-v5", "Walker2d-v5"} <= set(qualities)
    assert all(found == {"medium", "expert"} for found in qualities.values())


@pytest.mark.parametrize(("environment", "quality"), BUNDLED)
def test_a_bundled_policy_is_small_and_acts(environment, quality):
    path = bundled_path(environment, quality)
    assert path.stat().st_size <= 200_000
    facts = space_facts(environment)
    tier = ENVIRONMENTS[environment].tiers[quality]
    behaviour = Behaviour(tier, facts)
    behaviour.reset([1, 2])
    actions = behaviour.act(np.zeros((2, facts.observation.size), np.float32))
    assert actions.shape == (2, facts.action.size)
    assert (np.abs(actions) <= 1).all()
    kept = load_snapshot(path)
    assert kept.environment == environment
    assert kept.mean_return is not None


def test_the_better_bundled_policy_is_better():
    for environment in {environment for environment, _ in BUNDLED}:
        medium, expert = (load_snapshot(bundled_path(environment, quality)) for quality in ("medium", "expert"))
        assert medium.step < expert.step
        assert medium.mean_return < 0.7 * expert.mean_return


def test_a_quality_that_the_package_lacks_is_refused_with_those_it_has():
    with pytest.raises(ValueError, match=r"no policy 'bundled:best' for Hopper-v5; choose from bundled:expert, bun"):
        Behaviour(ENVIRONMENTS["Hopper-v5"].tiers["medium"].model_copy(update={"policy": "bundled:best"}),
                  space_facts("Hopper-v5"))  # fmt: skip
