"""Pages over what is not CartPole: goals, pictures, and policies that learn online."""

import numpy as np
import pytest
from in_app import open_page

from pages.shared import policies
from pages.shared.dataset_deriving import HINDSIGHT, MAKES
from pages.shared.dataset_view import VIEWS
from pages.shared.new_sweep import suggested_targets
from seqrl.config import PolicySpec, RenderJob, RenderSpec, SnapshotFacts
from seqrl.store import Store
from tests.in_process import as_json, do

TINY = [
    "--set", "model.embedding_dim=16", "--set", "model.layers=1", "--set", "model.context_length=2",
    "--set", "training.steps=2", "--set", "training.threads=1",
]  # fmt: skip


def said(app):
    """All text of a page."""
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error]
    return "\n".join(str(part.value) for part in parts)


@pytest.fixture
def walks(run):
    """Walks to goals, a model that is told them, and its sweep."""
    as_json(run("dataset", "build", "--env", "seqrl/GraphGoals-v0", "--episodes", 20, "--name", "walks", "--json"))
    told = ["--set", "model.conditioning=goal"]
    as_json(run("train", "--dataset", "walks", "--name", "told", "--model", "dt", *TINY, *told, "--json"))
    as_json(run("sweep", "rtg", "--run", "told", "--episodes", 4, "--name", "reached", "--json"))


@pytest.fixture
def balls(run):
    """Pictures, a model that learnt from them, and its sweep."""
    as_json(run("dataset", "build", "--env", "seqrl/Catch-v0", "--episodes", 20, "--name", "balls", "--json"))
    for kind in ("dt", "bc"):
        as_json(run("train", "--dataset", "balls", "--name", kind, "--model", kind, *TINY, "--json"))
    asked = ["--targets", "4", "--episodes", 2, "--name", "caught", "--json"]
    as_json(run("sweep", "rtg", "--run", "dt", "--run", "bc", *asked))


def test_a_sweep_of_goals_is_drawn_over_their_distance(walks):
    app = open_page("rtg_sweep")
    assert not app.error
    assert "away are reached by DT sampled" in said(app)
    assert not [control for control in app.segmented_control if control.label == "Axis"]  # no returns were asked for


def test_goals_in_hindsight_are_offered_where_observations_name_a_goal(walks, run):
    app = open_page("datasets", do="Build", source="Other datasets")
    make = app.segmented_control(key="derive.make")
    assert list(make.options) == [*MAKES, HINDSIGHT]
    app = make.set_value(HINDSIGHT).run()
    assert app.number_input(key="derive.hindsight.stretches").value == 4
    as_json(run("dataset", "build", "--episodes", 4, "--name", "poles", "--json"))
    app = open_page("datasets", do="Build", source="Other datasets")
    app = app.multiselect(key="derive.sources").set_value(["poles"]).run()
    assert list(app.segmented_control(key="derive.make").options) == MAKES


def test_a_run_that_is_told_a_goal_needs_no_targets(walks):
    app = open_page("rtg_sweep", form="true", ask="told")
    targets = next(box for box in app.text_input if box.label.startswith("Targets"))
    assert targets.value == ""
    assert not app.error and not app.button(key="sweep.submit").disabled


def test_every_view_of_pictures_is_drawn_or_says_why_not(balls):
    for view in VIEWS:
        app = open_page("datasets", dataset="balls", view=view)
        assert not app.error
        assert ("no single number of one says anything" in said(app)) == (view == "Coverage")


def test_a_node_is_one_number_of_the_coverage_and_time_another(walks):
    app = open_page("datasets", dataset="walks", view="Coverage")
    assert app.selectbox(key="x").options == ["reached node", "wished node", "present node", "time (steps)"]
    app = app.selectbox(key="x").set_value("time (steps)").run()
    assert not app.exception and not app.error
    assert "where the picture is blank" in said(app)


def test_pictures_have_no_bins_and_the_lab_asks_for_returns_only(balls, store):
    assert [button for button in open_page("bins").button if str(button.key).startswith("empty.")]
    episodes = store.sweep_episodes("caught")
    for run, options in (("dt", 1), ("bc", 0)):
        episode = int(episodes[episodes["run"] == run]["episode_id"].iloc[0])
        do(store, RenderJob(spec=RenderSpec(sweep="caught", episode_id=episode)))
        app = open_page("episode_lab", sweep="caught", episode=str(episode))
        assert not app.error
        varied = [box for box in app.selectbox if box.label == "What is varied"]
        assert [len(box.options) for box in varied] == ([options] if options else [])
        assert ("no single number can be varied" in said(app)) == (options == 0)


@pytest.mark.parametrize("installed", [True, False])
def test_policies_are_trained_and_seen_on_the_datasets_page(installed, home, monkeypatch):
    store = Store(home)
    store.add_policy(PolicySpec(name="hopping", environment="Hopper-v5"))
    for step, reached in ((0, 5.0), (100, 50.0), (200, 140.0)):
        store.add_snapshot("hopping", SnapshotFacts(step=step, mean_return=reached))
    monkeypatch.setattr(policies, "find_spec", lambda name: object() if installed else None)
    app = open_page("datasets", do="Policies")
    assert app.button(key="policy.submit").disabled != installed
    assert ("pip install -r requirements-policies.txt" in said(app)) != installed
    assert "Its best snapshot, after 200 steps, collects 140; the medium one, after 100 steps, 50." in said(app)
    assert "policy:hopping@expert" in said(app)
    app = app.selectbox(key="environment").set_value("Hopper-v5").run()
    rate = app.number_input(key="policy.Hopper-v5.ppo.learning_rate")
    assert rate.value == 1e-4  # what is known to suit it
    app = app.segmented_control(key="algorithm").set_value("SAC").run()
    assert app.number_input(key="policy.Hopper-v5.sac.buffer_steps").value == 300_000


def test_a_preset_that_another_model_lacks_gives_way(run):
    as_json(run("dataset", "build", "--episodes", 4, "--name", "poles", "--json"))
    app = open_page("train", dataset="poles", preset="Rare rewards")
    assert app.number_input(key="rare.dt.rtg_gain").value == 30.0
    app = app.segmented_control(key="model").set_value("BC").run()
    assert not app.exception
    assert app.segmented_control(key="preset").value == "Quick"


@pytest.mark.parametrize(
    ("returns", "suggested"),
    [
        ([0.0] * 61 + [1.0] * 60, "0, 1"),  # a lake that is crossed or not
        (list(range(-1600, -100, 10)), "-1600:-200:200"),
        ([12.0, 480.0, 500.0], "50:500:50"),
        ([7.0, 7.0], "7"),
    ],
)
def test_targets_are_suggested_from_the_returns_of_the_data(returns, suggested):
    assert suggested_targets(np.array(returns)) == suggested
