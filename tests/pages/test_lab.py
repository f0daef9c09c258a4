"""The Episode lab and the Playground in process: what a link opens, what is asked, what is refused."""

import re

import numpy as np
import pytest
from in_app import folds, open_page
from small_store import BEAMS, DATASET, RUNS, SCHEDULES, SWEEP, add_planner, add_schedules, fill

from pages.shared.strips import numbers, strips_of
from seqrl import jobs
from seqrl.checkpoints import Checkpoint, save_checkpoint
from seqrl.config import RenderJob, RenderSpec
from seqrl.config.sweeps import dataset_reference
from tests.acting import actor_for

DT, BC = RUNS
EPISODE = 5
"""The second of those that were asked for 40."""


def film(store, sweep, *episodes):
    """Pretend that episodes were drawn: pages only hand the file on."""
    for episode in episodes:
        store.media_path(sweep, episode).write_bytes(b"a film")


def weigh(store, name=DT):
    """Give a run weights that can be asked."""
    run = store.run(name)
    actor = actor_for(run.facts, name=name)
    spec = run.spec.model_copy(update={"model": actor.spec.model})
    save_checkpoint(store.run_folder(name), Checkpoint(actor.model.state_dict()), spec, run.facts)


def open_lab(**query):
    return open_page("episode_lab", **query)


def said(app):
    return " ".join(str(element.value) for kind in (app.markdown, app.info, app.caption) for element in kind)


@pytest.fixture
def filmed(home):
    store = fill(home)
    film(store, SWEEP, EPISODE, 1, 9)
    return store


def test_a_link_opens_exactly_its_episode_and_step(filmed):
    app = open_lab(sweep=SWEEP, episode=str(EPISODE), step="7", beside="1,9")
    assert app.selectbox(key="lab.sweep").value == SWEEP
    assert app.selectbox(key="lab.point").value == f"{DT} · sampled · 40"
    assert app.selectbox(key="lab.choice").value == EPISODE
    assert app.multiselect(key="lab.beside").value == [1, 9]
    assert {name: app.query_params[name] for name in ("sweep", "episode", "beside", "step")} == {
        "sweep": SWEEP,
        "episode": str(EPISODE),
        "beside": "1,9",
        "step": "7",
    }
    assert "Step 7" in said(app)


def test_no_two_folds_have_one_name_while_presenting(filmed):
    weigh(filmed)
    shown = folds(open_lab(sweep=SWEEP, episode=str(EPISODE), step="7", present="1"))
    assert {"Which episode", "What is varied", "Which attention"} <= set(shown)


def test_an_episode_stands_beside_another_once(filmed):
    film(filmed, SWEEP, 0)
    app = open_lab(sweep=SWEEP, episode="0", beside="9,9,0,²")
    assert not app.error and app.query_params["episode"] == "0"
    assert app.multiselect(key="lab.beside").value == [9]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"sweep": "gone", "episode": "3"}, f"gone is not here, or archived. This is {SWEEP}."),
        ({"sweep": SWEEP, "episode": "99999", "step": "x"}, f"{SWEEP} has no episode 99999. This is episode "),
        ({"sweep": SWEEP, "episode": "²", "step": "²"}, f"{SWEEP} has no episode ². This is episode "),
    ],
)
def test_a_link_to_what_is_gone_says_so_and_opens_something_that_is_there(query, told, filmed):
    app = open_lab(**query)
    assert not app.error
    assert app.info[0].value.startswith(told)
    assert app.selectbox(key="lab.sweep").value == SWEEP
    assert app.query_params["episode"] in {"1", str(EPISODE), "9"}


def test_another_point_begins_with_its_typical_episode(filmed):
    app = open_lab(sweep=SWEEP, episode=str(EPISODE), step="7")
    app.selectbox(key="lab.point").set_value(f"{BC} · sampled · –").run()
    assert int(app.query_params["episode"]) >= 12
    assert app.query_params["step"] == "0"


def test_an_episode_nobody_asked_for_is_drawn_only_on_request(home):
    store = fill(home)
    app = open_lab()
    assert app.button(key="lab.draw")
    assert store.jobs() == []


@pytest.mark.parametrize(
    ("page", "source", "episode", "query"),
    [
        ("episode_lab", SWEEP, EPISODE, {"sweep": SWEEP, "episode": str(EPISODE)}),
        ("rtg_sweep", SWEEP, EPISODE, {"point": f"{DT} · sampled · 40", "episode": str(EPISODE)}),
        ("beam_planning", BEAMS, 3, {"beam.episode": "3"}),
        ("datasets", dataset_reference(DATASET), 3, {"view": "Episodes", "data.episode": "3"}),
    ],
)
def test_a_film_whose_drawing_was_stopped_is_drawn_again_on_request(page, source, episode, query, home, monkeypatch):
    monkeypatch.setattr(jobs.LocalBackend, "start", lambda *given, **named: False)
    store = fill(home)
    add_planner(store)
    stopped = store.add_job(RenderJob(spec=RenderSpec(sweep=source, episode_id=episode)), f"{source}/{episode}")
    store.transition(stopped, ["queued"], "cancelled", message="cancelled before it started")
    app = open_page(page, **query)
    assert [warning.value for warning in app.warning if "was stopped" in warning.value]
    next(button for button in app.button if button.label == "Draw it again").click().run()
    assert not app.exception and not app.error and not app.warning
    again, before = store.jobs()
    assert (again.job, again.state, before.id) == (before.job, "queued", stopped)


def test_a_model_without_weights_is_a_sentence(filmed):
    app = open_lab(sweep=SWEEP, episode=str(EPISODE))
    assert "This model cannot be asked" in said(app)


def test_attention_and_response_follow_the_step(filmed):
    weigh(filmed)
    app = open_lab(sweep=SWEEP, episode=str(EPISODE), step="9")
    assert not app.error
    assert "s 9 gives" in said(app)
    assert re.search(r"Asked for 0,|does the same whatever is asked, from 0 to", said(app))
    options = app.selectbox(key="lab.varied").options
    assert options[1:] == ["cart position", "cart velocity", "pole angle", "pole angular velocity"]
    app.selectbox(key="lab.varied").set_value("pole angle").run()
    assert "pole angle" in said(app)
    app.selectbox(key="lab.head").set_value("layer 1, head 2").run()
    assert "In layer 1, head 2, s 9 gives" in said(app)
    app.toggle(key="lab.whole").set_value(True).run()
    assert not app.exception


def test_after_the_last_step_nothing_is_decided(filmed):
    weigh(filmed)
    length = int(filmed.sweep_episodes(SWEEP)["length"][EPISODE])
    app = open_lab(sweep=SWEEP, episode=str(EPISODE), step=str(length))
    assert "The episode is over here" in said(app)


def test_behaviour_cloning_has_no_target_to_change(home):
    store = fill(home)
    film(store, SWEEP, 12)
    app = open_lab(sweep=SWEEP, episode="12")
    assert "takes no target" in said(app)
    assert not [button for button in app.button if button.key == "lab.play"]


@pytest.mark.parametrize(("step", "said_of_it"), [(0, ""), (1, " The first step is played"), (2, " The first 2 steps")])
def test_what_is_played_as_recorded_is_said_in_the_right_number(step, said_of_it, filmed):
    app = open_lab(sweep=SWEEP, episode=str(EPISODE), step=str(step))
    (field,) = [field for field in app.text_input if field.label.startswith(f"Targets from step {step} on")]
    assert field.help.partition("counts.")[2].startswith(said_of_it)
    assert ("as recorded" in field.help) == bool(said_of_it)


def test_what_cannot_be_played_out_is_refused_in_the_words_of_the_specs(filmed):
    app = open_lab(sweep=SWEEP, episode=str(EPISODE), step="7")
    field = next(field for field in app.text_input if field.label.startswith("Targets from step 7 on"))
    field.set_value("20, high").run()
    assert "'high' is neither a number nor start:stop:step" in app.error[0].value
    assert app.button(key="lab.play").disabled
    app.segmented_control(key="lab.how").set_value("A schedule from the start").run()
    app.text_input(key="lab.schedule").set_value("5:10").run()
    assert "begin with step 0" in app.error[0].value
    app.text_input(key="lab.schedule").set_value("0:10, 20:60").run()
    assert not app.error
    assert not app.button(key="lab.play").disabled


def test_what_was_played_out_is_compared_with_the_unchanged_target(filmed):
    records = add_schedules(filmed, EPISODE, 7)
    app = open_lab(sweep=SWEEP, episode=str(EPISODE), step="7")
    kept, changed = (np.mean([r.achieved_return for r in records[i : i + 2]]) for i in (0, 2))
    assert f"With the target unchanged (40) it collects **{kept:g}**" in said(app)
    assert f"asked for 40, from step 7: 60, **{changed:g}**" in said(app)
    assert app.button(key=f"lab.watch.{SCHEDULES}")
    film(filmed, SCHEDULES, 0, 2)
    watched = open_lab(sweep=SCHEDULES, episode="0", beside="2", step="7")
    assert not watched.error
    assert watched.selectbox(key="lab.point").value == f"{DT} · sampled · 40"
    assert "from step 7: 60" in said(watched)


def test_a_planner_shows_its_value_and_is_asked_by_dimension(home):
    store = fill(home)
    add_planner(store)
    film(store, BEAMS, 2)
    app = open_lab(sweep=BEAMS, episode="2", step="3")
    assert not app.error
    steps = store.episode_steps(BEAMS, 2)
    titles = [strip.title for strip in strips_of(store.run("tt-poles").facts, steps, "tt", "light")]
    assert "value: reward expected after this step" in titles


def test_strips_have_one_number_a_step_and_none_where_there_is_none(home):
    store = fill(home)
    steps = store.episode_steps(SWEEP, 12)
    strips = {strip.title: strip for strip in strips_of(store.run(BC).facts, steps, "bc", "dark")}
    assert not any("return-to-go" in title for title in strips)
    assert strips["probability of “push right”"].series[0].values == numbers(steps["action_probabilities"][:, 1])
    assert strips["action taken"].chosen == list(steps["actions"])
    assert numbers([1.0, np.nan]) == [1.0, None]


def test_a_playground_of_what_was_drawn(home):
    store = fill(home)
    app = open_page("playground")
    assert "3 targets of this sweep have no video yet" in said(app)
    film(store, SWEEP, 0, 4, 8)
    app = open_page("playground", ground=SWEEP)
    assert "3 targets played beforehand by the sweep ask-poles" in said(app)
    assert not [button for button in app.button if str(button.key).endswith(".draw")]


@pytest.mark.parametrize(("asked", "told"), [("25", "Play exactly 25"), ("9999", None), ("much", None), ("40", None)])
def test_a_link_opens_the_playground_at_its_target(asked, told, home):
    film(fill(home), SWEEP, 0, 4, 8)
    app = open_page("playground", ground=SWEEP, asked=asked)
    assert not app.error
    assert [button.label for button in app.button if str(button.key).endswith(".compute")] == ([told] if told else [])


def test_a_link_from_another_page_opens_its_episode(filmed):
    app = open_lab(go=f"sweep={SWEEP}&episode={EPISODE}&step=3")
    assert app.selectbox(key="lab.choice").value == EPISODE
    assert "go" not in app.query_params
    assert app.query_params["episode"] == str(EPISODE)
