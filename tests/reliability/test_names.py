"""No name and no path that a page, the command line or a stored row can carry leaves the home folder."""

import itertools
import sqlite3
from contextlib import suppress

import pytest

from seqrl import jobs
from seqrl.cli import main
from seqrl.config import DatasetJob, RenderJob, RenderSpec, ReturnSweepJob, TrainJob
from seqrl.store import EpisodeRecord, Store
from tests.reliability.forked import NoBackend
from tests.specs import dataset_spec, run_spec, sweep_spec

_UPWARDS = [
    "..",
    "../",
    "../..",
    "..\\..",
    "%2e%2e",
    "%2e%2e%2f",
    "..%2f",
    "..%c0%af",
    "....//",
    "..;",
    ".",
    "./..",
    "~",
]
_TARGETS = ["", "/", "/outside", "/etc/passwd", "\\outside", "/./outside", "//outside", "\0outside", "\noutside"]
_PREFIXES = ["", "demo/", "a/", "/"]
STRINGS = sorted({prefix + up + target for prefix, up, target in itertools.product(_PREFIXES, _UPWARDS, _TARGETS)})


def test_there_are_enough_of_them():
    assert len(STRINGS) >= 200


def everything(root):
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if "home/" not in f"{path.relative_to(root)}/"
    )


@pytest.fixture
def guarded(home, tmp_path, built_home):
    """A store, and a check that nothing beside its home was made, changed or removed."""
    import shutil

    shutil.copytree(built_home, home)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("alive")
    before = everything(tmp_path)
    yield Store(home)
    assert everything(tmp_path) == before
    assert (tmp_path / "outside" / "canary").read_text() == "alive"


def test_no_name_of_the_store_leaves_it(guarded):
    doors = [
        guarded.columns_folder,
        guarded.minari_dataset_folder,
        guarded.run_folder,
        guarded.sweep_folder,
        lambda name: guarded.export_path(name, "parquet"),
    ]
    for name, door in itertools.product(STRINGS, doors):
        with suppress(ValueError):
            path = door(name)
            assert path.resolve().is_relative_to(guarded.home.resolve()) or path.is_relative_to(guarded.bundle.root), (
                name
            )


def test_no_write_of_the_store_takes_one(guarded):
    record = EpisodeRecord("run", "sampled", 1.0, 0, 0, True, False, *([[0]] * 3))
    facts = guarded.dataset("tiny").facts
    for name in STRINGS:
        for write in (
            lambda name: guarded.add_dataset(name, source={}),
            lambda name: guarded.set_dataset_facts(name, facts),
            lambda name: guarded.archive_dataset(name),
            lambda name: guarded.append_episodes(name, [record]),
            lambda name: guarded.finish_sweep(name),
            lambda name: guarded.set_run_note(name, "x"),
            lambda name: guarded.set_evaluation(name, {}),
            lambda name: guarded.evaluation(name),
            lambda name: guarded.keep_upload(name, [b"x"], 10) and None,
        ):
            with suppress(ValueError):
                write(name)
    uploads = list(guarded.uploads_folder().iterdir())
    assert all(path.parent == guarded.uploads_folder() for path in uploads)


@pytest.mark.parametrize("what", ["dataset", "run", "sweep"])
def test_no_spec_takes_one(guarded, what):
    for name in STRINGS:
        with pytest.raises(ValueError):
            if what == "dataset":
                jobs.submit(guarded, DatasetJob(spec=dataset_spec(name)), NoBackend())
            elif what == "run":
                jobs.submit(guarded, TrainJob(spec=run_spec(name)), NoBackend())
            else:
                jobs.submit(guarded, ReturnSweepJob(spec=sweep_spec(name, runs=("x",))), NoBackend())
        with pytest.raises(ValueError):
            RenderJob(spec=RenderSpec(sweep=name, episode_id=0))
            raise ValueError(name) if name in STRINGS else None
    assert guarded.jobs() == []


def test_no_command_takes_one(guarded, capsys):
    commands = [
        lambda name: ["dataset", "info", name],
        lambda name: ["dataset", "delete", name],
        lambda name: ["train", "--dataset", name],
        lambda name: ["train", "--dataset", "tiny", f"--name={name}", "--detach"],
        lambda name: ["sweep", "rtg", "--run", name],
        lambda name: ["render", "--sweep", name],
        lambda name: ["jobs", "log", name],
    ]
    for number, name in enumerate(STRINGS[::2]):
        assert main(commands[number % len(commands)](name)) != 0, name
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert guarded.jobs() == []


def test_a_forged_row_leads_nowhere(guarded):
    """Names in the database itself: reading them refuses, and cleaning up after them touches nothing outside."""
    spec = dataset_spec("forged")
    for number, name in enumerate(STRINGS):
        connection = guarded.database.connection
        job_id = guarded.add_job(DatasetJob(spec=spec), name)
        with suppress(sqlite3.IntegrityError):
            connection.execute(
                "INSERT INTO datasets (name, source, created, job_id) VALUES (?, '{}', 0, ?)", (name, job_id)
            )
        connection.execute("UPDATE jobs SET state = 'running', pid = 1, kind = ? WHERE id = ?", (
            ["dataset", "train", "sweep_rtg"][number % 3], job_id,
        ))  # fmt: skip
        jobs.reconcile(guarded, NoBackend())
        assert guarded.job(job_id).state == "failed"
