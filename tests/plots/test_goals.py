"""How often goals are reached, by distance."""

import numpy as np
import pandas as pd

from seqrl import plots

TABLE = pd.DataFrame(
    {
        "run": ["dt", "dt", "bc"],
        "decoding": ["greedy", "greedy", "sampled"],
        "target": [np.nan, np.nan, -3.0],
        "distance": [1.0, 4.0, 2.0],
        "n": [30, 10, 20],
        "reached": [1.0, 0.5, 0.25],
        "low": [1.0, 0.2, 0.1],
        "high": [1.0, 0.8, 0.5],
        "steps": [1.0, 6.5, np.nan],
    }
)


def test_a_line_for_every_run_decoding_and_target():
    info = plots.goal_sweep_info(TABLE, kinds={"dt": "dt", "bc": "bc"}, labels={"dt": "DT", "bc": "BC"}, unit="steps")
    assert [line.label for line in info.series] == ["DT greedy", "BC sampled, asked for −3"]
    figure = plots.goal_sweep(info, "dark")
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [list(line.x) for line in lines] == [[1.0, 4.0], [2.0]]
    assert [list(line.y) for line in lines] == [[1.0, 0.5], [0.25]]
    assert figure.layout.xaxis.title.text == "distance of the goal at the start (steps)"
    assert "50 % reach it" in lines[0].text[1].replace("\N{NARROW NO-BREAK SPACE}", " ").replace("50%", "50 %")
    assert "in 6.5 steps" in lines[0].text[1] and "steps on average" not in lines[1].text[0]


def test_the_sentence_weighs_every_episode_alike():
    told = plots.sentence(plots.goal_sweep_info(TABLE, labels={"dt": "DT", "bc": "BC"}, unit="m"))
    assert told.startswith("Goals 1 to 4 m away are reached by DT greedy 88")  # (30 · 1 + 10 · 0.5) / 40


def test_nothing_measured_is_said():
    info = plots.goal_sweep_info(TABLE[:0])
    assert plots.sentence(info) == "Nothing is measured yet."
    assert plots.goal_sweep(info).layout.annotations[0].text == "Nothing is measured yet."


def test_many_requests_get_a_legend_shades_of_their_own_and_a_short_sentence():
    requests = pd.concat([TABLE[:2].assign(target=-float(target)) for target in range(1, 9)])
    info = plots.goal_sweep_info(requests, kinds={"dt": "dt"}, labels={"dt": "DT"}, unit="steps")
    figure = plots.goal_sweep(info)
    assert figure.layout.showlegend and not figure.layout.annotations
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len({line.line.color for line in lines}) == len(lines) == 8
    assert plots.sentence(info) == "Goals 1 to 4 steps away are reached by all 8 lines alike, 88%."
    better = requests.assign(reached=np.where(requests["target"] == -3, 1.0, requests["reached"]))
    told = plots.sentence(plots.goal_sweep_info(better, labels={"dt": "DT"}))
    assert told.endswith("by 88% (DT greedy, asked for −1) to 100% (DT greedy, asked for −3).")
