"""Weights of trajectories against their definition, and against sampling."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import seqrl.ensembles
from seqrl.ensembles import (
    asked_weights,
    delivered_return,
    effective_sample_size,
    imitated,
    path_weights,
    sample_sizes,
)

RETURNS = arrays(np.float64, st.integers(1, 30), elements=st.floats(-500, 500))


def test_the_examples_hold():
    assert doctest.testmod(seqrl.ensembles).failed == 0


@given(RETURNS, st.floats(0.01, 1e4))
def test_weights_are_the_normalised_exponentials_and_do_not_overflow(returns, temperature):
    weights = path_weights(returns, temperature)
    assert weights.sum() == pytest.approx(1)
    logs = (returns - returns.max()) / temperature
    assert weights == pytest.approx(np.exp(logs) / np.exp(logs).sum())


@given(RETURNS, st.floats(0.5, 100), st.floats(-1000, 1000))
def test_only_differences_of_returns_matter(returns, temperature, shift):
    assert path_weights(returns + shift, temperature) == pytest.approx(path_weights(returns, temperature), abs=1e-6)


def test_a_high_temperature_leaves_the_data_and_a_low_one_keeps_the_best():
    returns = np.array([1.0, 5.0, 3.0])
    assert path_weights(returns, np.inf) == pytest.approx(np.full(3, 1 / 3))
    assert path_weights(returns, 1e-3) == pytest.approx([0, 1, 0])


@given(RETURNS)
def test_the_sample_size_rises_with_the_temperature_from_one_to_all(returns):
    sizes = sample_sizes(returns, np.geomspace(0.1, 1e5, 20))
    assert np.all(np.diff(sizes) >= -1e-6)
    assert np.all(sizes >= 1 - 1e-9)
    assert np.all(sizes <= len(returns) + 1e-6)


def test_the_sample_size_is_what_the_variance_of_a_weighted_mean_says():
    rng = np.random.default_rng(0)
    weights = path_weights(rng.normal(size=50), 0.7)
    means = rng.normal(size=(200_000 // 50, 50)) @ weights
    assert 1 / means.var() == pytest.approx(effective_sample_size(weights), rel=0.1)


def test_no_temperature_below_zero_and_no_empty_data():
    with pytest.raises(ValueError, match="temperature is 0; choose more than 0"):
        path_weights(np.ones(2), 0)
    with pytest.raises(ValueError, match="no trajectories"):
        path_weights(np.empty(0), 1.0)
    with pytest.raises(ValueError, match="no trajectories"):
        asked_weights(np.empty(0), 1.0, 1.0)


def test_asking_chooses_what_lies_near_and_else_the_nearest():
    returns = np.array([-1.0, 4.0, 5.0, 9.0])
    assert asked_weights(returns, 4.6, 1.0).tolist() == [0, 0.5, 0.5, 0]
    assert asked_weights(returns, 100.0, 1.0).tolist() == [0, 0, 0, 1]


def test_imitation_is_the_frequency_of_an_action_among_weighted_steps():
    rng = np.random.default_rng(1)
    situations, actions, weights = rng.integers(3, size=200), rng.integers(2, size=200), rng.random(200)
    policy = imitated(situations, actions, weights, (4, 2))
    for x in range(3):
        for a in range(2):
            chosen = (situations == x) & (actions == a)
            assert policy[x, a] == pytest.approx(weights[chosen].sum() / weights[situations == x].sum())
    assert np.isnan(policy[3]).all()


def test_what_is_delivered_is_the_mean_of_playing_it():
    """A bet that is won in three of ten rounds: playing the policy many times gives what the formula says."""
    rng = np.random.default_rng(2)
    bets = np.array([0.9, 0.2, np.nan])
    policy = np.stack([1 - bets, bets], axis=1)
    rewards = np.tile([1.0, 0.3 * 4 - 0.7 * 2], (3, 1))
    chances = np.array([0.9, 0.2, 0.5])
    risked = rng.random((100_000, 3)) < chances
    won = np.where(rng.random((100_000, 3)) < 0.3, 4.0, -2.0)
    played = np.where(risked, won, 1.0).sum(axis=1)
    assert delivered_return(policy, rewards) == pytest.approx(played.mean(), abs=0.05)
