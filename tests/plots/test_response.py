import numpy as np
import pytest

from seqrl.plots import response_curve, response_curve_info, response_table, sentence

TARGETS = np.linspace(0.0, 600.0, 31)
RIGHT = 1 / (1 + np.exp(-(TARGETS - 250) / 60))
NAMES = ("push left", "push right")


def test_probabilities_are_drawn_as_given_and_sorted_by_target():
    table = np.stack([1 - RIGHT, RIGHT], axis=1)
    info = response_curve_info(TARGETS[::-1], table[::-1], NAMES, data=(9.0, 500.0), present=310.0)
    figure = response_curve(info)
    lines = {trace.name: trace for trace in figure.data}
    np.testing.assert_allclose(lines["push right"].y, RIGHT)
    np.testing.assert_allclose(lines["push left"].x, TARGETS)
    assert figure.layout.yaxis.range == (0, 1)
    assert "“push " in sentence(info)
    assert "asked for 600" in sentence(info)


def test_the_present_target_and_the_edge_of_the_data_are_marked():
    info = response_curve_info(TARGETS, np.stack([1 - RIGHT, RIGHT], 1), NAMES, data=(9.0, 500.0), present=310.0)
    shapes = response_curve(info).layout.shapes
    assert [(shape.x0, shape.x1) for shape in shapes if shape.name == "outside the data"] == [
        (0.0, 9.0),
        (500.0, 600.0),
    ]
    assert [shape.x0 for shape in shapes if shape.name == "now"] == [310.0]
    outside = response_curve(info._replace(present=900.0)).layout.shapes
    assert not [shape for shape in outside if shape.name == "now"]


def test_continuous_actions_have_a_ribbon_of_one_standard_deviation():
    answers = np.stack([np.sin(TARGETS / 100)[:, None], np.full((31, 1), 0.2)], axis=1)
    info = response_curve_info(TARGETS, answers, ("torque",))
    ribbon = response_curve(info).data[0]
    np.testing.assert_allclose(np.array(ribbon.y[:31]) - np.array(ribbon.y[31:][::-1]), 0.4)
    assert sentence(info).startswith("Asked for 0, torque is 0; asked for 600")


@pytest.mark.parametrize("deaf", [np.full((31, 2), 0.5), np.full((31, 2, 2), 0.5)])
def test_a_model_that_does_not_listen_is_called_so(deaf):
    assert "does the same whatever is asked" in sentence(response_curve_info(TARGETS, deaf, NAMES))


def test_one_target_and_none():
    one = response_curve_info([100.0], [[0.3, 0.7]], NAMES)
    assert {trace.mode for trace in response_curve(one).data} == {"markers"}
    none = response_curve_info([], np.empty((0, 2)), NAMES)
    assert sentence(none) == response_curve(none).layout.annotations[0].text


def test_a_mean_over_many_steps_says_so():
    deaf = np.stack([np.full((31, 1), 0.5), np.zeros((31, 1))], axis=1)
    info = response_curve_info(TARGETS, deaf, ("torque",), average=True)
    assert sentence(info).startswith("On these steps")
    figure = response_curve(info)
    assert figure.layout.xaxis.title.text == "return asked for (reward)"
    assert figure.layout.yaxis.title.text == "mean action"


def test_a_dimension_of_what_is_seen_is_named_on_the_axis_and_in_the_sentence():
    responses = np.array([[0.9, 0.1], [0.4, 0.6]])
    info = response_curve_info(np.array([-0.2, 0.2]), responses, ("left", "right"), present=0.1, varied="pole angle")
    figure = response_curve(info)
    assert figure.layout.xaxis.title.text == "pole angle"
    told = "With pole angle from −0.2 to 0.2, the probability of “left” goes from 0.9 to 0.4, all else as it was."
    assert sentence(info) == told
    same = response_curve_info(np.array([-0.2, 0.2]), responses[:1].repeat(2, 0), ("left", "right"), varied="speed")
    assert sentence(same) == "The model does the same whatever speed is, from −0.2 to 0.2."
    states = response_curve_info(np.array([0, 1]), responses, ("left", "right"), varied="state", discrete=True)
    assert {trace.mode for trace in response_curve(states).data} == {"markers"}
    assert {trace.mode for trace in figure.data} == {"lines"}


def test_the_table_holds_the_points():
    answers = np.stack([np.sin(TARGETS / 100)[:, None], np.full((31, 1), 0.2)], axis=1)
    info = response_curve_info(TARGETS, answers, ("torque",))
    table = response_table(info)
    assert list(table) == ["return_to_go", "torque", "torque (standard deviation)"]
    np.testing.assert_array_equal(table["torque"], info.responses[:, 0])
    assert list(response_table(info._replace(average=True))) == ["return", "torque"]
