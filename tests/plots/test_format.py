import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl.plots import format as text


@given(st.floats(-1e8, 1e8).filter(lambda value: abs(value) > 1e-3))
def test_a_number_keeps_three_significant_digits(value):
    shown = float(text.number(value).replace(text.THIN_SPACE, "").replace(text.MINUS, "-"))
    assert abs(shown - value) <= max(0.005001 * abs(value), 0)
    if abs(value) >= 1000:
        assert shown == float(f"{value:.0f}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (999.6, "1\u2009000"),
        (-1234567.8, "−1\u2009234\u2009568"),
        (0.5, "0.5"),
        (1e-9, "1\u2009×\u200910⁻⁹"),
        (-2.5e12, "−2.5\u2009×\u200910¹²"),
        (math.nan, "–"),
        (-math.inf, "−∞"),
        (0.0, "0"),
    ],
)
def test_numbers_at_the_edges(value, expected):
    assert text.number(value) == expected


def test_an_interval_has_as_many_decimals_as_its_larger_end_needs():
    assert text.interval(99.94, 1004.2) == "100 … 1\u2009004"
    assert text.interval(-0.0123, 0.456) == "−0.012 … 0.456"
    assert text.interval(math.nan, 1.0) == "–"
    assert text.interval(0.0, 0.0) == "0 … 0"


def test_a_mean_without_interval_stands_alone():
    assert text.with_interval(312.4, math.nan, math.nan) == "312"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.9999, "1 s"), (59.6, "1 min"), (3599.6, "1 h"), (120, "2 min"), (math.nan, "–")],
)
def test_durations_carry_over_to_the_next_unit(seconds, expected):
    assert text.duration(seconds) == expected


def test_sizes_carry_over_to_the_next_unit():
    assert text.size(999_700) == "1 MB"
    assert text.size(2.5e13) == "25 TB"
