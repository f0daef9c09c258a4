import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl.config import DatasetFacts, ReturnSummary, SpaceFacts
from seqrl.tokens import (
    TransitionTokenizer,
    dataset_tokens,
    error_by_bins,
    fit_discretizer,
    fit_tokenizer,
    inspect_tokens,
    transition_layout,
    value_targets,
)

SUMMARY = ReturnSummary(mean=0, std=1, minimum=0, maximum=1)


def make_facts(observation: SpaceFacts, action: SpaceFacts) -> DatasetFacts:
    return DatasetFacts(
        environment=None,
        observation=observation,
        action=action,
        episodes=2,
        steps=10,
        max_length=6,
        max_episode_steps=None,
        returns=SUMMARY,
        terminated_episodes=1,
        truncated_episodes=1,
        reward_minimum=0,
        reward_maximum=1,
        observation_mean=(0.0,) * observation.size,
        observation_std=(1.0,) * observation.size,
        content_hash="",
    )


def box(size: int, prefix: str) -> SpaceFacts:
    return SpaceFacts(kind="box", size=size, shape=(size,), names=tuple(f"{prefix}{i}" for i in range(size)))


def discrete(count: int) -> SpaceFacts:
    return SpaceFacts(kind="discrete", size=1, shape=(), names=("action",), categories=(count,))


ENDS = np.array([40, 100])
TERMINATED = np.array([True, False])


def fitted(facts, observations, actions, rewards, **settings_):
    settings_ = {"bins": 12, "strategy": "quantile", "discount": 0.9} | settings_
    layout = transition_layout(facts)
    return fit_tokenizer(layout, observations, actions, rewards, ENDS, TERMINATED, **settings_)


@pytest.fixture
def continuous():
    rng = np.random.default_rng(0)
    facts = make_facts(box(3, "s"), box(2, "a"))
    columns = rng.normal(size=(100, 3)), rng.normal(size=(100, 2)), rng.normal(size=100)
    return fitted(facts, *columns), columns


def test_the_tokens_of_a_transition_are_in_order(continuous):
    layout = continuous[0].layout
    assert [dimension.kind for dimension in layout.dimensions] == [
        *["observation"] * 3,
        *["action"] * 2,
        "reward",
        "value",
    ]
    assert (layout.observation, layout.action, layout.reward, layout.value) == (slice(0, 3), slice(3, 5), 5, 6)


def test_bug_04_the_reward_is_read_with_the_reward_bins(continuous):
    """The notebook slices reward and value with the width of the action: reward 5.0 became token 99, not 41."""
    tokenizer, (observations, actions, rewards) = continuous
    rewards = rewards + 50.0
    shifted = fitted(make_facts(box(3, "s"), box(2, "a")), observations, actions, rewards)
    tokens = shifted.encode_rewards(rewards)
    edges = shifted.bins.edges[shifted.layout.reward, 1 : shifted.bins.counts[shifted.layout.reward]]
    assert (tokens == np.searchsorted(edges, rewards, side="right")).all()
    wrong = shifted.bins.encode(rewards[:, None], [2])[:, 0]  # another dimension's bins put all into the last one
    assert (wrong == shifted.bins.counts[2] - 1).all()
    assert np.bincount(tokens).max() < 20


def brute_values(rewards, ends, terminated, discount):
    values, start = [], 0
    for end, over in zip(ends, terminated, strict=True):
        recent = int(np.ceil(1 / (1 - discount) - 1e-9)) if discount < 1 else 1
        beyond = 0.0 if over or discount == 1 else np.mean(rewards[start:end][-recent:]) / (1 - discount)
        for t in range(start, end):
            known = sum(discount ** (k - t - 1) * rewards[k] for k in range(t + 1, end))
            values.append(known + discount ** (end - 1 - t) * beyond)
        start = end
    return np.array(values)


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=6), st.sampled_from([0.5, 0.9, 1.0]))
@settings(max_examples=60, deadline=None)
def test_values_are_their_definition(episodes, discount):
    ends = np.cumsum([length for length, _ in episodes])
    terminated = np.array([over for _, over in episodes])
    rewards = np.random.default_rng(len(episodes)).normal(size=ends[-1])
    np.testing.assert_allclose(
        value_targets(rewards, ends, terminated, discount), brute_values(rewards, ends, terminated, discount)
    )


def test_bug_09_the_value_leaves_its_own_reward_out():
    rewards = np.array([7.0, 1.0, 2.0])
    values = value_targets(rewards, np.array([3]), np.array([True]), 0.5)
    assert values.tolist() == [1 + 0.5 * 2, 2, 0]
    including = rewards + 0.5 * values  # the text of the notebook
    assert including[0] != values[0]


def test_bug_10_a_time_limit_is_not_an_end_of_the_future():
    """CartPole at its limit: the pole stands, so the last step is worth as much as any other."""
    rewards = np.ones(500)
    truncated = value_targets(rewards, np.array([500]), np.array([False]), 0.99)
    np.testing.assert_allclose(truncated, 100.0)
    terminated = value_targets(rewards, np.array([500]), np.array([True]), 0.99)
    assert terminated[-1] == 0  # what the notebook gives a truncated episode, too
    assert terminated[-50] < 40


def test_a_termination_is_a_token_and_a_truncation_is_not(continuous):
    tokenizer, (observations, actions, rewards) = continuous
    tokens = dataset_tokens(tokenizer, observations, actions, rewards, ENDS, TERMINATED, discount=0.9, tail=5)
    assert tokens.shape == (105, 7)
    assert tokens.dtype == np.uint8
    assert (tokens[100:] == 0).all()
    assert np.flatnonzero(tokens[:100, 6] == tokenizer.end_token).tolist() == [39]
    assert tokenizer.vocabulary.tolist() == [12] * 7
    assert tokenizer.end_token == 11


def test_returns_behind_value_tokens_are_means_of_the_data(continuous):
    tokenizer, (observations, actions, rewards) = continuous
    tokens = dataset_tokens(tokenizer, observations, actions, rewards, ENDS, TERMINATED, discount=0.9)
    returns = value_targets(rewards, ENDS, TERMINATED, 1.0)
    for token in range(tokenizer.end_token):
        assert tokenizer.value_returns[token] == pytest.approx(returns[tokens[:100, 6] == token].mean())
    assert tokenizer.value_returns[tokenizer.end_token] == 0


def test_discrete_spaces_are_one_token_a_component():
    rng = np.random.default_rng(1)
    observation = SpaceFacts(kind="multi_discrete", size=7, shape=(7,), names=tuple("abcdefg"), categories=(4, 3))
    action = SpaceFacts(kind="multi_discrete", size=2, shape=(2,), names=("x", "y"), categories=(5, 2))
    states = np.stack([rng.integers(0, 4, 100), rng.integers(0, 3, 100)], axis=1)
    one_hot = np.concatenate([np.eye(4)[states[:, 0]], np.eye(3)[states[:, 1]]], axis=1).astype(np.float32)
    actions = np.stack([rng.integers(0, 5, 100), rng.integers(0, 2, 100)], axis=1)
    tokenizer = fitted(make_facts(observation, action), one_hot, actions, rng.normal(size=100))
    assert tokenizer.vocabulary[:4].tolist() == [4, 3, 5, 2]
    assert (tokenizer.encode_observations(one_hot) == states).all()
    assert (tokenizer.encode_actions(actions) == actions).all()
    assert (tokenizer.decode_observations(states) == one_hot).all()
    assert (tokenizer.decode_actions(actions) == actions).all()


def test_a_single_discrete_action_has_no_axis():
    rng = np.random.default_rng(2)
    actions = rng.integers(0, 2, 100)
    tokenizer = fitted(make_facts(box(3, "s"), discrete(2)), rng.normal(size=(100, 3)), actions, np.ones(100))
    assert tokenizer.encode_actions(actions).shape == (100, 1)
    decoded = tokenizer.decode_actions(tokenizer.encode_actions(actions))
    assert decoded.dtype == np.int64
    assert (decoded == actions).all()


def test_images_are_refused():
    image = SpaceFacts(kind="image", size=12288, shape=(64, 64, 3), names=())
    with pytest.raises(ValueError, match="images of 12288 numbers"):
        transition_layout(make_facts(image, discrete(2)))


def test_a_tokenizer_survives_its_arrays(continuous):
    tokenizer, (observations, actions, rewards) = continuous
    again = TransitionTokenizer.from_arrays(tokenizer.layout, tokenizer.arrays())
    settings_ = {"discount": 0.9}
    first = dataset_tokens(tokenizer, observations, actions, rewards, ENDS, TERMINATED, **settings_)
    assert (first == dataset_tokens(again, observations, actions, rewards, ENDS, TERMINATED, **settings_)).all()
    broken = {name: array.copy() for name, array in tokenizer.arrays().items()}
    broken["edges"][0, 2] = np.nan
    with pytest.raises(ValueError, match="finite and increasing"):
        TransitionTokenizer.from_arrays(tokenizer.layout, broken)


def test_a_dataset_of_single_terminal_steps_has_only_the_end_token():
    layout = transition_layout(make_facts(box(1, "s"), discrete(2)))
    ends, over = np.arange(1, 6), np.ones(5, dtype=bool)
    columns = np.arange(5.0)[:, None], np.zeros(5, dtype=np.int64), np.ones(5)
    tokenizer = fit_tokenizer(layout, *columns, ends, over, bins=5, strategy="quantile", discount=0.9)
    tokens = dataset_tokens(tokenizer, *columns, ends, over, discount=0.9)
    assert (tokens[:, -1] == tokenizer.end_token).all()


def test_figures_name_unused_and_over_wide_bins():
    column = np.concatenate([np.linspace(0, 1, 99), [1000.0]])[:, None]
    uniform = inspect_tokens(fit_discretizer(column, 10, "uniform"), column)[0]
    assert uniform.unused == tuple(range(1, 9))
    assert uniform.occupancy.tolist() == [99, *[0] * 8, 1]
    quantile = inspect_tokens(fit_discretizer(column, 10, "quantile"), column)[0]
    assert quantile.unused == ()
    assert quantile.over_wide == (9,)
    assert uniform.error_rms > 10 * np.median(np.diff(column[:-1, 0]))
    assert uniform.error_max <= 50


def test_reconstruction_error_falls_with_more_bins_and_is_exact_for_few_values():
    rng = np.random.default_rng(3)
    errors = error_by_bins(rng.normal(size=5000), [2, 8, 32, 128])
    assert set(errors) == {"uniform", "quantile"}
    assert all((np.diff(curve) < 0).all() for curve in errors.values())
    assert error_by_bins(rng.integers(0, 5, 100), [5])["quantile"][0] == 0


def test_groups_of_categories_are_called_what_their_values_share():
    def names(*values):
        groups = SpaceFacts(kind="multi_discrete", size=4, shape=(4,), names=values, categories=(2, 2))
        return [dimension.name for dimension in transition_layout(make_facts(groups, discrete(2))).dimensions[:2]]

    assert names("key: lost", "key: found", "room 1", "room 2") == ["key", "room"]
    assert names("lost", "found", "room 1", "room 2") == ["state 0", "room"]
    assert names("room 1", "room 2", "room 3", "room 4") == ["room", "state 1"]
    assert names() == ["state 0", "state 1"]
