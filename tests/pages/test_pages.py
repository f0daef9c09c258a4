"""Every page over an empty home, a filled one and a damaged one, in process: what it says and what it offers."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from in_app import folds, go_on, open_page, press_link
from small_store import DATASET, PLANNER, RUNS, SWEEP, add_planner, add_run, fill
from streamlit.testing.v1 import AppTest

from pages.shared.run_view import clone_query
from pages.shared.token_tables import fitted, source, tokenizer_of
from pages.shared.tour import STOPS
from seqrl.config import (
    BehaviourCloningSpec,
    DecisionTransformerSpec,
    PolicySpec,
    RunSpec,
    SnapshotFacts,
    TrainingSpec,
)
from seqrl.config.sweeps import dataset_reference
from seqrl.jobs.backend import put_back
from seqrl.plots.format import number, percent
from seqrl.store import Store
from seqrl.store.columns import Columns
from tests.specs import train_job

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


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_home_gets_one_button_that_leads_on(name, home):
    app = open_page(name)
    assert not app.error
    leading = [button for button in app.button if str(button.key).startswith("empty.")]
    assert len(leading) == 1


def test_datasets_without_any_lead_to_their_own_form(home):
    app = open_page("datasets")
    next(button for button in app.button if str(button.key).startswith("empty.")).click().run()
    assert not app.exception and app.segmented_control(key="do").value == "Build"


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


def test_a_link_shows_what_it_says_whatever_was_left_there(home):
    store = fill(home)
    add_run(store, "dt-later", RUNS["dt-poles"], store.run("dt-poles").facts)
    app = open_page("runs", run="dt-poles")
    press_link(app, "Ask it for returns")
    assert app.multiselect(key="ask").value == ["dt-poles"]
    go_on(app, "runs").selectbox(key="run").set_value("dt-later").run()
    press_link(app, "Ask it for returns")
    assert app.multiselect(key="ask").value == ["dt-later"]


def test_a_link_into_the_lab_leaves_the_sweep_that_was_looked_at(home):
    store = fill(home)
    other = store.sweep(SWEEP).spec.model_copy(update={"name": "later"})
    store.add_sweep(other)
    app = open_page("rtg_sweep", sweep=SWEEP)
    go_on(app, "episode_lab", urlencode({"go": urlencode({"sweep": "later", "episode": "0"})}))
    assert go_on(app, "rtg_sweep").selectbox(key="sweep").value == SWEEP


def test_a_clone_takes_nothing_from_a_form_that_was_left(home):
    fill(home)
    left = {"custom.dt.max_timestep": "700", "vary": "learning rate", "seeds": "2"}
    app = open_page("train", preset="Custom", **left)
    assert app.number_input(key="custom.dt.max_timestep").value == 700
    app.segmented_control(key="model").set_value("TT").run()
    go_on(app, "runs").selectbox(key="run").set_value("dt-poles").run()
    press_link(app, "Clone")
    assert app.segmented_control(key="model").value == "DT"
    assert app.number_input(key="custom.dt.max_timestep").value is None
    assert app.multiselect(key="vary").value == [] and app.number_input(key="seeds").value == 1


def test_a_clone_has_every_digit_of_a_setting():
    model, training = (
        DecisionTransformerSpec(rtg_gain=1 / 3),
        TrainingSpec(learning_rate=0.0001234567, weight_decay=0.1),
    )
    query = clone_query(RunSpec(name="r", dataset="d", model=model, training=training))
    assert float(query["custom.dt.rtg_gain"]) == 1 / 3
    assert float(query["custom.learning_rate"]) == 0.0001234567
    assert query["custom.weight_decay"] == "0.1"


def test_a_link_to_a_dataset_leaves_the_form_that_builds_one(home):
    fill(home)
    app = go_on(open_page("datasets", do="Build"), "train")
    stop = next(stop for stop in STOPS if stop.page == "pages/datasets.py")
    go_on(app, "datasets", urlencode({"go": urlencode(stop.query | {"dataset": DATASET})}))
    assert app.segmented_control(key="do").value == "Explore"


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


def test_notes_and_tags_of_another_tab_are_shown_and_not_overwritten(home):
    store = fill(home)
    here, there = open_page("runs"), open_page("runs")
    there.text_input(key="note.bc-poles").set_value("a baseline").run()
    there.multiselect(key="tags.bc-poles").set_value(["kept"]).run()
    here.run()
    assert (store.run("bc-poles").note, store.run("bc-poles").tags) == ("a baseline", ("kept",))
    assert here.text_input(key="note.bc-poles").value == "a baseline"
    assert here.multiselect(key="tags.bc-poles").value == ["kept"]
    here.text_input(key="note.bc-poles").set_value("").run()
    there.run()
    assert store.run("bc-poles").note == there.text_input(key="note.bc-poles").value == ""


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
    app = open_page("datasets", view="Episodes", **{"data.episode": "3"})
    assert not app.exception and not app.error and not app.info
    offered = {button.proto.label for button in app.get("download_button")}
    assert {"MP4", "Steps as CSV", "CSV"} <= offered


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("environment", "comes without an environment"),
        ("seed", "seeds of these episodes were not"),
        ("unknown seed", "seeds of these episodes were not"),
    ],
)
def test_episodes_that_nobody_can_play_again_say_why(harm, said, home):
    store = fill(home)
    facts, table = store.dataset(DATASET).facts, store.dataset_episodes(DATASET)
    facts = facts.model_copy(update={"environment": None}) if harm == "environment" else facts
    changes = {"seed": table.drop(columns="seed"), "unknown seed": table.assign(seed=-1)}
    store.set_dataset_facts(DATASET, facts, changes.get(harm, table))
    app = open_page("datasets", view="Episodes", **{"data.episode": "3"})
    assert [info.value for info in app.info if said in info.value]
    assert not app.error


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
    views = {"datasets": {"view": view, "data.episode": "3"}, "bins": {"bins.of": f"dataset {DATASET}"}}
    for name in ["datasets"] if part == "episodes.parquet" else views:
        app = open_page(name, **views[name])
        assert len(app.error) + len(app.info) + len(app.warning) == 1, (name, part)
        shown = [*app.error, *app.info, *app.warning][0].value
        assert "fault of seqrl" not in shown and "\n" not in shown


def test_an_episode_of_a_sweep_is_none_of_a_dataset(home):
    fill(home).media_path(SWEEP, 5).write_bytes(b"a film")
    app = open_page("rtg_sweep")
    assert app.selectbox(key="episode").value == "5"
    go_on(app, "datasets", "view=Episodes")
    assert not app.error and app.number_input(key="data.episode").value is None


def test_a_key_belongs_to_one_widget_or_to_several_that_mean_the_same():
    keys = re.compile(r'key=(?:finite\()?"([\w.]+)"\)?,\s*bind=')
    pages = Path(__file__).parents[2] / "pages"
    drawn = Counter(key for path in pages.rglob("*.py") for key in keys.findall(path.read_text()))
    assert len(drawn) > 50
    assert {key for key, times in drawn.items() if times > 1} == {"dataset", "environment"}


def test_a_list_that_has_not_what_the_address_names_shows_what_the_page_shows(home):
    store = fill(home)
    store.add_policy(PolicySpec(name="learner", environment="CartPole-v1"))
    for seed in range(4):
        add_run(store, f"again-{seed}", RUNS["dt-poles"], store.run("dt-poles").facts)
    app = open_page("bins", **{"bins.of": "run gone", "dimension": "gone"})
    assert app.info[0].value == f"run gone is not here, or archived. This is dataset {DATASET}."
    assert app.selectbox(key="bins.of").value == f"dataset {DATASET}"
    assert app.selectbox(key="dimension").value == "pole angle"
    app = open_page("runs", run="gone", **{"settings.of": "gone"})
    assert app.selectbox(key="run").value == "again-3"
    assert app.selectbox(key="settings.of").value == DATASET
    assert open_page("datasets", do="Policies").selectbox(key="policy").value == "learner"


def test_a_list_that_is_emptied_by_hand_says_again_what_the_page_shows(home):
    fill(home)
    app = open_page("datasets")
    app.selectbox(key="dataset").set_value(None).run()
    assert app.selectbox(key="dataset").value == DATASET and not app.info


def test_runs_that_nobody_chose_are_asked_for_instead_of_an_empty_chart(home):
    fill(home)
    app = open_page("runs")
    app.multiselect(key="runs").set_value([]).run()
    assert [info.value for info in app.info] == ["Choose a run above, or tick rows of the table."]
    app = open_page("runs", runs=["gone", "lost"])
    (told,) = (info.value for info in app.info)
    assert told.startswith("gone and lost are not here, or archived. These are ")
    assert set(app.multiselect(key="runs").value) == set(RUNS)
    assert open_page("runs", runs=["gone", "dt-poles"]).multiselect(key="runs").value == ["dt-poles"]


@pytest.mark.parametrize(
    ("page", "query", "key", "value"),
    [
        ("train", {"seeds": "inf", "train.seed": "1e999"}, "seeds", 1),
        ("datasets", {"do": "Build", "data.episodes": "1e999"}, "data.episodes", 2000),
        ("datasets", {"view": "Episodes", "data.episode": "Infinity"}, "data.episode", None),
        (
            "bins",
            {"bins.of": f"dataset {DATASET}", "bins.view": "An episode", "bins.episode": "-inf"},
            "bins.episode",
            0,
        ),
        ("lessons", {"lesson": "return-to-go", "rtg.episode": "inf"}, "rtg.episode", 0),
    ],
)
def test_an_infinite_number_of_the_address_is_left_out(page, query, key, value, home):
    fill(home)
    app = open_page(page, **query)
    assert not app.error and app.number_input(key=key).value == value
    assert key not in app.query_params
    app.query_params[key] = "inf"  # as the browser's way back does
    app.run()
    assert not app.error and not app.exception


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
    app = open_page("bins", **{"bins.of": f"dataset {DATASET}", "dims": "of other data"})
    assert app.multiselect(key="dims").value == ["cart position", "cart velocity", "pole angle"]


@pytest.mark.parametrize("address", ["0", "2"])
def test_presentation_is_turned_on_and_off_whatever_the_address_said(address, home):
    app = open_page("train", present=address)
    app.button(key="present.switch").click().run()
    assert app.query_params["present"] == "1" and app.button(key="present.switch").label == "Leave presentation"
    app.button(key="present.switch").click().run()
    assert "present" not in app.query_params and app.button(key="present.switch").label == "Present"


def test_the_queue_says_why_a_job_cannot_be_started(home):
    fill(home)
    store = Store(home)
    job_id = store.add_job(train_job("run"), "run")
    for _ in range(6):  # it rests for a minute now
        put_back(store, store.claim(job_id, 1, token="token"), "no process can be started")
    lines = [one.value for one in open_page("train").markdown]
    assert any("training **run** · not started yet: no process can be started" in line for line in lines), lines
