import numpy as np
import pandas as pd
import pytest

from seqrl.calibration import calibration, points
from seqrl.plots import rtg_sweep, rtg_sweep_info, sentence
from seqrl.plots.format import number
from seqrl.plots.template import PALETTES, family_colour

from .synthetic import sweep_episodes, tier_returns

TARGETS = np.arange(50.0, 501.0, 50.0)
KINDS = {"dt": "dt", "bc": "bc"}


def build(kinds=KINDS, targets=TARGETS, episodes=8, **options):
    table = sweep_episodes(kinds, targets, episodes)
    options = {"kinds": kinds, "episodes": table, "dataset_returns": tier_returns()[0], **options}
    return table, rtg_sweep_info(points(table), **options)


def traces(figure, ending):
    return [trace for trace in figure.data if trace.name.endswith(ending)]


def lines(figure):
    return [
        trace for trace in figure.data if trace.type == "scatter" and trace.mode != "markers" and trace.fill is None
    ]


def test_where_targets_are_discounted_everything_is():
    table = sweep_episodes(KINDS, [10.0, 20.0], 8)
    table["discounted_return"] = table["achieved_return"] / 10
    info = rtg_sweep_info(points(table), kinds=KINDS, episodes=table, dataset_returns=[5.0, 50.0])
    plain = rtg_sweep_info(points(table.drop(columns="discounted_return")), kinds=KINDS)
    assert (info.unit, plain.unit) == ("discounted reward", "reward")
    for line, other in zip(info.series, plain.series, strict=True):
        for what in ("mean", "low", "high"):
            np.testing.assert_allclose(getattr(line, what), getattr(other, what) / 10)
        if line.flat:
            np.testing.assert_allclose(line.flat[:3], np.array(other.flat[:3]) / 10)
        assert line.dots.achieved.max() <= 50
    assert rtg_sweep(info).layout.yaxis.title.text == "achieved return (discounted reward)"


def test_every_dot_is_the_episode_its_customdata_names():
    table, info = build()
    table = table.set_index("episode_id")
    seen = []
    for trace in traces(rtg_sweep(info), "single episodes"):
        for episode_id, y, x in zip(trace.customdata, trace.y, trace.x, strict=True):
            assert isinstance(episode_id, int)
            row = table.loc[episode_id]
            assert y == row["achieved_return"]
            assert np.isnan(row["target"]) or abs(x - row["target"]) < 5
            seen.append(episode_id)
    assert sorted(seen) == sorted(table.index)


def test_dots_under_a_marker_leave_the_click_to_the_marker():
    table, info = build()
    hidden, free = [], []
    for trace in traces(rtg_sweep(info), "single episodes"):
        (hidden if trace.hoverinfo == "skip" else free).extend(trace.customdata)
    greedy = table[(table["run"] == "dt") & (table["decoding"] == "greedy")]
    assert set(greedy["episode_id"]) <= set(hidden)
    assert len(free) > len(hidden) / 2


def test_points_of_means_carry_their_cell_in_reward_units_also_in_normalised_scores():
    table, info = build(reference_returns=(20.0, 500.0))
    figure = rtg_sweep(info)
    cells = {tuple(cell) for trace in lines(figure) for cell in trace.customdata}
    expected = {(row.run, row.decoding, None if np.isnan(row.target) else row.target) for row in table.itertuples()}
    assert cells == expected
    assert info.unit == "normalised score"
    assert figure.layout.xaxis.title.text == "target return (normalised score)"
    sampled = info.series[0]
    assert sampled.target[-1] == pytest.approx(100.0)
    mean = table[(table.run == "dt") & (table.decoding == "sampled") & (table.target == 500.0)].achieved_return.mean()
    assert sampled.mean[-1] == pytest.approx(100 * (mean - 20) / 480)
    dots = traces(figure, "single episodes")[0]
    assert max(dots.y) <= 100.0 + 1e-9


def test_a_reference_without_a_span_is_refused():
    with pytest.raises(ValueError, match="both 20"):
        build(reference_returns=(20.0, 20.0))


def test_greedy_is_hollow_and_dashed_and_sampled_filled_and_solid():
    figure = rtg_sweep(build()[1], "dark")
    background = PALETTES["dark"].background
    for trace in lines(figure):
        greedy = trace.name.endswith("greedy")
        assert (trace.line.dash != "solid") == greedy
        assert (trace.marker.color == background) == greedy


def test_colours_follow_the_family_and_lightness_the_run():
    kinds = {"k1": "dt", "bc": "bc", "k20": "dt"}
    figure = rtg_sweep(build(kinds)[1])
    colours = {trace.name: trace.line.color for trace in lines(figure)}
    assert colours["BC sampled"] == colours["BC greedy"] == family_colour("bc", "light")
    assert colours["k1 sampled"] == family_colour("dt", "light", 0, 2)
    assert colours["k20 sampled"] == family_colour("dt", "light", 1, 2)


def test_both_axes_have_the_same_range_and_ticks_so_the_diagonal_has_45_degrees():
    for options in ({}, {"targets": [75.0]}, {"dataset_returns": None}, {"dataset_returns": [9000.0, -40.0]}):
        info = build(**options)[1]
        figure = rtg_sweep(info)
        x, y = figure.layout.xaxis, figure.layout.yaxis
        assert x.range == y.range == info.axis
        assert x.dtick == y.dtick
        assert (y.scaleanchor, y.scaleratio) == ("x", 1)
        diagonal = next(shape for shape in figure.layout.shapes if shape.type == "line" and shape.x0 == shape.y0)
        assert (diagonal.x0, diagonal.x1) == info.axis == (diagonal.y0, diagonal.y1)


def test_ribbons_are_the_interval_of_the_points():
    table, info = build()
    expected = points(table).query("run == 'dt' and decoding == 'sampled'")
    ribbon = next(trace for trace in rtg_sweep(info).data if trace.name == "DT sampled, 95% interval")
    count = len(expected)
    np.testing.assert_allclose(ribbon.y[:count], expected["high"])
    np.testing.assert_allclose(ribbon.y[count:][::-1], expected["low"])
    assert ribbon.fillcolor == "rgba(0,114,178,0.18)"


def test_targets_outside_the_data_are_shaded_exactly_there():
    table, info = build(targets=[100.0, 300.0, 600.0], dataset_returns=[120.0, 450.0, 300.0])
    assert info.outside[0][1] == 120.0
    assert info.outside[1][0] == 450.0
    shaded = [shape for shape in rtg_sweep(info).layout.shapes if shape.name == "outside the data"]
    assert [(shape.x0, shape.x1) for shape in shaded] == list(info.outside)
    unknown = build(dataset_returns=None)[1]
    assert unknown.outside == ()


def test_a_narrow_strip_is_shaded_when_a_target_lies_in_it():
    returns = np.linspace(-10.0, 499.0, 50)
    assert build(targets=[100.0, 500.0], dataset_returns=returns)[1].outside[-1][0] == 499.0


def test_the_density_counts_every_episode_of_the_data_once():
    for returns in (tier_returns()[0], np.full(30, -200.0), np.array([0.1, 0.2, 0.2])):
        info = build(dataset_returns=returns)[1]
        assert info.density.sum() == len(returns)
        assert len(info.density_edges) == len(info.density) + 1
        bars = next(trace for trace in rtg_sweep(info).data if trace.type == "bar")
        assert bars.yaxis == "y2"


def test_one_return_that_most_episodes_share_does_not_hide_the_others():
    spiked = np.concatenate([np.linspace(0, 490, 400), np.full(3000, 500.0)])
    figures = [rtg_sweep(build(dataset_returns=returns)[1]) for returns in (spiked, np.linspace(0, 500, 400))]
    heights, names = [], []
    for figure in figures:
        bars = next(trace for trace in figure.data if trace.type == "bar")
        heights.append(np.array(bars.y))
        names.append({note.text for note in figure.layout.annotations if "episodes in the data" in note.text})
        counts = np.array([cell[0] for cell in bars.customdata])
        assert counts.sum() in (3400, 400)
    np.testing.assert_allclose(heights[0].max(), np.sqrt(3000), rtol=0.01)
    assert names == [{"episodes in the data (height: square root)"}, {"episodes in the data"}]


def test_a_run_that_is_asked_for_nothing_is_a_horizontal_line_across_the_plot():
    table, info = build()
    mean = table[(table.run == "bc") & (table.decoding == "sampled")].achieved_return.mean()
    trace = next(trace for trace in lines(rtg_sweep(info)) if trace.name == "BC sampled")
    assert (trace.x[0], trace.x[-1]) == info.axis
    np.testing.assert_allclose(trace.y, mean)


def test_the_error_is_that_of_the_calibration_table():
    table, info = build()
    expected = calibration(points(table)).set_index(["run", "decoding"])["mae"]
    for line in info.series:
        assert line.mean_error == pytest.approx(expected[line.run, line.decoding])
    assert sentence(info).startswith("Sampled, DT is off by ")
    assert "; greedy, by 225." in sentence(info)
    assert "BC greedy is asked for nothing and reaches 500." in sentence(info)


def test_names_stand_at_line_ends_without_overlap_until_there_are_seven():
    info = build({"a": "dt", "b": "dt", "c": "dt"})[1]
    figure = rtg_sweep(info)
    names = {line.label for line in info.series}
    placed = [note for note in figure.layout.annotations if note.text in names]
    assert len(placed) == 6
    heights = np.sort([note.y for note in placed])
    assert np.diff(heights).min() >= 14 * (info.axis[1] - info.axis[0]) / 450
    assert not figure.layout.showlegend
    many = rtg_sweep(build({name: "dt" for name in "abcd"})[1])
    assert many.layout.showlegend
    assert not [note for note in many.layout.annotations if note.text.startswith("a ")]


def test_many_episodes_are_drawn_by_webgl():
    few = rtg_sweep(build(episodes=20)[1])
    many = rtg_sweep(build(episodes=250)[1])
    assert {trace.type for trace in traces(few, "single episodes")} == {"scatter"}
    assert {trace.type for trace in traces(many, "single episodes")} == {"scattergl"}


@pytest.mark.parametrize(("low", "high"), [(-1e7, 3e6), (-1e-6, 1e-6), (-200.0, -200.0), (0.0, 1.0)])
def test_any_scale_of_returns_can_be_drawn(low, high):
    targets = np.linspace(low, high, 5) if high > low else np.array([low])
    table = sweep_episodes(KINDS, targets, 3, low=low, high=high)
    info = rtg_sweep_info(points(table), kinds=KINDS, episodes=table, dataset_returns=table["achieved_return"])
    assert info.axis[0] < info.axis[1]
    assert (info.axis[1] - info.axis[0]) / info.step <= 6 + 1e-9
    assert rtg_sweep(info).data


def test_one_episode_behind_one_point():
    table = sweep_episodes({"dt": "dt"}, [100.0], 1).head(1)
    info = rtg_sweep_info(points(table), kinds={"dt": "dt"}, episodes=table)
    figure = rtg_sweep(info)
    assert len(lines(figure)[0].x) == 1
    assert lines(figure)[0].text[0].endswith(f"got {number(table['achieved_return'].iloc[0])} in its only episode")
    assert info.data is None


def test_an_empty_sweep_says_so():
    empty = pd.DataFrame(columns=["run", "decoding", "target", "achieved_return", "episode_id"])
    info = rtg_sweep_info(points(empty), episodes=empty)
    assert info.series == ()
    assert sentence(info) == rtg_sweep(info).layout.annotations[0].text == "No point is measured yet."


def test_names_come_from_labels_then_families_then_runs():
    kinds = {"demo/dt": "dt", "x": "other", "bc": "bc"}
    info = build(kinds, labels={"bc": "cloning"})[1]
    assert {line.label.split()[0] for line in info.series} == {"DT", "x", "cloning"}


def test_what_is_no_info_has_no_sentence():
    with pytest.raises(TypeError, match="int is no chart's info"):
        sentence(3)


def with_choice():
    """A DT that also chose: it asks for 480 and reaches 450."""
    table = sweep_episodes({"dt": "dt"}, TARGETS, 8)
    own = table[(table["target"] == 500) & (table["decoding"] == "sampled")].assign(
        target=np.nan, chosen_return=480.0, achieved_return=450.0, episode_id=np.arange(8) + 9000
    )
    return pd.concat([table.assign(chosen_return=np.nan), own], ignore_index=True)


def test_a_choice_of_the_model_is_a_diamond_where_it_asked_and_not_a_flat_line():
    table = with_choice()
    info = rtg_sweep_info(points(table), kinds={"dt": "dt"}, episodes=table)
    sampled, greedy = info.series
    assert sampled.choice[:4] == (480.0, 450.0, 450.0, 450.0)
    assert sampled.flat is None
    assert greedy.choice is None
    (diamond,) = traces(rtg_sweep(info), "left to choose")
    assert (diamond.marker.symbol, list(diamond.x), list(diamond.y)) == ("diamond", [480.0], [450.0])
    assert list(diamond.customdata[0]) == ["dt", "sampled", None]
    assert sentence(info).endswith("Left to choose, DT sampled asks for 480 and reaches 450.")
    dots = {
        identifier: x
        for trace in traces(rtg_sweep(info), "single episodes")
        for identifier, x in zip(trace.customdata, trace.x, strict=True)
    }
    assert all(abs(dots[9000 + i] - 480) < 5 for i in range(8))


def test_a_choice_is_in_the_axis_units_too():
    table = with_choice()
    info = rtg_sweep_info(points(table), kinds={"dt": "dt"}, reference_returns=(0.0, 1000.0))
    assert info.series[0].choice[:2] == pytest.approx((48.0, 45.0))
