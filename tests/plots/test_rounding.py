import math

import numpy as np
import pytest

from seqrl.plots import (
    episode_tokens,
    episode_tokens_info,
    reconstruction_error,
    reconstruction_error_info,
    sentence,
)

BINS = [5, 10, 50, 100]
ERRORS = {"uniform": np.array([0.4, 0.2, 0.04, 0.02]), "quantile": np.array([0.5, 0.3, 0.1, 0.05])}


def test_the_marker_stands_at_the_number_of_bins_in_use():
    info = reconstruction_error_info(BINS, ERRORS, 50, "x", spread=2.0)
    figure = reconstruction_error(info)
    marked = {trace.name: (trace.x[0], trace.y[0]) for trace in figure.data if trace.name.endswith("in use")}
    assert marked == {"uniform, in use": (50, 0.04), "quantile, in use": (50, 0.1)}
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert "0.04 with uniform bins and 0.1 with quantile bins" in sentence(info)
    assert "2% of the data's own spread" in sentence(info)


def test_the_error_outside_the_measured_numbers_of_bins_is_not_made_up():
    info = reconstruction_error_info(BINS, ERRORS, 500, "x")
    assert all(map(math.isnan, info.chosen_errors.values()))
    assert sentence(info) == "The error with 500 bins is not measured."
    assert not [trace for trace in reconstruction_error(info).data if trace.name.endswith("in use")]


def test_no_error_at_all_says_so():
    info = reconstruction_error_info(BINS, {"uniform": np.zeros(4)}, 50, "x")
    assert reconstruction_error(info).layout.annotations[0].text.startswith("Nothing is lost")


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    bins = [10, 4, 3, 20]
    table = np.stack([rng.integers(0, n, 30) for n in bins], axis=1)
    kinds = ["observation", "action", "reward", "value"]
    return episode_tokens_info(table, list("abcd"), kinds, bins, values=table + 0.1, centres=table + 0.5)


def test_a_click_on_a_cell_tells_step_dimension_and_bin(tokens):
    figure = episode_tokens(tokens)
    seen = set()
    for trace in figure.data:
        for row in trace.customdata:
            for step, dimension, token in row:
                assert tokens.tokens[step, dimension] == token
                seen.add((step, dimension))
    assert len(seen) == tokens.tokens.size


def test_cells_say_what_a_number_becomes_and_darkness_is_the_bins_height(tokens):
    trace = episode_tokens(tokens).data[0]
    assert f"bin {tokens.tokens[3, 0]} of 10" in trace.text[0][3]
    np.testing.assert_allclose(trace.z[0], tokens.tokens[:, 0] / 9)
    assert "becomes" in trace.text[0][3]


def test_the_chosen_token_is_framed_and_an_impossible_one_is_not(tokens):
    frame = episode_tokens(tokens, chosen=(4, 1)).layout.shapes[0]
    assert (frame.x0, frame.x1) == (3.5, 4.5)
    assert frame.y0 < 1.3 < frame.y1
    assert not episode_tokens(tokens, chosen=(99, 1)).layout.shapes


def test_one_bin_and_missing_tokens_can_be_drawn():
    info = episode_tokens_info(np.array([[0, -1], [0, 2]]), "ab", ["observation", "value"], [1, 3])
    figure = episode_tokens(info)
    assert np.isnan(figure.data[1].z[0][0])
    assert figure.data[0].z[0][0] == 0
    assert sentence(info).startswith("2 steps of 2 numbers")
    empty = episode_tokens_info(np.empty((0, 2)), "ab", ["observation", "value"], [1, 3])
    assert sentence(empty) == episode_tokens(empty).layout.annotations[0].text
