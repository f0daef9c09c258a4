"""The answer to the request that was made is the answer that was given; attention is what the network computes."""

import dataclasses

import numpy as np
import pytest
import torch

from seqrl.checkpoints import Checkpoint, save_checkpoint
from seqrl.config import ReturnSweepSpec, RunSpec, TrajectoryTransformerSpec
from seqrl.evaluation import return_sweep
from seqrl.probe import (
    History,
    Probe,
    changed_observations,
    observation_dimensions,
    observation_value,
    suggested_values,
)
from tests.acting import actor_for, facts_for


def longest(actor, acting="cached", **settings):
    name = actor.spec.name
    spec = ReturnSweepSpec(
        **{"name": "s", "runs": (name,), "targets": (9.0,), "episodes": 12, "acting": acting} | settings
    )
    records = [record for cell in return_sweep(spec, {name: actor}) for record in cell]
    return max(records, key=lambda record: record.length)


@pytest.mark.parametrize("acting", ["cached", "window"])
@pytest.mark.parametrize("kind", ["dt", "bc"])
def test_the_curve_passes_through_what_the_run_did(kind, acting):
    actor = actor_for(facts_for("CartPole-v1"), kind=kind)
    record = longest(actor, acting, decodings=("sampled",))
    probe = Probe(*actor)
    history = History.of(record, probe.facts)
    assert record.length > 12
    differences = []
    for step in range(record.length):
        asked = 3.0 if kind == "bc" else record.returns_to_go[step]
        curve = probe.response_curve(history, step, [asked - 40, asked, asked + 40], acting=acting)
        assert np.allclose(curve.probabilities[1], record.action_probabilities[step], atol=1e-5)
        differences.append(np.abs(curve.probabilities[0] - curve.probabilities[2]).max())
    assert max(differences) == 0 if kind == "bc" else max(differences) > 1e-3
    assert curve.names == ("push left", "push right")


def test_a_counterfactual_request_was_made_from_the_start():
    """The curve at another request is what the run says in the same episode when it is asked for that much more."""
    actor = actor_for(facts_for("CartPole-v1"))
    record = longest(actor, "window", decodings=("sampled",))
    probe = Probe(*actor)
    history = History.of(record, probe.facts)
    step = record.length - 1
    model, k = actor.model, actor.spec.model.context_length
    window = slice(step + 1 - k, step + 1)
    with torch.inference_mode():
        logits = model.act_logits(
            torch.from_numpy(history.observations[window])[None],
            torch.from_numpy(record.actions[window][:-1])[None],
            torch.from_numpy(record.returns_to_go[window] + 25).float()[None],
            torch.arange(window.start, window.stop),
        )
    curve = probe.response_curve(history, step, [record.returns_to_go[step] + 25], acting="window")
    assert np.allclose(curve.probabilities, logits.softmax(-1).numpy(), atol=1e-6)


def test_with_a_discount_earlier_requests_change_less():
    actor = actor_for(facts_for("CartPole-v1"), discount=0.5)
    seen = []
    original = actor.model.act_logits
    actor.model.act_logits = lambda *window: seen.append(window) or original(*window)
    probe = Probe(*actor)
    record = longest(actor, targets=(1.5,), decodings=("sampled",))
    seen.clear()
    history = History.of(record, probe.facts)
    probe.response_curve(history, 2, [record.returns_to_go[2] + 1])
    assert np.allclose(seen[0][2].numpy() - record.returns_to_go[:3], [[0.25, 0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("head", ["tanh", "linear", "gaussian"])
def test_continuous_actions_have_a_mean_and_a_spread(head):
    facts = facts_for("Pendulum-v1", max_episode_steps=12, reward_minimum=-17.0, reward_maximum=0.0)
    actor = actor_for(facts, sharpness=3, action_head=head)
    record = longest(actor, targets=(-40.0,))
    probe = Probe(*actor)
    curve = probe.response_curve(History.of(record, probe.facts), 8, [record.returns_to_go[8], 0.0])
    assert curve.names == ("torque",)
    assert curve.probabilities is None
    assert np.allclose(curve.mean[0], record.action_probabilities[8, 0], atol=1e-5)
    assert (curve.std[0] > 0).all() if head == "gaussian" else (curve.std[0] == 0).all()
    assert not np.allclose(curve.mean[0], curve.mean[1])


@pytest.mark.parametrize(("kind", "kinds"), [("dt", ("R", "s", "a")), ("bc", ("s", "a"))])
def test_attention_is_a_distribution_over_earlier_tokens(kind, kinds):
    actor = actor_for(facts_for("CartPole-v1"), kind=kind)
    record = longest(actor, "window", decodings=("sampled",))
    probe = Probe(*actor)
    history = History.of(record, probe.facts)
    for step in (0, 2, record.length - 1):
        seen = min(step + 1, 5)
        attention = probe.attention(history, step, acting="window")
        tokens = len(kinds) * seen - 1
        assert attention.weights.shape == (2, 2, seen, tokens)
        assert attention.kinds == (kinds * seen)[:tokens]
        assert attention.timesteps[0] == step + 1 - seen
        assert attention.timesteps[-1] == step
        assert np.allclose(attention.weights.sum(-1), 1, atol=1e-5)
        for place in range(seen):
            own = len(kinds) * place + kinds.index("s")
            assert (attention.weights[:, :, place, own + 1 :] == 0).all()
            assert (attention.weights[:, :, place, : own + 1] > 0).all()


def test_attention_of_the_first_layer_is_the_softmax_of_its_scores():
    actor = actor_for(facts_for("CartPole-v1"))
    record = longest(actor, "window", decodings=("sampled",))
    probe = Probe(*actor)
    history = History.of(record, probe.facts)
    model, step = actor.model, 7
    window = slice(step - 4, step + 1)
    with torch.inference_mode():
        x = model._embed(
            torch.from_numpy(history.observations[window])[None],
            torch.from_numpy(record.actions[window])[None],
            torch.from_numpy(record.returns_to_go[window]).float()[None],
            torch.arange(step - 4, step + 1)[None],
        )
        block = model.transformer.blocks[0]
        q, k, _ = block.attention.qkv(block.norm_1(x).flatten(0, 1)).unflatten(-1, (3, 2, 8)).permute(1, 2, 0, 3)
        scores = q @ k.transpose(1, 2) / 8**0.5
        expected = scores.masked_fill(torch.ones(14, 14).triu(1).bool(), -torch.inf).softmax(-1)[:, 1::3]
    assert np.allclose(probe.attention(history, step, acting="window").weights[0], expected.numpy(), atol=1e-5)


def test_a_probe_opens_a_run_folder(tmp_path):
    actor = actor_for(facts_for("CartPole-v1"))
    save_checkpoint(tmp_path, Checkpoint(actor.model.state_dict()), actor.spec, actor.facts)
    record = longest(actor)
    probe = Probe.open(tmp_path)
    history = History.of(record, probe.facts)
    curve = probe.response_curve(history, 3, [record.returns_to_go[3]])
    assert np.allclose(curve.probabilities[0], record.action_probabilities[3], atol=1e-5)


def test_what_cannot_be_asked_is_a_sentence():
    actor = actor_for(facts_for("CartPole-v1"))
    probe = Probe(*actor)
    record = longest(actor)
    with pytest.raises(ValueError, match=f"step is {record.length} but the episode has steps 0 to {record.length - 1}"):
        probe.response_curve(History.of(record, probe.facts), record.length, [1.0])
    planner = RunSpec(name="tt", dataset="data", model=TrajectoryTransformerSpec())
    with pytest.raises(ValueError, match="the run tt plans instead of answering a target"):
        Probe(actor.model, planner, actor.facts)


def test_another_sight_is_what_the_run_says_when_it_sees_it():
    actor = actor_for(facts_for("CartPole-v1"))
    record = longest(actor, decodings=("sampled",))
    probe = Probe(*actor)
    history = History.of(record, probe.facts)
    step, angle = record.length - 1, history.observations[record.length - 1][2]
    curve = probe.response_to_observation(history, step, "pole angle", [angle, angle + 0.3])
    assert curve.varied == "pole angle"
    assert np.allclose(curve.probabilities[0], record.action_probabilities[step], atol=1e-5)
    changed = history.observations.copy()
    changed[step, 2] += 0.3
    other = dataclasses.replace(history, observations=changed)
    again = probe.response_curve(other, step, [record.returns_to_go[step]])
    assert np.allclose(curve.probabilities[1], again.probabilities[0], atol=1e-6)


def test_values_of_one_dimension_leave_the_others_alone():
    facts = facts_for("CartPole-v1")
    seen = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    changed = changed_observations(facts, seen, "pole angle", [-1.0, 2.0])
    assert np.allclose(changed, [[0.1, 0.2, -1.0, 0.4], [0.1, 0.2, 2.0, 0.4]])
    assert observation_value(facts, seen, "pole angle") == pytest.approx(0.3)
    tried = suggested_values(facts, seen, "pole angle")
    assert tried[0] <= 0.3 <= tried[-1]
    with pytest.raises(ValueError, match="there is no dimension named pole; choose one of cart position"):
        changed_observations(facts, seen, "pole", [0.0])


def test_what_is_suggested_stays_within_bounds_of_which_one_is_0():
    facts = facts_for("Pendulum-v1")
    observation = facts.observation.model_copy(update={"high": (0.0, 1.0, 8.0)})
    seen = np.array([-0.5, 0.0, 0.0], dtype=np.float32)
    tried = suggested_values(facts.model_copy(update={"observation": observation}), seen, observation.names[0])
    assert (tried[0], tried[-1]) == (-1.0, 0.0)


def test_a_discrete_observation_is_changed_as_a_whole():
    facts = facts_for("seqrl/GraphWalk-v0")
    (state,) = observation_dimensions(facts)
    seen = np.eye(facts.observation.size, dtype=np.float32)[3]
    assert observation_value(facts, seen, state) == 3
    changed = changed_observations(facts, seen, state, [0, 5])
    assert np.array_equal(changed.argmax(axis=1), [0, 5])
    assert np.array_equal(changed.sum(axis=1), [1, 1])
    assert len(suggested_values(facts, seen, state)) == facts.observation.size
    with pytest.raises(ValueError, match=r"state is 0\.5 but has the values 0 to"):
        changed_observations(facts, seen, state, [0.5])
