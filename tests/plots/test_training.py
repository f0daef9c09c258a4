import numpy as np
import pandas as pd
import pytest

from seqrl.plots import sentence, sparkline, training_curves, training_curves_info
from seqrl.plots.template import family_colour
from seqrl.plots.training import smoothed

from .synthetic import metrics

RUNS = {"dt": metrics(), "bc": metrics(1000, seed=1, floor=0.6)}
KINDS = {"dt": "dt", "bc": "bc"}


def main_lines(figure):
    return [trace for trace in figure.data if not trace.name.endswith(", raw")]


def test_smoothing_is_the_weighted_mean_of_what_was_measured():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(50)
    weights = 0.9 ** np.arange(50)[::-1]
    assert smoothed(values, 0.9)[-1] == pytest.approx((weights * values).sum() / weights.sum())
    assert smoothed(values, 0.9)[0] == values[0]
    assert smoothed(np.array([1.0, np.nan, 1.0]), 0.9)[-1] == pytest.approx(1.0)


def test_smoothed_lines_lie_over_raw_ones_and_alone_without_smoothing():
    info = training_curves_info(RUNS, "loss", kinds=KINDS, smoothing=0.9)
    figure = training_curves(info)
    assert [trace.name for trace in figure.data] == ["dt, raw", "dt", "bc, raw", "bc"]
    np.testing.assert_array_equal(figure.data[0].y, RUNS["dt"]["loss"])
    assert figure.data[1].line.color == family_colour("dt", "light")
    plain = training_curves(training_curves_info(RUNS, "loss", kinds=KINDS))
    assert [trace.name for trace in plain.data] == ["dt", "bc"]


def test_missing_values_are_left_out_not_drawn_as_gaps_or_zeros():
    info = training_curves_info(RUNS, "validation_loss", kinds=KINDS)
    assert info.curves[0].x.tolist() == list(range(250, 3001, 250))
    assert np.isfinite(info.curves[0].raw).all()


def test_the_time_axis_has_a_unit_that_fits():
    for seconds, unit, factor in ((0.03, "s", 1), (0.3, "min", 60), (10.0, "h", 3600)):
        frame = metrics()
        frame["time_s"] = frame["step"] * seconds
        info = training_curves_info({"dt": frame}, "loss", axis="time")
        assert info.unit == unit
        assert info.curves[0].x[-1] == pytest.approx(3000 * seconds / factor)
        assert training_curves(info).layout.xaxis.title.text == f"time ({unit})"


def test_zoom_survives_new_data_but_not_another_metric_or_scale():
    longer = {"dt": metrics(6000), "bc": RUNS["bc"]}
    first, second = (training_curves(training_curves_info(runs, "loss")) for runs in (RUNS, longer))
    assert first.layout.uirevision == second.layout.uirevision
    log = training_curves(training_curves_info(RUNS, "loss"), log=True)
    other = training_curves(training_curves_info(RUNS, "validation_loss"))
    assert len({figure.layout.uirevision for figure in (first, log, other)}) == 3


def test_a_log_axis_leaves_out_what_is_not_positive_and_labels_the_ends_in_its_own_units():
    frame = pd.DataFrame({"step": [1, 2, 3], "time_s": [1.0, 2.0, 3.0], "loss": [0.0, 10.0, 100.0]})
    figure = training_curves(training_curves_info({"a": frame}, "loss"), log=True)
    assert list(figure.data[0].y) == [10.0, 100.0]
    assert figure.layout.yaxis.type == "log"
    assert 1 < figure.layout.yaxis.range[1] < 2.2
    assert figure.layout.annotations[0].y == pytest.approx(2.0, abs=0.1)


def test_long_curves_are_thinned_without_losing_their_extremes():
    values = np.random.default_rng(0).standard_normal(50_000)
    values[31_234] = 40.0
    frame = pd.DataFrame({"step": np.arange(50_000), "time_s": 0.0, "loss": values})
    curve = training_curves_info({"a": frame}, "loss").curves[0]
    assert len(curve.x) <= 1500
    assert curve.raw.max() == 40.0
    assert curve.raw.min() == values.min()
    assert curve.x[[0, -1]].tolist() == [0, 49_999]


def test_more_than_six_runs_have_a_legend():
    few = training_curves(training_curves_info({str(i): metrics(seed=i) for i in range(6)}, "loss"))
    many = training_curves(training_curves_info({str(i): metrics(seed=i) for i in range(7)}, "loss"))
    assert not few.layout.showlegend
    assert len(few.layout.annotations) == 6
    assert many.layout.showlegend
    assert not many.layout.annotations


def test_the_sentence_names_the_best_in_the_right_direction():
    assert sentence(training_curves_info(RUNS, "loss")).startswith("The loss ends lowest for dt, at 0.")
    accuracy = {run: frame.assign(accuracy=frame["loss"]) for run, frame in RUNS.items()}
    assert "ends highest for bc" in sentence(training_curves_info(accuracy, "accuracy"))
    one = sentence(training_curves_info({"dt": RUNS["dt"]}, "loss"))
    assert one.startswith("After 3\u2009000 the loss of dt") or one.startswith("After step 3\u2009000 the loss of dt")


def test_only_runs_that_can_be_compared_are_compared():
    runs = {name: metrics(1000, seed=seed) for seed, name in enumerate(("low", "high", "tt", "other"))}
    for name, floor in (("low", 0.3), ("high", 0.9), ("tt", 0.1), ("other", 0.2)):
        runs[name] = runs[name].assign(loss=floor)
    within = {"low": "poles", "high": "poles", "tt": "poles · TT", "other": "cars"}
    told = sentence(training_curves_info(runs, "loss", within=within))
    assert told.startswith("The loss ends lowest for low, at 0.3, of 2 runs on poles; runs on other data")
    alike = sentence(training_curves_info(runs, "loss", within=dict.fromkeys(runs, "poles")))
    assert alike == "The loss ends lowest for tt, at 0.1, of 4 runs on poles."
    none = sentence(training_curves_info({name: runs[name] for name in ("low", "other")}, "loss", within=within))
    assert none.startswith("The loss ends with low at 0.3 and other at 0.2.") and "cannot be compared" in none
    broken = {"low": runs["low"], "tt": runs["tt"].assign(loss=[*[1.0] * (len(runs["tt"]) - 1), np.inf])}
    assert "compared" not in sentence(training_curves_info(broken, "loss", within=within))


def test_one_point_is_a_marker_and_no_point_a_sentence():
    one = training_curves(training_curves_info({"a": metrics().head(1)}, "loss"))
    assert one.data[0].mode == "markers"
    for frame in (metrics().head(0), pd.DataFrame({"step": [1], "time_s": [0.0]})):
        info = training_curves_info({"a": frame}, "loss")
        assert sentence(info) == "Nothing is measured yet."
        assert training_curves(info).layout.annotations[0].text.startswith("Nothing is measured yet")


def test_an_impossible_smoothing_is_refused():
    with pytest.raises(ValueError, match=r"smoothing is 1; choose"):
        training_curves_info(RUNS, "loss", smoothing=1.0)


def test_a_sparkline_is_short_plain_and_finite():
    line = sparkline(np.concatenate([np.arange(1000.0), [np.nan]]))
    assert len(line) == 40
    assert all(type(value) is float for value in line)
    assert line == sorted(line)
    assert sparkline([]) == []
    assert sparkline([2, 1]) == [2.0, 1.0]
