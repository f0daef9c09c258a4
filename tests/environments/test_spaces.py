import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl.environments.spaces import (
    action_decoder,
    action_facts,
    decode_actions,
    decode_observations,
    encode_actions,
    encode_observations,
    is_image,
    observation_encoder,
    observation_facts,
    stack_observations,
)
from tests.tiny_environments import ACTIONS, OBSERVATIONS


def assert_equal(actual, expected):
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key in expected:
            assert_equal(actual[key], expected[key])
    elif isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_almost_equal(actual, expected, decimal=6)
        assert actual.shape == expected.shape and actual.dtype == expected.dtype


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_are_flattened_as_gymnasium_does_and_can_be_put_back(name):
    space = OBSERVATIONS[name]
    space.seed(3)
    samples = [space.sample() for _ in range(7)]
    if name == "Dict":  # unbounded samples lose digits in float32
        samples = [{**sample, "where": np.round(sample["where"], 2)} for sample in samples]
    rows = encode_observations(space, stack_observations(space, samples))
    encode = observation_encoder(space)
    np.testing.assert_array_equal(rows, np.stack([encode(sample) for sample in samples]))
    facts = observation_facts(space)
    assert rows.shape == (7, *facts.shape)
    if is_image(space):
        assert rows.dtype == np.uint8
    else:
        expected = np.stack([spaces.flatten(space, sample) for sample in samples]).astype(np.float32)
        np.testing.assert_array_equal(rows, expected)
        assert len(facts.names) == len(set(facts.names)) == facts.size
        assert len(facts.low) == len(facts.high) == facts.size
    assert_equal(decode_observations(space, rows), stack_observations(space, samples))


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_go_to_rows_and_back(name):
    space = ACTIONS[name]
    space.seed(5)
    samples = [space.sample() for _ in range(20)]
    rows = encode_actions(space, np.stack(samples))
    facts = action_facts(space)
    assert rows.shape == (20, *facts.shape)
    assert rows.dtype == (np.float32 if facts.kind == "box" else np.int64)
    if facts.categories:
        assert rows.min() == 0 and (rows.max(axis=0) < np.array(facts.categories)).all()
    decode = action_decoder(space)
    for row, sample in zip(rows, samples, strict=True):
        assert space.contains(decode(row))
        np.testing.assert_allclose(decode(row), sample, rtol=1e-6)
    assert_equal(decode_actions(space, rows), np.stack(samples))


def test_every_dimension_has_a_name():
    assert observation_facts(OBSERVATIONS["Dict"]).names == (
        "goal is 0", "goal is 1", "goal is 2", "inner flags 1", "inner flags 2", "inner level", "where 1", "where 2",
    )  # fmt: skip
    assert observation_facts(OBSERVATIONS["Discrete"]).names[0] == "state 2"
    assert observation_facts(OBSERVATIONS["MultiDiscrete"]).names[-1] == "component 3 is 2"
    assert observation_facts(OBSERVATIONS["Whole"], ("x", "y")).names == ("x", "y")
    assert observation_facts(OBSERVATIONS["Whole"], ("x",)).names == ("observation 1", "observation 2")


def test_infinite_bounds_are_none():
    facts = action_facts(ACTIONS["Unbounded"])
    assert facts.low == (None, 0.0, None) and facts.high == (None, None, 2.0)


def test_spaces_without_fixed_size_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match="a part of the observations is Sequence"):
        observation_facts(spaces.Dict({"all": spaces.Sequence(spaces.Discrete(2))}))
    with pytest.raises(ValueError, match="the actions are Dict.*seqrl knows discrete"):
        action_facts(spaces.Dict({"a": spaces.Discrete(2)}))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(-3, 3), st.integers(0, 2**20))
def test_any_multi_discrete_space_survives(nvec, start, seed):
    space = spaces.MultiDiscrete(nvec, start=[start] * len(nvec), seed=seed)
    samples = np.stack([space.sample() for _ in range(5)])
    np.testing.assert_array_equal(decode_actions(space, encode_actions(space, samples)), samples)
    np.testing.assert_array_equal(decode_observations(space, encode_observations(space, samples)), samples)


def test_registered_environments_have_the_names_of_their_row():
    env = gymnasium.make("Pendulum-v1")
    assert action_facts(env.action_space, ("torque",)).names == ("torque",)
