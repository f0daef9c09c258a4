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
KILLS = {
    "dt": (3, 20),
    "bc": (3, 20),
    "tt": (3, 20),
    "rtg": (4, 60),
    "beam": (4, 60),
    "build": (5, 60),
    "import": (4, 60),
}
"""What is killed → how often in ``make test`` and in ``make soak``; only kills that met a living worker count."""


def test_there_are_as_many_kills_as_promised():
    assert sum(quick for quick, _ in KILLS.values()) >= 25
    assert sum(soak for _, soak in KILLS.values()) >= 300
    assert min(KILLS[model][1] for model in MODELS) >= 20


def training(model, name):
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


def beam(name):
    spec = BeamSweepSpec(
        name=name, runs=("whole-tt",), widths=(1, 2), horizons=(1, 2), episodes=2, planning={"context": 2}
    )
    return BeamSweepJob(spec=spec)


def sweep(name):
    return ReturnSweepJob(spec=sweep_spec(name, runs=("whole-dt",), targets=tuple(range(10, 60, 10)), episodes=2))


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
    whole = [*(training(model, f"whole-{model}") for model in MODELS), sweep("whole-rtg"), beam("whole-beam")]
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


def acknowledged_run(store, run):
    """What a reader has seen of a run: its metric rows, and the step of its checkpoint."""
    rows = store.metric_rows(run) if store.has_run(run) else []
    try:
        return rows, load_training_state(store.run_folder(run)).step
    except NoCheckpoint:
        return rows, 0


def assert_run_kept(store, run, seen):
    rows, checkpoint = acknowledged_run(store, run)
    assert rows[: len(seen[0])] == seen[0]
    assert checkpoint >= seen[1]


def acknowledged_sweep(store, sweep):
    """The episodes that a reader has seen of a sweep."""
    return store.sweep_episodes(sweep)


def assert_sweep_kept(store, sweep, seen):
    kept = store.sweep_episodes(sweep)[: len(seen)]
    assert kept[seen.columns].equals(seen)  # a table without episodes has no columns of its own kind of sweep


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


def assert_same_sweep(store, one, other):
    tables = [store.sweep_episodes(name) for name in (one, other)]
    key = [name for name in ("run", "decoding", "target", "width", "horizon", "episode") if name in tables[1]]
    measured = [*key, "seed", "achieved_return", "length", "terminated", "truncated"]
    ours, theirs = (table[measured].sort_values(key, ignore_index=True) for table in tables)
    assert ours.equals(theirs)


def go_on(store, job_id, backend):
    """Start a killed job again; one that was killed before it began has kept its place in the queue."""
    if store.job(job_id).state == "queued":
        jobs.advance(store, backend)
    else:
        assert store.job(job_id).state in ("interrupted", "failed")
        jobs.resume(store, job_id, backend)


def kill_again_and_again(store, backend, make, kills, seconds, chance, acknowledged, assert_kept):
    """Jobs that are killed ``kills`` times in all, each resumed until it has succeeded.

    Args:
        make: a job of a name.
        kills: how many kills must meet a living worker.
        seconds: how long such a job takes.
        acknowledged: what a reader has seen of the job's product, given store and name.
        assert_kept: fails if any of that is gone.

    Returns:
        The names of what the jobs made.
    """
    names, done = [], 0
    while done < kills:
        names.append(f"victim-{len(names)}")
        job_id = jobs.submit(store, make(names[-1]), backend).id
        while done < kills:
            time.sleep(chance.uniform(0.0, 0.8 * seconds))
            seen = acknowledged(store, names[-1])
            done += backend.kill_now()
            jobs.reconcile(store, NoBackend())
            assert_sound(store)
            assert_kept(store, names[-1], seen)
            if store.job(job_id).state == "succeeded":
                break
            go_on(store, job_id, backend)
        backend.join()
        assert store.job(job_id).state == "succeeded", jobs.log_tail(store, job_id)
    print(f"{done} kills of {len(names)} jobs")
    return names


@pytest.mark.parametrize("model", MODELS)
def test_a_training_killed_again_and_again_ends_with_the_same_bits(prepared, fresh, backend, model, times, chance):
    def make(name):
        return training(model, name)

    kills, seconds = times(*KILLS[model]), prepared[1][f"whole-{model}"]
    doors = (acknowledged_run, assert_run_kept)
    for name in kill_again_and_again(fresh, backend, make, kills, seconds, chance, *doors):
        assert_same_run(fresh, name, f"whole-{model}")


@pytest.mark.parametrize("kind", ["rtg", "beam"])
def test_a_sweep_killed_again_and_again_ends_with_the_same_episodes(prepared, fresh, backend, kind, times, chance):
    make = sweep if kind == "rtg" else beam
    kills, seconds = times(*KILLS[kind]), prepared[1][f"whole-{kind}"]
    doors = (acknowledged_sweep, assert_sweep_kept)
    for name in kill_again_and_again(fresh, backend, make, kills, seconds, chance, *doors):
        assert_same_sweep(fresh, name, f"whole-{kind}")


def kill_new_ones(store, backend, make, kills, chance):
    """Kill ``kills`` jobs that cannot be resumed, each at some time of its life; yield name and job after each."""
    started = time.monotonic()
    jobs.submit(store, make("whole"), backend)
    backend.join()
    seconds = time.monotonic() - started
    done = number = 0
    while done < kills:
        name, number = f"victim-{number}", number + 1
        job_id = jobs.submit(store, make(name), backend).id
        time.sleep(chance.uniform(0.0, seconds))
        done += backend.kill_now()
        jobs.reconcile(store, NoBackend())
        if store.job(job_id).state == "queued":  # killed before it began: it has lost nothing and goes on
            jobs.advance(store, backend)
            backend.join()
        assert_sound(store)
        yield name, store.job(job_id)
    print(f"{done} kills of {number} jobs")


def test_a_killed_build_leaves_nothing_or_everything(store, backend, times, chance):
    def make(name):
        return DatasetJob(spec=dataset_spec(name, episodes=2000))

    for name, job in kill_new_ones(store, backend, make, times(*KILLS["build"]), chance):
        finished = job.state == "succeeded"
        assert finished == (name in [row.name for row in store.datasets()])
        assert finished == store.columns_folder(name).exists() == store.minari_dataset_folder(name).exists()
        if finished:
            assert len(store.dataset_episodes(name)) == 2000


def test_a_killed_import_leaves_nothing_or_everything(tiny, backend, times, chance):
    path = tiny.minari_dataset_folder("tiny")

    def make(name):
        return ImportJob(spec=ImportSpec(name=name, path=str(path)))

    for name, job in kill_new_ones(tiny, backend, make, times(*KILLS["import"]), chance):
        finished = job.state == "succeeded"
        assert finished == (name in [row.name for row in tiny.datasets()]) == tiny.columns_folder(name).exists()
        assert not (tiny.job_folder(job.id) / "scratch").exists()
