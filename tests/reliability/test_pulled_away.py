"""What a job works on is taken away while it runs: it ends with what it has, or with a sentence, and pages stay up."""

import shutil

import pytest

from seqrl import jobs
from seqrl.checkpoints import load_model
from seqrl.config import ReturnSweepJob
from seqrl.jobs.submission import create_rows
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


@pytest.mark.parametrize("what", ["columns", "everything of the dataset", "the run's folder"])
def test_files_that_are_deleted_under_a_training(tiny, what):
    """Open files live on; what has to be opened again is missed with a sentence, and never invented."""
    job_id = started(tiny, steps=400, checkpoint_every=50)
    if what == "the run's folder":
        shutil.rmtree(tiny.run_folder("run"))
    else:
        shutil.rmtree(tiny.columns_folder("tiny"))
    if what == "everything of the dataset":
        shutil.rmtree(tiny.minari_dataset_folder("tiny"))
    row = jobs.wait(tiny, job_id)
    assert row.state == "succeeded" or (row.error and "unexpected" not in row.error), row.error
    if row.state == "succeeded":
        assert load_model(tiny.run_folder("run"))[1].training.steps == 400
    for page in ("datasets", "runs"):
        app = draw(page, dataset="tiny", runs="run")
        assert len(app.title) == 1
        assert all("a fault" not in text and "\n" not in text for text in sentences(app))


def test_a_training_of_a_dataset_without_files_says_so(tiny):
    for folder in (tiny.columns_folder("tiny"), tiny.minari_dataset_folder("tiny")):
        shutil.rmtree(folder)
    row = jobs.wait(tiny, jobs.submit(tiny, train_job("run")).id)
    assert row.state == "failed"
    assert "tiny" in row.error and "unexpected" not in row.error, row.error


def test_a_sweep_of_a_run_without_weights_says_so(tiny):
    jobs.wait(tiny, jobs.submit(tiny, train_job("run", steps=20)).id)
    job_id = create_rows(tiny, ReturnSweepJob(spec=sweep_spec()))
    shutil.rmtree(tiny.run_folder("run"))
    row = jobs.wait(tiny, job_id)
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
