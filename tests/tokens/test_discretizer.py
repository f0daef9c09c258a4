import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqrl.tokens import Discretizer, fit_discretizer

FINITE = st.floats(-(2.0**40), 2.0**40, width=32)
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=FINITE)
REPETITIVE = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 200), st.integers(1, 2)),
    elements=st.sampled_from([-3.0, 0.0, 0.0, 0.0, 0.25, 1.0, 1e6]) | FINITE,
)
STRATEGIES = st.sampled_from(["uniform", "quantile"])


def searched(bins: Discretizer, values: np.ndarray) -> np.ndarray:
    """The definition: how many inner edges are at or below the number."""
    columns = [
        np.searchsorted(bins.edges[d, 1 : bins.counts[d]], values[:, d], side="right") for d in range(bins.dimensions)
    ]
    return np.stack(columns, axis=1)


@given(TABLES | REPETITIVE, st.integers(1, 30), STRATEGIES)
@settings(max_examples=200, deadline=None)
def test_used_edges_are_finite_and_increasing_and_every_fitted_bin_is_in_range(table, count, strategy):
    bins = fit_discretizer(table, count, strategy)
    for d in range(bins.dimensions):
        used = bins.edges[d, : bins.counts[d] + 1]
        assert np.isfinite(used).all()
        assert (np.diff(used) > 0).all()
        assert used[0] <= table[:, d].min()
        assert table[:, d].max() <= used[-1]
        assert 1 <= bins.counts[d] <= count


@given(TABLES | REPETITIVE, st.integers(1, 30), STRATEGIES)
@settings(max_examples=200, deadline=None)
def test_round_trip_error_of_fitted_numbers_is_at_most_half_a_bin(table, count, strategy):
    bins = fit_discretizer(table, count, strategy)
    tokens = bins.encode(table)
    widths = np.take_along_axis(np.diff(bins.edges, axis=1), tokens.T.astype(np.int64), axis=1).T
    rounding = 1e-12 * np.abs(table).max(initial=1.0)
    assert (np.abs(bins.decode(tokens) - table) <= widths / 2 + rounding).all()


@given(TABLES | REPETITIVE, st.integers(1, 30), STRATEGIES)
@settings(max_examples=200, deadline=None)
def test_encoding_is_monotone_and_idempotent(table, count, strategy):
    bins = fit_discretizer(table, count, strategy)
    tokens = bins.encode(np.sort(table, axis=0))
    assert (np.diff(tokens.astype(np.int64), axis=0) >= 0).all()
    assert (bins.encode(bins.decode(tokens)) == tokens).all()


@given(REPETITIVE, st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_quantile_bins_are_all_occupied_and_as_many_as_the_data_allow(table, count):
    bins = fit_discretizer(table, count, "quantile")
    tokens = bins.encode(table)
    for d in range(bins.dimensions):
        assert bins.counts[d] == min(count, len(np.unique(table[:, d])))
        assert (np.bincount(tokens[:, d], minlength=bins.counts[d]) > 0).all()


def test_any_number_inside_the_range_of_uniform_bins_is_at_most_half_a_bin_off():
    rng = np.random.default_rng(0)
    bins = fit_discretizer(rng.normal(size=(1000, 4)), 37, "uniform")
    inside = rng.uniform(bins.edges[:, 0], bins.edges[:, -1], size=(10_000, 4))
    half = np.diff(bins.edges, axis=1)[:, 0] / 2
    assert (np.abs(bins.decode(bins.encode(inside)) - inside) <= half * (1 + 1e-9)).all()


def test_quantile_bins_hold_equal_shares_of_continuous_data():
    data = np.random.default_rng(1).normal(size=(10_000, 1))
    occupancy = np.bincount(fit_discretizer(data, 100, "quantile").encode(data)[:, 0])
    assert occupancy.min() >= 99
    assert occupancy.max() <= 101


@pytest.mark.parametrize("rows", [1, 2, 99, 100, 101, 105, 250, 1001])
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_any_number_of_rows_against_100_bins(rows, strategy):
    """jannerm's quantile reconstruction raises IndexError at 99, 105, 250 and 1001 rows."""
    data = np.random.default_rng(rows).normal(size=(rows, 2))
    bins = fit_discretizer(data, 100, strategy)
    tokens = bins.encode(data)
    assert np.abs(bins.decode(tokens) - data).max() <= np.diff(bins.edges, axis=1).max() / 2 * (1 + 1e-9)
    if strategy == "quantile":
        assert (bins.counts == min(rows, 100)).all()


def quantile_edges_of_the_notebook(column, count):
    return np.quantile(column, np.linspace(0, 1, count + 1))


def test_bug_08_repeated_values_do_not_collapse_quantile_bins():
    """Nine rewards in ten are 0: equally spaced quantiles leave most bins without any width."""
    rng = np.random.default_rng(2)
    column = np.where(rng.random(5000) < 0.9, 0.0, rng.normal(size=5000))
    assert (np.diff(quantile_edges_of_the_notebook(column, 100)) == 0).sum() > 80
    bins = fit_discretizer(column[:, None], 100, "quantile")
    assert bins.counts[0] == 100
    assert (np.diff(bins.edges[0]) > 0).all()
    assert bins.decode(bins.encode(np.zeros((1, 1))))[0, 0] == 0.0
    assert np.bincount(bins.encode(column[:, None])[:, 0]).min() >= 1


@pytest.mark.parametrize("value", [1.0, 0.0, -7.25, 1e16, 1e-300])
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_a_constant_column_is_one_bin_that_decodes_exactly(value, strategy):
    bins = fit_discretizer(np.full((50, 1), value), 100, strategy)
    assert bins.counts[0] == 1
    assert bins.decode(bins.encode(np.array([[value]])))[0, 0] == value


def test_a_column_of_few_whole_numbers_gets_one_bin_a_value():
    for strategy in ("uniform", "quantile"):
        bins = fit_discretizer(np.array([[-1.0], [0.0], [0.0], [10.0]]), 100, strategy)
        assert bins.counts[0] == 3
        assert bins.decode(np.arange(3)[:, None])[:, 0].tolist() == [-1, 0, 10]
        assert bins.encode(np.array([[5.1], [4.9]]))[:, 0].tolist() == [2, 1]


def test_categories_that_the_data_never_show_keep_their_bin():
    bins = fit_discretizer(np.array([[0], [2]]), 3, "quantile", categories=[5])
    assert bins.counts[0] == 5
    assert bins.width == 5
    assert bins.encode(np.arange(5)[:, None])[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_numbers_outside_the_fitted_range_go_to_the_outermost_bins():
    bins = fit_discretizer(np.random.default_rng(3).normal(size=(500, 1)), 10, "quantile")
    far = np.array([[-1e30], [1e30]])
    assert bins.encode(far)[:, 0].tolist() == [0, 9]
    assert bins.encode(np.repeat(far, 500, axis=0))[:, 0].tolist() == [0] * 500 + [9] * 500


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_refused_by_name(bad):
    table = np.zeros((4000, 3))
    bins = fit_discretizer(np.random.default_rng(0).normal(size=(100, 3)), 10, names=["a", "angle", "c"])
    table[3000, 1] = bad
    with pytest.raises(ValueError, match="angle is .* at row 3000"):
        bins.encode(table)
    with pytest.raises(ValueError, match="angle is .* at row 3000"):
        fit_discretizer(table, 10, names=["a", "angle", "c"])


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.normal(size=(3000, 3)),
        lambda rng: np.exp(8 * rng.normal(size=(3000, 3))),  # edges crowd in one cell of the grid
        lambda rng: rng.integers(0, 30, size=(3000, 3)).astype(float),
        lambda rng: np.round(rng.normal(size=(3000, 3)), 1),
    ],
)
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_the_fast_way_is_exactly_searchsorted(make, strategy):
    table = make(np.random.default_rng(4))
    bins = fit_discretizer(table, 100, strategy)
    on_edges = np.concatenate([bins.edges.T, np.nextafter(bins.edges, -np.inf).T, table], axis=0)
    many = np.concatenate([on_edges] * 3)
    assert (bins.encode(many) == searched(bins, many)).all()
    assert (bins.encode(on_edges[:50]) == searched(bins, on_edges[:50])).all()


def test_leading_shapes_slices_and_types():
    table = np.random.default_rng(5).normal(size=(400, 5)).astype(np.float32)
    bins = fit_discretizer(table, 300)
    tokens = bins.encode(table.reshape(4, 10, 10, 5))
    assert tokens.shape == (4, 10, 10, 5)
    assert tokens.dtype == np.uint16
    assert fit_discretizer(table, 256).encode(table).dtype == np.uint8
    assert (tokens.reshape(400, 5)[:, 1:3] == bins.encode(table[:, 1:3], slice(1, 3))).all()
    assert (bins.select([4, 0]).encode(table[:, [4, 0]]) == tokens.reshape(400, 5)[:, [4, 0]]).all()
    assert bins.decode(tokens[..., 2:], [2, 3, 4]).shape == (4, 10, 10, 3)
    with pytest.raises(ValueError, match="expected 2 dimensions"):
        bins.encode(table, slice(0, 2))


def test_torch_in_torch_out():
    table = np.random.default_rng(6).normal(size=(300, 2)).astype(np.float32)
    bins = fit_discretizer(table, 10)
    tokens = bins.encode(torch.from_numpy(table))
    assert tokens.dtype == torch.int64
    assert (tokens.numpy() == bins.encode(table)).all()
    assert torch.equal(
        bins.decode(tokens).double(), torch.from_numpy(bins.decode(tokens.numpy()).astype(np.float32)).double()
    )


def test_expectation_is_the_mean_over_bins_and_leaves_its_argument_alone():
    bins = fit_discretizer(np.random.default_rng(7).normal(size=(300, 3)), 20)
    probabilities = np.random.default_rng(8).dirichlet(np.ones(20), size=(4, 3))
    before = probabilities.copy()
    expected = np.einsum("ndw,dw->nd", probabilities, bins.values)
    np.testing.assert_allclose(bins.expectation(probabilities), expected)
    np.testing.assert_allclose(bins.expectation(torch.from_numpy(probabilities)).numpy(), expected)
    np.testing.assert_allclose(bins.expectation(probabilities[:, 1:2], [1]), expected[:, 1:2])
    assert (probabilities == before).all()
    with pytest.raises(ValueError, match="cover 19 bins but there are 20"):
        bins.expectation(probabilities[..., :19])


def test_tokens_that_do_not_exist_are_refused_by_name():
    bins = fit_discretizer(np.array([[0.0, 1.0], [1.0, 1.0]]), 10, names=["door", "light"])
    with pytest.raises(ValueError, match="light has tokens 0 to 0 but got 1"):
        bins.decode(np.array([[1, 1]]))


def test_very_many_rows_are_thinned_but_keep_their_extremes(monkeypatch):
    monkeypatch.setattr("seqrl.tokens.discretizer.MAX_FIT_ROWS", 1000)
    column = np.random.default_rng(9).normal(size=(20_000, 1))
    column[7] = 100.0
    bins = fit_discretizer(column, 50)
    assert bins.edges[0, 50] == 100.0
    assert np.bincount(bins.encode(column)[:, 0]).max() < 20_000 / 50 * 2
