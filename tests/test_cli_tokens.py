"""The command ``tokens inspect``."""

import numpy as np
import pytest

from seqrl.datasets import ensure_columns
from seqrl.store import Store
from tests.in_process import as_json

DATASET = ["dataset", "build", "--episodes", "12", "--max-episode-steps", "40", "--name", "data", "--json"]


@pytest.fixture
def dataset(home, run):
    assert run(*DATASET)[0] == 0
    return ensure_columns(Store(home), "data")


def inspected(run, *arguments):
    return as_json(run("tokens", "inspect", "--dataset", "data", "--json", *arguments))


def test_figures_of_every_dimension(dataset, run):
    result = inspected(run, "--bins", "20")
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


def test_uniform_bins_leave_some_empty_and_the_table_is_for_people(dataset, run):
    uniform = inspected(run, "--bins", "60", "--strategy", "uniform")
    assert any(row["unused"] for row in uniform["dimensions"])
    code, out, _ = run("tokens", "inspect", "--dataset", "data")
    assert code == 0
    assert "pole angular velocity" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bins", "2"], "bins is 2; choose at least 3"),
        (["--strategy", "random"], "strategy is 'random'; choose one of 'quantile' or 'uniform'"),
        (["--dataset", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(dataset, run, arguments, sentence):
    code, _, err = run("tokens", "inspect", "--dataset", "data", *arguments)
    assert code != 0
    assert sentence in err
