import numpy as np
import pytest

from seqrl.plots import bin_edges, bin_edges_info, occupancy, occupancy_info, sentence
from seqrl.plots.bins import over_wide_bins, unused_bins
from seqrl.tokens.discretizer import fit_discretizer
from seqrl.tokens.inspection import inspect_tokens


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    columns = [rng.standard_normal(4000), rng.exponential(1, 4000), rng.integers(0, 2, 4000), np.ones(4000)]
    values = np.stack([*columns, np.concatenate([rng.uniform(0, 1, 3999), [500.0]])], axis=1)
    return values, {strategy: fit_discretizer(values, 40, strategy) for strategy in ("uniform", "quantile")}


def edges_of(bins, dimension):
    return bins.edges[dimension, : bins.counts[dimension] + 1]


def test_the_edges_drawn_are_the_models_own(fitted):
    values, bins = fitted
    edges = {strategy: edges_of(own, 0) for strategy, own in bins.items()}
    figure = bin_edges(bin_edges_info(values[:, 0], edges, "x"))
    for strategy, own in edges.items():
        drawn = next(trace for trace in figure.data if trace.name == f"{strategy}, edges")
        x = np.array(drawn.x)[::3]
        np.testing.assert_array_equal(x, own)


def test_figures_agree_with_the_tokens_own_inspection(fitted):
    values, bins = fitted
    for strategy, own in bins.items():
        for dimension, expected in enumerate(inspect_tokens(own, values)):
            info = bin_edges_info(values[:, dimension], {strategy: edges_of(own, dimension)}, "x")
            binning = info.binnings[0]
            assert binning.occupancy.sum() == len(values)
            assert binning.over_wide == expected.over_wide
            if dimension != 3:
                assert binning.unused == expected.unused


def test_panels_stand_side_by_side_on_one_scale(fitted):
    values, bins = fitted
    info = bin_edges_info(values[:, 1], {strategy: edges_of(own, 1) for strategy, own in bins.items()}, "x (m)")
    figure = bin_edges(info, "dark")
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    assert figure.layout.xaxis.title.text == "x (m)"
    assert "quantile puts" in sentence(info)


def test_unused_and_over_wide_bins_are_named_with_their_dimension():
    info = occupancy_info(
        [np.array([5, 0, 0, 1]), np.array([3, 3])], [np.array([0, 1, 2, 3, 90]), np.arange(3.0)], "ab"
    )
    assert info.unused == ((1, 2), ())
    assert info.over_wide == ((3,), ())
    assert sentence(info) == "2 unused bins: 2 of a; 1 over-wide bin: 1 of a."
    figure = occupancy(info)
    unused = next(trace for trace in figure.data if trace.name == "unused")
    assert np.argwhere(np.array(unused.z) == 1).tolist() == [[0, 1], [0, 2]]
    wide = next(trace for trace in figure.data if trace.name == "over-wide")
    assert (wide.x, wide.y) == ((3,), ("a",))
    assert wide.customdata[0][0] == 0
    assert wide.customdata[0][1] == 3


def test_fullness_is_measured_against_an_even_spread():
    info = occupancy_info([np.array([5, 5, 5, 5]), np.array([0, 20])], [np.arange(5.0), np.arange(3.0)], "ab")
    np.testing.assert_allclose(info.shares[0], 1.0)
    np.testing.assert_allclose(info.shares[1, :2], [0.0, 2.0])
    assert np.isnan(info.shares[1, 2:]).all()


def test_all_in_order_is_said():
    info = occupancy_info([np.array([5, 5])], [np.arange(3.0)], ["a"])
    assert sentence(info) == "Every bin of every dimension is used, and none is over-wide."
    assert [trace.name for trace in occupancy(info).data] == ["occupancy"]


def test_constants_and_nothing_can_be_drawn():
    info = bin_edges_info(np.ones(10), {"uniform": np.array([0.5, 1.5])}, "x")
    assert info.fine_counts.sum() == 10
    assert bin_edges(info).data
    empty = bin_edges_info(np.empty(0), {"uniform": np.array([0.5, 1.5])}, "x")
    assert sentence(empty) == bin_edges(empty).layout.annotations[0].text
    none = occupancy_info([], [], [])
    assert sentence(none) == occupancy(none).layout.annotations[0].text
    assert unused_bins(np.array([1])) == over_wide_bins(np.array([0.0])) == ()
