import numpy as np
import pandas as pd
import pytest

from seqrl.plots import grid, grid_info, parallel_runs, parallel_runs_info, sentence, setting_name

RATE, LENGTH = "training.learning_rate", "model.context_length"


def tables(spread=0.01, seeds=3):
    """Means and runs of a grid in which longer contexts and larger rates are better."""
    runs, means = [], []
    for rate in (3e-4, 1e-3):
        for length in (10, 1, 5):
            name, centre = f"cl{length}-lr{rate:g}", 0.7 - 0.01 * length - 100 * rate
            values = [centre + spread * (seed - 1) for seed in range(seeds)]
            runs += [{"combination": name, LENGTH: length, RATE: rate, "loss": value} for value in values]
            low, high = (min(values), max(values)) if seeds > 1 else (np.nan, np.nan)
            row = {"combination": name, LENGTH: length, RATE: rate, "loss": np.mean(values)}
            means.append(row | {"loss_low": low, "loss_high": high})
    return pd.DataFrame(means), pd.DataFrame(runs)


def info_of(means, runs, setting=LENGTH, others=(RATE,)):
    return grid_info(means, runs, setting, others, "loss", title="best loss", kind="dt", lower_is_better=True)


def test_one_line_for_each_combination_of_the_other_settings_in_order_of_the_axis():
    means, runs = tables()
    info = info_of(means, runs)
    assert info.ticks == ("1", "5", "10")
    assert [line.label for line in info.lines] == ["learning rate 0.0003", "learning rate 0.001"]
    line = info.lines[1]
    np.testing.assert_allclose(line.means, [0.59, 0.55, 0.5])
    np.testing.assert_allclose(line.low, line.means - 0.01)
    assert line.counts.tolist() == [3, 3, 3] and len(line.dots) == 9
    figure = grid(info)
    assert [trace.name for trace in figure.data if trace.mode == "lines+markers"] == [x.label for x in info.lines]
    assert figure.layout.xaxis.title.text == "context length" and list(figure.layout.xaxis.ticktext) == ["1", "5", "10"]
    drawn = next(trace for trace in figure.data if trace.name == "95 % interval, learning rate 0.001")
    assert min(drawn.y) == pytest.approx(0.49)


def test_the_sentence_says_whether_the_best_is_told_apart():
    means, runs = tables()
    told = sentence(info_of(means, runs))
    assert "The lowest loss is 0.5 (0.49 … 0.51), with context length 10, learning rate 0.001" in told
    assert "do not overlap" in told
    assert "the two are not told apart" in sentence(info_of(*tables(spread=0.05)))
    assert "does not tell it from luck" in sentence(info_of(*tables(seeds=1)))


def test_words_nothing_and_many_lines_are_drawn_and_an_empty_grid_says_so():
    means, runs = tables()
    info = info_of(means.assign(loss=np.nan), runs.assign(loss=np.nan))
    assert info.best is None and sentence(info) == grid(info).layout.annotations[0].text == "No run is finished yet."
    words = {10: "cosine", 1: None, 5: "constant"}
    means, runs = means.assign(way=means[LENGTH].map(words)), runs.assign(way=runs[LENGTH].map(words))
    assert info_of(means, runs, "way").ticks == ("–", "constant", "cosine")
    wide = pd.concat(
        [means.assign(**{"model.layers": n, "combination": means["combination"] + f"-{n}"}) for n in range(4)]
    )
    many = info_of(wide, runs, LENGTH, (RATE, "model.layers"))
    figure = grid(many)
    assert len(many.lines) == 8 and figure.layout.showlegend
    assert all(trace.error_y.array is not None for trace in figure.data if trace.mode == "lines+markers")


def test_one_setting_has_one_line_without_a_label():
    means, runs = tables()
    one = means[RATE] == 1e-3
    info = info_of(means[one], runs[runs[RATE] == 1e-3], LENGTH, ())
    assert [line.label for line in info.lines] == [""] and not grid(info).layout.showlegend
    assert setting_name(RATE) == "learning rate"


def test_further_results_stand_before_the_last_and_may_be_missing():
    table = pd.DataFrame(
        {
            "rate": [1e-4, 1e-3, 1e-2],
            "error": [np.nan, 20.0, 30.0],
            "none": [np.nan] * 3,
            "flat": [np.nan, 5.0, 5.0],
            "loss": [0.3, 0.2, 0.1],
        },
        index=list("abc"),
    )
    info = parallel_runs_info(table, "loss", lower_is_better=True, also=("error", "none", "flat"), noun="combination")
    assert [dimension.name for dimension in info.dimensions] == ["rate", "error", "flat", "loss"] and info.settings == 1
    assert "The loss of 3 combinations lies at" in sentence(info) and "they differ in 1 setting." in sentence(info)
    best, others = parallel_runs(info).data[1], parallel_runs(info).data[0]
    assert (best.customdata[0], *best.y[1:3]) == ("c", 1, 0.5)
    assert (others.customdata[0], *others.y[1:3]) == ("b", 0, 0.5)
    assert others.customdata[5] == "a" and np.isnan(others.y[6:8]).all()
