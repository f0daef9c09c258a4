"""Every page over an empty home, a filled one and a damaged one, in process: what it says and what it offers."""

import dataclasses

import numpy as np
import pytest
from small_store import BEAMS, DATASET, PLANNER, RUNS, SWEEP, add_planner, add_run, fill
from streamlit.errors import StreamlitAPIException
from streamlit.testing.v1 import AppTest

from pages.shared.sweep_view import film, on_average, typical
from pages.shared.token_tables import fitted, source, tokenizer_of
from seqrl import plots
from seqrl.config import BehaviourCloningSpec, OpenLoopJob, OpenLoopSpec, PolicySpec, SnapshotFacts
from seqrl.config.sweeps import dataset_reference
from seqrl.plots.format import number, percent
from seqrl.registry import ENVIRONMENTS
from seqrl.store import Store
from seqrl.store.columns import Columns

PAGES = [
    "home",
    "datasets",
    "bins",
    "train",
    "runs",
    "rtg_sweep",
    "beam_planning",
    "open_loop",
    "episode_lab",
    "playground",
]


def open_page(name, **query):
    """The page, drawn once inside the app."""
    app = AppTest.from_file("../../app.py", default_timeout=30)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    if name != "home":
        app.switch_page(f"pages/{name}.py").run()
    assert not app.exception, app.exception[0].message
    return app


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_home_gets_one_button_that_leads_on(name, home):
    app = open_page(name)
    assert not app.error
    leading = [button for button in app.button if str(button.key).startswith("empty.")]
    assert len(leading) == 1


@pytest.mark.parametrize("name", PAGES)
def test_a_filled_home_is_drawn_without_complaint(name, home):
    add_planner(fill(home))
    app = open_page(name)
    assert not app.error
    assert not app.warning
    assert not any(str(button.key).startswith("empty.") for button in app.button)


def test_no_two_folds_of_the_runs_have_one_name_while_presenting(home):
    store = fill(home)
    for seed in range(8):
        add_run(store, f"again-{seed}", RUNS["dt-poles"], store.run("dt-poles").facts)
    assert {"Find runs", "Controls", "Which settings"} <= set(folds(open_page("runs", present="1")))


def folds(app):
    """The names of the page's folds, each there once."""
    labels = [fold.label for fold in app.expander]
    assert len(set(labels)) == len(labels)
    return labels


@pytest.mark.parametrize("name", PAGES)
def test_a_damaged_database_is_one_sentence_with_a_remedy(name, home):
    home.mkdir()
    (home / "seqrl.db").write_bytes(b"this is not a database" * 100)
    app = AppTest.from_file("../../app.py", default_timeout=30).run()
    app.switch_page(f"pages/{name}.py").run()
    assert not app.exception
    assert [error.value for error in app.error if "restore it from a copy" in error.value]


def test_datasets_show_figures_of_the_facts(home):
    facts = fill(home).dataset(DATASET).facts
    app = open_page("datasets")
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Episodes"] == "60"
    assert shown["Cut off"] == percent(facts.truncated_episodes / 60)
    assert shown["Mean return"] == number(facts.returns.mean)
    assert app.selectbox(key="dataset").value == DATASET
    assert app.query_params["dataset"] == DATASET


@pytest.mark.parametrize("name", ["datasets", "train"])
def test_a_link_to_a_dataset_that_is_gone_says_what_is_shown_instead(name, home):
    fill(home)
    app = open_page(name, dataset="gone")
    assert [info.value for info in app.info] == [f"gone is not here, or archived. This is {DATASET}."]
    assert app.selectbox(key="dataset").value == DATASET
    assert not app.run().info


def test_missing_columns_are_explained_instead_of_drawn(home):
    fill(home, columns=False)
    app = open_page("datasets")
    app.segmented_control(key="view").set_value("Coverage").run()
    assert not app.exception
    assert "not on this machine" in app.info[0].value
    assert app.button(key=f"steps.{DATASET}.collect")


def test_shares_that_do_not_sum_to_one_are_refused_and_can_be_balanced(home):
    app = open_page("datasets")
    app.segmented_control(key="do").set_value("Build").run()
    app.slider(key="mix.CartPole-v1.expert").set_value(0.8).run()
    assert app.error[0].value == "the shares of the mixture sum to 1.5; make them sum to 1."
    assert app.button(key="dataset.submit").disabled
    balance = next(button for button in app.button if "scale them to 1" in button.label)
    balance.click().run()
    assert not app.error
    total = sum(slider.value for slider in app.slider if str(slider.key).startswith("mix."))
    assert total == pytest.approx(1)
    assert not app.button(key="dataset.submit").disabled


def test_a_model_that_does_not_fit_its_data_is_refused_in_the_words_of_the_specs(home):
    fill(home)
    app = open_page("train")
    app.number_input(key="quick.dt.context_length").set_value(900).run()
    assert "context_length is 900 but CartPole-v1 episodes end at 500 steps" in app.error[0].value
    assert app.button(key="train.submit").disabled


def test_notes_and_tags_are_kept(home):
    store = fill(home)
    app = open_page("runs")
    app.text_input(key="note.bc-poles").set_value("a baseline").run()
    assert store.run("bc-poles").note == "a baseline"


def test_the_table_of_runs_sorts_by_numbers_and_times(home):
    fill(home)
    table = open_page("runs").dataframe[0].value
    assert table["best loss"].tolist() == [0.31, 0.31]
    assert table["started"].dt.tz is not None
    assert "heartbeat" not in table  # none of them runs


def test_many_runs_are_found_by_words_and_compared_with_their_like(home):
    store = fill(home)
    for seed in range(8):
        add_run(store, f"again-{seed}", RUNS["dt-poles"], store.run("dt-poles").facts)
    app = open_page("runs", find="again-3")
    assert app.dataframe[0].value["run"].tolist() == ["again-3"]
    app.text_input(key="find").set_value("bc POLES").run()
    assert app.dataframe[0].value["run"].tolist() == ["bc-poles"]
    app.text_input(key="find").set_value("").run()
    assert app.dataframe[0].value["run"].tolist()[0] == "again-7"
    assert app.selectbox(key="settings.of").options == [DATASET]
    assert app.multiselect(key=f"settings.{DATASET}").options == ["model: kind"]


def test_the_sentence_under_the_curves_says_what_is_compared(home):
    store = fill(home)
    add_run(store, "best-poles", BehaviourCloningSpec(top_fraction=0.1), store.run("bc-poles").facts)
    app = open_page("runs")
    (told,) = (text.value for text in app.markdown if text.value.startswith("The loss ends"))
    assert f"of 2 runs on {DATASET}; runs on other data" in told


def test_archived_runs_can_be_restored(home):
    store = fill(home)
    app = open_page("runs")
    app.button(key="run.archive").click().run()
    assert [row.name for row in store.runs()] == ["dt-poles"]
    app.button(key="restore.bc-poles").click().run()
    assert {row.name for row in store.runs()} == set(RUNS)


@pytest.mark.parametrize(
    ("page", "dots", "figure"), [("rtg_sweep", "dots", "rtg_sweep"), ("beam_planning", "beam.dots", "beam_sweep")]
)
def test_a_control_of_the_chart_draws_the_chart_alone(home, monkeypatch, page, dots, figure):
    add_planner(fill(home))
    whole, charts = [], []
    draw = getattr(plots, figure)
    monkeypatch.setattr("pages.shared.tour.banner", lambda: whole.append(page))
    monkeypatch.setattr(plots, figure, lambda *given: charts.append(draw(*given)) or charts[-1])
    app = open_page(page)
    before = len(whole), len(charts)
    app.toggle(key=dots).set_value(False).run()
    assert not app.exception
    assert (len(whole), len(charts)) == (before[0], before[1] + 1)
    single = [trace.name for trace in charts[-1].data if "single" in str(trace.name)]
    assert not single
    assert any("single" in str(trace.name) for trace in charts[-2].data)


def no_fragment(keys):
    raise StreamlitAPIException(f"No fragment found for target {keys}.")


@pytest.mark.parametrize("gone", [False, True])
def test_a_control_of_a_page_that_is_not_whole_or_left_draws_all_of_it(home, monkeypatch, gone):
    fill(home)
    app = open_page("rtg_sweep")
    whole = []
    if gone:
        monkeypatch.setattr("pages.shared.frame.st.rerun", no_fragment)
    else:
        app.session_state["page.whole"] = False
    monkeypatch.setattr("pages.shared.tour.banner", lambda: whole.append(True))
    app.toggle(key="dots").set_value(False).run()
    assert not app.exception
    assert whole


def test_a_sweep_form_refuses_targets_that_are_no_numbers(home):
    fill(home)
    app = open_page("rtg_sweep")
    app.button(key="form.toggle").click().run()
    app.text_input(key="targets.dt-poles").set_value("20, high").run()
    assert "'high' is neither a number nor start:stop:step" in app.error[0].value
    assert app.button(key="sweep.submit").disabled


def test_a_sweep_opens_at_the_middle_target(home):
    fill(home)
    app = open_page("rtg_sweep")
    assert app.selectbox(key="sweep").value == SWEEP
    assert app.selectbox(key="point").value == "dt-poles · sampled · 40"
    assert len(app.selectbox(key="episode").options) == 4


@pytest.mark.parametrize(
    ("page", "key", "sweep"),
    [("rtg_sweep", "sweep", SWEEP), ("beam_planning", "beams", BEAMS)],
)
def test_a_sweep_is_put_away_and_brought_back(home, page, key, sweep):
    store = fill(home)
    add_planner(store)
    app = open_page(page)
    app.button(key="sweep.archive").click().run()
    assert sweep not in [row.name for row in store.sweeps()]
    assert not app.exception and not app.error
    app = open_page(page)
    app.button(key=f"restore.{sweep}").click().run()
    assert sweep in [row.name for row in store.sweeps()]
    assert app.selectbox(key=key).value == sweep


def test_every_target_of_the_demo_has_a_film_that_nobody_has_to_draw(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQRL_HOME", str(tmp_path))
    store = Store(tmp_path)
    sweep, table = store.sweep("demo/rtg"), store.sweep_episodes("demo/rtg")
    asked = table[(table["run"] == "demo/dt") & (table["decoding"] == "sampled")]
    for _, group in asked.groupby("target"):
        assert film(sweep, typical(sweep, group)).is_file()


def test_trained_and_bundled_policies_can_play(home):
    store = Store(home)
    store.add_policy(PolicySpec(name="run", environment="HalfCheetah-v5"))
    store.add_snapshot("run", SnapshotFacts(step=0, mean_return=1.0))
    app = open_page("datasets")
    app.segmented_control(key="do").set_value("Build").run()
    app.selectbox(key="environment").set_value("HalfCheetah-v5").run()
    boxes = [box for box in app.selectbox if box.label.startswith("Who plays")]
    assert [box.value for box in boxes] == ["bundled:medium", "bundled:expert"]
    assert {"bundled:medium", "policy:run@expert", "policy:run@step-0"} <= set(boxes[0].options)
    assert "heuristic" not in boxes[0].options


@pytest.mark.parametrize("luck", ["", "The dice decide."])
def test_a_sweep_says_what_luck_does_where_there_is_any(luck, home, monkeypatch):
    fill(home)
    lucky = dataclasses.replace(ENVIRONMENTS["CartPole-v1"], luck=luck)
    monkeypatch.setitem(ENVIRONMENTS, "CartPole-v1", lucky)
    said = [info.value for info in open_page("rtg_sweep").info]
    assert any("The dice decide." in text for text in said) == bool(luck)


@pytest.mark.parametrize(
    "view", ["Lengths", "Percentiles", "Coverage", "Return-to-go", "Actions", "Episodes", "Provenance"]
)
def test_every_view_of_a_dataset_is_drawn(view, home):
    fill(home)
    app = open_page("datasets")
    app.segmented_control(key="view").set_value(view).run()
    assert not app.exception
    assert not app.error
    assert not app.info


def test_an_episode_of_a_dataset_is_played_and_taken_away(home):
    store = fill(home)
    film = store.media_path(dataset_reference(DATASET), 3)
    film.parent.mkdir(exist_ok=True)
    film.write_bytes(b"a film")
    app = open_page("datasets", view="Episodes", episode="3")
    assert not app.exception and not app.error and not app.info
    offered = {button.proto.label for button in app.get("download_button")}
    assert {"MP4", "Steps as CSV", "CSV"} <= offered


@pytest.mark.parametrize(
    ("harm", "said"), [("environment", "comes without an environment"), ("seed", "seeds of these episodes were not")]
)
def test_episodes_that_nobody_can_play_again_say_why(harm, said, home):
    store = fill(home)
    facts, table = store.dataset(DATASET).facts, store.dataset_episodes(DATASET)
    facts = facts.model_copy(update={"environment": None}) if harm == "environment" else facts
    store.set_dataset_facts(DATASET, facts, table.drop(columns="seed") if harm == "seed" else table)
    app = open_page("datasets", view="Episodes", episode="3")
    assert [info.value for info in app.info if said in info.value]
    assert not app.error


def test_a_single_episode_has_no_interval():
    point = {"n": 1, "mean": 12.5, "low": 12.5, "high": 12.5}
    assert on_average(point) == "It got **12.5** in its only episode"
    assert "(10 … 15)** on average over 4 episodes" in on_average(point | {"n": 4, "low": 10.0, "high": 15.0})


def test_bins_of_a_run_are_those_of_its_checkpoint_not_fitted_again(home):
    store = fill(home)
    tokenizer = add_planner(store)
    shown = tokenizer_of(store.run(PLANNER))
    assert np.array_equal(shown.bins.edges, tokenizer.bins.edges)
    columns = Columns.open(store.columns_folder(DATASET))
    model = store.run(PLANNER).spec.model
    again = fitted(source(columns, model.discount), model.bins, model.strategy)
    assert not np.array_equal(shown.bins.edges, again.bins.edges)


def test_a_token_says_what_it_stands_for(home):
    store = fill(home)
    tokenizer = add_planner(store)
    app = open_page("bins", token="3, 2")
    app.segmented_control(key="bins.view").set_value("An episode").run()
    shown = {metric.label: metric.value for metric in app.metric}
    columns = Columns.open(store.columns_folder(DATASET))
    token = int(tokenizer.encode_observations(np.asarray(columns.observations[3]))[2])
    assert shown["Step 3"] == "pole angle"
    assert shown["Bin"] == f"{token} of {tokenizer.vocabulary[2]}"
    assert shown["Number"] == number(float(columns.observations[3][2]), 4)
    assert shown["Stands for"] == number(float(tokenizer.bins.values[2, token]), 4)


@pytest.mark.parametrize("view", ["One dimension", "All dimensions", "Rounding error"])
def test_every_view_of_the_bins_is_drawn(view, home):
    fill(home)
    app = open_page("bins")
    app.segmented_control(key="bins.view").set_value(view).run()
    assert not app.exception
    assert not app.error


def test_a_beam_sweep_shows_the_plans_that_were_kept(home):
    add_planner(fill(home))
    app = open_page("beam_planning")
    assert app.selectbox(key="beams").value == BEAMS
    assert app.selectbox(key="beam.point").value == f"{PLANNER} · width 2 · horizon 3"
    assert [table for table in app.dataframe if "predicted return" in table.value.columns]
    app.selectbox(key="beam.episode").select("3").run()
    assert "were not kept" in app.info[-1].value


def test_a_plan_longer_than_the_shortest_horizon_is_refused(home):
    add_planner(fill(home))
    app = open_page("beam_planning")
    app.button(key="beam.form.toggle").click().run()
    app.number_input(key="beam.plan.plan_every").set_value(9).run()
    assert app.error[0].value.startswith("plan_every is 9 but")
    assert app.button(key="beam.submit").disabled


def evaluate(store, run="dt-poles", **changes):
    """Keep an open-loop evaluation of a run, as its job does."""
    spec = OpenLoopSpec(name=f"{run}-on-{DATASET}", run=run, dataset=DATASET)
    response = {"targets": [0.0, 60.0], "names": ["push left", "push right"], "values": [[0.9, 0.1], [0.2, 0.8]]}
    result = {
        "spec": spec.model_dump(mode="json"),
        "episodes": 3,
        "steps": 90,
        "held_out": True,
        "measure": "mismatch",
        "overall": 0.25,
        "baseline": 0.5,
        "by_context": [{"position": 1, "n": 45, "mean": 0.3}, {"position": 2, "n": 45, "mean": 0.2}],
        "by_timestep": [{"timestep": 0, "until": 9, "n": 90, "mean": 0.25}],
        "by_dimension": [{"name": "action", "mean": 0.25}],
        "response": response | {"change": 0.7, "data": [5.0, 60.0]},
    }
    store.set_evaluation(spec.name, result | changes)
    return spec.name


def test_an_evaluation_shows_its_figures(home):
    evaluate(fill(home))
    app = open_page("open_loop")
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown == {"dt-poles": "25%", "Always the same action": "50%"}
    assert not app.error and not app.warning
    assert any("dt-poles is off by 25%" in text.value for text in app.markdown)
    assert any("Asked for 0, “push" in text.value for text in app.markdown)


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


@pytest.mark.parametrize(
    ("part", "view"),
    [
        ("columns.json", "Coverage"),
        ("spans.npy", "Coverage"),
        ("observations.npy", "Coverage"),
        ("episodes.parquet", "Return-to-go"),
        ("actions.npy", "Episodes"),
    ],
)
def test_a_damaged_dataset_is_one_sentence(part, view, home):
    store = fill(home)
    path = store.columns_folder(DATASET) / part
    path.write_bytes(path.read_bytes()[:50])
    views = {"datasets": {"view": view, "episode": "3"}, "bins": {"bins.of": f"dataset {DATASET}"}}
    for name in ["datasets"] if part == "episodes.parquet" else views:
        app = open_page(name, **views[name])
        assert len(app.error) + len(app.info) + len(app.warning) == 1, (name, part)
        shown = [*app.error, *app.info, *app.warning][0].value
        assert "fault of seqrl" not in shown and "\n" not in shown


def test_models_without_an_environment_are_sent_to_the_records(home):
    store = fill(home)
    for name in RUNS:
        store.archive_run(name)
    facts = store.dataset(DATASET).facts.model_copy(update={"environment": None})
    add_run(store, "blind", RUNS["dt-poles"], facts)
    for sweep in store.sweeps():
        store.archive_sweep(sweep.name)
    app = open_page("rtg_sweep")
    assert any("nothing to play in" in text.value for text in app.markdown)
    app = open_page("runs")
    assert any("No sweep: its data comes without an environment" in text.value for text in app.caption)


def test_dimensions_are_typed_as_numbers_or_refused(home):
    fill(home)
    app = open_page("datasets", do="Build", source="Other datasets")
    assert not app.error and not app.button(key="derive.submit").disabled
    for text, sentence in (
        ("0, 9.5", "holds a fraction"),
        ("0, x", "neither a number nor"),
        ("1, 1", "holds a number twice"),
    ):
        app.text_input(key="derive.observation_dimensions").set_value(text).run()
        assert sentence in app.error[0].value
        assert app.button(key="derive.submit").disabled
    app.text_input(key="derive.observation_dimensions").set_value("0:2:1").run()
    assert not app.error


def test_two_sides_of_a_split_need_two_names(home):
    fill(home)
    app = open_page("datasets", do="Build", source="Other datasets", **{"derive.make": "Two sides of a split"})
    assert not app.error
    second = next(box for box in app.text_input if box.label == "Name of the second side")
    first = next(box for box in app.text_input if box.label == "Name of the first side")
    second.set_value(first.value).run()
    assert "choose two names" in app.error[0].value


def test_a_wide_dataset_is_cut_into_bins_only_where_it_is_looked_at(home, monkeypatch):
    fill(home)
    monkeypatch.setattr("pages.shared.token_tables.MOST_TOKENS", 5)
    app = open_page("bins", **{"bins.of": f"dataset {DATASET}", "dims": "pole angle"})
    app.segmented_control(key="bins.view").set_value("All dimensions").run()
    assert not app.exception and not app.error
    table = next(frame.value for frame in app.dataframe if "dimension" in frame.value)
    assert table["dimension"].tolist() == ["pole angle", "reward", "value"]
