import numpy as np

from seqrl.plots import action_error, action_error_info, action_error_table, sentence, worst_dimensions


def result(overall=0.2, baseline=0.5, means=(0.4, 0.1), measure="error"):
    return {
        "measure": measure,
        "overall": overall,
        "baseline": baseline,
        "by_context": [{"position": i + 1, "n": 10, "mean": mean} for i, mean in enumerate(means)],
        "by_timestep": [
            {"timestep": 0, "until": 9, "n": 15, "mean": 0.3},
            {"timestep": 10, "until": 19, "n": 5, "mean": 0.1},
        ],
    }


def test_every_run_is_a_line_and_the_answer_that_never_changes_a_dashed_one():
    info = action_error_info({"a": result(), "b": result(0.3, means=(0.5, 0.2))}, kinds={"a": "dt", "b": "dt"})
    figure = action_error(info)
    baseline, first, second = figure.data
    assert baseline.name == "always the mean action" and set(baseline.y) == {0.5} and baseline.line.dash
    np.testing.assert_allclose(first.x, [1, 2])
    np.testing.assert_allclose(second.y, [0.5, 0.2])
    assert first.line.color != second.line.color
    assert figure.layout.yaxis.range[0] == 0 and figure.layout.yaxis.range[1] > 0.5
    assert sentence(info).startswith(
        "a is off by 0.2; always taking the mean action is off by 0.5; with more history the error falls"
    )
    assert action_error_table(info)["run"].tolist() == ["a", "a", "b", "b"]


def test_time_is_drawn_at_the_middle_of_its_group():
    info = action_error_info({"a": result()}, kinds={}, axis="time")
    np.testing.assert_allclose(info.curves[0].x, [4.5, 14.5])
    assert "history" not in sentence(info)


def test_a_run_no_better_than_a_constant_is_called_so():
    info = action_error_info({"a": result(overall=0.6)}, kinds={})
    assert "it has learned nothing that helps here" in sentence(info)


def test_a_share_of_other_actions_is_a_percentage():
    info = action_error_info({"a": result(measure="mismatch")}, kinds={})
    assert "20%" in sentence(info) and "always taking the same action differs" in sentence(info)
    assert action_error(info).layout.yaxis.tickformat == ".0%"
    table = worst_dimensions([{"name": "left knee", "mean": 0.25}], "mismatch")
    assert table.iloc[0].tolist() == ["left knee", "25%"]


def test_nothing_measured_is_said():
    info = action_error_info({}, kinds={})
    assert sentence(info) == action_error(info).layout.annotations[0].text == "Nothing was measured yet."
    assert len(action_error_table(info)) == 0
