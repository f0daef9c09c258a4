"""Grids on the command line."""

import csv
import json

import pytest

from tests.in_process import as_json
from tests.test_cli import SMALL, command

GRID = ["train", "--dataset", "tiny", "--name", "ctx", *SMALL, "--set", "training.validate_every=10"]
AXES = ["--grid", "model.context_length=1,5", "--grid", "training.learning_rate=1e-3,3e-4"]


def test_a_grid_is_trained_summed_up_measured_and_listed(tiny, run, tmp_path):
    done = as_json(run(*GRID, *AXES, "--seeds", 2, "--json"))
    assert (done["name"], done["states"], done["progress"]) == ("ctx", {"succeeded": 8}, 1)
    combinations = ["cl1-lr0.001", "cl1-lr0.0003", "cl5-lr0.001", "cl5-lr0.0003"]
    assert [row["combination"] for row in done["combinations"]] == combinations
    first = done["combinations"][0]
    assert first["best_value_low"] <= first["best_value"] <= first["best_value_high"] and first["finished"] == 2
    assert [row["name"] for row in done["runs"]][:2] == ["ctx-cl1-lr0.001-seed0", "ctx-cl1-lr0.001-seed1"]
    code, out, err = run(*GRID, *AXES, "--seeds", 2)
    assert (code, err) == (0, "") and "grid ctx: 0 runs queued, 8 there already" in out
    sheet = tmp_path / "ctx.csv"
    code, out, _ = run("grid", "show", "ctx", "--csv", sheet)
    assert code == 0 and "context length" in out and "best validation loss" in out
    assert [row["combination"] for row in csv.DictReader(sheet.open())][-1] == "cl5-lr0.0003"
    assert run("grid", "show", "ctx", "--csv", sheet)[0] == 1
    swept = as_json(run("sweep", "rtg", "--grid", "ctx", "--targets", "20,40", "--episodes", 2, "--json"))
    assert len({row["run"] for row in swept["points"]}) == 8
    shown = as_json(run("grid", "show", "ctx", "--json"))
    assert all(row["calibration_error"] is not None for row in shown["combinations"])
    listed = as_json(run("grid", "list", "--json"))
    assert listed[0]["name"] == "ctx" and listed[0]["settings"] == ["model.context_length", "training.learning_rate"]


def test_runs_are_listed_with_their_grids(tiny, run):
    as_json(run("train", "--dataset", "tiny", "--name", "alone", *SMALL, "--json"))
    as_json(run(*GRID, "--seeds", 2, "--json"))
    listed = as_json(run("run", "list", "--json"))
    own = [(row["name"], row["grid"]) for row in listed if not row["name"].startswith("demo/")]
    assert own == [("alone", None), ("ctx-seed1", "ctx"), ("ctx-seed0", "ctx")]
    lines = run("run", "list")[1].splitlines()
    assert [line.split()[0] for line in lines if "ctx" in line] == ["ctx-seed1", "ctx-seed0"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--grid", "model.context_length"], "--grid 'model.context_length' has no values; write for example"),
        (["--grid", "model.layers=1", "--grid", "model.layers=2"], "--grid names model.layers twice"),
        (["--grid", "model.context_length=5,100"], "context_length is 100 but CartPole-v1 episodes end at 60 steps"),
        (["--grid", "model.context_length=1:60:1", "--seeds", 2], "the grid has 120 runs; choose at most 64"),
        (["--grid", "model.contxt=1,2"], "model.contxt is 1; this setting does not exist; remove it"),
        (["--seeds", 0], "seeds is 0; choose at least 1"),
    ],
)
def test_a_grid_that_cannot_be_trained_is_one_sentence_and_nothing_is_queued(tiny, run, arguments, sentence):
    before = len(tiny.jobs())
    code, out, err = run(*GRID, *arguments)
    assert (code in (1, 2), out) == (True, "")
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1
    assert len(tiny.jobs()) == before and tiny.grids() == []


def test_a_failed_run_fails_the_command_and_says_how_to_go_on(tiny, run):
    (tiny.minari_dataset_folder("tiny") / "data" / "main_data.hdf5").write_bytes(b"")
    (tiny.columns_folder("tiny") / "actions.npy").write_bytes(b"")
    code, _, err = run(*GRID, "--seeds", 2)
    assert code == 1
    assert "2 of 2 runs of the grid ctx did not succeed, ctx-seed0 failed" in err
    assert "python -m seqrl grid resume ctx" in err


def test_a_detached_grid_is_stopped_and_resumed(tiny):
    started = command(*GRID, "--grid", "model.context_length=1,5", "--set", "training.steps=3000", "--detach", "--json")
    assert json.loads(started.stdout)["progress"] < 1
    stopped = command("grid", "cancel", "ctx", "--json")
    assert {job["state"] for job in json.loads(stopped.stdout)} == {"cancelled"}
    assert "there is nothing to cancel" in command("grid", "cancel", "ctx").stderr
    resumed = command("grid", "resume", "ctx", "--detach")
    assert resumed.stdout == "grid ctx: 2 runs are queued again\n"


def test_a_sweep_needs_a_run_or_a_grid_with_a_finished_one(tiny, run):
    assert "name one with --run, or a grid of them with --grid" in run("sweep", "rtg")[2]
    assert "there is no grid named nothing" in run("sweep", "rtg", "--grid", "nothing")[2]
