"""The charts of the lessons show the numbers that they were given, in every size and when there is nothing."""

import numpy as np
import pytest

from seqrl import plots
from seqrl.ensembles import asked_weights, effective_sample_size, path_weights
from seqrl.plots.graphs import walk_table

RETURNS = np.array([-10.0, -7.0, -4.0, -4.0, -1.0, 2.0, 2.0, 2.0, 5.0, 8.0, 20.0])


def lines(figure):
    """Name → trace."""
    return {trace.name: trace for trace in figure.data}


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_the_return_to_go_is_its_definition(discount):
    rewards = np.array([1.0, 0.0, -2.0, 5.0])
    info = plots.return_to_go_info(rewards, discount, 2)
    expected = [sum(discount ** (k - t) * rewards[k] for k in range(t, 4)) for t in range(4)]
    np.testing.assert_allclose(info.returns_to_go, expected)
    assert (info.collected, info.to_come) == (1.0, 3.0)
    drawn = lines(plots.return_to_go(info))
    np.testing.assert_allclose(drawn["return-to-go"].y, expected)
    assert drawn["this step"].x[0] == 2
    assert ("γ" in plots.sentence(info)) == (discount < 1)


def test_a_step_past_the_end_is_the_last():
    assert plots.return_to_go_info(np.ones(3), 1.0, 99).step == 2


def test_seeds_are_dots_their_mean_a_line_and_overlap_is_called_so():
    info = plots.seeds_info([1, 1, 20, 20], [10.0, 12.0, 3.0, 5.0], setting="K", value="error")
    assert info.means.tolist() == [11.0, 4.0]
    assert list(lines(plots.seeds(info))["mean over seeds"].y) == [11.0, 4.0]
    assert "Even the worst seed of the better one" in plots.sentence(info)
    overlapping = plots.seeds_info([1, 1, 20, 20], [10.0, 4.0, 3.0, 5.0], setting="K", value="error")
    assert "The seeds overlap" in plots.sentence(overlapping)


def test_weights_of_an_ensemble_are_drawn_and_sum_to_one():
    weights, asked = path_weights(RETURNS, 5.0), asked_weights(RETURNS, 8.0, 0.5)
    effective = effective_sample_size(weights)
    info = plots.ensemble_info(RETURNS, weights, asked, temperature=5.0, target=8.0, effective=effective)
    for share in (info.plain, info.weighted, info.asked):
        assert share.sum() == pytest.approx(1)
    assert info.means == pytest.approx((RETURNS.mean(), RETURNS @ weights, 8.0))
    outline = lines(plots.ensemble(info))["asked for"]
    assert outline.y[outline.x == RETURNS[9]] == pytest.approx(1)
    assert [*outline.x[[0, -1]], *outline.y[[0, -1]]] == [info.edges[0], info.edges[-1], 0, 0]
    assert "of 11 episodes" in plots.sentence(info)


def test_many_different_returns_share_bars_and_none_is_lost():
    returns = np.random.default_rng(0).normal(size=500)
    flat = np.full(500, 1 / 500)
    info = plots.ensemble_info(returns, flat, flat, temperature=1.0, target=0.0, effective=500.0)
    assert len(info.plain) == 40
    assert info.plain.sum() == pytest.approx(1)
    assert info.weighted == pytest.approx(info.plain)


def test_the_chosen_temperature_is_marked_on_the_curve():
    info = plots.sample_size_info(np.geomspace(0.1, 100, 9), np.linspace(1, 11, 9), 10.0, 8.0, 11)
    marked = lines(plots.sample_size(info))["chosen temperature"]
    assert (marked.x[0], marked.y[0]) == (10.0, 8.0)
    assert "worth 8 episodes, 73% of the data" in plots.sentence(info)


def test_choices_say_what_was_promised_and_what_came():
    info = plots.choices_info(
        ["round 1", "round 2"], "bet", {"the data": np.array([0.5, np.nan])}, {"the data": 2.0}, {"the data": 1.5}
    )
    assert lines(plots.choices(info))["the data"].y[0] == 0.5
    assert plots.sentence(info) == "Return of the data: 2 promised, 1.5 delivered."


def test_edges_of_a_graph_say_who_took_them():
    leads = np.array([[1, 1], [0, 2], [-1, -1]])
    info = plots.walk_info(np.zeros((3, 2)), leads, np.array([2.0, 1.0, 0.0]), 2, [0, 1, 0, 1, 2], [0, 1, 2])
    table = walk_table(info).set_index(["from_node", "to_node"])
    assert table["taken_by_the_walk"].to_dict() == {(0, 1): 2, (1, 0): 1, (1, 2): 1}
    assert table["on_the_shortest_way"].to_dict() == {(0, 1): True, (1, 0): False, (1, 2): True}
    assert table.loc[(1, 2), "steps_to_the_goal"] == 0


def test_a_walk_and_the_shortest_way_are_drawn_on_the_graph():
    places = np.array([[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]])
    leads = np.array([[1, 1], [0, 2], [-1, -1]])
    info = plots.walk_info(places, leads, np.array([2.0, 1.0, 0.0]), 2, [0, 1, 0, 1, 2], [0, 1, 2])
    drawn = lines(plots.walk(info))
    assert len(drawn["this walk"].x) == 4 * 4
    assert [x for x in drawn["shortest path"].x if x is not None][::3] == [0.0, 0.5]
    assert list(drawn["nodes"].text) == ["0", "1", "goal"]
    assert "took 4 steps and reached the goal" in plots.sentence(info)
    lost = info._replace(walk=(0, 1, 0), way=())
    assert "never reached the goal; no way" in plots.sentence(lost)


def brightness(colour):
    """Luma of ``#RRGGBB``, 0 to 255."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_numbers_of_nodes_stand_out_from_every_shade(theme):
    count = 12
    places = np.stack([np.linspace(-1, 1, count), np.zeros(count)], axis=1)
    leads = np.stack([np.arange(count) - 1, np.full(count, -1)], axis=1)
    info = plots.walk_info(places, leads, np.arange(count, dtype=float), 0, [3, 2, 1, 0], [3, 2, 1, 0])
    nodes = lines(plots.walk(info, theme))["nodes"]
    pairs = zip(nodes.marker.color, nodes.textfont.color, strict=True)
    assert all(abs(brightness(fill) - brightness(text)) > 75 for fill, text in pairs)


def test_steps_are_averaged_by_distance():
    info = plots.ways_info(
        {"walks": np.array([1, 1, 3]), "search": np.array([1, 2, 3])},
        {"walks": np.array([5.0, 7.0, 9.0]), "search": np.array([1.0, 2.0, 3.0])},
        {"search": "search"},
    )
    np.testing.assert_allclose(info.steps["walks"], [6.0, np.nan, 9.0])
    assert "walks 5.5 and search 0" in plots.sentence(info)
    assert list(lines(plots.ways(info))["walks"].x) == [1.0, 3.0]


def test_shares_are_drawn_and_told_from_end_to_end():
    shares = {"DT": ([0.0, 2.0, 5.0], [0.2, 0.1, 0.9]), "none": ([], [])}
    info = plots.shares_info(shares, {"DT": "dt"}, "bets", "return")
    assert list(info.shares) == ["DT"]
    assert plots.sentence(info) == "DT: 20% bets at 0, fewest (10%) at 2, 90% at 5."
    assert list(lines(plots.shares(info))["DT"].y) == [0.2, 0.1, 0.9]


NOTHING = [
    (plots.seeds, plots.seeds_info([], [], setting="K", value="error")),
    (plots.shares, plots.shares_info({}, {}, "bets", "return")),
    (plots.return_to_go, plots.return_to_go_info(np.ones(1), 1.0, 0)._replace(rewards=np.empty(0))),
    (plots.walk, plots.walk_info(np.empty((0, 2)), np.empty((0, 1), int), np.empty(0), -1, [], [])),
]


@pytest.mark.parametrize(("draw", "info"), NOTHING, ids=lambda value: getattr(value, "__name__", ""))
def test_nothing_is_said_in_words(draw, info):
    assert draw(info).layout.annotations[0].text
    assert plots.sentence(info)


SOME = [
    (plots.return_to_go, plots.return_to_go_info(RETURNS, 0.9, 3)),
    (plots.seeds, plots.seeds_info([1.0], [2.0], setting="K", value="error")),
    (plots.shares, plots.shares_info({"DT": ([0.0], [0.2])}, {"DT": "dt"}, "bets", "return")),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("draw", "info"), SOME, ids=lambda value: getattr(value, "__name__", ""))
def test_both_themes_and_the_projector_are_drawn(draw, info, theme):
    for present in (False, True):
        figure = draw(info, theme, present)
        assert 420 <= figure.layout.height <= 560
