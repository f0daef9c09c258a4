import numpy as np
import pytest

from seqrl.plots import episode_strips, episode_strips_info, move_cursor, sentence, step_sentence
from seqrl.plots.episode_figure import CURSOR
from seqrl.plots.template import family_colour

from .synthetic import trace

NAMES = ("push left", "push right")


def strips_of(figure):
    axes = [name for name in figure.layout if name.startswith("yaxis")]
    return sorted((figure.layout[name].domain for name in axes), reverse=True)


def test_strips_share_one_time_axis_and_do_not_overlap():
    for traces in ([trace("a")], [trace("a"), trace("b", seed=1), trace("c", steps=30)], [trace("a", continuous=2)]):
        figure = episode_strips(episode_strips_info(traces, action_names=NAMES))
        domains = strips_of(figure)
        assert len(domains) >= 3
        for upper, lower in zip(domains[:-1], domains[1:], strict=True):
            assert lower[1] < upper[0]
        assert domains[-1][0] == pytest.approx(0.0, abs=1e-9)
        assert {figure_trace.xaxis or "x" for figure_trace in figure.data} == {"x"}


def test_lines_carry_the_episode_and_the_step():
    info = episode_strips_info([trace("a"), trace("b", steps=30, seed=1)], action_names=NAMES)
    lines = {line.name: line for line in episode_strips(info).data}
    line = lines["b, return-to-go (reward)"]
    assert line.customdata[7] == (1, 7) or list(line.customdata[7]) == [1, 7]
    np.testing.assert_array_equal(line.y, info.traces[1].returns_to_go)
    assert line.line.color == family_colour("dt", "light", 1, 2)
    chosen = lines["b, chosen action"]
    np.testing.assert_array_equal(chosen.y, info.traces[1].actions)


def test_the_heat_map_holds_the_probabilities_and_the_rows_their_names():
    one = trace("a")
    figure = episode_strips(episode_strips_info([one], action_names=NAMES))
    heat = next(item for item in figure.data if item.type == "heatmap")
    np.testing.assert_allclose(heat.z, one.action_probabilities.T)
    axis = figure.layout[heat.yaxis.replace("y", "yaxis")]
    assert axis.ticktext == NAMES
    assert axis.range[0] > axis.range[1]


def test_without_probabilities_the_chosen_action_is_drawn():
    info = episode_strips_info([trace("a", probabilities=False)], action_names=NAMES)
    assert info.actions[0].title == "chosen action"
    np.testing.assert_array_equal(info.actions[0].cells.argmax(axis=0), info.traces[0].actions)


def test_few_continuous_dimensions_are_lines_with_their_spread_and_many_a_heat_map():
    few = episode_strips(episode_strips_info([trace("a", continuous=2)], action_names=("x", "y")))
    ribbon = next(item for item in few.data if item.name == "a, one standard deviation")
    assert np.ptp(np.array(ribbon.y)[:200] - np.array(ribbon.y)[200:][::-1]) < 1e-6
    many = episode_strips_info([trace("a", continuous=6)])
    assert len(many.actions) == 1
    assert many.actions[0].cells.min() >= 0
    assert many.actions[0].cells.max() <= 1
    assert many.names[5] == "action 5"


def test_the_cursor_moves_and_there_is_only_one():
    info = episode_strips_info([trace("a")], action_names=NAMES)
    figure = move_cursor(move_cursor(episode_strips(info, step=3), 9), 12)
    cursors = [shape for shape in figure.layout.shapes if shape.name == CURSOR]
    assert [(shape.x0, shape.x1, shape.yref) for shape in cursors] == [(12, 12, "paper")]
    assert not episode_strips(info).layout.shapes


def test_a_strip_is_left_out_when_there_is_nothing_in_it():
    silent = trace("BC", "bc")._replace(returns_to_go=np.full(200, np.nan))
    figure = episode_strips(episode_strips_info([silent], action_names=NAMES))
    assert "return-to-go (reward)" not in {note.text for note in figure.layout.annotations}
    valued = trace("TT", "tt")._replace(values=np.arange(200.0))
    figure = episode_strips(episode_strips_info([valued], action_names=NAMES))
    assert "value (reward)" in {note.text for note in figure.layout.annotations}


def test_a_step_in_words():
    one = trace("asked for 200")
    info = episode_strips_info([one, trace("short", steps=3)], action_names=NAMES)
    probability = one.action_probabilities[5, one.actions[5]]
    told = step_sentence(info, 5)
    assert told.startswith("Step 5. asked for 200: 195 still asked for (return-to-go), “push ")
    assert f"{probability:.2g}"[:3] in told
    assert told.endswith("short: over after 3 steps.")
    assert sentence(info) == "Return reached: asked for 200: 200 in 200 steps; short: 3 in 3 steps."


def test_multi_discrete_actions_have_no_single_choice():
    one = trace("a", probabilities=False)._replace(actions=np.zeros((200, 2), dtype=int))
    info = episode_strips_info([one])
    assert episode_strips(info).data
    assert "actions 0 and 0" in step_sentence(info, 0)


def test_episodes_of_one_step_and_no_episode():
    assert episode_strips(episode_strips_info([trace("a", steps=1)], action_names=NAMES), step=0).data
    none = episode_strips_info([])
    assert sentence(none) == episode_strips(none).layout.annotations[0].text == "No episode is chosen yet."
