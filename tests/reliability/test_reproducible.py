"""The same specs give the same bytes, whatever runs beside them and however the work is laid out."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from seqrl import jobs
from seqrl.checkpoints import load_model, load_training_state
from seqrl.config import DatasetJob, ReturnSweepJob, TrainJob
from seqrl.store import Store
from seqrl.store.columns import Columns
from tests.specs import dataset_spec, run_spec, sweep_spec

ARRAYS = ("observations", "actions", "rewards", "final_observations")
MEASURED = ["run", "decoding", "target", "episode", "seed", "achieved_return", "length", "terminated", "truncated"]


def run(store, job):
    row = jobs.wait(store, jobs.submit(store, job).id)
    assert row.state == "succeeded", f"{row.error}\n{jobs.log_tail(store, row.id)}"


def make_everything(home, chunked):
    """A dataset, two runs and a sweep by real workers; threads are left to choose.

    Args:
        home: an empty folder.
        chunked: measure the targets in two sweeps instead of one.
    """
    store = Store(home)
    run(store, DatasetJob(spec=dataset_spec(episodes=20)))
    run(store, TrainJob(spec=run_spec("dt", threads=None)))
    planner = {"kind": "tt", "context_length": 4, "bins": 10}
    run(store, TrainJob(spec=run_spec("tt", model=planner, threads=None, steps=10)))
    targets = [(20.0, 40.0, 60.0)] if not chunked else [(60.0,), (20.0, 40.0)]
    for number, part in enumerate(targets):
        spec = sweep_spec(f"sweep-{number}", runs=("dt",), targets=part, episodes=2)
        run(store, ReturnSweepJob(spec=spec))
    return store


def episodes_of(store):
    """All measured episodes, wherever they were measured, with their actions."""
    found = {}
    for sweep in store.sweeps():
        if store.bundled(sweep.name):
            continue
        for row in store.sweep_episodes(sweep.name).itertuples():
            key = tuple(str(getattr(row, name)) for name in MEASURED)
            found[key] = store.episode_steps(sweep.name, row.episode_id)
    return found


@pytest.fixture
def busy_neighbour():
    """Another process that computes all the time."""
    process = subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"])
    yield process
    process.kill()
    process.wait()


def test_twice_the_same(tmp_path, busy_neighbour, monkeypatch):
    one = make_everything(tmp_path / "one", chunked=False)
    busy_neighbour.kill()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    other = make_everything(tmp_path / "other", chunked=True)
    columns = [Columns.open(store.columns_folder("tiny")) for store in (one, other)]
    assert all(np.array_equal(getattr(columns[0], name), getattr(columns[1], name)) for name in ARRAYS)
    assert columns[0].facts == columns[1].facts
    assert columns[0].episodes.equals(columns[1].episodes)
    for name in ("dt", "tt"):
        states = [load_training_state(store.run_folder(name)).tensors for store in (one, other)]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items()), name
        weights = [load_model(store.run_folder(name))[0].state_dict() for store in (one, other)]
        assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items()), name
    found = [episodes_of(store) for store in (one, other)]
    assert found[0].keys() == found[1].keys()
    for key, steps in found[0].items():
        for name, value in steps.items():
            np.testing.assert_array_equal(value, found[1][key][name], err_msg=f"{name} of {key}")
