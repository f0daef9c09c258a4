import numpy as np
import pandas as pd
import pytest

from seqrl.plots import beam_sweep, beam_sweep_info, sentence
from seqrl.plots.template import family_colour

from .synthetic import beam_points


def test_return_and_time_share_one_axis_of_widths():
    points, episodes = beam_points()
    figure = beam_sweep(beam_sweep_info(points, episodes=episodes))
    upper = {trace.name: trace for trace in figure.data if trace.mode == "lines+markers" and trace.yaxis == "y"}
    lower = {trace.name: trace for trace in figure.data if trace.mode == "lines+markers" and trace.yaxis == "y2"}
    assert set(upper) == {"horizon 5", "horizon 15"}
    for name, trace in upper.items():
        np.testing.assert_array_equal(trace.x, lower[f"{name}, time"].x)
        np.testing.assert_allclose(np.diff(trace.x), 1.0)
        horizon = int(name.split()[1])
        own = points[(points["horizon"] == horizon) & (points["width"] > 0)]
        np.testing.assert_allclose(trace.y, own["mean"])
        np.testing.assert_allclose(lower[f"{name}, time"].y, own["seconds_per_decision"])
        assert [list(cell) for cell in trace.customdata] == [["tt", width, horizon] for width in own["width"]]
    assert figure.layout.yaxis2.domain[1] < figure.layout.yaxis.domain[0]
    assert figure.layout.yaxis2.type == "log"


def test_no_planning_stands_apart_with_its_interval():
    points, _ = beam_points()
    figure = beam_sweep(beam_sweep_info(points))
    alone = next(trace for trace in figure.data if trace.name == "tt, no planning")
    row = points[points["width"] == 0].iloc[0]
    assert alone.x[0] < 0
    assert alone.y[0] == row["mean"]
    assert alone.error_y.array[0] == pytest.approx(row["high"] - row["mean"])
    assert figure.layout.xaxis.ticktext[0] == "none"


def test_a_single_episode_has_no_interval():
    points, _ = beam_points()
    figure = beam_sweep(beam_sweep_info(points.assign(n=1, low=np.nan, high=np.nan)))
    told = [text for trace in figure.data for text in (trace.text or [trace.hovertemplate or ""]) if "got" in text]
    assert told and all("in its only episode" in text and "interval" not in text for text in told)


def test_dots_are_the_episodes_they_name():
    points, episodes = beam_points()
    figure = beam_sweep(beam_sweep_info(points, episodes=episodes))
    seen = {}
    for trace in figure.data:
        if trace.name.endswith("single episodes"):
            seen |= dict(zip(trace.customdata, trace.y, strict=True))
    assert seen == dict(zip(episodes["episode_id"], episodes["achieved_return"], strict=True))


def test_the_sentence_names_the_best_point():
    points, _ = beam_points()
    best = points[points["width"] > 0].sort_values("mean").iloc[-1]
    told = sentence(beam_sweep_info(points))
    assert f"beam width {best['width']} and horizon {best['horizon']}" in told
    assert "without planning, " in told


def test_of_equal_means_the_fastest_is_best():
    points, _ = beam_points(widths=(1, 2, 4))
    points["mean"] = 500.0
    assert "beam width 1 and horizon 5" in sentence(beam_sweep_info(points))


def test_horizons_differ_in_lightness_and_several_runs_are_named():
    points, _ = beam_points()
    other, _ = beam_points("demo/other")
    both = beam_sweep_info(pd.concat([points, other]))
    assert [line.place for line in both.lines] == [(i, 4) for i in range(4)]
    assert both.lines[2].label == "other, horizon 5"
    figure = beam_sweep(beam_sweep_info(points), "dark")
    line = next(trace for trace in figure.data if trace.name == "horizon 15")
    assert line.line.color == family_colour("tt", "dark", 1, 2)


def test_references_are_hairlines_with_a_name():
    figure = beam_sweep(beam_sweep_info(beam_points()[0], references={"the data's mean": 331.0}))
    assert [shape.y0 for shape in figure.layout.shapes if shape.name == "the data's mean"] == [331.0]
    assert "the data's mean" in {note.text for note in figure.layout.annotations}


def test_partial_sweeps():
    points, _ = beam_points()
    assert sentence(beam_sweep_info(points.head(0))) == "No point is measured yet."
    assert beam_sweep(beam_sweep_info(points.head(0))).layout.annotations[0].text == "No point is measured yet."
    first = beam_sweep_info(points.head(1))
    assert sentence(first).startswith("Without planning, ")
    assert beam_sweep(first).data
    assert len(beam_sweep_info(points.iloc[1:2]).lines[0].width) == 1
