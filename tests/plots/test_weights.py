import numpy as np
import pytest

from seqrl.plots import sentence, weight_histograms, weight_histograms_info

from .synthetic import Histogram, histograms


def test_columns_are_densities_in_the_order_of_steps():
    made = histograms()
    info = weight_histograms_info(made[::-1], "weights")
    assert info.steps.tolist() == [0, 500, 1000, 1500, 2000]
    assert (info.density.sum(axis=0) > 0.99).all()
    np.testing.assert_allclose(info.spread, 0.02 + info.steps / 50000, rtol=0.06)
    assert list(weight_histograms(info).data[0].x)[-1] == "2\u2009000"
    assert sentence(info).startswith("The spread (standard deviation) went from 0.0")


def test_bins_of_any_width_keep_their_mass_in_place():
    info = weight_histograms_info([Histogram(0, "w", (0.0, 1.0, 10.0), (1.0, 9.0))], "w")
    np.testing.assert_allclose(info.density[:, 0], info.density[0, 0], rtol=1e-6)


def test_other_names_and_empty_histograms_are_left_out():
    made = [*histograms("a", steps=(0,)), Histogram(5, "a", (0.0, 1.0), (0.0,)), *histograms("b", steps=(7,))]
    assert weight_histograms_info(made, "a").steps.tolist() == [0]
    none = weight_histograms_info(made, "c")
    assert sentence(none) == weight_histograms(none).layout.annotations[0].text


@pytest.mark.parametrize("edges", [(3.0, 3.0), (0.0, 1e-12)])
def test_a_constant_parameter_can_be_drawn(edges):
    info = weight_histograms_info([Histogram(0, "bias", edges, (4.0,))], "bias")
    assert np.isfinite(info.density).all()
    assert info.edges[-1] > info.edges[0]
