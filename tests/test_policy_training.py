"""Policies that learn online. What needs stable-baselines3 is skipped where that extra is not installed."""

import sys

import numpy as np
import pytest

from seqrl.config import BehaviourSpec, DatasetJob, DatasetSpec, PolicyJob, PolicySpec, PpoSpec, SacSpec
from seqrl.environments.snapshots import load_snapshot
from seqrl.policy_training import PolicyExtraMissing, train_policy
from seqrl.store import Store
from tests.in_process import InProcess, do

PPO = PpoSpec(width=8, rollout_steps=32, batch_size=16, epochs=1)
SAC = SacSpec(width=8, batch_size=16, buffer_steps=1000, learning_starts=16)


def spec(trainer=PPO, environment="Pendulum-v1", **values):
    defaults = {"name": "p", "environment": environment, "trainer": trainer, "steps": 64, "snapshots": 2, "episodes": 1}
    return PolicySpec(**(defaults | values))


def test_a_missing_extra_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(PolicyExtraMissing, match=r"not installed; install it with pip install -r requirements-polici"):
        next(train_policy(spec()))


def test_an_algorithm_that_does_not_fit_is_refused_before_anything_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ValueError, match=r"sac needs continuous actions but those of CartPole-v1 are discrete"):
        next(train_policy(spec(SAC, "CartPole-v1")))


@pytest.mark.parametrize(("trainer", "environment"), [(PPO, "Pendulum-v1"), (SAC, "Pendulum-v1"), (PPO, "CartPole-v1")])
def test_a_snapshot_does_what_the_trained_policy_does(monkeypatch, trainer, environment):
    pytest.importorskip("stable_baselines3")
    from seqrl import policy_training

    models = []
    original = policy_training._make_model
    monkeypatch.setattr(policy_training, "_make_model", lambda spec: models.append(original(spec)) or models[0])
    *_, last = train_policy(spec(trainer, environment))
    (model,) = models
    normaliser = model.get_env()
    observations = np.random.default_rng(0).normal(size=(20, len(last.observation_mean))).astype(np.float32)
    expected, _ = model.predict(normaliser.normalize_obs(observations), deterministic=True)
    ours = last.outputs(observations)
    if last.output == "categories":
        np.testing.assert_array_equal(ours.argmax(axis=1), expected)
    else:
        ours = 2 * np.tanh(ours) if last.output == "squash" else np.clip(ours, -2, 2)
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_a_trained_policys_snapshots_make_data(tmp_path):
    pytest.importorskip("stable_baselines3")
    store = Store(tmp_path / "home")
    do(store, PolicyJob(spec=spec()))
    row = store.policy("p")
    assert [snapshot.step for snapshot in row.snapshots] == [0, 32, 64]
    assert load_snapshot(store.snapshot_path("p", 32)).step == 32
    behaviours = tuple(BehaviourSpec(tier=tier, share=0.5, policy=f"policy:p@{tier}") for tier in ("step-64", "replay"))
    data = DatasetSpec(name="d", environment="Pendulum-v1", episodes=4, behaviours=behaviours)
    do(store, DatasetJob(spec=data))
    assert store.dataset("d").facts.episodes == 4
    with pytest.raises(ValueError, match="the policy p has no tier 'best'"):
        bad = (BehaviourSpec(policy="policy:p@best"),)
        do(store, DatasetJob(spec=data.model_copy(update={"name": "e", "behaviours": bad})))


def test_the_same_seed_trains_the_same_policy():
    pytest.importorskip("stable_baselines3")
    first, second = ([*train_policy(spec())][-1] for _ in range(2))
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_stopped_training_keeps_what_it_had(tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    from seqrl.worker.context import JobContext

    store = Store(tmp_path / "home")
    steps = []
    monkeypatch.setattr(
        JobContext,
        "progress",
        lambda self, fraction, message, now=False: steps.append(1) or len(steps) > 40 and self.stop(),
    )
    from seqrl import jobs

    row = jobs.submit(store, PolicyJob(spec=spec()), InProcess())
    assert row.state == "cancelled"
    assert [snapshot.step for snapshot in store.policy("p").snapshots] == [0, 32]
