import numpy as np
import pytest

from seqrl.plots import (
    action_distribution,
    action_distribution_info,
    action_distribution_table,
    coverage,
    coverage_info,
    coverage_table,
    sentence,
)


def test_coverage_counts_every_finite_step_once():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 5000))
    x[7] = np.nan
    info = coverage_info(x, y, ("a", "b"))
    assert info.counts.sum() == 4999
    row = int(np.searchsorted(info.y_edges, y[0], "right")) - 1
    column = int(np.searchsorted(info.x_edges, x[0], "right")) - 1
    assert info.counts[row, column] >= 1
    figure = coverage(info)
    assert np.isnan(np.array(figure.data[0].z)[info.counts == 0]).all()
    assert figure.layout.xaxis.title.text == "a"


def test_a_discrete_dimension_has_one_cell_a_value():
    info = coverage_info(np.array([0, 1, 2, 2]), np.array([0.1, 0.2, 0.3, 0.3]), ("d", "c"))
    assert info.x_edges.tolist() == [-0.5, 0.5, 1.5, 2.5]
    assert info.counts.sum() == 4


def test_shares_of_discrete_actions_fill_their_column():
    rng = np.random.default_rng(1)
    returns_to_go = rng.uniform(-500, 0, 4000)
    actions = (rng.random(4000) < -returns_to_go / 500).astype(int)
    info = action_distribution_info(actions, returns_to_go, labels=("wait", "go"))
    filled = info.steps > 0
    np.testing.assert_allclose(info.shares[:, filled].sum(axis=0), 1.0)
    assert info.steps.sum() == 4000
    heights = np.array([trace.y for trace in action_distribution(info).data])
    np.testing.assert_allclose(heights[:, filled].sum(axis=0), 100.0)
    first = (returns_to_go < info.return_edges[1]) & (returns_to_go >= info.return_edges[0])
    assert info.shares[1, 0] == pytest.approx(actions[first].mean())
    assert sentence(info).startswith("“wait” is 0.")


def test_few_returns_to_go_have_a_column_each():
    info = action_distribution_info(np.array([0, 0, 1, 1]), np.array([0.0, 0.0, 0.0, 1.0]), labels=("wait", "go"))
    assert info.return_edges.tolist() == [-0.5, 0.5, 1.5]
    assert info.steps.tolist() == [3, 1]
    assert "about 0, and" in sentence(info) and sentence(info).endswith("about 1.")


def test_a_continuous_action_is_a_density_in_each_column():
    rng = np.random.default_rng(1)
    returns_to_go = rng.uniform(0, 10, 3000)
    info = action_distribution_info(returns_to_go / 5 - 1, returns_to_go, name="torque")
    np.testing.assert_allclose(np.nansum(info.shares, axis=0)[info.steps > 0], 1.0)
    assert action_distribution(info).layout.yaxis.title.text == "torque"
    assert sentence(info).startswith("The mean torque is −0.9")


def test_no_step_says_so():
    empty = np.empty(0)
    for info, draw in (
        (coverage_info(empty, empty, ("a", "b")), coverage),
        (action_distribution_info(empty, empty, labels=("a",)), action_distribution),
    ):
        assert sentence(info) == draw(info).layout.annotations[0].text == "The dataset has no step yet."


def test_the_tables_hold_what_is_drawn():
    x, y = np.array([0.0, 1.0, 1.0, 2.0]), np.array([5.0, 6.0, 6.0, 7.0])
    table = coverage_table(coverage_info(x, y, ("a", "b")))
    assert table["steps"].tolist() == [1, 2, 1]
    for value, row in zip((0, 1, 2), table.itertuples(index=False), strict=True):
        assert row[0] <= value <= row[1] and row[2] <= value + 5 <= row[3]
    info = action_distribution_info(np.array([0, 1, 1]), np.array([5.0, 5.0, 95.0]), labels=("wait", "go"))
    table = action_distribution_table(info)
    assert table["steps"].sum() == 3 and table["go"].iloc[-1] == 1 and table["wait"].iloc[0] == 0.5
    table = action_distribution_table(action_distribution_info(np.linspace(-1, 1, 50), np.arange(50.0), name="torque"))
    assert table.filter(like="torque").sum(axis=1)[table["steps"] > 0].to_numpy() == pytest.approx(1)
