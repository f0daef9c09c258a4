import doctest
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqrl import windows
from seqrl.windows import Windows, returns_to_go, split_episodes, top_episodes
from tests.windowed import make_columns

LENGTHS = (4, 20, 1, 9, 16)
K = 6


@pytest.fixture(scope="module")
def columns():
    return make_columns(LENGTHS)


def all_windows(columns, k=K, **settings):
    """Every window there is, in order, as one batch, with the row each one starts at."""
    source = Windows(columns, k, **settings)
    places = source.index.locate(np.arange(len(source)))
    return source.gather(places), places.start


def test_doctests_hold():
    assert doctest.testmod(windows).failed == 0


# --- returns-to-go ---------------------------------------------------------------------------------

episodes_of_rewards = st.lists(
    st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=12), min_size=1, max_size=6
)
discounts = st.floats(0.05, 1.0)


@given(episodes_of_rewards, discounts)
def test_returns_to_go_are_the_sum_of_the_formula(episodes, discount):
    rewards, ends = np.concatenate(episodes), np.cumsum([len(episode) for episode in episodes])
    expected = [
        sum(discount ** (later - t) * episode[later] for later in range(t, len(episode)))
        for episode in episodes
        for t in range(len(episode))
    ]
    np.testing.assert_allclose(returns_to_go(rewards, ends, discount), expected, rtol=1e-9, atol=1e-9)


@given(episodes_of_rewards)
def test_an_episode_does_not_see_its_neighbours(episodes):
    rewards, ends = np.concatenate(episodes), np.cumsum([len(episode) for episode in episodes])
    apart = np.concatenate([returns_to_go(np.array(e), np.array([len(e)]), 0.9) for e in episodes])
    np.testing.assert_array_equal(returns_to_go(rewards, ends, 0.9), apart)


@given(episodes_of_rewards, discounts)
def test_bug_14_the_update_of_acting_inverts_the_recursion_in_the_units_of_the_data(episodes, discount):
    """The notebook scaled discounted returns to at most 0.99 and asked for 5.0; the inverse ran away."""
    rewards, ends = np.concatenate(episodes), np.cumsum([len(episode) for episode in episodes])
    request = returns_to_go(rewards, ends, discount)
    inside = np.setdiff1d(np.arange(len(rewards) - 1), ends - 1)
    restored = request[inside] - discount * request[inside + 1]
    np.testing.assert_allclose(restored, rewards[inside], atol=1e-9)


@pytest.mark.parametrize(
    ("ends", "rewards", "sentence"),
    [
        ([3, 2, 5], 5, "episode 1 ends at step 2, 1 before its start"),
        ([0, 5], 5, "episode 0 ends at step 0"),
        ([3, 4], 5, "episode 1 ends at step 4 but there are 5 rewards"),
    ],
)
def test_ends_that_do_not_partition_the_rewards_are_named(ends, rewards, sentence):
    with pytest.raises(ValueError, match=sentence):
        returns_to_go(np.ones(rewards), np.array(ends))


# --- what a window holds ---------------------------------------------------------------------------


def test_bug_16_short_episodes_are_kept(columns):
    """The notebook drops episodes no longer than K, which are the worst ones."""
    batch, start = all_windows(columns)
    assert sorted(start) == list(range(sum(LENGTHS)))
    one_step = batch.mask[start == 24]  # the episode of one step
    assert one_step.sum() == 1


def test_a_window_is_its_episode_from_there_on_and_nothing_else(columns):
    batch, starts = all_windows(columns, discount=0.9)
    request = returns_to_go(columns.rewards[: columns.steps], np.cumsum(LENGTHS), 0.9).astype(np.float32)
    first, last = columns.episodes["start"].to_numpy(), columns.episodes["end"].to_numpy()
    for row, start in enumerate(starts):
        episode = np.searchsorted(last, start, side="right")
        real = slice(start, min(start + K, last[episode]))
        count = real.stop - real.start
        assert batch.mask[row].tolist() == [True] * count + [False] * (K - count)
        np.testing.assert_array_equal(batch.observations[row, :count], columns.observations[real])
        np.testing.assert_array_equal(batch.actions[row, :count], columns.actions[real])
        np.testing.assert_array_equal(batch.returns_to_go[row, :count], request[real])
        np.testing.assert_array_equal(batch.timesteps[row, :count], np.arange(real.start, real.stop) - first[episode])


def test_bug_21_timesteps_are_absolute_and_stay_inside_the_table_for_any_lengths(columns):
    """The notebook ignores timesteps and needs episodes of equal length."""
    batch, _ = all_windows(columns)
    assert batch.timesteps.max() == max(LENGTHS) - 1
    assert len(set(batch.timesteps[:, 0].tolist())) == max(LENGTHS)


def test_bug_20_windows_are_not_stored(columns):
    """The notebook stores every step 20 times; here all windows are a view of the columns."""
    source = Windows(columns, 20)
    own = [value for value in vars(source).values() if isinstance(value, np.ndarray)]
    tables = (8 + 1) * 20 * 21  # which steps are real, and how late they are, by how many are left
    assert sum(value.nbytes for value in own) <= 4 * len(columns.rewards) + tables
    for view, column in zip(source._views, (columns.observations, columns.actions, source.returns_to_go), strict=True):
        assert np.shares_memory(view._windows, column)


def test_bug_22_padding_holds_no_invented_states(columns):
    """The notebook pads with zero states, which become -mean/std: a mask says what is real, and only that counts."""
    batch, starts = all_windows(columns)
    assert batch.count == sum(min(K, length - t) for length in LENGTHS for t in range(length))
    assert (batch.mask.sum(1) > 0).all()


def test_cover_holds_every_step_exactly_once(columns):
    batches = list(Windows(columns, K).cover(4))
    rows = torch.cat([batch.observations[batch.mask] for batch in batches])
    assert len(rows) == columns.steps
    assert sorted(rows[:, 0].tolist()) == sorted(columns.observations[: columns.steps, 0].tolist())
    assert all(len(batch.mask) <= 4 for batch in batches)


def test_cover_up_to_a_limit_is_spread_over_the_episodes(columns):
    first, *_, last = Windows(columns, K).cover(1, limit=3)
    assert first.observations[0, 0, 0] == columns.observations[0, 0]
    assert last.mask.sum() == LENGTHS[-1] % K


# --- sampling --------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_seed_and_number(columns):
    source = Windows(columns, K)
    source.sample(8, seed=1, batch=0)
    again, other = source.sample(8, seed=1, batch=7), Windows(columns, K).sample(8, seed=1, batch=7)
    torch.testing.assert_close(again.observations, other.observations, rtol=0, atol=0)
    assert not torch.equal(again.observations, source.sample(8, seed=2, batch=7).observations)
    assert not torch.equal(again.observations, source.sample(8, seed=1, batch=8).observations)


@pytest.mark.parametrize("most", [0, 2_000, 2**21])
def test_batches_gathered_together_are_those_gathered_one_by_one(columns, monkeypatch, most):
    monkeypatch.setattr(windows, "GATHERED_BYTES", most)
    source = Windows(columns, K, discount=0.9)
    for number in (3, 2, 70, 71, 3):
        batch, alone = source.sample(8, 1, number), source.gather(source.index.sample(8, 1, number))
        for item in fields(alone):
            ours, theirs = getattr(batch, item.name), getattr(alone, item.name)
            assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype and ours.is_contiguous()


def test_windows_of_other_episodes_do_not_show_what_was_gathered_before(columns):
    everything = Windows(columns, K)
    everything.sample(64, 0, 0)
    first = everything.of_episodes(columns.spans[:1]).sample(64, 0, 0)
    assert torch.equal(first.observations, Windows(columns, K, episodes=np.array([0])).sample(64, 0, 0).observations)


def test_every_step_is_drawn_equally_often(columns):
    source = Windows(columns, K)
    starts = source.index.sample(60_000, seed=0, batch=0).start
    counts = np.bincount(starts, minlength=columns.steps)
    assert counts.min() > 0.9 * 60_000 / columns.steps
    assert counts.max() < 1.1 * 60_000 / columns.steps


def test_only_the_chosen_episodes_are_drawn(columns):
    starts = Windows(columns, K, episodes=np.array([1, 3])).index.sample(2000, seed=0, batch=0).start
    assert set(starts) == {*range(4, 24), *range(25, 34)}


@given(st.integers(2, 200), st.floats(0.01, 0.5), st.integers(0, 100))
def test_bug_17_the_split_is_by_episode(count, fraction, seed):
    """Overlapping windows of one episode on both sides of ``random_split`` leak."""
    kept, held_out = split_episodes(count, fraction, seed)
    assert not set(kept) & set(held_out)
    assert sorted([*kept, *held_out]) == list(range(count))
    assert len(kept) > 0
    assert len(held_out) == min(max(round(count * fraction), 1), count - 1)


def test_windows_of_the_two_sides_share_no_step(columns):
    kept, held_out = split_episodes(len(LENGTHS), 0.4, seed=3)
    sides = [
        torch.cat([b.observations[b.mask][:, 0] for b in Windows(columns, K, episodes=e).cover(8)])
        for e in (kept, held_out)
    ]
    assert not set(sides[0].tolist()) & set(sides[1].tolist())


def test_the_best_episodes_are_those_with_the_highest_returns():
    returns = np.array([3.0, -1.0, 8.0, 8.0, 0.0])
    assert top_episodes(returns, 0.2).tolist() == [2]
    assert top_episodes(returns, 0.6).tolist() == [0, 2, 3]
    assert top_episodes(returns, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert top_episodes(returns, 0.01).tolist() == [2]
