"""Datasets and models in and out, as the command line does it; refusals are one sentence and leave nothing."""

import errno
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from seqrl import jobs
from seqrl.checkpoints import load_model
from seqrl.config import ExportJob, ExportSpec, RunExportJob, RunExportSpec
from seqrl.store import Store
from seqrl.worker import imports
from tests.foreign_files import LENGTHS, steps, write_d4rl, write_npz, write_parquet
from tests.in_process import InProcess, as_json, do
from tests.reliability.hostile_files import write_model

SMALL = [
    "--set", "model.embedding_dim=16", "--set", "model.layers=1", "--set", "model.context_length=4",
    "--set", "training.steps=5", "--set", "training.threads=1",
]  # fmt: skip


@pytest.fixture
def imported(run, tmp_path):
    """The store with the dataset ``d``, three episodes without an environment."""
    path = write_d4rl(tmp_path / "a.hdf5")
    facts = as_json(run("dataset", "import", path, "--env", "none", "--name", "d", "--json"))
    assert (facts["episodes"], facts["steps"], facts["environment"]) == (3, sum(LENGTHS), None)
    return facts


def test_export_and_import_give_the_same_content(run, imported, tmp_path):
    for format, path in (("parquet", tmp_path / "out.parquet"), ("minari", tmp_path / "out-v0")):
        assert run("dataset", "export", "d", path, "--format", format)[0] == 0
        again = as_json(run("dataset", "import", path, "--name", f"from-{format}", "--json"))
        assert again["content_hash"] == imported["content_hash"]
    assert run("dataset", "export", "d", tmp_path / "out.parquet")[0] == 1


def test_split_combine_and_filter(run, imported):
    sides = as_json(run("dataset", "split", "d", "--names", "a,b", "--fraction", 0.6, "--json"))
    assert [side["episodes"] for side in sides] == [2, 1]
    assert as_json(run("dataset", "combine", "a", "b", "--name", "both", "--json"))["steps"] == imported["steps"]
    kept = as_json(run("dataset", "filter", "d", "--min-length", 5, "--name", "long", "--json"))
    assert kept["episodes"] == 2
    code, _, sentence = run("dataset", "split", "d", "--names", "a", "--json")
    assert code == 1 and "write two different ones" in sentence
    code, _, sentence = run("dataset", "filter", "d", "--min-return", 1e9, "--name", "none")
    assert code == 1 and "none of the 3 episodes is left" in sentence
    assert run("dataset", "info", "none")[0] == 1


def test_a_dataset_without_environment_trains_and_is_measured_open_loop(run, imported):
    assert run("train", "--dataset", "d", "--name", "r", *SMALL)[0] == 0
    result = as_json(run("evaluate", "open-loop", "--run", "r", "--dataset", "d", "--targets", "0,10", "--json"))
    assert result["measure"] == "error" and result["split"] == "validation" and len(result["response"]["values"]) == 2
    assert "half ranges" in run("evaluate", "open-loop", "--run", "r", "--dataset", "d")[1]
    code, _, sentence = run("sweep", "rtg", "--run", "r", "--targets", "1")
    assert code == 1 and "without an environment; use evaluate open-loop" in sentence


def test_the_file_that_a_page_offers_of_a_run_comes_in_again(run, imported, home):
    assert run("train", "--dataset", "d", "--name", "r", *SMALL)[0] == 0
    assert run("train", "--dataset", "d", "--model", "bc", "--name", "b", *SMALL)[0] == 0
    store = Store(home)
    (store.run_folder("left") / "checkpoint").mkdir(parents=True)
    for form in ("zip", "hf"):
        jobs.submit(store, RunExportJob(spec=RunExportSpec(name="r", format=form)), InProcess())
        path = store.run_export_path("r", form)
        assert run("run", "import", path, "--format", form, "--name", f"again-{form}", "--env", "none")[0] == 0
        code, _, sentence = run("run", "import", path, "--format", form, "--name", "left", "--env", "none")
        assert code == 1 and "runs/left in SEQRL_HOME holds results" in sentence and not store.has_run("left")
        weights = [load_model(store.run_folder(name))[0].state_dict() for name in ("r", f"again-{form}")]
        assert all(torch.allclose(weights[1][name], tensor, atol=1e-6) for name, tensor in weights[0].items())
    refused = jobs.submit(store, RunExportJob(spec=RunExportSpec(name="b", format="hf")), InProcess())
    assert "only a Decision Transformer can be exported" in store.job(refused.id).error
    with pytest.raises(ValueError, match="no run named nobody"):
        jobs.submit(store, RunExportJob(spec=RunExportSpec(name="nobody")), InProcess())


@pytest.fixture
def jobs_elsewhere(home):
    """The folder ``jobs`` of the home is a link to a disk of its own."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as other:
        if os.stat(other).st_dev == os.stat(home).st_dev:
            pytest.skip("there is no second disk")
        (home / "jobs").rename(home / "jobs-before")
        (home / "jobs").symlink_to(other)
        yield Path(other)


def test_exports_come_from_another_disk(run, imported, jobs_elsewhere, home):
    assert run("train", "--dataset", "d", "--name", "r", *SMALL)[0] == 0
    store = Store(home)
    store.run_export_path("r", "zip").write_bytes(b"older")
    kinds = [RunExportJob(spec=RunExportSpec(name="r", format=form)) for form in ("zip", "hf")]
    kinds += [ExportJob(spec=ExportSpec(name="d", format=form)) for form in ("parquet", "minari")]
    for kind in kinds:
        do(store, kind)
    made = [store.run_export_path("r", form) for form in ("zip", "hf")]
    made += [store.export_path("d", form) for form in ("parquet", "minari")]
    assert sorted((home / "exports").iterdir()) == sorted(made)
    assert all(path.stat().st_size > 100 for path in made)
    assert not list(jobs_elsewhere.rglob("scratch"))


def test_what_a_killed_export_left_goes_with_its_job(imported, home, tmp_path):
    store = Store(home)
    ids = [store.add_job(ExportJob(spec=ExportSpec(name="d")), "d") for _ in range(2)]
    for job_id in ids:
        store.export_path("d", "minari").with_name(f".d.minari.zip.partial-job-{job_id}").write_bytes(b"half")
    jobs.clean_up(store, store.job(ids[0]))
    assert [path.name for path in (home / "exports").iterdir()] == [f".d.minari.zip.partial-job-{ids[1]}"]
    (tmp_path / "written").write_bytes(b"whole")
    store.keep_export(tmp_path / "written", store.export_path("d", "minari"), ids[1])
    assert [path.read_bytes() for path in (home / "exports").iterdir()] == [b"whole"]


def test_an_import_that_a_full_disk_ends_leaves_its_name_free(run, imported, home, monkeypatch):
    assert run("train", "--dataset", "d", "--name", "r", *SMALL)[0] == 0
    store = Store(home)
    jobs.submit(store, RunExportJob(spec=RunExportSpec(name="r")), InProcess())
    path = store.run_export_path("r", "zip")
    arguments = ["run", "import", path, "--format", "zip", "--name", "again", "--env", "none"]
    with monkeypatch.context() as disk:
        disk.setattr(Store, "set_run_progress", full)
        assert run(*arguments)[0] == 1 and not store.has_run("again")
    assert run(*arguments)[0] == 0


def full(*_, **__):
    """As a disk without room answers."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_refused_file_leaves_nothing_and_its_name_free(run, home, tmp_path):
    fields = steps()
    fields["rewards"][6] = float("nan")
    path = write_npz(tmp_path / "a.npz", fields)
    code, _, sentence = run("dataset", "import", path, "--name", "d")
    assert code == 1 and "episode 1: rewards holds NaN at step 2" in sentence and sentence.count("\n") == 1
    store = Store(home)
    assert not [row for row in store.datasets() if not store.bundled(row.name)] and not list(
        (home / "columns").iterdir()
    )
    assert not list(home.rglob("scratch"))
    write_npz(tmp_path / "a.npz")
    assert run("dataset", "import", path, "--name", "d")[0] == 0


def test_names_in_brackets_are_shown_as_they_are(run, tmp_path):
    path = write_parquet(tmp_path / "a.parquet", pa.table({"[/x]": [1.0], "[red]": [2.0]}))
    assert run("dataset", "import", path, "--name", "d")[0] == 1
    code, printed, _ = run("jobs", "list")
    assert code == 0 and "[/x], [red]" in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["dataset", "import", "nowhere.npz", "--name", "d"], "does not exist"),
        (["dataset", "import", "~nobody.npz", "--name", "d"], "a user who has none; write an absolute path"),
        (["dataset", "import", "a.npz", "--name", "../d"], "name is '../d'"),
        (["dataset", "import", "a.npz", "--name", "d", "--format", "csv"], "format is 'csv'"),
        (["dataset", "download", "../../etc", "--name", "d"], "minari_id is '../../etc'"),
        (["dataset", "combine", "x", "y", "--name", "d"], "no dataset named x"),
        (["run", "import", "nowhere", "--name", "r"], "does not exist"),
        (["evaluate", "open-loop", "--run", "r", "--dataset", "d"], "no run named r"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(run, arguments, expected):
    code, _, sentence = run(*arguments)
    assert code != 0 and expected in sentence and sentence.count("\n") == 1


def test_a_download_without_network_says_so(run, monkeypatch):
    def unreachable(dataset_id):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("minari.download_dataset", unreachable)
    for variable in ("MINARI_DATASETS_PATH", "HF_HOME"):  # set for good by the worker, which is a process of its own
        monkeypatch.setenv(variable, "")
    code, _, sentence = run("dataset", "download", "mujoco/hopper/expert-v0", "--name", "d")
    assert code == 1 and "the Minari server cannot be reached (Name or service not known)" in sentence
    assert imports.SCRATCH not in [path.name for path in Store().home.rglob("*")]


def test_a_model_of_transformers_becomes_a_run_that_sweeps_and_goes_back(run, tmp_path):
    transformers = pytest.importorskip("transformers")
    statistics = tmp_path / "statistics.json"
    statistics.write_text(json.dumps({"observation_mean": [0.0] * 3, "observation_std": [1.0] * 3}))
    given = ["--statistics", statistics, "--return-scale", 100, "--env", "Pendulum-v1"]
    values = as_json(run("run", "import", write_model(tmp_path / "hf"), "--name", "theirs", *given, "--json"))
    assert values["state"] == "succeeded" and values["spec"]["model"]["return_scale"] == 100
    points = as_json(run("sweep", "rtg", "--run", "theirs", "--targets=-500", "--episodes", 2, "--json"))["points"]
    assert points[0]["n"] == 2
    assert run("run", "export", "theirs", tmp_path / "out")[0] == 0
    assert transformers.DecisionTransformerModel.from_pretrained(tmp_path / "out").config.hidden_size == 16
    assert run("run", "export", "theirs", tmp_path / "out.zip", "--format", "zip")[0] == 0
    assert run("run", "import", tmp_path / "out.zip", "--format", "zip", "--name", "again")[0] == 0
    code, _, sentence = run("run", "import", tmp_path / "hf", "--name", "theirs", *given)
    assert code == 1 and "a run named theirs exists already" in sentence
    code, _, sentence = run("run", "import", tmp_path / "hf", "--name", "bare", "--env", "Pendulum-v1")
    assert code == 1 and "observation_mean and observation_std are missing" in sentence
