"""The command ``tokens inspect``."""

import json

import numpy as np
import pytest

from seqrl.cli import main
from seqrl.datasets import ensure_columns
from seqrl.store import Store
from tests.test_cli import run  # noqa: F401 - a fixture

DATASET = ["dataset", "build", "--episodes", "12", "--max-episode-steps", "40", "--name", "data", "--json"]


@pytest.fixture
def dataset(home, run):  # noqa: F811
    assert run(*DATASET)[0] == 0
    return ensure_columns(Store(home), "data")


def inspected(capsys, *arguments):
    capsys.readouterr()
    code = main(["tokens", "inspect", "--dataset", "data", "--json", *arguments])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    return json.loads(printed.out)


def test_figures_of_every_dimension(dataset, capsys):
    result = inspected(capsys, "--bins", "20")
    names = ["cart position", "cart velocity", "pole angle", "pole angular velocity", "action", "reward", "value"]
    assert [row["name"] for row in result["dimensions"]] == names
    for row in result["dimensions"]:
        assert sum(row["occupancy"]) == dataset.steps == result["rows"]
        assert len(row["occupancy"]) == row["bins"]
    action, reward = result["dimensions"][4:6]
    assert (action["bins"], action["error_max"], action["error_by_bins"]) == (2, 0, [])
    assert (reward["bins"], reward["error_max"]) == (1, 0)
    angle = result["dimensions"][2]
    assert (angle["bins"], angle["unused"]) == (20, [])
    assert 0 < angle["error_rms"] < np.std(dataset.observations[: dataset.steps, 2]) / 5
    curve = [point["uniform"] for point in angle["error_by_bins"]]
    assert curve == sorted(curve, reverse=True)


def test_uniform_bins_leave_some_empty_and_the_table_is_for_people(dataset, capsys):
    uniform = inspected(capsys, "--bins", "60", "--strategy", "uniform")
    assert any(row["unused"] for row in uniform["dimensions"])
    capsys.readouterr()
    assert main(["tokens", "inspect", "--dataset", "data"]) == 0
    assert "pole angular velocity" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bins", "2"], "bins is 2; choose at least 3"),
        (["--strategy", "random"], "strategy is 'random'; choose one of 'quantile' or 'uniform'"),
        (["--dataset", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(dataset, capsys, arguments, sentence):
    capsys.readouterr()
    assert main(["tokens", "inspect", "--dataset", "data", *arguments]) != 0
    assert sentence in capsys.readouterr().err
