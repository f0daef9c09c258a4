"""Points, intervals and calibration against their definitions."""

import doctest
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl import calibration
from seqrl.calibration import bootstrap_interval, points, rank_correlation, sentence, summarise, to_json


def episode_table(cells: dict[tuple[str, str, float], list[float]]) -> pd.DataFrame:
    rows = [
        {
            "run": run,
            "decoding": decoding,
            "target": target,
            "episode": i,
            "achieved_return": value,
            "length": int(value),
        }
        for (run, decoding, target), values in cells.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_doctests_hold():
    assert doctest.testmod(calibration).failed == 0


def test_interval_equals_a_plain_bootstrap_within_resampling_error():
    values = np.random.default_rng(3).exponential(100, size=40)
    rng = np.random.default_rng(4)
    means = [rng.choice(values, size=40).mean() for _ in range(20_000)]
    low, high = bootstrap_interval(values[:, None], resamples=20_000)
    expected = np.quantile(means, [0.025, 0.975])
    assert np.allclose([low[0], high[0]], expected, atol=1.5)


def test_interval_covers_the_mean_about_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(10, 2, size=(40, 1000))
    low, high = bootstrap_interval(samples)
    assert 0.91 <= ((low <= 10) & (high >= 10)).mean() <= 0.97


def test_interval_of_large_samples_takes_the_blocked_path_and_agrees_with_the_normal_theory():
    values = np.random.default_rng(1).normal(0, 1, size=(20_000, 1))
    low, high = bootstrap_interval(values, resamples=500)
    assert np.isclose(high[0] - low[0], 2 * 1.96 / math.sqrt(20_000), rtol=0.15)


def test_interval_is_seeded_and_does_not_depend_on_its_neighbours():
    samples = np.random.default_rng(2).normal(size=(10, 3))
    alone = bootstrap_interval(samples[:, 1:2], seed=5)
    together = bootstrap_interval(samples, seed=5)
    assert np.allclose([alone[0][0], alone[1][0]], [together[0][1], together[1][1]], rtol=1e-12)
    assert not np.allclose(together, bootstrap_interval(samples, seed=6))


def test_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        bootstrap_interval(np.empty((0, 2)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_rank_correlation_is_the_pearson_correlation_of_mean_ranks(pairs):
    x, y = np.array(pairs, dtype=float).T

    def mean_rank(values, value):
        return np.mean([place for place, other in enumerate(sorted(values)) if other == value])

    ranks = [[mean_rank(values, value) for value in values] for values in (x, y)]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(rank_correlation(x, y))
    else:
        assert np.isclose(rank_correlation(x, y), np.corrcoef(ranks)[0, 1])


def test_points_state_count_mean_spread_and_interval_of_each_cell():
    table = points(episode_table({("dt", "sampled", 50.0): [40, 60], ("dt", "sampled", 25.0): [30, 30, 30]}))
    assert table["target"].tolist() == [25.0, 50.0]
    assert table["n"].tolist() == [3, 2]
    assert table["mean"].tolist() == [30, 50]
    assert table["std"].tolist() == [0, 10]
    assert table["length"].tolist() == [30, 50]
    assert table.loc[0, "low"] == table.loc[0, "high"] == 30
    assert 40 <= table.loc[1, "low"] < 50 < table.loc[1, "high"] <= 60


def test_calibration_measures_error_bias_order_and_best():
    episodes = episode_table(
        {("dt", "sampled", 100.0): [110], ("dt", "sampled", 200.0): [180], ("dt", "sampled", 300.0): [330]}
        | {("dt", "greedy", target): [500.0] for target in (100.0, 200.0, 300.0)}
    )
    _, table = summarise(episodes)
    sampled, greedy = (table[table["decoding"] == decoding].iloc[0] for decoding in ("sampled", "greedy"))
    assert sampled["mae"] == pytest.approx(20)
    assert sampled["bias"] == pytest.approx((10 - 20 + 30) / 3)
    assert sampled["rank_correlation"] == pytest.approx(1)
    assert sampled["best"] == 330
    assert greedy["mae"] == greedy["bias"] == 300
    assert math.isnan(greedy["rank_correlation"])


def test_a_partial_sweep_counts_only_what_is_measured():
    episodes = episode_table({("dt", "sampled", 100.0): [90.0]})
    table = summarise(episodes)[1]
    assert table.loc[0, "targets"] == 1
    assert table.loc[0, "mae"] == 10
    empty_points, empty_calibration = summarise(episodes.iloc[:0])
    assert empty_points.empty
    assert empty_calibration.empty


def test_a_run_without_targets_has_one_point_and_is_compared_with_every_target():
    episodes = episode_table({("dt", "sampled", 100.0): [100.0], ("dt", "sampled", 300.0): [300.0]})
    episodes = pd.concat([episodes, episode_table({("bc", "sampled", math.nan): [150.0, 250.0]})])
    measured, table = summarise(episodes)
    cloned = measured[measured["run"] == "bc"]
    assert len(cloned) == 1
    assert not cloned["conditioned"].iloc[0]
    assert measured[measured["run"] == "dt"]["conditioned"].all()
    row = table[table["run"] == "bc"].iloc[0]
    assert (row["targets"], row["mae"], row["bias"], row["best"]) == (2, 100, 0, 200)
    assert not row["conditioned"]
    assert math.isnan(row["rank_correlation"])
    assert summarise(episodes, targets=[200.0])[1].set_index("run").loc["bc", "mae"] == 0


def test_discounted_targets_are_compared_with_discounted_returns():
    episodes = episode_table({("dt", "sampled", 50.0): [69.0]}).assign(discounted_return=50.0)
    measured, table = summarise(episodes)
    assert measured.loc[0, "mean"] == 69
    assert measured.loc[0, ["comparable", "comparable_low", "comparable_high"]].tolist() == [50, 50, 50]
    assert table.loc[0, "mae"] == 0
    assert table.loc[0, "best"] == 69


def test_any_columns_make_a_cell():
    episodes = pd.DataFrame({"run": "tt", "width": [1, 1, 8, 8], "horizon": 4, "achieved_return": [1.0, 3.0, 5.0, 7.0]})
    table = points(episodes, by=("run", "width", "horizon"))
    assert table[["width", "horizon", "mean"]].to_numpy().tolist() == [[1, 4, 2], [8, 4, 6]]


def test_json_has_none_where_there_is_no_value():
    plain = to_json(*summarise(episode_table({("bc", "greedy", math.nan): [500.0]})))
    assert plain["points"][0]["target"] is None
    assert plain["points"][0]["n"] == 1
    assert plain["calibration"][0] == {
        "run": "bc", "decoding": "greedy", "conditioned": False, "targets": 0,
        "mae": None, "bias": None, "rank_correlation": None, "best": 500.0,
    }  # fmt: skip


def test_sentence_says_what_the_figures_say():
    episodes = episode_table(
        {("a", "sampled", 100.0): [123.0], ("a", "greedy", 100.0): [325.0]}
        | {("b", "sampled", 100.0): [104.2], ("b", "greedy", 100.0): [9_100.0]}
        | {("bc", "sampled", math.nan): [318.0], ("bc", "greedy", math.nan): [500.0]}
    )
    both = sentence(summarise(episodes)[1], {"a": "DT", "b": "DT wide", "bc": "BC"})
    assert both == (
        "Sampled, DT is off by 23 on average and DT wide by 4.2; greedy, DT by 225 and DT wide by 9\u2009000. "
        "BC is not asked for a return: it reaches 318 sampled and 500 greedy."
    )
    one = sentence(summarise(episodes[episodes["run"] == "a"])[1])
    assert one == "Sampled, a is off by 23 on average; greedy, by 225."
    assert sentence(summarise(episodes.iloc[:0])[1]) == "No point is measured yet."
    alone = sentence(summarise(episodes[episodes["run"] == "bc"])[1])
    assert alone == "bc is not asked for a return: it reaches 318 sampled and 500 greedy."


def test_order_of_cells_does_not_change_the_figures():
    cells = {("dt", "sampled", float(target)): [target, target + 10] for target in (3, 1, 2)}
    tables = [points(episode_table(dict(order))) for order in itertools.permutations(cells.items())]
    assert all(table.equals(tables[0]) for table in tables)


def test_a_choice_of_the_model_is_a_point_of_its_own_and_compared_with_nothing():
    table = pd.DataFrame(
        {
            "run": "dt",
            "decoding": "sampled",
            "target": [10.0, 10.0, math.nan, math.nan],
            "chosen_return": [math.nan, math.nan, 40.0, 50.0],
            "achieved_return": [8.0, 10.0, 30.0, 31.0],
        }
    )
    measured, errors = summarise(table)
    choice = measured[measured["target"].isna()].iloc[0]
    assert (choice["chosen"], choice["mean"], bool(choice["conditioned"])) == (45.0, 30.5, False)
    assert math.isnan(measured[measured["target"] == 10.0]["chosen"].iloc[0])
    assert errors[["conditioned", "mae", "best"]].to_numpy().tolist() == [[True, 1.0, 9.0]]
    only_choice = summarise(table[table["target"].isna()])[1]
    assert only_choice.empty
    assert sentence(only_choice) == "No point is measured yet."


def goal_table(**columns):
    rows = len(columns["goal_distance"])
    return pd.DataFrame({"run": "dt", "decoding": "greedy", "target": np.nan, **columns}, index=range(rows))


def test_success_is_the_share_that_terminated_at_each_distance():
    table = goal_table(goal_distance=[1.0, 1.0, 3.0, 3.0], terminated=[True, True, False, True], length=[1, 3, 50, 5])
    found = calibration.success(table)
    assert found[["distance", "n", "reached", "steps"]].to_dict("list") == {
        "distance": [1.0, 3.0],
        "n": [2, 2],
        "reached": [1.0, 0.5],
        "steps": [2.0, 5.0],
    }
    assert (found["low"] <= found["reached"]).all() and (found["reached"] <= found["high"]).all()


def test_many_distances_make_groups_of_like_size():
    away = np.random.default_rng(0).random(600)
    found = calibration.success(goal_table(goal_distance=away, terminated=away < 0.5, length=1))
    assert len(found) == 6 and found["n"].between(95, 105).all()
    assert found["distance"].is_monotonic_increasing
    assert list(found["reached"][:2]) == [1.0, 1.0] and list(found["reached"][4:]) == [0.0, 0.0]


def test_cells_with_a_target_count_only_where_there_are_no_others():
    table = goal_table(goal_distance=[1.0, 1.0], terminated=[True, False], length=1, target=[np.nan, -3.0])
    assert calibration.success(table)["reached"].tolist() == [1.0]
    assert calibration.success(table[1:])["target"].tolist() == [-3.0]
    assert calibration.success(table.drop(columns="goal_distance")).empty
