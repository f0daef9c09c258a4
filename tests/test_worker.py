"""What the worker does with real jobs: build, train, measure, draw, and be stopped in the middle of it."""

import doctest
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from seqrl import jobs
from seqrl.checkpoints import load_model, load_training_state
from seqrl.config import (
    BehaviourSpec,
    DatasetJob,
    DatasetSpec,
    Origin,
    RenderJob,
    RenderSpec,
    ReturnSweepJob,
    ScheduleSweepJob,
    ScheduleSweepSpec,
    TrainJob,
)
from seqrl.config.sweeps import dataset_reference
from seqrl.environments import space_facts
from seqrl.jobs import LocalBackend
from seqrl.jobs.backend import WORKER_COMMAND
from seqrl.policies import SequencePolicy
from seqrl.probe import EpisodeProbe, Probe
from seqrl.store import NotFound, Store
from seqrl.store.columns import Columns
from seqrl.worker import __main__ as worker
from seqrl.worker import context as worker_context
from seqrl.worker.context import JobContext
from seqrl.worker.dataset import run_policies
from tests.in_process import InProcess, do
from tests.specs import dataset_spec, run_spec, sweep_spec, train_job
from tests.waiting import until


def limited(file_bytes):
    """A backend whose workers may write files of at most so many bytes: for them, the disk is full."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes}, {file_bytes}))"
    text = f"import os, resource, sys; {limit}; os.execv(sys.argv[1], sys.argv[1:])"
    return LocalBackend((sys.executable, "-c", text, *WORKER_COMMAND))


class Unstarted(LocalBackend):
    """Leaves jobs in the queue."""

    def start(self, store, job, limit, on_exit):
        return False


def tensors(store, run):
    """All that is saved of a run."""
    state = load_training_state(store.run_folder(run))
    model, *_ = load_model(store.run_folder(run))
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    return state.step, {**state.tensors, **weights}


def curves(store, run):
    """Metrics that do not measure time."""
    return store.metrics(run).drop(columns=["time_s", "steps_per_second"])


def assert_same_run(store, run, other_store, other):
    step, found = tensors(store, run)
    other_step, expected = tensors(other_store, other)
    assert step == other_step and found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert curves(store, run).equals(curves(other_store, other))
    assert store.histograms(run) == other_store.histograms(other)
    assert store.run(run).best_value == other_store.run(other).best_value


@pytest.fixture(scope="module")
def trained_home(built_home, tmp_path_factory):
    """A home with the dataset ``tiny`` and the run ``run``, of 400 steps."""
    import shutil

    home = tmp_path_factory.mktemp("trained") / "home"
    shutil.copytree(built_home, home)
    do(Store(home), train_job("run", steps=400))
    return home


@pytest.fixture
def trained(trained_home, home):
    import shutil

    shutil.copytree(trained_home, home)
    return Store(home)


def test_a_dataset_job_builds_what_its_spec_says(store):
    do(store, DatasetJob(spec=dataset_spec("data")))
    row = store.dataset("data")
    columns = Columns.open(store.columns_folder("data"))
    assert (row.state, row.facts) == ("ready", columns.facts)
    assert store.dataset_episodes("data").equals(columns.episodes)
    assert (store.minari_dataset_folder("data") / "data" / "main_data.hdf5").is_file()


def test_a_trained_run_can_be_a_behaviour(trained):
    behaviour = {"tier": "dt", "share": 1.0, "policy": "run:run", "epsilon": 0.1}
    spec = dataset_spec("by-run", episodes=4).model_copy(update={"behaviours": ()})
    job = DatasetJob.model_validate({"spec": {**spec.model_dump(), "behaviours": [behaviour]}})
    do(trained, job)
    assert trained.dataset_episodes("by-run")["policy"].tolist() == ["run:run"] * 4
    do(trained, job.model_copy(update={"spec": job.spec.model_copy(update={"name": "again"})}))
    assert trained.dataset("again").facts.content_hash == trained.dataset("by-run").facts.content_hash


def by_run(name, policy="run:run", **changes):
    spec = dataset_spec(name, episodes=2)
    behaviour = {"tier": "dt", "share": 1.0, "policy": policy}
    return DatasetJob.model_validate({"spec": {**spec.model_dump(), "behaviours": [behaviour], **changes}})


def test_a_run_plays_only_what_it_can(trained):
    row = jobs.submit(trained, by_run("too-long", max_episode_steps=61), InProcess())
    assert row.error == "max_episode_steps is 61 but the run run knows 60 timesteps; choose at most 60"
    do(trained, train_job("planner", steps=1, model={"kind": "tt"}))
    with pytest.raises(ValueError, match="policy is run:planner, a Trajectory Transformer, which has to plan"):
        jobs.submit(trained, by_run("by-planner", policy="run:planner"), InProcess())


def test_a_run_with_a_discount_is_asked_for_discounted_returns(trained, monkeypatch):
    asked = []

    class Asked(SequencePolicy):
        def __init__(self, *arguments, **settings):
            asked.extend(settings["targets"].tolist())
            super().__init__(*arguments, **settings)

    do(trained, train_job("discounted", steps=1, model={"discount": 0.9}))
    monkeypatch.setattr("seqrl.policies.SequencePolicy", Asked)
    do(trained, by_run("plain"))
    do(trained, by_run("less", policy="run:discounted"))
    plain, discounted = asked[0], asked[-1]
    facts = trained.run("run").facts
    assert plain == facts.returns.maximum
    best = (1 - 0.9**facts.max_length) / 0.1  # a reward of 1 at each of its steps
    assert discounted == pytest.approx(best)
    shutil.rmtree(trained.columns_folder("tiny"))
    do(trained, by_run("gone", policy="run:discounted"))
    assert asked[-1] == pytest.approx(best)


def test_a_discounted_behaviour_asks_for_what_the_data_has_where_rewards_are_negative(trained):
    model = {"discount": 0.5}
    behaviour = BehaviourSpec(tier="any", share=1.0, policy="random")
    swings = DatasetSpec(
        name="swings", environment="Pendulum-v1", episodes=4, behaviours=(behaviour,), max_episode_steps=20
    )
    do(trained, DatasetJob(spec=swings))
    do(trained, train_job("swinger", dataset="swings", steps=1, model=model))
    maker = run_policies(trained, swings.model_copy(update={"behaviours": (BehaviourSpec(policy="run:swinger"),)}))
    controller = maker["run:swinger"](space_facts("Pendulum-v1", max_episode_steps=20))
    controller.reset([0])
    returns = trained.dataset_returns("swings", 0.5)
    assert controller._policy.returns_to_go.tolist() == [returns.max()]
    assert returns.max() > trained.dataset_returns("swings").max()


def test_training_keeps_curves_histograms_events_and_a_checkpoint(trained):
    run = trained.run("run")
    assert (run.state, run.step, run.steps) == ("succeeded", 400, 400)
    frame = trained.metrics("run")
    assert frame["step"].tolist() == list(range(5, 401, 5))
    assert frame["loss"].notna().all() and frame["validation_loss"].notna().sum() == 40
    assert run.best_value == frame["validation_loss"].min()
    assert {item.step for item in trained.histograms("run")} == set(range(20, 401, 20))
    assert list((trained.run_folder("run") / "events").iterdir())
    _, spec, facts = load_model(trained.run_folder("run"))
    assert (spec, facts) == (run.spec, run.facts)


def test_events_say_what_the_curves_say(trained):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = events.EventAccumulator(str(trained.run_folder("run") / "events"))
    read.Reload()
    losses = [(event.step, event.value) for event in read.Scalars("loss")]
    frame = trained.metrics("run")
    np.testing.assert_allclose(losses, frame[["step", "loss"]].to_numpy(), rtol=1e-6)


def test_the_same_spec_twice_gives_the_same_run(trained):
    do(trained, train_job("twin", steps=400))
    assert_same_run(trained, "twin", trained, "run")


@pytest.mark.parametrize("how", ["cancel", "kill"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(tiny, trained_home, how):
    job_id = jobs.submit(tiny, train_job("run", steps=400)).id
    until(lambda: tiny.run("run").step >= 30 and tiny.has_checkpoint("run"))
    if how == "cancel":
        assert jobs.cancel(tiny, job_id, wait=True).state == "cancelled"
    else:
        os.kill(tiny.job(job_id).pid, signal.SIGKILL)
        assert jobs.wait(tiny, job_id).state == "interrupted"
    stopped = load_training_state(tiny.run_folder("run")).step
    assert 10 <= stopped < 400
    assert jobs.can_resume(tiny, tiny.job(job_id))
    jobs.resume(tiny, job_id)
    job = jobs.wait(tiny, job_id)
    assert job.state == "succeeded", job.error
    assert f"resumes at step {stopped}" in jobs.log_tail(tiny, job_id, 100)
    assert_same_run(tiny, "run", Store(trained_home), "run")


@pytest.mark.parametrize("how", ["cancel", "kill"])
def test_a_stopped_sweep_goes_on_from_its_finished_points(trained, how):
    spec = sweep_spec("whole", targets=tuple(range(5, 65, 5)), episodes=2)
    do(trained, ReturnSweepJob(spec=spec))
    whole = trained.sweep_episodes("whole")
    job_id = jobs.submit(trained, ReturnSweepJob(spec=spec.model_copy(update={"name": "part"}))).id
    parts = trained.sweep_folder("part") / "parts"
    until(lambda: any(parts.glob("[0-9]*.npz")) or trained.job(job_id).ended)
    if how == "cancel":
        jobs.cancel(trained, job_id, wait=True)
    else:
        os.kill(trained.job(job_id).pid, signal.SIGKILL)
        assert jobs.wait(trained, job_id).state == "interrupted"
    assert 0 < len(trained.sweep_episodes("part")) < len(whole)
    jobs.resume(trained, job_id)
    assert jobs.wait(trained, job_id).state == "succeeded"
    columns = [name for name in whole if name != "episode_id"]
    order = ["run", "decoding", "target", "episode"]
    part = trained.sweep_episodes("part")
    assert (
        part[columns].sort_values(order, ignore_index=True).equals(whole[columns].sort_values(order, ignore_index=True))
    )


def test_a_sweep_acts_in_the_number_format_that_it_began_in_and_so_do_those_who_ask_about_it(trained):
    spec = sweep_spec("half", targets=(20.0,), acting="window", decodings=("sampled",))
    job = jobs.submit(trained, ReturnSweepJob(spec=spec), Unstarted())
    trained.keep_precisions("half", {"run": "bf16"})  # it began on a machine that is fast in it
    assert InProcess().start(trained, job, 1, None)
    record = trained.episode_record("half", 0)
    probe, exact = EpisodeProbe.open(trained, "half", 0), Probe.open(trained.run_folder("run"))
    asked = record.returns_to_go[7:8]
    off = exact.response_curve(probe.history, 7, asked, acting="window").probabilities - record.action_probabilities[7]
    assert np.allclose(probe.to_targets(7, asked).probabilities, record.action_probabilities[7], atol=1e-6)
    assert np.abs(off).max() > 1e-5
    origin = Origin(sweep="half", episode_id=0, step=7)
    settings = {"target": 20.0, "schedules": (), "acting": "window", "decoding": "sampled", "episodes": 1}
    do(trained, ScheduleSweepJob(spec=ScheduleSweepSpec(name="on", runs=("run",), origin=origin, **settings)))
    assert trained.precisions("on") == {"run": "bf16"}
    continued = trained.episode_record("on", 0)
    assert np.array_equal(continued.action_probabilities, record.action_probabilities)


def test_a_sweep_keeps_the_number_format_that_is_settled_where_it_begins(trained):
    do(trained, ReturnSweepJob(spec=sweep_spec("narrow", targets=(20.0,))))
    do(trained, ReturnSweepJob(spec=sweep_spec("half", targets=(20.0,), precision="bf16")))
    assert trained.precisions("narrow") == {"run": "fp32"} and trained.precisions("half") == {"run": "bf16"}


@pytest.mark.parametrize("how", ["cancel", "kill"])
def test_a_stopped_build_leaves_nothing_and_its_name_is_free(store, how):
    spec = dataset_spec("data", episodes=20_000).model_copy(update={"max_episode_steps": 500})
    job_id = jobs.submit(store, DatasetJob(spec=spec)).id
    until(lambda: store.job(job_id).progress > 0.02)
    assert any(store.columns_folder("data").parent.iterdir())
    if how == "cancel":
        assert jobs.cancel(store, job_id, wait=True).state == "cancelled"
    else:
        os.kill(store.job(job_id).pid, signal.SIGKILL)
        assert jobs.wait(store, job_id).state == "failed"
    left = [path for folder in ("columns", "minari") for path in (store.home / folder).rglob("*") if path.is_file()]
    assert left == []
    store.add_dataset("data", source={})


def test_bad_numbers_stop_a_training_before_they_spoil_it(tiny):
    path = tiny.columns_folder("tiny") / "observations.npy"
    job = train_job("run", steps=50, checkpoint_every=1, log_every=1)
    do(tiny, job.model_copy(update={"spec": run_spec("before", steps=50)}))
    observations = np.load(path, mmap_mode="r+")
    observations[::7] = np.nan
    observations.flush()
    row = jobs.submit(tiny, job, InProcess())
    assert row.state == "failed"
    assert re.search(r"the loss is not finite at step \d+; the last checkpoint is kept", row.error)
    load_model(tiny.run_folder("before"))


@pytest.mark.parametrize("file_bytes", [20_000, 4096])
def test_a_full_disk_fails_with_a_sentence_and_keeps_what_there_was(tiny, file_bytes):
    """20 kB: the checkpoint does not fit. 4 kB: not even the database can be written."""
    do(tiny, train_job("before"))
    job_id = jobs.submit(tiny, train_job("run", steps=50), limited(file_bytes)).id
    job = jobs.wait(tiny, job_id)
    assert job.state == "failed"
    assert re.search(r"^the disk is full .*; free some space and start again$", job.error)
    load_model(tiny.run_folder("before"))
    assert tiny.database.fault() is None
    assert not list(tiny.run_folder("run").glob(".*"))


def test_a_recorded_episode_becomes_a_video_once(trained):
    do(trained, ReturnSweepJob(spec=sweep_spec(targets=(20.0,), episodes=1)))
    job = RenderJob(spec=RenderSpec(sweep="sweep", episode_id=0))
    do(trained, job)
    video = trained.media_path("sweep", 0)
    assert video.read_bytes()[4:8] == b"ftyp"
    written = video.stat().st_mtime_ns
    do(trained, job)
    assert video.stat().st_mtime_ns == written


def test_an_episode_of_a_dataset_becomes_a_video_of_what_was_recorded(tiny):
    source = dataset_reference("tiny")
    do(tiny, RenderJob(spec=RenderSpec(sweep=source, episode_id=1)))
    assert tiny.media_path(source, 1).read_bytes()[4:8] == b"ftyp"
    record, row = tiny.episode_record(source, 1), tiny.dataset_episodes("tiny").iloc[1]
    assert (record.seed, record.length) == (row["seed"], row["length"])
    assert record.rewards.sum() == row["achieved_return"]
    assert np.isnan(record.returns_to_go).all()


@pytest.mark.parametrize(
    "harm",
    [
        lambda table: table.drop(columns="seed"),
        lambda table: table.assign(seed=np.nan),
        lambda table: table.assign(seed=-1),
    ],
    ids=["none", "NaN", "-1"],
)
def test_episodes_whose_start_is_unknown_cannot_be_played_again(tiny, harm):
    source, path = dataset_reference("tiny"), tiny.columns_folder("tiny") / "episodes.parquet"
    with pytest.raises(NotFound, match="episode of the dataset tiny"):
        tiny.episode_record(source, 10_000)
    harm(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(ValueError, match="the seed of episode 1 of tiny was not recorded"):
        tiny.media_path(source, 1)
    with pytest.raises(ValueError, match="steps of a dataset elsewhere are not on this machine"):
        tiny.media_path(dataset_reference("elsewhere"), 0)


def test_a_dataset_that_was_exchanged_is_not_trained_on(tiny):
    job_id = tiny.add_job(train_job("run"), "run")
    facts = tiny.dataset("tiny").facts.model_copy(update={"content_hash": "other"})
    tiny.add_run(run_spec("run"), facts, job_id)
    jobs.advance(tiny, InProcess())
    assert "the dataset tiny is not the one that run was submitted for" in tiny.job(job_id).error


def test_weights_of_other_settings_are_not_trained_on(trained):
    """Of a run that an older database does not know, for example."""
    with trained.database.transaction() as connection:
        connection.execute("DELETE FROM runs WHERE name = 'run'")
    anew = train_job("run", steps=30, model={"context_length": 4})
    with pytest.raises(ValueError, match="runs/run in SEQRL_HOME holds results of a run that the database"):
        jobs.submit(trained, anew, InProcess())
    before = load_training_state(trained.run_folder("run")).step
    job_id = trained.add_job(anew, "run")
    with trained.database.transaction() as connection:  # as a version stored it that did not look
        values = ("run", anew.spec.to_json(), trained.dataset("tiny").facts.to_json(), 0.0, job_id)
        connection.execute("INSERT INTO runs (name, spec, facts, created, job_id) VALUES (?, ?, ?, ?, ?)", values)
    jobs.advance(trained, InProcess())
    assert "the folder of run was trained with another model and training" in trained.job(job_id).error
    assert load_training_state(trained.run_folder("run")).step == before


def test_every_kind_of_job_has_its_module():
    from importlib import import_module
    from typing import get_args

    from seqrl.config import JobSpec

    kinds = {kind.model_fields["kind"].default for kind in get_args(get_args(JobSpec)[0])}
    assert kinds == worker.MODULES.keys()
    for reference in worker.MODULES.values():
        module, _, function = reference.partition(":")
        assert callable(getattr(import_module(module), function or "run"))


def test_a_worker_leaves_with_its_code_and_all_that_it_had_to_say():
    leave = "import atexit; from seqrl.worker.__main__ import leave; atexit.register(print, 'farewell')"
    done = subprocess.run(
        [sys.executable, "-c", f"{leave}; print('said', end=' '); leave(3)"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "said farewell\n", "")


def test_a_worker_imports_only_what_its_kind_needs(tiny):
    """A dataset is collected without torch."""
    import subprocess

    text = "import sys, seqrl.worker.__main__, seqrl.worker.dataset; print(json.dumps(list(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", f"import json; {text}"], capture_output=True, check=True, text=True)
    assert "torch" not in json.loads(found.stdout)


def test_a_training_job_is_the_spec_of_its_run(trained):
    assert trained.jobs()[0].job == TrainJob(spec=trained.run("run").spec)


def test_the_rest_is_estimated_from_where_this_attempt_began(tiny, monkeypatch):
    """Neither the start of the process nor what an earlier attempt did counts as speed."""
    row = jobs.submit(tiny, train_job("later"), Unstarted())
    clock = [1000.0]
    monkeypatch.setattr("seqrl.worker.context.time.monotonic", lambda: clock[0])
    context = JobContext(tiny, tiny.claim(row.id, 9, token="x"))
    said = []
    for seconds, fraction in ((0.0, 0.5), (1.0, 0.55), (10.0, 0.7), (30.0, 1.0)):
        clock[0] = 1000.0 + seconds
        context.progress(fraction, "goes on", now=True)
        said.append(tiny.job(row.id).message)
    assert said == ["goes on", "goes on", "goes on · 15 s left", "goes on"]
    assert doctest.testmod(worker_context).failed == 0
