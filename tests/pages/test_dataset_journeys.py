"""Datasets and models that cross the border, in Chromium, on the real app with real jobs."""

import json
import re
import zipfile

import pytest
from browsing import at_rest, drawn, fill_number, finish, visit
from playwright.sync_api import expect

from seqrl.config import (
    DecisionTransformerSpec,
    ImportJob,
    ImportSpec,
    RunSpec,
    TrainingSpec,
    TrainJob,
)
from seqrl.store import Store
from tests.foreign_files import LENGTHS, steps, write_d4rl, write_minari, write_npz
from tests.reliability.hostile_files import write_model

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="session")
def store(server):
    return Store(server[1])


@pytest.fixture(scope="session")
def recorded(server, store):
    """The dataset ``recorded``: three episodes without an environment."""
    path = write_d4rl(server[1].parent / "recorded.hdf5")
    finish(store, ImportJob(spec=ImportSpec(name="recorded", path=str(path), environment="none")))
    return store.dataset("recorded").facts


def press(page, name):
    """Press a button of the page itself."""
    page.get_by_test_id("stMain").get_by_role("button", name=name, exact=True).click()


def call(page, label, name, *, proposed=""):
    """Type a name once the form proposes its own, and wait until the form has heard it."""
    field = page.get_by_role("textbox", name=label, exact=True)
    if proposed:
        expect(field).to_have_value(re.compile(re.escape(proposed)))
    field.fill(name)
    field.press("Enter")
    expect(field).to_have_value(name)


def choose(page, name):
    """Press one of a row of choices."""
    main = page.get_by_test_id("stMain")
    main.get_by_role("radio", name=name, exact=True).or_(main.get_by_role("button", name=name, exact=True)).click()


def upload(page, *paths, where=0):
    """Choose files, as the dialog of the browser does."""
    page.get_by_test_id("stFileUploader").nth(where).locator("input[type=file]").set_input_files(
        [str(path) for path in paths]
    )


def names(store):
    return {row.name for row in store.datasets() if not store.bundled(row.name)}


def test_an_uploaded_file_becomes_a_dataset_to_look_at(page, server, store, tmp_path):
    visit(page, server, "datasets?do=Build&source=File")
    upload(page, write_npz(tmp_path / "walks.npz"))
    call(page, "Name", "uploaded", proposed="walks")
    press(page, "Import")
    page.get_by_text(f"uploaded is built: {len(LENGTHS)} episodes").wait_for()
    page.get_by_role("button", name="Look at it").click()
    drawn(page, "Histogram of returns by tier")
    assert store.dataset("uploaded").facts.steps == sum(LENGTHS)
    assert not list((server[1] / "uploads").iterdir())


@pytest.mark.parametrize("fault", ["a number that is none", "not what it says"])
def test_a_refused_upload_is_one_sentence_and_leaves_nothing(page, server, store, tmp_path, fault):
    path = tmp_path / "odd.npz"
    fields = steps()
    fields["rewards"][6] = float("nan")
    write_npz(path, fields)
    expected = "Episode 1: rewards holds NaN at step 2"
    if fault == "not what it says":
        path = tmp_path / "odd.hdf5"
        path.write_bytes(b"%PDF-1.7 " * 100)
        expected = "is none of HDF5, NPZ and Parquet"
    before = names(store)
    visit(page, server, "datasets?do=Build&source=File")
    upload(page, path)
    call(page, "Name", "odd", proposed="odd")
    press(page, "Import")
    told = page.get_by_test_id("stAlert").filter(has_text="odd failed")
    expect(told).to_contain_text(expected)
    assert "\n" not in told.get_by_test_id("stMarkdownContainer").last.inner_text().strip()
    assert "Traceback" not in page.content()
    assert names(store) == before
    assert not (server[1] / "columns" / "odd").exists() and not list((server[1] / "uploads").iterdir())


def test_a_path_is_read_only_inside_the_folder_that_is_allowed(page, server, store):
    write_minari(server[1].parent / "here" / "walks-v0")
    visit(page, server, "datasets?do=Build&source=File")
    call(page, "or a path on this machine", "/etc/passwd")
    page.get_by_text("'/etc/passwd' is not inside").wait_for()
    expect(page.get_by_test_id("stMain").get_by_role("button", name="Import", exact=True)).to_be_disabled()
    call(page, "or a path on this machine", str(server[1].parent / "here" / "walks-v0"))
    call(page, "Name", "by-path", proposed="walks-v0")
    press(page, "Import")
    page.get_by_text("by-path is built: 3 episodes").wait_for()


def test_datasets_are_combined_filtered_and_split(page, server, store, recorded):
    visit(page, server, "datasets?do=Build&source=Other+datasets&derive.sources=recorded")
    call(page, "Name", "long", proposed="recorded-part")
    fill_number(page, "Length from (steps)", 5)
    press(page, "Make the dataset")
    page.get_by_text("long is built: 2 episodes").wait_for()
    page.get_by_text("Making dataset long held at most").wait_for()

    visit(page, server, "datasets?do=Build&source=Other+datasets&derive.sources=recorded&derive.sources=long")
    call(page, "Name", "both", proposed="recorded-part")
    press(page, "Make the dataset")
    page.get_by_text("both is built: 5 episodes").wait_for()

    visit(page, server, "datasets?do=Build&source=Other+datasets&derive.sources=both")
    choose(page, "Two sides of a split")
    fill_number(page, "Share", 0.6)
    call(page, "Name of the first side", "side-one", proposed="both-train")
    call(page, "Name of the second side", "side-two")
    press(page, "Make the two datasets")
    page.get_by_text("side-one is built: 3 episodes").wait_for()
    page.get_by_text("side-two is built: 2 episodes").wait_for()
    assert store.dataset("both").facts.steps == sum(
        store.dataset(side).facts.steps for side in ("side-one", "side-two")
    )


def test_a_projector_sees_the_whole_chart_of_a_dataset(page, server):
    page.set_viewport_size({"width": 1024, "height": 768})
    visit(page, server, "datasets?dataset=demo/walks&present=1")
    chart = drawn(page, "Histogram of returns").bounding_box()
    assert chart["y"] + chart["height"] <= 768


def test_an_episode_of_the_data_is_watched_step_by_step(page, server, store):
    visit(page, server, "datasets?dataset=demo/cartpole&view=Episodes&data.episode=3")
    page.get_by_text("Episode 3, played by heuristic").wait_for()
    length = int(store.dataset_episodes("demo/cartpole")["length"].iloc[3])
    expect(page.locator(".player .step")).to_contain_text(f"of {length}")
    page.locator(".player video").evaluate("film => film.readyState || new Promise(seen => film.onloadeddata = seen)")
    at_rest(page)
    with page.expect_download() as waiting:
        press(page, "Steps as CSV")
    assert len(waiting.value.path().read_text().splitlines()) == length + 1


def test_a_filter_that_leaves_nothing_says_so(page, server, store, recorded):
    visit(page, server, "datasets?do=Build&source=Other+datasets&derive.sources=recorded")
    call(page, "Name", "nothing")
    fill_number(page, "Return from (reward)", 1000)
    press(page, "Make the dataset")
    page.get_by_role("alert").get_by_text("None of the 3 episodes is left; widen the filter").wait_for()
    assert "nothing" not in names(store)


@pytest.mark.parametrize("form", ["parquet", "minari"])
def test_what_is_exported_comes_back_the_same(page, server, store, recorded, form, tmp_path):
    visit(page, server, "datasets?dataset=recorded")
    page.get_by_text("Export the whole dataset").click()
    choose(page, form)
    press(page, "Prepare the file")
    link = page.get_by_test_id("stMain").get_by_role("button", name=f"{form.capitalize()}, ")
    with page.expect_download() as download:
        link.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    visit(page, server, "datasets?do=Build&source=File")
    upload(page, path)
    call(page, "Name", f"back-from-{form}", proposed=path.name.split(".")[0])
    press(page, "Import")
    page.get_by_text(f"back-from-{form} is built").wait_for()
    assert store.dataset(f"back-from-{form}").facts.content_hash == recorded.content_hash


def test_an_archived_dataset_is_hidden_and_comes_back(page, server, store, tmp_path):
    path = write_npz(tmp_path / "a.npz")
    finish(store, ImportJob(spec=ImportSpec(name="put-away", path=str(path), environment="none")))
    visit(page, server, "datasets?dataset=put-away")
    drawn(page, "Histogram of returns by tier")
    press(page, "Archive")
    page.get_by_text("put-away is archived").wait_for()
    assert "put-away" not in names(store)
    visit(page, server, "datasets?do=Archive")
    row = page.get_by_test_id("stHorizontalBlock").filter(has=page.get_by_text("put-away", exact=True))
    row.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("put-away", exact=True)).to_have_count(0)
    assert store.dataset("put-away").facts.steps == sum(LENGTHS)
    assert "put-away" in names(store)


def test_a_model_of_transformers_is_uploaded_and_goes_back(page, server, store, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = write_model(tmp_path / "theirs")
    statistics = tmp_path / "statistics.json"
    statistics.write_text(json.dumps({"observation_mean": [0.0] * 3, "observation_std": [1.0] * 3}))
    visit(page, server, "runs")
    page.get_by_text("Bring a model from elsewhere").click()
    upload(page, folder / "config.json", folder / "model.safetensors")
    choose(page, "A JSON file")
    page.get_by_text("the statistics are missing").wait_for()
    upload(page, statistics, where=1)
    call(page, "Name of the run", "theirs")
    environment = page.get_by_role("combobox", name="Environment", exact=True)
    environment.fill("Pendulum-v1")
    environment.press("Enter")
    press(page, "Import the model")
    page.get_by_text("theirs is a run now").wait_for()
    assert store.run("theirs").facts.environment == "Pendulum-v1"
    assert not list((server[1] / "uploads").iterdir())
    press(page, "Show it")
    page.wait_for_url(re.compile("[?&]run=theirs(&|$)"))
    at_rest(page)
    page.get_by_text("Export the model").click()
    formats = page.get_by_test_id("stButtonGroup").filter(has=page.get_by_text("Exported run", exact=True))
    formats.get_by_text("Hugging Face").click()
    press(page, "Prepare the file")
    with page.expect_download() as download:
        page.get_by_role("button", name="Hugging Face, ").click()
    download.value.save_as(tmp_path / "back.zip")
    with zipfile.ZipFile(tmp_path / "back.zip") as archive:
        archive.extractall(tmp_path / "back")
    again = transformers.DecisionTransformerModel.from_pretrained(tmp_path / "back")
    assert again.config.hidden_size == 16


def test_a_model_is_measured_where_nothing_can_be_played(page, server, store, recorded):
    small = DecisionTransformerSpec(embedding_dim=16, layers=1, context_length=4)
    training = TrainingSpec(steps=5, batch_size=4, threads=1)
    finish(store, TrainJob(spec=RunSpec(name="on-records", dataset="recorded", model=small, training=training)))
    visit(page, server, "open_loop?evaluate=on-records")
    press(page, "Measure")
    drawn(page, "Action error on recorded episodes of recorded")
    drawn(page, "What on-records answers to other requests")
    page.get_by_text("There is no sweep for recorded.").wait_for()
    result = store.evaluation("on-records-on-recorded")
    error = page.get_by_test_id("stMetric").filter(has_text="on-records")
    expect(error).to_contain_text(f"{result['overall']:.3g}")
    with page.expect_download() as download:
        page.get_by_test_id("stMain").get_by_role("button", name="CSV", exact=True).last.click()
    assert download.value.suggested_filename == "open-loop-on-records-response.csv"


def test_a_planner_learns_some_dimensions_and_is_measured(page, server, store, recorded):
    visit(page, server, "datasets?do=Build&source=Other+datasets&derive.sources=recorded")
    call(page, "Name", "narrow", proposed="recorded-part")
    page.get_by_text("Keep only some dimensions").click()
    for label, numbers in (("Observation dimensions", "0, 2"), ("Action dimensions", "1")):
        field = page.get_by_role("textbox", name=label)
        field.fill(numbers)
        field.press("Enter")
    press(page, "Make the dataset")
    page.get_by_text("narrow is built: 3 episodes").wait_for()
    facts = store.dataset("narrow").facts
    assert facts.observation.names == tuple(recorded.observation.names[i] for i in (0, 2)) and facts.action.size == 1

    sizes = "custom.tt.context_length=4&custom.tt.embedding_dim=16&custom.tt.layers=1"
    visit(page, server, f"train?dataset=narrow&model=TT&preset=Custom&{sizes}&custom.steps=5&custom.batch_size=4")
    call(page, "Name", "planner", proposed="tt-narrow")
    press(page, "Train")
    page.get_by_text("planner is trained.").wait_for()
    page.get_by_text("Training planner held at most").wait_for()
    assert store.run("planner").spec.training.steps == 5
    page.get_by_text("Compare with records").click()
    press(page, "Measure")
    drawn(page, "Action error on recorded episodes of narrow")
    page.get_by_text("None of these models can be asked for a return.").wait_for()
    assert store.evaluation("planner-on-narrow")["by_dimension"][0]["name"] == recorded.action.names[1]
