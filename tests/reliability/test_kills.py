"""SIGKILL at random points: nothing that was acknowledged is lost, and going on is exact."""

import shutil
import time

import pytest
import torch

from seqrl import jobs
from seqrl.checkpoints import NoCheckpoint, load_model, load_training_state
from seqrl.config import BeamSweepJob, BeamSweepSpec, DatasetJob, ImportJob, ImportSpec, ReturnSweepJob, TrainJob
from seqrl.store import Store
from seqrl.store.columns import Columns
from tests.reliability.forked import Forked, NoBackend
from tests.specs import dataset_spec, run_spec, sweep_spec

MODELS = {
    "dt": {"kind": "dt"},
    "bc": {"kind": "bc"},
    "tt": {"kind": "tt", "context_length": 4, "bins": 10},
}
STEPS = 60


def training(model, name="run"):
    return TrainJob(
        spec=run_spec(
            name,
            steps=STEPS,
            model=MODELS[model],
            checkpoint_every=5,
            log_every=2,
            validate_every=6,
            histogram_every=10,
        )
    )


def beam(name="sweep"):
    spec = BeamSweepSpec(name=name, runs=("tt",), widths=(1, 2), horizons=(1, 2), episodes=2, planning={"context": 2})
    return BeamSweepJob(spec=spec)


def sweep(name="sweep"):
    return ReturnSweepJob(spec=sweep_spec(name, runs=("dt",), targets=tuple(range(10, 60, 10)), episodes=2))


@pytest.fixture(scope="module")
def backend():
    forking = Forked()
    yield forking
    forking.close()


@pytest.fixture(scope="module")
def prepared(built_home, tmp_path_factory, backend):
    """A home with data and trained models, the uninterrupted results to compare with, and how long they take."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    shutil.copytree(built_home, home)
    store = Store(home)
    seconds = {}
    whole = [*(training(model, model) for model in MODELS), sweep("whole-rtg"), beam("whole-beam")]
    for job in whole:
        started = time.monotonic()
        job_id = jobs.submit(store, job, backend).id
        backend.join()
        assert store.job(job_id).state == "succeeded", jobs.log_tail(store, job_id)
        seconds[job.spec.name] = time.monotonic() - started
    store.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home, seconds


@pytest.fixture
def fresh(prepared, home):
    shutil.copytree(prepared[0], home)
    return Store(home)


def acknowledged(store, run):
    """What a reader has seen of a run: its metric rows, and the step of its checkpoint."""
    rows = store.metric_rows(run) if store.has_run(run) else []
    try:
        return rows, load_training_state(store.run_folder(run)).step
    except NoCheckpoint:
        return rows, 0


def assert_sound(store):
    """Nothing is broken and nothing is left over."""
    assert store.database.fault() is None
    left = [path for path in store.home.rglob(".*.partial-*") if "media" not in path.parts]
    assert left == []
    for row in store.datasets():
        if row.facts is not None and not store.bundled(row.name):
            assert Columns.open(store.columns_folder(row.name)).facts == row.facts
    for row in store.runs():
        if not store.bundled(row.name) and store.has_checkpoint(row.name):
            load_model(store.run_folder(row.name))


def assert_same_run(store, one, other):
    states = [load_training_state(store.run_folder(run)) for run in (one, other)]
    assert states[0].step == states[1].step == STEPS
    assert states[0].tensors.keys() == states[1].tensors.keys()
    assert all(torch.equal(states[0].tensors[name], states[1].tensors[name]) for name in states[0].tensors)
    weights = [load_model(store.run_folder(run))[0].state_dict() for run in (one, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    timeless = [store.metrics(run).drop(columns=["time_s", "steps_per_second"]) for run in (one, other)]
    assert timeless[0].equals(timeless[1])
    assert store.histograms(one) == store.histograms(other)


@pytest.mark.parametrize("model", MODELS)
def test_a_training_killed_again_and_again_ends_with_the_same_bits(prepared, fresh, backend, model, times, chance):
    job_id = jobs.submit(fresh, training(model), backend).id
    wanted, kills = times(3, 20), 0
    while kills < wanted:
        time.sleep(chance.uniform(0.02, prepared[1][model] / 2))
        seen, checkpoint = acknowledged(fresh, "run")
        backend.kill_now()
        jobs.reconcile(fresh, NoBackend())
        assert_sound(fresh)
        now, later_checkpoint = acknowledged(fresh, "run")
        known = [row for row in seen if row.step <= checkpoint]  # the rest is measured again after resuming
        assert now[: len(known)] == known
        assert later_checkpoint >= checkpoint
        kills += 1
        if fresh.job(job_id).state == "succeeded":  # it was faster: once more from the start
            assert_same_run(fresh, "run", model)
            fresh.truncate_metrics("run", -1)
            shutil.rmtree(fresh.run_folder("run") / "checkpoint")
            fresh.transition(job_id, ["succeeded"], "interrupted")
        assert fresh.job(job_id).state in ("interrupted", "failed")
        jobs.resume(fresh, job_id, backend)
    backend.join()
    assert fresh.job(job_id).state == "succeeded", jobs.log_tail(fresh, job_id)
    assert_same_run(fresh, "run", model)


@pytest.mark.parametrize("whole", ["whole-rtg", "whole-beam"])
def test_a_sweep_killed_again_and_again_ends_with_the_same_episodes(prepared, fresh, backend, whole, times, chance):
    job = sweep() if whole == "whole-rtg" else beam()
    expected = fresh.sweep_episodes(whole)
    job_id = jobs.submit(fresh, job, backend).id
    for _ in range(times(4, 60)):
        time.sleep(chance.uniform(0.0, prepared[1][whole]))
        seen = fresh.sweep_episodes("sweep")
        backend.kill_now()
        jobs.reconcile(fresh, NoBackend())
        assert_sound(fresh)
        assert fresh.sweep_episodes("sweep")[: len(seen)].equals(seen)
        if fresh.job(job_id).state == "succeeded":
            break
        jobs.resume(fresh, job_id, backend)
    else:
        backend.join()
    assert fresh.job(job_id).state == "succeeded", jobs.log_tail(fresh, job_id)
    key = [name for name in ("run", "decoding", "target", "width", "horizon", "episode") if name in expected]
    measured = [*key, "seed", "achieved_return", "length", "terminated", "truncated"]
    ours, theirs = (
        table[measured].sort_values(key, ignore_index=True) for table in (fresh.sweep_episodes("sweep"), expected)
    )
    assert ours.equals(theirs)


def test_a_killed_build_leaves_nothing_or_everything(store, backend, times, chance):
    for number in range(times(8, 100)):
        name = f"data-{number}"
        job_id = jobs.submit(store, DatasetJob(spec=dataset_spec(name, episodes=2000)), backend).id
        time.sleep(chance.uniform(0.0, 1.5))
        backend.kill_now()
        jobs.reconcile(store, NoBackend())
        assert_sound(store)
        finished = store.job(job_id).state == "succeeded"
        assert finished == (name in [row.name for row in store.datasets()])
        assert finished == store.columns_folder(name).exists() == store.minari_dataset_folder(name).exists()
        if finished:
            assert len(store.dataset_episodes(name)) == 2000


def test_a_killed_import_leaves_nothing_or_everything(tiny, backend, times, chance):
    path = tiny.minari_dataset_folder("tiny")
    for number in range(times(3, 60)):
        name = f"import-{number}"
        job_id = jobs.submit(tiny, ImportJob(spec=ImportSpec(name=name, path=str(path))), backend).id
        time.sleep(chance.uniform(0.0, 0.6))
        backend.kill_now()
        jobs.reconcile(tiny, NoBackend())
        assert_sound(tiny)
        finished = tiny.job(job_id).state == "succeeded"
        assert finished == (name in [row.name for row in tiny.datasets()]) == tiny.columns_folder(name).exists()
        assert not (tiny.job_folder(job_id) / "scratch").exists()
