import numpy as np
import pandas as pd
import plotly.graph_objects as go

from seqrl.plots import (
    attention_heads,
    attention_info,
    choices,
    choices_info,
    return_to_go,
    return_to_go_info,
    shares,
    shares_info,
)
from seqrl.plots.drawing import Drawing
from seqrl.plots.drawn import drawn_table


def test_columns_are_named_as_the_axes_are_and_rows_are_the_points_of_each_line():
    lines = {"the data": (np.array([0.0, 1.0]), np.array([0.2, 0.4])), "DT": (np.array([2.0]), np.array([0.5]))}
    table = drawn_table(shares(shares_info(lines, {"DT": "dt"}, "bets", "return (reward)")))
    assert table.to_dict("list") == {
        "series": ["the data", "the data", "DT"],
        "return (reward)": [0.0, 1.0, 2.0],
        "share of bets": [0.2, 0.4, 0.5],
    }


def test_each_of_two_vertical_axes_has_its_own_column():
    table = drawn_table(return_to_go(return_to_go_info(np.array([1.0, 1.0, 5.0]), 0.5, 1)))
    rewards = table[table["series"] == "reward"]
    assert rewards["reward"].tolist() == [1.0, 1.0, 5.0]
    assert rewards["return-to-go (reward)"].isna().all()
    assert table.loc[table["series"] == "return-to-go", "return-to-go (reward)"].tolist() == [2.75, 3.5, 5.0]


def test_places_with_names_become_these_names_and_missing_points_are_left_out():
    share = {"the data": np.array([0.1, 0.2]), "weighted": np.array([0.3, np.nan])}
    info = choices_info(["round 1", "round 2"], "bet", share, dict.fromkeys(share, 1.0), dict.fromkeys(share, 1.0))
    table = drawn_table(choices(info))
    assert table["x"].tolist() == ["round 1", "round 2", "round 1"]


def test_ticks_that_are_numbers_leave_the_numbers_alone():
    figure = go.Figure(layout={"xaxis": {"tickvals": [1000, 2000], "ticktext": ["1\u2009000", "2\u2009000"]}})
    assert drawn_table(figure.add_scatter(x=[1000, 2000], y=[1, 2]))["x"].tolist() == [1000, 2000]


def test_a_ribbon_is_its_two_edges():
    drawing = Drawing()
    drawing.add_ribbon(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([3.0, 4.0]), "red", "interval")
    table = drawn_table(drawing.figure())
    assert table.loc[table["series"] == "interval, lower edge", ["x", "y"]].to_numpy().tolist() == [[0, 1], [1, 2]]
    assert table.loc[table["series"] == "interval, upper edge", ["x", "y"]].to_numpy().tolist() == [[0, 3], [1, 4]]


def test_a_heat_map_is_one_row_a_cell():
    weights = np.full((1, 2, 3, 3), 1 / 3)
    info = attention_info(weights, ["return", "observation", "action"], [0, 0, 0], layer=0, head=0)
    table = drawn_table(attention_heads(info))
    assert len(table) and table.iloc[:, -1].dropna().between(0, 1).all()
    plain = go.Figure().add_heatmap(z=[[1.0, 2.0], [3.0, np.nan]], x=["a", "b"], y=[10, 20])
    expected = pd.DataFrame({"series": "trace 1", "x": ["a", "b", "a"], "y": [10, 10, 20], "value": [1.0, 2.0, 3.0]})
    pd.testing.assert_frame_equal(drawn_table(plain), expected)


def test_nothing_drawn_is_an_empty_table():
    assert drawn_table(go.Figure()).to_dict("list") == {"series": []}
