import numpy as np
import pandas as pd

from seqrl.plots import family_colour, parallel_runs, parallel_runs_info, sentence, telling_settings

from .synthetic import run_table


def test_only_settings_that_differ_become_uprights_and_the_result_is_the_last():
    table = run_table()
    info = parallel_runs_info(table, "best_value")
    names = [dimension.name for dimension in info.dimensions]
    assert names == ["model.kind", "model.context_length", "training.learning_rate", "best_value"]
    assert info.same == ("training.batch_size",)
    assert info.runs[0] == table["best_value"].idxmax()
    assert f"highest for {info.runs[0]}; they differ in 3 settings" in sentence(info)
    lowest = parallel_runs_info(table, "best_value", lower_is_better=True)
    assert lowest.runs[0] == table["best_value"].idxmin()


def lines(figure):
    """Run → its heights and what is said of it, as drawn."""
    found = {}
    for trace in figure.data:
        starts = np.flatnonzero(np.asarray(trace.x) == 0)
        for start, stop in zip(starts, [*starts[1:], len(trace.x)], strict=True):
            assert set(trace.customdata[start:stop]) == {trace.customdata[start]}
            assert np.isnan(trace.y[stop - 1])  # the line does not lead on to the next run
            found[trace.customdata[start]] = trace.y[start : stop - 1], trace.text[start]
    return found


def test_every_line_runs_through_its_own_values():
    table = run_table()
    drawn = lines(parallel_runs(parallel_runs_info(table, "best_value")))
    assert drawn.keys() == set(table.index)
    spread = np.ptp(table["best_value"])
    for run, (heights, told) in drawn.items():
        assert len(heights) == 4
        np.testing.assert_allclose(heights[-1], (table.loc[run, "best_value"] - table["best_value"].min()) / spread)
        assert told.startswith(run)
        assert f"context length {table.loc[run, 'model.context_length']}" in told


def test_families_keep_their_colours_and_the_best_run_is_drawn_last_and_alone():
    table = run_table()
    kinds = {run: ("dt", "bc")[at % 2] for at, run in enumerate(table.index)}
    figure = parallel_runs(parallel_runs_info(table, "best_value", kinds=kinds))
    assert set(figure.data[-1].customdata) == {table["best_value"].idxmax()}
    assert len(figure.data) == 3
    for trace in figure.data:
        (kind,) = {kinds[run] for run in trace.customdata}
        assert trace.line.color == family_colour(kind, "light")


def test_widely_spread_numbers_stand_on_a_logarithmic_upright():
    table = pd.DataFrame({"rate": [1e-4, 1e-3, 1e-2], "value": [1.0, 2.0, 3.0]}, index=list("abc"))
    rate = parallel_runs_info(table, "value").dimensions[0]
    np.testing.assert_allclose(sorted(rate.heights), [0.0, 0.5, 1.0])


def test_words_truth_and_missing_values_have_places():
    table = pd.DataFrame(
        {"clip": [None, 1.0, 2.0], "on": [True, False, True], "value": [1.0, 2.0, np.nan]}, index=list("abc")
    )
    info = parallel_runs_info(table, "value")
    assert set(info.runs) == {"a", "b"}
    texts = {dimension.name: set(dimension.texts) for dimension in info.dimensions}
    assert texts["on"] == {"yes", "no"}
    assert "–" in texts["clip"]


def test_one_run_is_no_comparison():
    for table in (run_table(1), run_table(3).assign(best_value=np.nan), run_table(2).head(0)):
        info = parallel_runs_info(table, "best_value")
        assert sentence(info) == parallel_runs(info).layout.annotations[0].text


def test_settings_that_explain_the_result_are_chosen_and_copies_of_them_are_not():
    deep, seed = np.repeat([1, 3], 6), np.tile(np.arange(6), 2)
    wide = np.tile([16, 16, 32], 4)
    value = 1.0 * deep + 0.1 * wide + 0.01 * np.arange(12)
    table = pd.DataFrame(
        {"id": np.arange(12), "layers": deep, "copy of layers": deep * 10, "width": wide, "seed": seed, "value": value}
    )
    assert telling_settings(table, "value", 1) == ["layers"]
    assert telling_settings(table, "value", 2) == ["layers", "width"]
    assert "copy of layers" not in telling_settings(table, "value", 5)
    assert telling_settings(table.assign(value=np.nan), "value", 3) == []
