"""The bundle holds what the home held, is read like a home, and is never written."""

import json
from pathlib import Path

import numpy as np
import pytest

from seqrl import jobs
from seqrl.checkpoints import load_model
from seqrl.cli.demo import DemoPlan, Shown, ShownPlan, build_bundle, cartpole_plan, shown_episode
from seqrl.config import BeamSweepJob, BeamSweepSpec, PlanningSpec, RenderJob, RenderSpec, ReturnSweepJob
from seqrl.datasets import ensure_columns
from seqrl.registry import Recipe
from seqrl.store import NotFound, Store
from seqrl.store.columns import Columns
from tests.in_process import InProcess, do
from tests.specs import dataset_spec, run_spec, sweep_spec


def plan():
    """The packaged plan in small."""
    runs = (
        run_spec("demo/dt", dataset="demo/data"),
        run_spec("demo/bc", dataset="demo/data", model={"kind": "bc"}),
        run_spec("demo/tt", dataset="demo/data", model={"kind": "tt", "heads": 2, "bins": 10}),
    )
    beams = BeamSweepSpec(
        name="demo/beam",
        runs=("demo/tt",),
        widths=(0, 1, 3),
        horizons=(2,),
        episodes=5,
        recorded_episodes=2,
        planning=PlanningSpec(context=2, horizon=2),
    )
    sweep = sweep_spec("demo/ask", runs=("demo/dt", "demo/bc"), targets=(20.0, 40.0), episodes=6)
    shown = (Shown("demo/ask", "demo/dt", "sampled", 20.0), Shown("demo/ask", "demo/dt", "sampled", 40.0))
    sweeps = (ReturnSweepJob(spec=sweep), BeamSweepJob(spec=beams))
    data = dataset_spec("demo/data")
    light = runs[0].model_copy(update={"name": "demo/light"})
    lesson = sweep_spec("demo/lesson", runs=("demo/light",), targets=(20.0,), episodes=2)
    recipe = Recipe(data, (light,), lesson, sweep_seconds=1.0, keeps_weights=False)
    return DemoPlan(data, runs, sweeps, (*shown, ShownPlan("demo/beam")), (recipe,), {"demo/data": 3})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The home in which a bundle was made, and the bundle."""
    root = tmp_path_factory.mktemp("bundle")
    size = build_bundle(plan(), root / "home", root / "demo", InProcess())
    assert size == sum(path.stat().st_size for path in (root / "demo").rglob("*") if path.is_file())
    return Store(root / "home"), root / "demo"


@pytest.fixture
def reader(made, home):
    return Store(home, bundle=made[1])


def test_rows_are_those_of_the_home(made, reader):
    source, _ = made
    ours, theirs = reader.dataset("demo/data"), source.dataset("demo/data")
    assert (ours.facts, dict(ours.source), ours.state) == (theirs.facts, dict(theirs.source), "ready")
    for name in ("demo/dt", "demo/bc", "demo/tt"):
        ours, theirs = reader.run(name), source.run(name)
        fields = ("spec", "facts", "state", "step", "steps", "best_value")
        assert [getattr(ours, field) for field in fields] == [getattr(theirs, field) for field in fields]
        assert reader.metrics(name).equals(source.metrics(name))
        assert reader.histograms(name) == source.histograms(name)
        assert reader.metric_series([name], "loss") == source.metric_series([name], "loss")
        assert reader.has_checkpoint(name)
    assert reader.sweep("demo/ask").spec == source.sweep("demo/ask").spec
    assert [row.name for row in reader.runs()] == ["demo/dt", "demo/bc", "demo/tt", "demo/light"]
    assert reader.dataset_episodes("demo/data").equals(source.dataset_episodes("demo/data"))


def test_records_are_exact_but_for_probabilities(made, reader):
    source, _ = made
    table = reader.sweep_episodes("demo/ask")
    assert table.equals(source.sweep_episodes("demo/ask"))
    for episode_id in table["episode_id"]:
        ours = reader.episode_record("demo/ask", episode_id)
        theirs = source.episode_record("demo/ask", episode_id)
        for name in ("actions", "rewards", "returns_to_go"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
        if ours.episode < 4:
            np.testing.assert_allclose(ours.action_probabilities, theirs.action_probabilities, atol=1e-3)
        else:
            assert ours.action_probabilities is None


def test_plans_are_kept_for_the_last_point_and_predictions_for_the_first_episodes(made, reader):
    source, _ = made
    table = reader.sweep_episodes("demo/beam")
    assert table.equals(source.sweep_episodes("demo/beam"))
    for row in table.itertuples():
        ours = reader.episode_steps("demo/beam", row.episode_id)
        theirs = source.episode_steps("demo/beam", row.episode_id)
        np.testing.assert_array_equal(ours["rewards"], theirs["rewards"])
        assert ("predicted_value" in ours) == (row.width > 0 and row.episode < 4)
        plans = {name for name in theirs if name.startswith("plan_")}
        assert bool(plans) == (row.width > 0 and row.episode < 2)
        assert {name for name in ours if name.startswith("plan_")} == (plans if row.width == 3 else set())
        for name in set(ours) - {"returns_to_go"}:
            assert ours[name].dtype == theirs[name].dtype
            exact = theirs[name].dtype.kind != "f"
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0 if exact else 1e-3, atol=0 if exact else 1e-3)


def test_weights_and_columns_are_those_that_were_measured(made, reader):
    source, _ = made
    ours, theirs = (load_model(store.run_folder("demo/dt"))[0].state_dict() for store in (reader, source))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert not reader.columns_folder("demo/data").exists()
    assert ensure_columns(reader, "demo/data").facts == source.dataset("demo/data").facts
    assert reader.columns_folder("demo/data").is_relative_to(reader.home)


def test_videos_are_found_by_what_they_show(made, reader):
    videos = list((made[1] / "media").glob("*.mp4"))
    assert set(videos) == {reader.media_path(shown.sweep, shown_episode(reader, shown)) for shown in plan().shown}
    paths = [
        reader.media_path(sweep, i)
        for sweep in ("demo/ask", "demo/beam")
        for i in reader.sweep_episodes(sweep)["episode_id"]
    ]
    assert set(videos) <= set(paths)
    assert all(video.with_suffix(".png").is_file() for video in videos)
    assert {path.parent for path in paths} == {made[1] / "media", reader.home / "media"}


def test_the_bundle_is_read_only(reader):
    before = {path: path.stat().st_mtime_ns for path in reader.bundle.root.rglob("*")}
    for write in (
        lambda: reader.archive_dataset("demo/data"),
        lambda: reader.set_run_note("demo/dt", "x"),
        lambda: reader.append_episodes("demo/ask", []),
        lambda: reader.add_sweep(sweep_spec("demo/other", runs=("demo/dt",))),
        lambda: jobs.submit(reader, ReturnSweepJob(spec=sweep_spec("demo/other", runs=("demo/dt",)))),
    ):
        with pytest.raises(ValueError, match="belongs to the bundled demo, which is read-only"):
            write()
    assert before == {path: path.stat().st_mtime_ns for path in reader.bundle.root.rglob("*")}
    assert reader.jobs() == []


def test_bundled_runs_are_measured_and_drawn_like_others(made, reader):
    spec = sweep_spec("mine", runs=("demo/dt",), targets=(20.0,), episodes=6, decodings=("sampled",))
    do(reader, ReturnSweepJob(spec=spec))
    do(reader, RenderJob(spec=RenderSpec(sweep="mine", episode_id=5)))
    ours, theirs = reader.sweep_episodes("mine"), reader.sweep_episodes("demo/ask")
    theirs = theirs[(theirs["run"] == "demo/dt") & (theirs["decoding"] == "sampled") & (theirs["target"] == 20)]
    assert ours["achieved_return"].tolist() == theirs["achieved_return"].tolist()
    assert reader.media_path("mine", 5).is_file()


def test_an_absent_bundle_is_empty(home):
    store = Store(home, bundle=home / "nowhere")
    assert (store.datasets(), store.runs(), store.sweeps()) == ([], [], [])
    with pytest.raises(NotFound):
        store.run("demo/dt")


def test_the_index_says_how_it_was_made(made):
    index = json.loads((made[1] / "index.json").read_text())
    assert index["command"] == "python -m seqrl demo build"
    assert "half precision" in index["note"]


def test_building_again_makes_nothing_again(made, capsys):
    source, folder = made
    before = len(source.jobs())
    build_bundle(plan(), source.home, Path(folder), InProcess())
    assert len(source.jobs()) == before


def test_the_packaged_plan_is_what_the_home_page_needs():
    packaged = cartpole_plan()
    names = [packaged.dataset.name, *(run.name for run in packaged.runs), *(job.spec.name for job in packaged.sweeps)]
    assert all(name.startswith("demo/") for name in names)
    specs = {job.spec.name: job.spec for job in packaged.sweeps}
    for spec in (specs["demo/rtg"], specs["demo/compare"]):
        assert {run for run in spec.runs} <= {run.name for run in packaged.runs}
        shown = [shown for shown in packaged.shown if isinstance(shown, Shown) and shown.sweep == spec.name]
        assert len(shown) == 3
        assert all(point.target in spec.targets and point.run in spec.runs for point in shown)
    assert ShownPlan("demo/beam") in packaged.shown


def test_every_job_of_the_packaged_plan_comes_after_what_it_needs_and_once():
    jobs = cartpole_plan().jobs()
    names = [job.spec.name for job in jobs]
    assert len(set(names)) == len(names)
    for at, job in enumerate(jobs):
        needed = [job.spec.dataset] if job.kind == "train" else getattr(job.spec, "runs", ())
        assert set(needed) <= set(names[:at]), job.spec.name


def test_steps_of_a_few_episodes_are_kept_whole_and_exactly(made, reader):
    source, _ = made
    some = reader.dataset_sample("demo/data")
    columns = Columns.open(source.columns_folder("demo/data"))
    assert len(some.episodes) == 3
    for index, episode in enumerate(some.episodes["episode"]):
        ours, theirs = some.episode(index), columns.episode(int(episode))
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))
    following = some.following()
    assert np.array_equal(following[0], some.episode(0).observations[1])
    last = int(some.episodes["end"].iat[0]) - 1
    assert np.array_equal(following[last], some.episode(0).observations[-1])


def test_runs_of_a_lesson_may_leave_their_weights_behind(made, reader):
    source, _ = made
    assert source.has_checkpoint("demo/light")
    assert not reader.has_checkpoint("demo/light")
    assert reader.run("demo/light").spec == source.run("demo/light").spec
    assert len(reader.sweep_episodes("demo/lesson")) == 4


def test_one_field_of_all_episodes_is_what_each_episode_says(made, reader):
    source, _ = made
    for store in (source, reader):
        actions = store.sweep_field("demo/ask", "actions")
        assert set(actions) == set(store.sweep_episodes("demo/ask")["episode_id"])
        for episode, values in actions.items():
            own = store.episode_steps("demo/ask", episode)["actions"]
            assert np.array_equal(values, own) and values.dtype == own.dtype
