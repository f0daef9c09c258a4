"""The scripts that visit every environment and measure the small tasks, each once at the smallest size."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from benchmarks import curves, tasks, tour
from benchmarks.workbench import Workbench, markdown
from seqrl.environments.graph_walk import make_graph
from seqrl.environments.making import make_environment
from seqrl.registry import ENVIRONMENTS
from tests.in_process import InProcess


@pytest.fixture
def bench(tmp_path):
    return Workbench(tmp_path / "home", InProcess())


@pytest.mark.parametrize("environment", ["seqrl/FrozenLakeNotSlippery-v1", "Pendulum-v1"])
def test_an_environment_is_visited_from_its_row_alone_and_only_once(bench, monkeypatch, environment):
    monkeypatch.setattr(tour, "DATA_STEPS", 1)
    (line,) = tour.visit(bench, ENVIRONMENTS[environment], steps=2)
    assert line["episodes"] == 20
    assert not line["video"].startswith("0 ")
    jobs = len(bench.store.jobs(["succeeded"]))
    assert jobs == 4
    (again,) = tour.visit(bench, ENVIRONMENTS[environment], steps=2)
    assert len(bench.store.jobs(["succeeded"])) == jobs
    assert again["left to choose"] == line["left to choose"]


def test_an_environment_whose_package_is_missing_is_left_out_and_named(capsys):
    row = dataclasses.replace(ENVIRONMENTS["Pendulum-v1"], module="no_such_module", package="swings")
    assert not tour.is_installed(row)
    assert capsys.readouterr().out == "Pendulum-v1 is left out: it needs swings\n"
    assert tour.is_installed(ENVIRONMENTS["Pendulum-v1"])


def test_a_walk_is_solved_when_no_shorter_one_exists_and_start_nodes_count_alike():
    graph, env = make_graph(), make_environment("seqrl/GraphWalk-v0")
    seeds, starts = [], []
    for seed in range(200):
        start = env.reset(seed=seed)[0]
        if len(set(starts) | {start}) <= 2:
            seeds.append(seed)
            starts.append(start)
    first, second = dict.fromkeys(starts)
    shortest = graph.distances[np.array(starts)]
    longer = np.where(np.array(starts) == first, 0, 2)
    table = pd.DataFrame({"seed": seeds, "length": shortest + longer, "terminated": True})
    row = tasks._walks_row("model", tasks._with_starts(table))
    assert row["shortest path found"] == "50 %"
    assert row["goal reached"] == "100 %"
    assert row["steps"] == f"{(graph.distances[first] + graph.distances[second] + 2) / 2:.1f}"


@pytest.mark.parametrize(
    ("task", "small", "models"),
    [
        (
            tasks.graph,
            {"steps": 2, "sizes": (60,)},
            ["BC", "DT, left to choose", "RvS, asked for −1", "shortest paths"],
        ),
        (tasks.key, {"data": ((30, 1),)}, ["DT", "BC", "RvS"]),
        (tasks.gamble, {"steps": 2}, None),
    ],
)
def test_a_task_is_measured_from_beginning_to_end(bench, monkeypatch, task, small, models):
    monkeypatch.setattr(tasks, "_RARE", dataclasses.replace(tasks._RARE, training={**tasks._RARE.training, "steps": 2}))
    rows = task(bench, episodes=8, **small)
    assert markdown(rows).count("\n") == len(rows) + 1
    if models is None:
        assert [row["asked for"] for row in rows][-1] == "never bet"
    else:
        assert set(models) <= {row["model"] for row in rows}


def test_a_curve_has_a_line_for_every_target(bench, monkeypatch):
    monkeypatch.setattr(curves, "EPISODES", 2)
    plan = curves.Curve(episodes=4, mix={"random": 0.5, "medium": 0.5}, context_length=2, steps=2)
    rows = curves.measure_curve(bench, "Pendulum-v1", plan, targets=3)
    assert [list(row) for row in rows] == [["environment", "asked for", "sampled", "greedy"]] * 3
    asked = [float(row["asked for"]) for row in rows]
    assert asked == sorted(asked)


def test_a_table_has_a_line_a_row():
    assert markdown([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]) == "| a | b |\n|---|---|\n| 1 | x |\n| 2 | y |"
