"""Sweeps on a Ray cluster: the same records as here, whatever the number of workers and whoever dies."""

import os
import shutil
import threading
import time

import numpy as np
import pytest
import torch

from seqrl import grids, jobs
from seqrl.checkpoints import load_training_state
from seqrl.config import BeamSweepJob, BeamSweepSpec, GridSpec, ReturnSweepJob
from seqrl.jobs.choice import BACKEND_VARIABLE, WORKERS_VARIABLE
from seqrl.store import Store
from tests.in_process import InProcess, do
from tests.ray_clusters import doing
from tests.specs import run_spec, sweep_spec, train_job
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("ray")
SOAK = bool(os.environ.get("SEQRL_SOAK"))
soak = pytest.mark.skipif(not SOAK, reason="make soak")


def return_sweep(name, targets=tuple(range(5, 65, 5)), episodes=5):
    return ReturnSweepJob(spec=sweep_spec(name, runs=("dt", "bc"), targets=targets, episodes=episodes))


def beam_sweep(name):
    planning = {"context": 2}
    spec = BeamSweepSpec(name=name, runs=("tt",), widths=(0, 1, 2), horizons=(1, 2), episodes=3, planning=planning)
    return BeamSweepJob(spec=spec)


SWEEPS = {"rtg": return_sweep, "beam": beam_sweep}


@pytest.fixture(scope="module")
def measured_home(built_home, tmp_path_factory):
    """A home with trained runs and the sweeps of `SWEEPS`, measured without a cluster."""
    home = tmp_path_factory.mktemp("measured") / "home"
    shutil.copytree(built_home, home)
    store = Store(home)
    for kind, model in {"dt": {}, "bc": {}, "tt": {"context_length": 4, "bins": 10}}.items():
        do(store, train_job(kind, steps=20, model={"kind": kind} | model))
    for kind, job in SWEEPS.items():
        do(store, job(f"here-{kind}"))
    store.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home


@pytest.fixture
def measured(measured_home, home, connected, monkeypatch):
    """A store of its own with what is in `measured_home`; the chosen backend is the cluster."""
    shutil.copytree(measured_home, home)
    monkeypatch.setenv(BACKEND_VARIABLE, "ray")
    return Store(home)


def assert_same_records(store, one, other):
    """Equal but for their numbering, which is the order of measuring, and times."""
    tables = []
    for name in (one, other):
        table = store.sweep_episodes(name)
        keys = ["run", "decoding", "target", *(name for name in ("width", "horizon") if name in table), "episode"]
        tables.append(table.sort_values(keys, ignore_index=True))
    passing = ["episode_id", "seconds_per_decision"]
    ours, theirs = (table.drop(columns=[name for name in passing if name in table]) for table in tables)
    assert len(ours) and ours.equals(theirs[ours.columns]) and set(ours) == set(theirs)
    for mine, yours in zip(tables[0]["episode_id"], tables[1]["episode_id"], strict=True):
        steps, expected = store.episode_steps(one, int(mine)), store.episode_steps(other, int(yours))
        assert steps.keys() == expected.keys()
        for field, values in steps.items():
            assert values.dtype == expected[field].dtype
            np.testing.assert_array_equal(values, expected[field], err_msg=field)


@pytest.mark.parametrize("kind", SWEEPS)
@pytest.mark.parametrize("workers", [1, 2])
def test_the_records_are_the_same_whatever_the_number_of_workers(measured, monkeypatch, kind, workers):
    monkeypatch.setenv(WORKERS_VARIABLE, str(workers))
    do(measured, SWEEPS[kind](f"there-{kind}"))
    assert_same_records(measured, f"there-{kind}", f"here-{kind}")


def test_a_worker_that_is_killed_costs_a_retry_and_no_record(measured, cluster, monkeypatch):
    monkeypatch.setenv(WORKERS_VARIABLE, "1")
    job_id = jobs.submit(measured, return_sweep("there")).id
    until(lambda: doing(cluster, "measure"))[0].kill()
    job = jobs.wait(measured, job_id)
    assert (job.state, job.error, job.attempt) == ("succeeded", None, 1)
    assert "a worker ended amid" in jobs.log_tail(measured, job_id)
    assert_same_records(measured, "there", "here-rtg")


LONG = 1632
"""Episodes of `long_sweep`: 50 targets and two decodings of one run, two points of the other, 16 episodes each."""


def long_sweep(name):
    return return_sweep(name, targets=tuple(np.linspace(1, 60, 50).round(2)), episodes=16)


def begun(store, name):
    """Whether a point of a sweep is measured."""
    return any((store.sweep_folder(name) / "parts").glob("[0-9]*.npz"))


def watched(job_id):
    """Whether a thread of this process still looks after a job."""
    return [thread for thread in threading.enumerate() if thread.name == f"job {job_id}"]


def assert_goes_on(store, before, name):
    """The sweep has ended with what it had before, and every episode once."""
    after = store.sweep_episodes(name)
    assert 0 < len(before) < len(after) == LONG
    assert after[: len(before)].equals(before)
    assert not after.duplicated(["run", "decoding", "target", "episode"]).any()


def test_a_sweep_that_is_asked_to_stop_goes_on_from_its_points(measured, monkeypatch):
    monkeypatch.setenv(WORKERS_VARIABLE, "1")

    def ask():
        until(lambda: begun(measured, "there"))
        measured.set_job(measured.jobs(["running"])[0].id, 1, cancel_requested=measured.now())

    asking = threading.Thread(target=ask)
    asking.start()
    job = jobs.submit(measured, long_sweep("there"), InProcess())
    asking.join()
    assert (job.state, job.error) == ("cancelled", None)
    before = measured.sweep_episodes("there")
    assert jobs.resume(measured, job.id, InProcess()).state == "succeeded"
    assert_goes_on(measured, before, "there")


def test_a_sweep_that_is_ended_by_force_takes_its_tasks_along_and_goes_on(measured, cluster, monkeypatch):
    monkeypatch.setenv(WORKERS_VARIABLE, "1")
    job_id = jobs.submit(measured, long_sweep("there")).id
    until(lambda: begun(measured, "there"))
    assert jobs.cancel(measured, job_id, grace_s=0, wait=True).state == "cancelled"
    until(lambda: not doing(cluster, "measure"), timeout_s=20)
    before = measured.sweep_episodes("there")
    until(lambda: not watched(job_id))
    assert jobs.resume(measured, job_id, InProcess()).state == "succeeded"
    assert_goes_on(measured, before, "there")


def test_a_task_that_fails_is_the_sentence_of_its_job(measured):
    weights = measured.run_folder("dt") / "checkpoint" / "model.safetensors"
    weights.write_bytes((measured.run_folder("bc") / "checkpoint" / "model.safetensors").read_bytes())
    job = jobs.submit(measured, return_sweep("there"), InProcess())
    assert job.state == "failed" and "does not hold the weights" in job.error


def test_a_number_of_workers_that_is_none_is_a_sentence(measured, monkeypatch):
    monkeypatch.setenv(WORKERS_VARIABLE, "all")
    job = jobs.submit(measured, return_sweep("there"), InProcess())
    assert (job.state, job.error) == ("failed", "SEQRL_RAY_WORKERS is 'all'; give a whole number from 1 on")


def assert_same_training(store, mine, yours):
    """Equal curves but for times, and equal states to go on from."""
    curves = [store.metrics(name).drop(columns=["time_s", "steps_per_second"]) for name in (mine, yours)]
    assert len(curves[0]) and curves[0].equals(curves[1])
    states = [load_training_state(store.run_folder(name)) for name in (mine, yours)]
    assert all(torch.equal(tensor, states[1].tensors[key]) for key, tensor in states[0].tensors.items())


def test_a_grid_of_trainings_is_the_same_on_a_cluster(measured, monkeypatch):
    """Two by two in a soak: every training loads torch twice."""
    seeds = (0, 1) if SOAK else (0,)
    monkeypatch.setenv(WORKERS_VARIABLE, "2")
    axes = {"model.context_length": (1, 5)}
    submitted = grids.submit(measured, GridSpec.of(run_spec("there", steps=10), axes, seeds))
    assert len(measured.jobs(["running"])) == 2
    job_ids = [measured.run(name).job_id for name in submitted.queued]
    assert [jobs.wait(measured, job_id).state for job_id in job_ids] == ["succeeded"] * len(job_ids)
    until(lambda: not any(watched(job_id) for job_id in job_ids))
    monkeypatch.setenv(BACKEND_VARIABLE, "local")
    expected = grids.submit(measured, GridSpec.of(run_spec("here", steps=10), axes, seeds), InProcess())
    assert len(submitted.queued) == len(expected.queued) == 2 * len(seeds)
    for mine, yours in zip(submitted.queued, expected.queued, strict=True):
        assert_same_training(measured, mine, yours)


@soak
def test_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint(measured, cluster, monkeypatch):
    settings = {"steps": 600, "checkpoint_every": 20}
    job_id = jobs.submit(measured, train_job("there", **settings)).id
    until(lambda: measured.run("there").step >= 40)
    doing(cluster, "train_alone")[0].kill()
    assert jobs.wait(measured, job_id).state == "succeeded"
    log = jobs.log_tail(measured, job_id)
    assert "was killed or crashed" in log and "training resumes at step" in log
    until(lambda: not watched(job_id))
    monkeypatch.setenv(BACKEND_VARIABLE, "local")
    do(measured, train_job("here", **settings))
    assert_same_training(measured, "there", "here")


@soak
def test_two_thousand_cells_are_measured_once_each_though_workers_die(measured, cluster, monkeypatch):
    targets = tuple(np.linspace(1, 60, 1000).round(4))
    spec = ReturnSweepJob(spec=sweep_spec("many", runs=("dt",), targets=targets, episodes=2))
    began = time.monotonic()
    job_id = jobs.submit(measured, spec).id
    killed = 0
    while not measured.job(job_id).ended and killed < 5:
        for worker in until(lambda: doing(cluster, "measure") or measured.job(job_id).ended and [None])[:1]:
            if worker is not None:
                worker.kill()
                killed += 1
        time.sleep(3)
    job = jobs.wait(measured, job_id)
    taken = time.monotonic() - began
    assert (job.state, job.error) == ("succeeded", None)
    episodes = measured.sweep_episodes("many")
    print(f"{len(episodes):,} episodes of 2,000 cells in {taken:.0f} s, {killed} workers killed, {job.message}")
    assert len(episodes) == 4000 and killed
    assert not episodes.duplicated(["run", "decoding", "target", "episode"]).any()
    assert set(episodes.groupby(["decoding", "target"]).size()) == {2}
    until(lambda: not watched(job_id))
    monkeypatch.setenv(BACKEND_VARIABLE, "local")
    do(measured, ReturnSweepJob(spec=spec.spec.model_copy(update={"name": "alone"})))
    assert_same_records(measured, "many", "alone")
