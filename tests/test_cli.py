"""The command line: results for people and machines, one sentence for what is wrong, 0 only on success."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import typer

from seqrl.cli import app, sweeps
from seqrl.registry import environment_row
from seqrl.store import Store
from tests.in_process import as_json
from tests.specs import train_job

SMALL = [
    "--set", "model.embedding_dim=16", "--set", "model.layers=1", "--set", "model.context_length=5",
    "--set", "training.steps=20", "--set", "training.threads=1",
]  # fmt: skip


def command(*arguments, **options):
    """Run a command as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "seqrl", *map(str, arguments)], capture_output=True, text=True, timeout=300, **options
    )


def test_the_whole_way_as_a_person_goes_it(home, tmp_path):
    small = ["--episodes", 20, "--mix", "poor=0.5,expert=0.5", "--max-episode-steps", 60]
    built = command("dataset", "build", *small, "--json")
    assert built.returncode == 0, built.stderr
    facts = json.loads(built.stdout)
    assert (facts["name"], facts["episodes"], facts["state"]) == ("cartpole-1", 20, "ready")
    trained = command("train", "--dataset", "cartpole-1", "--model", "dt", *SMALL)
    assert (trained.returncode, trained.stderr) == (0, "")
    assert trained.stdout.startswith("cartpole-1-dt-1: 20 steps")
    swept = command("sweep", "rtg", "--run", "cartpole-1-dt-1", "--targets", "20,40", "--episodes", 2, "--json")
    result = json.loads(swept.stdout)
    assert set(result) == {"points", "calibration"}
    assert {(row["decoding"], row["target"]) for row in result["points"]} == {
        (decoding, target) for decoding in ("sampled", "greedy") for target in (20.0, 40.0)
    }
    assert all({"run", "decoding", "target", "n", "mean", "std", "low", "high"} <= set(row) for row in result["points"])
    assert all(row["n"] == 2 and row["low"] <= row["mean"] <= row["high"] for row in result["points"])
    figures = {"run", "decoding", "mae", "bias", "rank_correlation", "best"}
    assert all(figures <= set(row) for row in result["calibration"])
    video = tmp_path / "x.mp4"
    point = ["--sweep", "cartpole-1-dt-1-rtg-1", "--run", "cartpole-1-dt-1", "--target", 20, "--episode", 1]
    drawn = command("render", *point, "--out", video)
    assert drawn.returncode == 0, drawn.stderr
    assert video.read_bytes()[4:8] == b"ftyp"
    listed = json.loads(command("jobs", "list", "--json").stdout)
    assert [row["kind"] for row in listed] == ["render", "sweep_rtg", "train", "dataset"]


def test_a_detached_job_goes_on_alone(tiny):
    started = command("train", "--dataset", "tiny", "--name", "run", "--detach", "--json", *SMALL)
    assert started.returncode == 0, started.stderr
    row = json.loads(started.stdout)
    assert row["state"] in ("running", "queued")
    from tests.waiting import until

    until(lambda: tiny.job(row["id"]).state == "succeeded")
    shown = json.loads(command("jobs", "show", row["id"], "--json").stdout)
    assert (shown["state"], shown["progress"]) == ("succeeded", 1.0)
    assert "succeeded" in command("jobs", "log", row["id"]).stdout


def test_a_job_is_cancelled_and_resumed(tiny):
    started = command(
        "train", "--dataset", "tiny", "--name", "run", "--detach", "--json", *SMALL, "--set", "training.steps=3000"
    )
    job_id = json.loads(started.stdout)["id"]
    cancelled = command("jobs", "cancel", job_id, "--json")
    assert (cancelled.returncode, json.loads(cancelled.stdout)["state"]) == (0, "cancelled")
    again = command("jobs", "cancel", job_id)
    assert again.returncode == 1
    assert again.stderr == f"error: job {job_id} (train run) has cancelled already; there is nothing to cancel\n"
    resumed = command("jobs", "resume", job_id, "--json")
    assert (resumed.returncode, json.loads(resumed.stdout)["state"]) == (0, "succeeded")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["train"], "Missing option '--dataset'."),
        (["train", "--dataset", "tine"], "there is no dataset named tine; did you mean tiny?"),
        (["train", "--dataset", "tiny", "--model", "x"], "model is 'x'; choose one of dt, bc"),
        (["train", "--dataset", "tiny", "--preset", "x"], "preset is 'x'; choose one of quick, good"),
        (["train", "--dataset", "tiny", "--set", "training.steps=0"], "training.steps is 0; choose at least 1"),
        (
            ["train", "--dataset", "tiny", "--set", "training.stepz=3"],
            "training.stepz is 3; this setting does",
        ),
        (["train", "--dataset", "tiny", "--seeds", "1" + "0" * 20], "runs; choose at most 64"),
        (["train", "--dataset", "tiny", "--set", "oops"], "--set 'oops' has no value"),
        (["train", "--dataset", "tiny", "--name", "../x"], "name is '../x'; use 1 to 64 letters"),
        (["train", "--dataset", "tiny", "--name", "demo/x"], "demo/x belongs to the bundled demo"),
        (["train", "--dataset", "tiny", "--set", "model.context_length=99"], "context_length is 99 but CartPole-v1"),
        (["dataset", "build", "--mix", "poor=0.5"], "the shares of the mixture sum to 0.5; make them sum to 1"),
        (["dataset", "build", "--mix", "best=1"], "CartPole-v1 has no tier 'best'; choose from random, poor"),
        (["dataset", "build", "--name", "tiny", "--episodes", "3"], "a dataset named tiny exists already"),
        (["dataset", "build", "--env", "Nowhere-v0", "--episodes", "3"], "Nowhere"),
        (["dataset", "info", "nothing"], "there is no dataset named nothing"),
        (["sweep", "rtg", "--run", "nobody"], "there is no run named nobody"),
        (["jobs", "show", "77"], "there is no job named 77"),
        (["jobs", "show", "x"], "Invalid value for 'JOB'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["render", "--sweep", "none"], "there is no sweep named none"),
        (["render"], "give either --sweep or --dataset"),
        (["render", "--dataset", "none", "--target", "3"], "--target is for episodes of a sweep"),
        (["render", "--dataset", "none"], "the steps of a dataset none are not on this machine"),
        (["render", "--sweep", "none", "--out", "x.avi"], "--out is x.avi; choose a name that ends with .mp4 or .gif"),
    ],
)
def test_what_is_wrong_is_one_sentence_on_stderr(tiny, run, arguments, sentence):
    code, out, err = run(*arguments)
    assert code != 0
    assert sentence in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert "Traceback" not in out + err


def test_a_failed_job_fails_the_command(tiny, run):
    import numpy as np

    observations = np.load(tiny.columns_folder("tiny") / "observations.npy", mmap_mode="r+")
    observations[:] = np.nan
    observations.flush()
    code, _, err = run("train", "--dataset", "tiny", *SMALL)
    assert code == 1
    assert err.startswith("error: job 1 (train tiny-dt-1) failed: the loss is not finite at step 0")


def test_datasets_are_put_away_and_brought_back(tiny, run):
    assert [row["name"] for row in as_json(run("dataset", "list", "--json")) if "demo/" not in row["name"]] == ["tiny"]
    assert as_json(run("dataset", "info", "tiny", "--json"))["facts"]["episodes"] == 24
    assert as_json(run("dataset", "delete", "tiny", "--json"))["archived"] is True
    assert as_json(run("dataset", "list", "--archived", "--json"))[0]["name"] == "tiny"
    assert as_json(run("dataset", "restore", "tiny", "--json"))["archived"] is False
    assert "24 episodes" in run("dataset", "info", "tiny")[1]


def test_runs_and_sweeps_are_put_away_and_brought_back(tiny, run):
    as_json(run("train", "--dataset", "tiny", "--name", "one", "--json", *SMALL))
    asked = ("--targets", "20", "--episodes", 1, "--decoding", "greedy", "--name", "ask")
    as_json(run("sweep", "rtg", "--run", "one", *asked, "--json"))
    for what, name in (("sweep", "ask"), ("run", "one")):
        assert as_json(run(what, "delete", name, "--json"))["archived"] is True
        assert name not in [row["name"] for row in as_json(run(what, "list", "--json"))]
        assert [row["name"] for row in as_json(run(what, "list", "--archived", "--json"))] == [name]
        assert as_json(run(what, "restore", name, "--json"))["archived"] is False
        assert name in [row["name"] for row in as_json(run(what, "list", "--json"))]
    code, _, err = run("sweep", "delete", "asks")
    assert code == 1 and "did you mean ask" in err


def test_targets_span_the_data_when_none_are_given(tiny, run):
    as_json(run("train", "--dataset", "tiny", "--name", "run", "--json", *SMALL))
    result = as_json(run("sweep", "rtg", "--run", "run", "--episodes", 1, "--decoding", "sampled", "--json"))
    returns = tiny.dataset("tiny").facts.returns
    targets = [row["target"] for row in result["points"]]
    assert len(targets) == 11
    assert (targets[0], targets[-1]) == (returns.minimum, returns.maximum)
    listed = as_json(run("sweep", "list", "--json"))
    assert "run-rtg-1" in [row["name"] for row in listed]
    code, _, err = run("render", "--sweep", "run-rtg-1", "--target", 12345)
    assert code == 1 and "target is 12345 but the sweep run-rtg-1 has" in err


def test_a_model_may_choose_and_mean_returns_are_scored_where_references_exist(tiny, run, monkeypatch):
    row = dataclasses.replace(environment_row("CartPole-v1"), reference_returns=(20.0, 500.0))
    monkeypatch.setattr(sweeps, "environment_row", {"CartPole-v1": row}.get)
    head = ["--set", "model.return_head=bins"]
    as_json(run("train", "--dataset", "tiny", "--name", "run", "--json", *SMALL, *head))
    asked = ["--targets", 20, "--episodes", 2, "--decoding", "greedy", "--model-choice"]
    points = as_json(run("sweep", "rtg", "--run", "run", *asked, "--json"))["points"]
    assert [(point["target"], point["chosen"] is None) for point in points] == [(20.0, True), (None, False)]
    assert all(point["score"] == pytest.approx(100 * (point["mean"] - 20) / 480) for point in points)
    assert "chosen" in run("sweep", "rtg", "--run", "run", *asked)[1]
    as_json(
        run("train", "--dataset", "tiny", "--name", "deaf", "--model", "rvs", "--set", "training.steps=5", "--json")
    )
    code, _, err = run("sweep", "rtg", "--run", "deaf", *asked)
    assert code == 1 and "train a Decision Transformer with return_head bins" in err


def test_environments_are_listed(run):
    rows = {row["id"]: row for row in as_json(run("env", "list", "--json"))}
    assert rows["CartPole-v1"]["tiers"] == ["random", "poor", "medium", "expert"]
    assert "CartPole-v1" in run("env", "list")[1]


def test_the_doctor_says_what_is_missing(tiny, run, monkeypatch):
    findings = {item["check"]: item for item in as_json(run("doctor", "--json"))}
    assert {"Python", "packages", "video", "MuJoCo", "disk", "store", "jobs"} <= findings.keys()
    assert findings["store"]["detail"].endswith("1 datasets, 0 runs, 0 sweeps, 0 policies") or tiny.bundle.runs
    monkeypatch.setattr("seqrl.cli.doctor.free_bytes", lambda path: 10_000_000)
    code, out, err = run("doctor")
    assert code == 1 and "free some space" in out and "disk" in err


def test_the_doctor_sees_a_damaged_store(tiny, run):
    for i in range(300):
        tiny.set_setting(f"key-{i}", "x" * 200)
    tiny.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tiny.home / "seqrl.db"
    data = bytearray(path.read_bytes())
    for offset in range(len(data) // 2, len(data) - 200, 4096):
        data[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(data)
    code, out, _ = run("doctor")
    assert code == 1
    assert "restore seqrl.db from a copy" in out


def commands(group, path=()):
    """Every command with its words."""
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, (*path, name))
        else:
            yield " ".join((*path, name)), {option for item in found.params for option in item.opts}, found


def test_every_command_speaks_json_and_explains_itself():
    found = {words: (options, item) for words, options, item in commands(typer.main.get_command(app))}
    wanted = ["env list", "dataset build", "dataset list", "dataset info", "dataset delete", "dataset restore", "train"]
    wanted += ["sweep rtg", "sweep beam", "render", "jobs list", "jobs show", "jobs log", "jobs cancel", "jobs resume"]
    assert set(wanted) | {"demo build", "doctor"} <= found.keys()
    for words, (options, item) in found.items():
        assert "--json" in options, words
        assert item.help, words
    for words in ("dataset build", "train", "sweep rtg", "sweep beam", "render", "jobs resume"):
        assert "--detach" in found[words][0], words


def test_home_is_an_option_too(tmp_path, run):
    assert run("--home", tmp_path / "elsewhere", "dataset", "list")[0] == 0
    assert Store(tmp_path / "elsewhere").home.is_dir()
    (tmp_path / "file").write_text("")
    code, _, err = run("--home", tmp_path / "file" / "x", "dataset", "list")
    assert code == 1 and "choose another SEQRL_HOME" in err


def test_an_interrupted_wait_leaves_the_job_running(tiny):
    import signal

    from seqrl import jobs
    from tests.waiting import until

    long = ["train", "--dataset", "tiny", "--name", "run", *SMALL, "--set", "training.steps=5000"]
    waiting = subprocess.Popen(
        [sys.executable, "-m", "seqrl", *long],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SEQRL_HOME": str(tiny.home)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored where tests run detached
    )
    until(lambda: tiny.jobs() and tiny.jobs()[0].pid)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(30) == 130
    assert "stopped waiting; jobs that were started go on" in waiting.stderr.read()
    job = tiny.jobs()[0]
    assert job.state == "running" and job.job.spec.name == train_job("run").spec.name
    assert jobs.cancel(tiny, job.id, wait=True).state == "cancelled"
