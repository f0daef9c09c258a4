import numpy as np
import pytest

from seqrl.plots import (
    length_histogram,
    length_histogram_info,
    percentile_curve,
    percentile_curve_info,
    return_histogram,
    return_histogram_info,
    return_to_go_fan,
    return_to_go_fan_info,
    return_to_go_fan_table,
    sentence,
)
from seqrl.plots.template import data_greys

from .synthetic import steps_of, tier_returns


def test_returns_are_stacked_from_the_worst_tier_to_the_best_in_greys_that_grow_stronger():
    returns, tiers = tier_returns()
    info = return_histogram_info(returns, tiers)
    assert info.groups == ("poor", "medium", "expert")
    figure = return_histogram(info, "dark")
    assert [trace.marker.color for trace in figure.data] == data_greys(3, "dark")
    assert figure.layout.barmode == "stack"
    for name, trace in zip(info.groups, figure.data, strict=True):
        assert sum(trace.y) == (tiers == name).sum()
    assert f"poor {returns[tiers == 'poor'].mean():.1f}" in sentence(info)


def test_bins_are_round_and_end_never_inside_a_whole_number_of_steps():
    info = length_histogram_info(np.array([9, 10, 11, 500]), np.array([False, False, False, True]))
    width = info.edges[1] - info.edges[0]
    assert width == int(width)
    assert info.edges[0] % width == 0
    assert info.edges[-1] > 500
    assert info.counts.sum() == 4


@pytest.mark.parametrize("returns", [[-200.0] * 7, [3.5], [-1e6, 1e6], [0.0, 1e-7]])
def test_every_episode_is_in_exactly_one_bin(returns):
    info = return_histogram_info(np.array(returns))
    assert info.counts.sum() == len(returns)
    assert len(return_histogram(info).data) == 1


def test_truncated_episodes_are_counted_and_called_a_lower_bound():
    lengths = np.array([10, 500, 500, 20])
    info = length_histogram_info(lengths, lengths == 500)
    assert info.groups == ("ended by itself", "cut off by the time limit")
    assert "50% were cut off" in sentence(info)
    assert "missing from their return" in sentence(info)
    assert "all of them ended by themselves" in sentence(length_histogram_info(lengths))
    assert length_histogram(info).layout.xaxis.title.text == "length (steps)"


def test_the_fan_holds_the_percentiles_of_the_running_episodes():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, 60)
    rewards, ends, *_ = steps_of(lengths)
    rewards = rng.standard_normal(len(rewards))
    info = return_to_go_fan_info(rewards, ends, discount=0.9)
    starts = ends - lengths
    for step in (0, 5, 30):
        expected = [
            sum(0.9**k * rewards[i + k] for k in range(int(end - i)))
            for i, end in zip(starts + step, ends, strict=True)
            if i < end
        ]
        np.testing.assert_allclose(info.percentiles[:, step], np.percentile(expected, (5, 25, 50, 75, 95)))
        assert info.running[step] == len(expected)


def test_the_table_of_the_fan_has_a_row_a_step():
    table = return_to_go_fan_table(return_to_go_fan_info(np.ones(5), np.array([2, 5])))
    assert table["step"].tolist() == [0, 1, 2] and table["episodes"].tolist() == [2, 2, 1]
    assert table["50 %"].tolist() == [2.5, 1.5, 1.0]


def test_single_episodes_of_the_fan_carry_their_number():
    lengths = np.array([5, 50, 20, 30])
    rewards, ends, *_ = steps_of(lengths)
    info = return_to_go_fan_info(rewards, ends)
    named = [trace for trace in return_to_go_fan(info).data if trace.name.startswith("episode")]
    assert len(named) == 3
    for trace in named:
        episode = trace.customdata[0]
        assert trace.y[0] == lengths[episode]
        assert len(trace.x) == lengths[episode]
    assert "half of them have ended by step 30" in sentence(info)


def test_a_large_dataset_makes_a_small_figure():
    lengths = np.full(9000, 1000)
    info = return_to_go_fan_info(np.ones(9_000_000, dtype=np.float32), np.cumsum(lengths))
    assert info.total <= 4500
    assert len(info.times) <= 250
    assert sum(len(trace.x) for trace in return_to_go_fan(info).data) < 4000


def test_percentiles_are_numpys():
    returns, _ = tier_returns()
    info = percentile_curve_info(returns)
    assert info.marks == tuple((mark, np.percentile(returns, mark)) for mark in (10, 50, 90))
    figure = percentile_curve(info)
    assert figure.data[0].y[0] == returns.min()
    assert figure.data[0].y[-1] == returns.max()


def test_an_empty_dataset_says_so():
    for info, draw in (
        (return_histogram_info(np.empty(0), []), return_histogram),
        (length_histogram_info(np.empty(0)), length_histogram),
        (return_to_go_fan_info(np.empty(0), np.empty(0)), return_to_go_fan),
        (percentile_curve_info(np.empty(0)), percentile_curve),
    ):
        assert sentence(info) == draw(info).layout.annotations[0].text == "The dataset has no episode yet."
