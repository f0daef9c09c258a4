"""No name and no path that a page, the command line or a stored row can carry leaves the home folder."""

import copy
import itertools
import shutil
import sqlite3
import zipfile
from contextlib import suppress
from typing import get_args

import pytest

from pages.shared.local_files import readable_path
from seqrl import jobs
from seqrl.cli import main
from seqrl.config import (
    BeamSweepJob,
    BeamSweepSpec,
    DatasetJob,
    DeriveJob,
    DeriveSpec,
    DownloadJob,
    DownloadSpec,
    ExportJob,
    ExportSpec,
    ImportJob,
    ImportSpec,
    JobSpec,
    OpenLoopJob,
    OpenLoopSpec,
    Origin,
    PolicyJob,
    PolicySpec,
    RenderJob,
    RenderSpec,
    ReturnSweepJob,
    RunExportJob,
    RunExportSpec,
    RunImportJob,
    RunImportSpec,
    ScheduleSweepJob,
    ScheduleSweepSpec,
    TrainJob,
    parse_job,
)
from seqrl.datasets.importers import ImportRefused
from seqrl.datasets.importers.archives import unpack
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


def planned():
    """One valid job of every kind, as plain values."""
    origin = Origin(sweep="sweep", episode_id=0, step=0)
    models = [
        DatasetJob(spec=dataset_spec("new")),
        TrainJob(spec=run_spec("new")),
        ReturnSweepJob(spec=sweep_spec("new", runs=("run",))),
        BeamSweepJob(spec=BeamSweepSpec(name="new", runs=("run",))),
        ScheduleSweepJob(spec=ScheduleSweepSpec(name="new", runs=("run",), schedules=(), origin=origin)),
        RenderJob(spec=RenderSpec(sweep="sweep", episode_id=0)),
        PolicyJob(spec=PolicySpec(name="new", environment="CartPole-v1")),
        DownloadJob(spec=DownloadSpec(name="new", minari_id="a/b-v0")),
        DeriveJob(spec=DeriveSpec(name="new", sources=("tiny",))),
        ExportJob(spec=ExportSpec(name="tiny")),
        RunExportJob(spec=RunExportSpec(name="run")),
        OpenLoopJob(spec=OpenLoopSpec(name="new", run="run", dataset="tiny")),
        ImportJob(spec=ImportSpec(name="new", path="/nowhere")),
        RunImportJob(spec=RunImportSpec(name="new", path="/nowhere", format="zip", environment="CartPole-v1")),
    ]
    return {model.kind: model.model_dump(mode="json") for model in models}


NAMING = ("name", "dataset", "run", "runs", "sweep", "sources", "minari_id", "policy")
"""Fields of specs that name something that is kept; a path may be any file of the machine."""


def named_places(values, place=()):
    """Where in a job something is named: paths of keys."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from named_places(value, (*place, key))
        elif key in NAMING and value is not None:
            yield (*place, key)
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            yield from ((*place, key, 0, inner) for inner in value[0] if inner in NAMING)


def with_name(values, place, name):
    """A copy of a job with another name in this place."""
    changed = copy.deepcopy(values)
    group = changed
    for key in place[:-1]:
        group = group[key]
    was = group[place[-1]]
    text = f"{name}-v0" if place[-1] == "minari_id" else f"run:{name}" if place[-1] == "policy" else name
    group[place[-1]] = [text] if isinstance(was, list) else text
    return changed


@pytest.mark.parametrize("kind", planned())
def test_no_job_takes_one(guarded, kind):
    values = planned()[kind]
    places = list(named_places(values))
    assert places, "every kind of job names something"
    for place in places:
        parse_job(with_name(values, place, "another"))  # it is the name that is refused
    for place, name in itertools.product(places, STRINGS):
        with pytest.raises(ValueError):
            jobs.submit(guarded, parse_job(with_name(values, place, name)), NoBackend())
    assert guarded.jobs() == []


def test_every_kind_of_job_is_tried():
    kinds = {member.model_fields["kind"].default for member in get_args(get_args(JobSpec)[0])}
    assert planned().keys() == kinds


def test_no_member_of_an_archive_takes_one(tmp_path):
    folder = tmp_path / "folder"
    for name in STRINGS:
        folder.mkdir()
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            info = zipfile.ZipInfo("plain")
            info.filename = name  # as it is: the constructor would clean it
            archive.writestr(info, "x")
        with suppress(ImportRefused):
            unpack(tmp_path / "a.zip", folder)
        assert {path.name for path in tmp_path.iterdir()} == {"folder", "a.zip"}, name
        shutil.rmtree(folder)


def test_no_path_that_a_page_is_given_takes_one(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    for name in STRINGS:
        with suppress(ValueError):
            assert readable_path(name, root=root).is_relative_to(root), name


def test_no_command_takes_one(guarded, capsys, times):
    commands = [
        lambda name: ["dataset", "info", name],
        lambda name: ["dataset", "delete", name],
        lambda name: ["train", "--dataset", name],
        lambda name: ["train", "--dataset", "tiny", f"--name={name}", "--detach"],
        lambda name: ["sweep", "rtg", "--run", name],
        lambda name: ["render", "--sweep", name],
        lambda name: ["jobs", "log", name],
    ]
    for number, name in enumerate(STRINGS[:: times(4, 1)]):
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
