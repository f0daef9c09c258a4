"""Open loop in process: evaluations that are there, damaged, gone, or about models that nobody can ask."""

import pytest
from in_app import open_page
from small_store import DATASET, RUNS, add_run, fill

from seqrl import jobs
from seqrl.config import OpenLoopJob, OpenLoopSpec

ELSEWHERE = OpenLoopSpec(name="x", run="dt-poles", dataset="elsewhere").model_dump(mode="json")


def evaluate(store, run="dt-poles", **changes):
    """Keep an open-loop evaluation of a run, as its job does."""
    spec = OpenLoopSpec(name=f"{run}-on-{DATASET}", run=run, dataset=DATASET)
    response = {"targets": [0.0, 60.0], "names": ["push left", "push right"], "values": [[0.9, 0.1], [0.2, 0.8]]}
    result = {
        "spec": spec.model_dump(mode="json"),
        "episodes": 3,
        "steps": 90,
        "split": "validation",
        "measure": "mismatch",
        "overall": 0.25,
        "baseline": 0.5,
        "by_context": [{"position": 1, "n": 45, "mean": 0.3}, {"position": 2, "n": 45, "mean": 0.2}],
        "by_timestep": [{"timestep": 0, "until": 9, "n": 90, "mean": 0.25}],
        "by_dimension": [{"name": "action", "mean": 0.25}],
        "response": response | {"change": 0.7, "data": [5.0, 60.0]},
    }
    kept = {name: value for name, value in (result | changes).items() if value is not None or name == "response"}
    store.set_evaluation(spec.name, kept)
    return spec.name


def test_an_evaluation_shows_its_figures(home):
    evaluate(fill(home))
    app = open_page("open_loop")
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown == {"dt-poles": "25%", "Always the same action": "50%"}
    assert not app.error and not app.warning
    assert any("dt-poles differs from the recorded action at 25% of the steps" in text.value for text in app.markdown)
    assert any("Asked for 0, “push" in text.value for text in app.markdown)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({}, "90 steps of 3 episodes kept out of training."),
        ({"split": "other"}, "90 steps of 3 episodes of other data (seen in training or not)."),
        # what earlier versions kept, which took all other data for held out
        ({"split": None, "held_out": True}, "90 steps of 3 episodes kept out of training."),
        ({"split": None, "held_out": False}, "90 steps of 3 episodes seen in training."),
        (
            {"split": None, "held_out": True, "spec": ELSEWHERE},
            "90 steps of 3 episodes of other data (seen in training or not).",
        ),
    ],
)
def test_an_evaluation_says_what_its_episodes_were_to_the_run(home, kept, said):
    evaluate(fill(home), **kept)
    app = open_page("open_loop")
    assert not app.warning and not app.exception
    assert app.metric[0].help == said


def test_evaluations_of_models_that_nobody_can_ask_say_so(home):
    evaluate(fill(home), run="bc-poles", response=None)
    app = open_page("open_loop")
    assert app.info[-1].value == "None of these models can be asked for a return."


def test_what_was_just_measured_is_shown_until_something_else_is_chosen(home):
    store = fill(home)
    evaluate(store)
    app = open_page("open_loop")
    assert app.selectbox(key="of").value == DATASET
    spec = OpenLoopSpec(name="newer", run="dt-poles", dataset="elsewhere")
    evaluate(store, run="newer", spec=spec.model_dump(mode="json"))
    store.set_evaluation("newer", store.evaluation(f"newer-on-{DATASET}"))
    job = store.add_job(OpenLoopJob(spec=spec), "newer")
    store.claim(job, 1, token="t")
    store.set_job(job, 1, state="succeeded", message="at most 1 GB in memory")
    app.session_state["open.jobs"], app.session_state["open.unseen"] = [job], {job}
    app.run()
    assert app.selectbox(key="of").value == "elsewhere"
    app.selectbox(key="of").select(DATASET).run()
    assert app.selectbox(key="of").value == DATASET


def test_seeds_of_a_grid_are_measured_under_names_of_their_own(home, monkeypatch):
    monkeypatch.setattr(jobs.LocalBackend, "start", lambda *given, **named: False)
    store = fill(home)
    seeds = [f"poles-context_length5-learning_rate0.001-seed{seed}" for seed in range(3)]
    for name in seeds:
        add_run(store, name, RUNS["dt-poles"], store.run("dt-poles").facts)
    app = open_page("open_loop")
    app.multiselect(key="evaluate").set_value(seeds).run()
    app.button(key="evaluate.submit").click().run()
    assert not app.exception and not app.error
    asked = {job.name: job.job.spec.run for job in store.jobs()}
    assert sorted(asked.values()) == seeds


def test_what_is_shown_and_then_archived_elsewhere_is_said_to_be_gone(home):
    store = fill(home)
    evaluate(store)
    evaluate(store, run="bc-poles", spec=OpenLoopSpec(name="x", run="bc-poles", dataset="gone").model_dump(mode="json"))
    app = open_page("open_loop", of="gone")
    (home / "evaluations" / f"bc-poles-on-{DATASET}.json").unlink()
    app.run()
    assert not app.error
    assert any(f"gone is not here, or archived. This is {DATASET}." in info.value for info in app.info)
    assert app.selectbox(key="of").value == DATASET


@pytest.mark.parametrize("harm", [b"{", b"[]", b'{"spec": {}}'])
def test_a_damaged_evaluation_is_named_and_the_others_are_shown(harm, home):
    store = fill(home)
    evaluate(store)
    (home / "evaluations" / "broken.json").write_bytes(harm)
    app = open_page("open_loop")
    assert [warning.value for warning in app.warning] == ["The evaluation broken cannot be read; measure it again."]
    assert app.metric
