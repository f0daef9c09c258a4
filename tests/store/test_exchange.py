"""Uploads, exports and evaluations stay in their folders, whole and within their limits."""

import os
import time

import pytest

from seqrl.config import ImportJob, ImportSpec, RunImportJob, RunImportSpec
from seqrl.store import NotFound, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def test_an_upload_is_kept_under_a_name_of_our_own(store):
    path = store.keep_upload("../../Evil name.HDF5", [b"abc", b"def"], limit=10)
    assert path.parent == store.uploads_folder() and path.suffix == ".hdf5" and path.read_bytes() == b"abcdef"
    assert path.stat().st_mode & 0o777 == 0o600
    store.remove_upload(path)
    assert not path.exists()


def test_an_upload_over_the_limit_leaves_nothing(store):
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        store.keep_upload("a.npz", iter([b"abc", b"def"]), limit=5)
    assert not list(store.uploads_folder().iterdir())


def test_only_uploads_are_removed(store, tmp_path):
    mine = tmp_path / "mine.npz"
    mine.write_text("x")
    store.remove_upload(mine)
    link = store.uploads_folder() / "link"
    link.symlink_to(mine)
    store.remove_upload(link)
    assert mine.exists()


def test_uploads_that_nobody_came_for_are_forgotten_after_a_day(store):
    old, young = (store.keep_upload("a.npz", [b"x"], limit=9) for _ in range(2))
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    store.keep_upload("b.npz", [b"x"], limit=9)
    assert not old.exists() and young.exists()


def test_uploads_that_a_job_waits_for_are_kept(store):
    data, model, over = (store.keep_upload("a.zip", [b"x"], limit=9) for _ in range(3))
    jobs = [
        ImportJob(spec=ImportSpec(name="d", path=str(data), format="npz", remove_after=True)),
        RunImportJob(spec=RunImportSpec(name="r", path=str(model), format="zip", environment="CartPole-v1")),
        ImportJob(spec=ImportSpec(name="e", path=str(over), format="npz", remove_after=True)),
    ]
    ids = [store.add_job(job, job.spec.name) for job in jobs]
    store.transition(ids[0], ["queued"], "running")
    store.transition(ids[2], ["queued"], "cancelled")
    for path in (data, model, over):
        os.utime(path, (time.time() - 2 * 86_400,) * 2)
    store.keep_upload("b.npz", [b"x"], limit=9)
    assert data.exists() and model.exists() and not over.exists()


def test_evaluations_come_back_newest_first(store):
    store.set_evaluation("a", {"overall": 0.5})
    store.set_evaluation("b", {"overall": 0.25})
    os.utime(store.home / "evaluations" / "a.json", (1, 1))
    assert store.evaluations() == ["b", "a"] and store.evaluation("a") == {"overall": 0.5}
    with pytest.raises(NotFound, match="did you mean"):
        store.evaluation("ab")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "..", "a\0"])
def test_names_stay_inside(store, name):
    with pytest.raises(ValueError, match="the name is"):
        store.set_evaluation(name, {})
    with pytest.raises(ValueError, match="the name is"):
        store.export_path(name, "parquet")


def test_exports_of_the_demo_have_a_plain_file_name(store):
    assert store.export_path("demo/cartpole", "minari").name == "demo--cartpole.minari.zip"
