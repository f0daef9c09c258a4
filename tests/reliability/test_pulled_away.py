"""What a job works on is taken away while it runs: it ends with what it has, or with a sentence, and pages stay up."""

import shutil

import pytest

from seqrl import jobs
from seqrl.checkpoints import load_model
from seqrl.config import ImportJob, ImportSpec, ReturnSweepJob
from seqrl.jobs.submission import create_rows
from seqrl.store.columns import Columns
from tests.in_process import InProcess, do
from tests.reliability.drawing import draw, sentences
from tests.reliability.socket_visitor import visiting
from tests.serving import serving
from tests.specs import sweep_spec, train_job
from tests.waiting import until


def started(store, **settings):
    """A training that is under way."""
    job_id = jobs.submit(store, train_job("run", log_every=5, **settings)).id
    until(lambda: store.metric_rows("run") or store.job(job_id).ended)
    return job_id


@pytest.mark.parametrize("what", ["everything of the dataset", "the run's folder"])
def test_files_that_are_deleted_under_a_training(tiny, what):
    """Open files live on; what has to be opened again is missed with a sentence, and never invented."""
    job_id = started(tiny, steps=200, checkpoint_every=50)
    if what == "the run's folder":
        shutil.rmtree(tiny.run_folder("run"))
    else:
        shutil.rmtree(tiny.columns_folder("tiny"))
        shutil.rmtree(tiny.minari_dataset_folder("tiny"))
    row = jobs.wait(tiny, job_id)
    assert row.state == "succeeded" or (row.error and "unexpected" not in row.error), row.error
    if row.state == "succeeded":
        assert load_model(tiny.run_folder("run"))[1].training.steps == 200
    for page in ("datasets", "runs"):
        app = draw(page, dataset="tiny", runs="run")
        assert len(app.title) == 1
        assert all("a fault" not in text and "\n" not in text for text in sentences(app))


def test_a_dataset_without_files_is_built_again_or_missed(tiny):
    """What was built here is built again from its spec, to the same bytes; what was imported cannot be."""
    do(tiny, ImportJob(spec=ImportSpec(name="brought", path=str(tiny.minari_dataset_folder("tiny")))))
    before = tiny.dataset("tiny").facts.content_hash
    for folder in (tiny.columns_folder("tiny"), tiny.minari_dataset_folder("tiny"), tiny.columns_folder("brought")):
        shutil.rmtree(folder)
    do(tiny, train_job("run", steps=5))
    assert Columns.open(tiny.columns_folder("tiny")).facts.content_hash == before
    row = jobs.submit(tiny, train_job("other", dataset="brought"), InProcess())
    assert row.state == "failed"
    assert "brought" in row.error and "unexpected" not in row.error and "\n" not in row.error, row.error


def test_a_sweep_of_a_run_without_weights_says_so(tiny):
    do(tiny, train_job("run", steps=5, checkpoint_every=5))
    job_id = create_rows(tiny, ReturnSweepJob(spec=sweep_spec()))
    shutil.rmtree(tiny.run_folder("run"))
    jobs.advance(tiny, InProcess())
    row = tiny.job(job_id)
    assert row.state == "failed"
    assert "run" in row.error and "unexpected" not in row.error, row.error


def test_two_servers_over_one_home_run_a_job_once(tiny, tmp_path):
    """Both look at the same moment; the queue's limit and order hold across them."""
    tiny.set_setting("job_limit", "1")
    ids = [create_rows(tiny, train_job(f"run-{i}", steps=20)) for i in range(3)]
    with (
        serving(tiny.home, tmp_path / "one.log") as (one, _),
        serving(tiny.home, tmp_path / "other.log") as (other, _),
        visiting(one) as here,
        visiting(other) as there,
    ):
        while not all(tiny.job(job_id).ended for job_id in ids):
            assert len(tiny.jobs(["running"])) <= 1
            here.visit(), there.visit()
    rows = [tiny.job(job_id) for job_id in ids]
    assert [(row.state, row.attempt) for row in rows] == [("succeeded", 1)] * 3
    assert [row.started for row in rows] == sorted(row.started for row in rows)
    for log in ("one.log", "other.log"):
        assert "Traceback" not in (tmp_path / log).read_text()
