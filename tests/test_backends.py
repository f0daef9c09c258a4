"""What every backend does, with real processes: the local one, and a Ray cluster of two workers on loopback."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from seqrl import jobs
from seqrl.config import DatasetJob
from seqrl.jobs import backend as backends
from seqrl.jobs.choice import ADDRESS_VARIABLE, BACKEND_VARIABLE
from seqrl.jobs.process import ProcessIdentity, is_worker
from tests.ray_clusters import Hold, doing
from tests.specs import dataset_spec, train_job
from tests.stand_in import stand_in_backend
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(params=["local", "ray"])
def backend(request, monkeypatch):
    """A backend with stand-in work, which is also the chosen one."""
    if request.param == "ray":
        request.getfixturevalue("connected")
    monkeypatch.setenv(BACKEND_VARIABLE, request.param)
    return stand_in_backend()


def dataset_job(name):
    """A job that needs a processor of its own on a cluster."""
    return DatasetJob(spec=dataset_spec(name))


def notes(store):
    path = store.home / "notes"
    return path.read_text().splitlines() if path.exists() else []


def begin(store, backend, name):
    """Submit a job and wait until its work has begun."""
    job_id = jobs.submit(store, train_job(name), backend).id
    until(lambda: f"{name} begin" in notes(store))
    return job_id


def finished(store, backend, name):
    """Submit a job and wait until it has ended."""
    return jobs.wait(store, jobs.submit(store, train_job(name), backend).id, backend=backend)


def test_the_chosen_backend_is_the_one_that_the_environment_names(tiny, backend):
    assert isinstance(jobs.chosen_backend(tiny), type(backend))


def test_a_backend_that_does_not_exist_is_a_sentence(tiny, monkeypatch):
    monkeypatch.setenv(BACKEND_VARIABLE, "slurm")
    with pytest.raises(ValueError, match="^SEQRL_BACKEND is 'slurm'; choose local or ray$"):
        jobs.chosen_backend(tiny)


def test_a_job_runs_says_how_far_it_is_and_succeeds(tiny, backend):
    job_id = begin(tiny, backend, "nap-1")
    seen = until(lambda: tiny.job(job_id).progress and tiny.job(job_id))
    assert seen.state == "running" and seen.message.startswith("nap ") and is_worker(seen)
    jobs.cancel(tiny, job_id, wait=True, backend=backend)
    job = finished(tiny, backend, "quick-1")
    assert (job.state, job.progress, job.error, job.attempt) == ("succeeded", 1.0, None, 1)
    assert notes(tiny)[-2:] == ["quick-1 begin", "quick-1 end"]
    assert tiny.run("quick-1").state == "succeeded"
    assert "succeeded" in jobs.log_tail(tiny, job.id)
    assert job.heartbeat >= job.started


def test_a_failure_is_a_sentence_and_the_end_of_its_log(tiny, backend):
    job = finished(tiny, backend, "refuse-1")
    assert (job.state, job.error) == ("failed", "episodes is 0; choose at least 1")
    assert jobs.log_tail(tiny, job.id).endswith("failed: episodes is 0; choose at least 1")


def test_a_worker_that_is_killed_has_failed_and_the_queue_moves(tiny, backend):
    job_id = begin(tiny, backend, "nap-1")
    later = jobs.submit(tiny, train_job("quick-2"), backend).id
    os.kill(tiny.job(job_id).pid, signal.SIGKILL)
    job = jobs.wait(tiny, job_id, backend=backend)
    assert (job.state, job.error[:33]) == ("failed", "its process was killed or crashed")
    assert "nap-1, attempt 1" in jobs.log_tail(tiny, job_id)
    assert jobs.wait(tiny, later, backend=backend).state == "succeeded"


def test_cancel_lets_a_job_save_and_resume_runs_it_again(tiny, backend):
    job_id = begin(tiny, backend, "nap-1")
    job = jobs.cancel(tiny, job_id, wait=True, backend=backend)
    assert (job.state, job.error, notes(tiny)[-1]) == ("cancelled", None, "nap-1 saved")
    jobs.resume(tiny, job_id, backend)
    until(lambda: notes(tiny).count("nap-1 begin") == 2)
    assert tiny.job(job_id).attempt == 2
    assert jobs.cancel(tiny, job_id, wait=True, backend=backend).state == "cancelled"


def test_a_job_that_does_not_listen_is_ended_with_all_its_children(tiny, backend):
    job_id = begin(tiny, backend, "stubborn-1")
    everybody = [tiny.job(job_id).pid, *(int(line.split()[-1]) for line in notes(tiny) if "child" in line)]
    assert len(everybody) == 6 and all(psutil.pid_exists(pid) for pid in everybody)
    job = jobs.cancel(tiny, job_id, grace_s=0.2, wait=True, backend=backend)
    assert (job.state, job.error) == ("cancelled", "it did not stop by itself and was ended by force")
    until(lambda: not any(ProcessIdentity.of(pid) for pid in everybody))


def test_the_queue_holds_its_limit_and_its_order(tiny, backend):
    ids = [jobs.submit(tiny, train_job(f"hold-{i}"), backend).id for i in range(3)]
    assert [tiny.job(job_id).state for job_id in ids] == ["running", "queued", "queued"]
    assert jobs.cancel(tiny, ids[1], backend=backend).state == "cancelled"
    assert jobs.wait(tiny, ids[2], backend=backend).state == "succeeded"
    assert notes(tiny) == ["hold-0 begin", "hold-0 end", "hold-2 begin", "hold-2 end"]


def test_a_job_goes_on_when_whoever_submitted_it_is_killed(tiny, backend):
    source = "import sys, threading; from tests.test_backends import *\nfrom seqrl.store import Store\n"
    source += "begin(Store(sys.argv[1]), stand_in_backend(), 'nap-1'); print('begun', flush=True)\n"
    source += "threading.Event().wait()"
    submitter = subprocess.Popen([sys.executable, "-c", source, str(tiny.home)], stdout=subprocess.PIPE, text=True)
    assert submitter.stdout.readline() == "begun\n"
    submitter.kill()
    submitter.wait()
    (job,) = tiny.jobs()
    jobs.reconcile(tiny, backend)
    assert tiny.job(job.id).state == "running" and is_worker(job)
    assert jobs.cancel(tiny, job.id, wait=True, backend=backend).state == "cancelled"


@pytest.fixture
def ray_backend(connected, monkeypatch):
    monkeypatch.setenv(BACKEND_VARIABLE, "ray")
    return stand_in_backend()


@pytest.fixture
def busy(connected):
    """A cluster without a free processor; call it to free them."""
    hold = connected.remote(Hold).options(num_cpus=2).remote()
    connected.get(hold.ready.remote())
    yield lambda: connected.kill(hold)
    connected.kill(hold)


def test_a_job_waits_for_a_processor_of_the_cluster(tiny, ray_backend, busy):
    job_id = jobs.submit(tiny, dataset_job("quick-1"), ray_backend).id
    jobs.reconcile(tiny, ray_backend)
    assert (tiny.job(job_id).state, tiny.job(job_id).pid, tiny.job(job_id).attempt) == ("running", None, 1)
    busy()
    job = jobs.wait(tiny, job_id, backend=ray_backend)
    assert (job.state, job.attempt) == ("succeeded", 1)


def test_a_job_that_waits_for_a_processor_is_cancelled_at_once(tiny, ray_backend, busy):
    job_id = jobs.submit(tiny, dataset_job("quick-1"), ray_backend).id
    job = jobs.cancel(tiny, job_id, grace_s=60, wait=True, backend=ray_backend)
    assert (job.state, job.error) == ("cancelled", None)
    assert job.finished - job.cancel_requested < 30
    busy()
    assert finished(tiny, ray_backend, "quick-2").state == "succeeded"
    assert "quick-1 begin" not in notes(tiny)


def test_a_job_whose_actor_dies_before_it_begins_keeps_its_place_and_runs(tiny, ray_backend, busy, connected):
    from seqrl.jobs.ray_backend import actor_name

    job_id = jobs.submit(tiny, dataset_job("quick-1"), ray_backend).id
    connected.kill(connected.get_actor(actor_name(tiny.job(job_id)), namespace="seqrl"))
    busy()
    job = jobs.wait(tiny, job_id, backend=ray_backend)
    assert (job.state, job.attempt) == ("succeeded", 2)


def test_nothing_of_a_job_that_ended_stays_on_the_cluster(tiny, ray_backend, cluster):
    begin(tiny, ray_backend, "nap-1")
    assert doing(cluster, "Launcher")
    jobs.cancel(tiny, tiny.jobs()[0].id, wait=True, backend=ray_backend)
    until(lambda: not doing(cluster, "Launcher"))


def test_a_job_that_no_cluster_takes_waits_with_a_sentence_and_fails_in_the_end(tiny, ray_backend, monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, "ray://127.0.0.1:10001")
    sentence = "the address of the Ray cluster is ray://127.0.0.1:10001; give HOST:PORT"
    job = jobs.submit(tiny, train_job("quick-1"), ray_backend)
    assert (job.state, jobs.was_put_back(job), sentence in job.message) == ("queued", True, True)
    monkeypatch.setattr(backends, "_LONGEST_REST_S", 0.0)
    job = jobs.wait(tiny, job.id, backend=ray_backend)
    assert (job.state, job.attempt, job.error.startswith(sentence)) == ("failed", backends.MOST_LAUNCHES, True)
