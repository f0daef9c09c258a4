"""Grids on the pages Train and Runs, in process: what they say, and what they offer."""

import dataclasses

import pytest
from in_app import go_on, open_page, press_link
from small_store import DATASET, fill, play

from pages.shared.grid_view import more_query
from seqrl import grids, jobs
from seqrl.config import GridSpec, ReturnSweepSpec, RunSpec, TrainingSpec
from seqrl.store.runs import CHECKPOINT
from tests.in_process import Nowhere


@pytest.fixture
def waiting(monkeypatch):
    """Nothing that is queued begins."""
    monkeypatch.setattr(jobs.LocalBackend, "start", Nowhere.start)


def add_grid(store, values=(1, 5), seeds=(0, 1), finished=True, name="ctx", setting="model.context_length"):
    """A grid whose runs are done, without training anything."""
    base = RunSpec(name=name, dataset=DATASET, model={"kind": "dt"}, training=TrainingSpec(steps=400))
    spec = GridSpec.of(base, {setting: values, "training.schedule": ("cosine", "constant")}, seeds)
    submitted = grids.submit(store, spec, Nowhere())
    for place, run in enumerate(store.grid_runs(name) if finished else ()):
        store.transition(run.job_id, ["queued"], "succeeded")
        store.set_run_progress(run.name, 400, 0.3 + 0.01 * place)
        checkpoint = store.run_folder(run.name) / CHECKPOINT / "model.safetensors"
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"")
    return submitted.grid.spec


def said(app):
    return " ".join(element.value for kind in (app.markdown, app.caption) for element in kind)


def test_without_a_grid_the_page_has_no_view_of_them(home):
    fill(home)
    assert "runs.view" not in {group.key for group in open_page("runs").get("button_group")}


def test_a_link_opens_the_grid_with_its_means_and_intervals(home, waiting):
    store = fill(home)
    add_grid(store)
    app = open_page("runs", grid="ctx")
    assert not app.error and app.selectbox(key="grid").value == "ctx"
    table = app.dataframe[0].value
    assert table.columns.tolist() == ["context length", "schedule", "finished", "best validation loss"]
    assert table["finished"].unique().tolist() == ["2 of 2"]
    assert table["best validation loss"].iloc[0] == "0.305 (0.3 … 0.31)"
    assert "8 runs, all done" in said(app) and "From 2 seeds they come out narrower" in said(app)
    assert "they differ in 2 settings" in said(app)
    app.selectbox(key="grid.by").set_value("schedule").run()
    assert not app.error


def test_runs_of_a_grid_are_asked_together_where_their_targets_mean_the_same(home, waiting):
    store = fill(home)
    add_grid(store, values=(0.5, 1.0), seeds=(0,), setting="model.discount")
    app = open_page("runs", grid="ctx")
    asked = {link.value for link in app.page_link if link.value.startswith("Ask")}
    assert asked == {"Ask those with γ = 0.5", "Ask those with γ = 1"}
    press_link(app, "Ask those with γ = 0.5")
    assert len(app.multiselect(key="ask").value) == 2
    assert not app.error


def test_a_look_at_the_grids_is_no_view_of_a_dataset(home, waiting):
    store = fill(home)
    add_grid(store)
    app = go_on(open_page("runs", grid="ctx"), "datasets")
    assert not app.error and app.segmented_control(key="view").value == "Returns"
    assert go_on(app, "runs").segmented_control(key="runs.view").value == "Grids"


def test_single_runs_name_their_grid_and_are_found_by_it(home, waiting):
    store = fill(home)
    add_grid(store)
    app = open_page("runs", find="ctx")
    table = app.dataframe[0].value
    assert len(table) == 8 and table["grid"].unique().tolist() == ["ctx"]


def test_a_grid_that_waits_can_be_stopped_and_resumed(home, waiting):
    store = fill(home)
    add_grid(store, finished=False)
    app = open_page("runs", grid="ctx")
    assert not app.error and "No run is finished yet." in said(app)
    app.button(key="grid.stop").click().run()
    assert grids.states(store.grid_runs("ctx")) == {"cancelled": 8}
    app.button(key="grid.resume").click().run()
    assert grids.states(store.grid_runs("ctx")) == {"queued": 8}


def test_runs_that_failed_are_named_with_the_reason(home, waiting):
    store = fill(home)
    add_grid(store, finished=False)
    for run in store.grid_runs("ctx"):
        store.transition(run.job_id, ["queued"], "failed", error="the loss is not finite")
    app = open_page("runs", grid="ctx")
    assert not app.error and said(app).count("failed: the loss is not finite") == 3 and "and 5 more" in said(app)


def test_a_sweep_over_the_grid_adds_what_it_achieved(home, waiting):
    store = fill(home)
    add_grid(store)
    names = tuple(run.name for run in store.grid_runs("ctx"))
    store.add_sweep(ReturnSweepSpec(name="asked", runs=names, targets=(20.0,), episodes=1, decodings=("sampled",)))
    record = play("dt-poles", "sampled", 20.0, 0, 100)
    store.append_episodes("asked", [dataclasses.replace(record, run=name) for name in names[:4]])
    store.finish_sweep("asked")
    app = open_page("runs", grid="ctx")
    assert not app.error and app.selectbox(key="grid.sweep").value == "asked"
    app.selectbox(key="grid.result").set_value("highest achieved return").run()
    assert not app.error
    assert "calibration error" in app.dataframe[0].value


def test_several_values_are_typed_estimated_and_queued(home, waiting):
    store = fill(home)
    app = open_page("train", vary="context length")
    assert app.text_input(key="values.model.context_length").value == "10"
    app.text_input(key="values.model.context_length").set_value("5, 10:20:10").run()
    app.number_input(key="seeds").set_value(2).run()
    assert not app.error
    assert app.metric[0].label == "All of it will take about"
    assert "3 combinations × 2 seeds = 6 runs" in said(app)
    assert app.button(key="grid.submit").label == "Train 6 runs"
    app.button(key="grid.submit").click().run()
    assert not app.error
    assert [row.name for row in store.grids()] == ["dt-poles-grid-1"]
    assert len(store.grid_runs("dt-poles-grid-1")) == 6
    assert "6 trainings of the grid **dt-poles-grid-1**" in said(app)


def test_a_grid_that_cannot_be_trained_says_why_and_cannot_be_started(home, waiting):
    fill(home)
    app = open_page("train", vary="context length")
    for typed, sentence in (
        ("5, 900", "context_length is 900 but CartPole-v1 episodes end at 500 steps"),
        ("1:65:1", "the grid has 65 runs; choose at most 64"),
        ("", "context length has no values"),
    ):
        app.text_input(key="values.model.context_length").set_value(typed).run()
        assert sentence in app.error[0].value
        assert all(b.disabled for b in app.button if b.key in ("train.submit", "grid.submit"))


def test_more_values_of_a_grid_train_only_what_is_missing(home, waiting):
    store = fill(home)
    add_grid(store)
    grid = store.grid("ctx")
    app = open_page("train", **more_query(grid, store.grid_runs("ctx")[0]))
    assert not app.error and "nothing is left to train" in app.info[0].value
    assert app.text_input(key="grid.name.ctx").value == "ctx" and app.button(key="grid.submit").disabled
    app.text_input(key="values.model.context_length").set_value("1, 5, 10").run()
    assert "12 runs, 8 of which are there already" in said(app)
    assert app.button(key="grid.submit").label == "Train 4 runs"


def test_all_runs_of_a_grid_are_chosen_for_one_sweep(home, waiting):
    store = fill(home)
    add_grid(store)
    names = [run.name for run in store.grid_runs("ctx")]
    app = open_page("rtg_sweep", ask=names)
    assert set(app.multiselect(key="ask").value) == set(names)
    assert [field.value for field in app.text_input if field.label == "Name"] == ["sweep-ctx"]
