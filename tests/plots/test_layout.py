import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl.plots.layout import finite_range, label_margin, round_step, shorten, spread
from seqrl.plots.template import Style


@given(st.lists(st.floats(0, 100), max_size=8), st.floats(0.1, 30))
def test_spread_labels_keep_order_and_distance_and_stay_inside(positions, gap):
    placed = spread(positions, gap, 0.0, 100.0)
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in placed)
    order = np.argsort(positions, kind="stable")
    distances = np.diff(np.array(placed)[order]) if positions else np.empty(0)
    smallest = min(gap, 100 / max(len(positions) - 1, 1))
    assert (distances >= smallest - 1e-6).all()


def test_labels_that_do_not_collide_do_not_move():
    assert spread([90.0, 10.0, 50.0], 5.0, 0.0, 100.0) == [90.0, 10.0, 50.0]


@given(st.floats(1e-12, 1e12), st.integers(2, 40))
def test_a_round_step_is_round_and_makes_few_ticks(width, most):
    step = round_step(width, most)
    assert 1 - 1e-6 <= most * step / width <= 2.6
    mantissa = float(f"{step:e}".split("e")[0])
    assert mantissa in (1.0, 2.0, 2.5, 5.0)


@pytest.mark.parametrize("values", [[], [np.nan], [5.0], [0.0, 0.0], [-3e9, np.inf, -3e9], [1e-30, 2e-30]])
def test_a_range_always_has_a_width(values):
    low, high = finite_range(values)
    assert np.isfinite([low, high]).all()
    assert high > low


def test_long_names_are_cut_and_get_no_more_room_than_they_need():
    style = Style("light", False)
    assert len(shorten("x" * 100)) == 28
    assert label_margin(["x" * 100], style) == label_margin(["x" * 28], style)
    assert label_margin(["DT sampled"], style) < label_margin(["DT sampled"], Style("light", True))
