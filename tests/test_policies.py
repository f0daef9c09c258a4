"""Acting sees exactly the windows of training, asks in the unit of the data, and draws what it says."""

import doctest

import numpy as np
import pytest
import torch

from seqrl import policies
from seqrl.policies import ActionDecoder, SequencePolicy, decode_categorical, decode_gaussian
from seqrl.windows import WindowBatch, returns_to_go
from tests.acting import actor_for, facts_for


def policy_for(actor, count=3, targets=60.0, sampled=True, **settings) -> SequencePolicy:
    return SequencePolicy(
        actor.model,
        actor.spec.model,
        actor.facts,
        seeds=range(100, 100 + count),
        targets=np.broadcast_to(np.asarray(targets, dtype=float), (count,)).copy(),
        sampled=np.broadcast_to(sampled, (count,)).copy(),
        **settings,
    )


def imagined_steps(count=3, steps=17, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, count, 4)).astype(np.float32), rng.uniform(0, 2, size=(steps, count))


def follow(policy, observations, rewards):
    """Decisions of every step."""
    decisions = []
    for seen, paid in zip(observations, rewards, strict=True):
        decisions.append(policy.act(seen))
        policy.observe(paid)
    return decisions


def training_probabilities(actor, decisions, observations, row, t, context):
    """What the model says at step t when the window of the last ``context`` steps comes the way it does in training."""
    steps = range(max(0, t + 1 - context), t + 1)
    batch = WindowBatch(
        observations=torch.stack([torch.from_numpy(observations[k][row]) for k in steps])[None],
        actions=torch.tensor([[int(decisions[k].actions[row]) for k in steps]]),
        returns_to_go=torch.tensor([[decisions[k].returns_to_go[row] for k in steps]], dtype=torch.float32),
        timesteps=torch.tensor([list(steps)]),
        mask=torch.ones(1, len(steps), dtype=torch.bool),
    )
    with torch.inference_mode():
        return actor.model(batch)[0, -1].softmax(-1).numpy()


def test_doctests_hold():
    assert doctest.testmod(policies).failed == 0


@pytest.mark.parametrize("kind", ["dt", "bc"])
def test_acting_sees_exactly_the_windows_of_training_and_no_padding(kind):
    """Peers' bug 15: left padding at evaluation, never seen in training."""
    actor = actor_for(facts_for("CartPole-v1"), kind=kind)
    observations, rewards = imagined_steps()
    decisions = follow(policy_for(actor, acting="window"), observations, rewards)
    for t, decision in enumerate(decisions):
        for row in range(3):
            expected = training_probabilities(actor, decisions, observations, row, t, context=5)
            assert np.allclose(decision.probabilities[row], expected, atol=1e-5)


def test_cached_acting_is_the_model_on_contexts_between_half_of_k_and_k():
    actor = actor_for(facts_for("CartPole-v1"))
    observations, rewards = imagined_steps()
    decisions = follow(policy_for(actor, acting="cached"), observations, rewards)
    contexts = [1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4, 5]
    for t, (decision, context) in enumerate(zip(decisions, contexts, strict=True)):
        expected = training_probabilities(actor, decisions, observations, 1, t, context)
        assert np.allclose(decision.probabilities[1], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("acting", "k", "context"), [("window", 1, 1), ("window", 2, 2), ("cached", 1, 1), ("cached", 2, 1)]
)
def test_the_shortest_contexts_act_too(acting, k, context):
    actor = actor_for(facts_for("CartPole-v1"), context_length=k)
    observations, rewards = imagined_steps()
    decisions = follow(policy_for(actor, acting=acting), observations, rewards)
    expected = training_probabilities(actor, decisions, observations, 0, 16, context)
    assert np.allclose(decisions[16].probabilities[0], expected, atol=1e-5)


def test_the_request_falls_by_the_real_reward():
    actor = actor_for(facts_for("CartPole-v1"))
    observations, rewards = imagined_steps()
    decisions = follow(policy_for(actor, targets=[10, 60, 90]), observations, rewards)
    paid_before = np.concatenate([np.zeros((1, 3)), np.cumsum(rewards, axis=0)[:-1]])
    asked = np.stack([decision.returns_to_go for decision in decisions])
    assert np.allclose(asked, np.array([10, 60, 90]) - paid_before)


def test_with_a_discount_the_request_is_the_discounted_return_of_the_data():
    """Peers' bug 14: asked in the data's unit, the recursion retraces the returns-to-go that training saw."""
    facts = facts_for("CartPole-v1", reward_maximum=2.0)
    actor = actor_for(facts, discount=0.9)
    observations, rewards = imagined_steps(steps=40)
    trained = np.stack([returns_to_go(rewards[:, row], np.array([40]), 0.9) for row in range(3)], axis=1)
    decisions = follow(policy_for(actor, targets=trained[0]), observations, rewards)
    assert np.allclose([decision.returns_to_go for decision in decisions], trained, atol=1e-9)


def test_with_a_discount_a_missed_request_does_not_diverge():
    """Peers' bug 14: dividing by the discount at every step blows up what was missed, here 0.9**-100 = 37,000 times."""
    facts = facts_for("CartPole-v1", reward_minimum=0.5)
    observations, _ = imagined_steps(steps=100)
    for target, paid in ((9.0, 0.5), (2.0, 1.0)):
        policy = policy_for(actor_for(facts, discount=0.9), targets=target)
        decisions = follow(policy, observations, np.full((100, 3), paid))
        asked = np.stack([decision.returns_to_go for decision in decisions])
        assert (asked >= 0).all()
        assert (asked <= 1 / (1 - 0.9)).all()


def test_behaviour_cloning_ignores_the_target():
    actor = actor_for(facts_for("CartPole-v1"), kind="bc")
    observations, rewards = imagined_steps()
    low = follow(policy_for(actor, targets=0.0), observations, rewards)
    none = follow(policy_for(actor, targets=np.nan), observations, rewards)
    assert all(np.array_equal(a.probabilities, b.probabilities) for a, b in zip(low, none, strict=True))
    assert all(np.isnan(decision.returns_to_go).all() for decision in none)


@pytest.mark.parametrize("acting", ["cached", "window"])
def test_the_other_episodes_of_a_batch_make_no_difference(acting):
    """Also after some of them have ended, and with greedy and sampled episodes side by side."""
    actor = actor_for(facts_for("CartPole-v1"))
    observations, rewards = imagined_steps(count=40)
    targets = np.linspace(5, 95, 40)
    sampled = np.arange(40) % 2 == 0
    together = policy_for(actor, 40, targets, sampled, acting=acting)
    alone = SequencePolicy(
        actor.model, actor.spec.model, actor.facts,
        seeds=[122], targets=targets[22:23], sampled=sampled[22:23], acting=acting,
    )  # fmt: skip
    running = np.arange(40)
    for t in range(17):
        one, many = alone.act(observations[t][22:23]), together.act(observations[t][running])
        place = int(np.flatnonzero(running == 22)[0])
        assert np.array_equal(one.probabilities[0], many.probabilities[place])
        assert one.actions[0] == many.actions[place]
        alone.observe(rewards[t][22:23])
        together.observe(rewards[t][running])
        stays = (running + t) % 6 != 0
        stays[place] = True
        together.keep(stays)
        running = running[stays]
    assert len(running) < 16


def test_drawn_actions_follow_the_probabilities_at_the_temperature():
    logits = np.tile([0.0, 1.0, 2.0, -1.0, 0.5], (60_000, 1))
    uniforms = np.random.default_rng(0).random((60_000, 2))
    actions, used = decode_categorical(logits, [3, 2], uniforms, np.ones(60_000, dtype=bool), 2.0)
    for column, part in enumerate(([0.0, 1.0, 2.0], [-1.0, 0.5])):
        expected = np.exp(np.array(part) / 2) / np.exp(np.array(part) / 2).sum()
        shown = used[0, :3] if column == 0 else used[0, 3:]
        assert np.allclose(shown, expected, atol=1e-6)
        assert np.allclose(np.bincount(actions[:, column]) / 60_000, expected, atol=0.01)


def test_greedy_rows_take_the_likeliest_and_impossible_actions_are_never_drawn():
    logits = np.array([[1.0, 3.0, 2.0], [-1e9, 0.0, -1e9], [-1e9, 0.0, -1e9]])
    uniforms = np.array([[0.0], [0.0], [1 - 2.0**-53]])
    actions, used = decode_categorical(logits, [3], uniforms, np.array([False, True, True]), 0.01)
    assert actions.ravel().tolist() == [1, 1, 1]
    assert np.allclose(used[0], np.exp([1, 3, 2]) / np.exp([1, 3, 2]).sum())


def test_gaussian_actions_have_the_mean_and_spread_they_say_and_stay_in_bounds():
    count = 40_000
    mean, std = np.tile([[0.5, -3.0]], (count, 1)), np.tile([[0.1, 2.0]], (count, 1))
    sampled = np.arange(count) > 0
    normals = np.random.default_rng(0).normal(size=(count, 2))
    bounds = (np.array([-1.0, -np.inf]), np.array([1.0, np.inf]))
    actions, used = decode_gaussian(mean, std, bounds, normals, sampled, 0.5)
    assert np.allclose(actions[1:].mean(axis=0), [0.5, -3], atol=0.03)
    assert np.allclose(actions[1:].std(axis=0), [0.05, 1], atol=0.02)
    assert np.allclose(actions[0], [0.5, -3])
    assert np.allclose(used[5], [[0.5, -3], [0.05, 1]])
    outside, _ = decode_gaussian(mean * 10, std, bounds, normals, sampled, 1.0)
    assert outside[:, 0].max() == 1
    assert outside.dtype == np.float32


def test_a_tanh_head_has_nothing_to_draw_from():
    decoder = ActionDecoder(facts_for("Pendulum-v1").action, "tanh")
    outputs = np.array([[1.5], [-0.5]], dtype=np.float32)
    actions, used = decoder.decode(outputs, np.array([[0.9], [0.1]]), np.array([True, False]), 1.0)
    assert np.array_equal(actions, outputs)
    assert used[:, 1].tolist() == [[0], [0]]
