"""Every lesson over an empty home, one with records that its own jobs made, and a damaged one."""

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from pages.shared.lessons import records
from pages.shared.lessons.glossary import TERMS
from pages.shared.lessons.table import LESSONS
from pages.shared.tour import STOPS
from seqrl.config import RenderJob, RenderSpec
from seqrl.registry import RECIPES
from seqrl.store import Store
from tests.in_process import do

SLUGS = [lesson.slug for lesson in LESSONS]
MEASURED = [lesson.slug for lesson in LESSONS if lesson.recipe]
SMALL = {"embedding_dim": 16, "layers": 1, "heads": 1}
QUICK = {"steps": 3, "batch_size": 8, "warmup_steps": 0, "threads": 1, "log_every": 1, "validate_every": 3}


def shrink(recipe):
    """The same experiment in a moment: few episodes, a tiny network, three steps."""
    from dataclasses import replace

    dataset = recipe.dataset.model_copy(update={"episodes": 40, "max_episode_steps": 60})

    def tiny(run):
        context = {"context_length": min(run.model.context_length, 4)}
        bins = {"bins": 5} if run.model.kind == "tt" else {}
        return run.model_copy(
            update={
                "model": run.model.model_copy(update=SMALL | context | bins),
                "training": run.training.model_copy(update=QUICK),
            }
        )

    spec = recipe.sweep
    if hasattr(spec, "widths"):
        planning = spec.planning.model_copy(update={"context": 2, "horizon": 2})
        changes = {"widths": (0, 2), "horizons": (2,), "episodes": 2, "planning": planning}
    else:
        planning = spec.planning.model_copy(update={"context": 2, "horizon": 2, "beam_width": 2})
        changes = {"targets": spec.targets[:2], "episodes": 2, "planning": planning}
    return replace(recipe, dataset=dataset, runs=tuple(map(tiny, recipe.runs)), sweep=spec.model_copy(update=changes))


@pytest.fixture(scope="module")
def small():
    """All recipes in small, everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        for key in list(RECIPES):
            patch.setitem(RECIPES, key, shrink(RECIPES[key]))
        yield


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    """A home in which a visitor ran every lesson; its jobs were queued as a page queues them."""
    store = Store(tmp_path_factory.mktemp("lessons") / "home", bundle=tmp_path_factory.mktemp("nothing"))
    for key in ("asking", "context", "cloning", "stitching", "luck", "planning"):
        store.set_setting(f"lesson.{key}", records._free_attempt(store, key))
        while due := records.due(store, records.own_recipe(store, key)):
            for job in due:
                do(store, job)
    sweep = records.own_recipe(store, "asking").sweep.name
    do(store, RenderJob(spec=RenderSpec(sweep=sweep, episode_id=0)))
    return store


def open_lesson(slug, **query):
    """A lesson, drawn once inside the app."""
    app = AppTest.from_file("../../app.py", default_timeout=60).run()
    app.switch_page("pages/lessons.py")
    for key, value in query.items():
        app.query_params[key] = value
    app.query_params["lesson"] = slug
    app.run()
    assert not app.exception, app.exception[0].message
    return app


@pytest.fixture
def visited(made, home, monkeypatch):
    """The app over that home."""
    monkeypatch.setenv("SEQRL_HOME", str(made.home))
    return made


@pytest.mark.parametrize("slug", SLUGS)
def test_without_records_a_lesson_says_so_and_has_one_button_that_makes_them(slug, home):
    app = open_lesson(slug)
    assert not app.error
    keys = [str(button.key) for button in app.button]
    making = [key for key in keys if key.startswith(("lesson.run.", "empty."))]
    assert len(making) == 1
    assert any("Not on this machine yet" in text.value for text in app.markdown)


@pytest.mark.parametrize("slug", SLUGS)
def test_with_records_a_lesson_draws_its_picture_and_says_what_to_notice(slug, visited):
    app = open_lesson(slug)
    assert not app.error
    assert not app.warning
    assert any("What to notice" in text.value for text in app.markdown)
    assert not any("Not on this machine yet" in text.value for text in app.markdown)


@pytest.mark.parametrize("slug", [*SLUGS, "glossary"])
def test_a_damaged_database_is_one_sentence_with_a_remedy(slug, home):
    home.mkdir()
    (home / "seqrl.db").write_bytes(b"this is not a database" * 100)
    app = AppTest.from_file("../../app.py", default_timeout=30).run()
    app.switch_page("pages/lessons.py")
    app.query_params["lesson"] = slug
    app.run()
    assert not app.exception
    assert [error.value for error in app.error if "restore it from a copy" in error.value]


@pytest.mark.parametrize("slug", SLUGS)
def test_damaged_records_are_said_to_be_so(slug, made, home):
    shutil.copytree(made.home, home)
    for path in [*(home / "sweeps").rglob("*"), *(home / "columns").rglob("*"), *(home / "datasets").rglob("*")]:
        if path.is_file():
            path.write_bytes(path.read_bytes()[:50])
    app = open_lesson(slug)
    said = [*app.error, *app.warning, *app.info] or [
        text for text in app.markdown if "Not on this machine" in text.value
    ]
    assert said
    assert not any("fault of seqrl" in text.value for text in said)
    assert not any("What to notice" in text.value for text in app.markdown)


@pytest.mark.parametrize("slug", SLUGS)
def test_every_chart_of_a_lesson_offers_its_numbers(slug, visited):
    app = open_lesson(slug)
    offered = [button.proto.label for button in app.get("download_button")]
    charts = offered.count("HTML")
    assert charts or slug == "low-middle-high"
    assert offered.count("CSV") >= charts


def test_jobs_are_queued_in_an_order_that_can_be_carried_out(small, tmp_path):
    store = Store(tmp_path / "home", bundle=tmp_path / "nothing")
    store.set_setting("lesson.luck", "")
    recipe = records.own_recipe(store, "luck")
    stages = []
    while due := records.due(store, recipe):
        stages.append([job.kind for job in due])
        for job in due:
            do(store, job)
    assert stages == [["dataset"], ["train"], ["sweep_rtg"]]
    assert store.sweep("my-luck").state == "succeeded"
    assert records._free_attempt(store, "luck") == "-2"
    for episode in range(201):  # as many as the queue looks back to, and one more
        store.add_job(RenderJob(spec=RenderSpec(sweep="my-luck", episode_id=episode)), f"my-luck/{episode}")
    assert records.due(store, recipe) == []
    assert all(records.last_job(store, job).state == "succeeded" for job in recipe.jobs())


def test_what_runs_is_what_made_the_bundled_records_but_for_the_names(tmp_path):
    store = Store(tmp_path / "home", bundle=tmp_path / "nothing")
    for key, recipe in RECIPES.items():
        own = recipe.under(records.own_names(store, key, ""))
        for ours, theirs in zip((*own.runs, own.sweep), (*recipe.runs, recipe.sweep), strict=True):
            assert ours.name.startswith("my-")
            plain = {"name", "runs", "dataset"}
            assert ours.model_dump(exclude=plain) == theirs.model_dump(exclude=plain)


def test_a_discount_changes_the_return_to_go(visited):
    app = open_lesson("return-to-go")
    before = [text.value for text in app.markdown]
    app.slider(key="rtg.discount").set_value(0.9).run()
    assert any("γ = 0.9" in text.value for text in app.markdown)
    assert [text.value for text in app.markdown] != before


@pytest.mark.parametrize("slug", SLUGS)
def test_every_control_of_a_lesson_is_in_its_link(slug, visited):
    app = open_lesson(slug)
    kinds = ("slider", "select_slider", "selectbox", "multiselect", "number_input", "toggle", "button_group")
    controls = [control for kind in kinds for control in app.main.get(kind)]
    assert {control.key for control in controls if control.proto.query_param_key != control.key} == {"lesson.list"}


def test_a_link_opens_a_lesson_in_its_very_state(visited):
    plain = open_lesson("path-integral")
    name = plain.selectbox(key="paths.data").value
    temperature = plain.select_slider(key=f"paths.t.{name}").options[7]
    asked = plain.slider(key=f"paths.target.{name}").min
    app = open_lesson("path-integral", **{f"paths.t.{name}": temperature, f"paths.target.{name}": str(asked)})
    assert app.select_slider(key=f"paths.t.{name}").value == pytest.approx(-1.8)
    assert app.slider(key=f"paths.target.{name}").value == asked
    assert any(f"At T = {temperature} " in text.value for text in app.markdown)
    luck = open_lesson("luck").select_slider(key="luck.target").options[0]
    app = open_lesson("luck", **{"luck.target": luck})
    assert any(f"Asked for **{luck}** it bets" in text.value for text in app.markdown)


@pytest.mark.parametrize("data", ["my-gamble", "my-walks"])
def test_only_numbers_are_cut_into_tokens(data, visited):
    assert data in [row.name for row in visited.datasets()]
    app = open_lesson("tokens", **{"tokens.data": data})
    assert not app.error
    assert data not in app.selectbox(key="tokens.data").options
    assert any("What to notice" in text.value for text in app.markdown)


def test_a_lower_temperature_leaves_fewer_episodes(visited):
    app = open_lesson("path-integral")

    def worth():
        told = next(text.value for text in app.markdown if "but is worth " in text.value)
        return int(told.split("but is worth ")[1].split(" episode")[0].replace("\u2009", ""))

    name = app.selectbox(key="paths.data").value
    app.select_slider(key=f"paths.t.{name}").set_value(1.0).run()
    high = worth()
    app.select_slider(key=f"paths.t.{name}").set_value(-2.0).run()
    assert worth() < high


def test_the_glossary_finds_a_term_and_says_when_there_is_none(home):
    app = open_lesson("glossary")
    assert sum(text.value.startswith("**") for text in app.markdown) == len(TERMS)
    app.text_input(key="term").set_value("horizon").run()
    assert any("**beam search**" in text.value for text in app.markdown)
    app.text_input(key="term").set_value("xyz").run()
    assert "No term is like “xyz”" in app.info[0].value


def test_every_term_source_and_recipe_of_a_lesson_exists():
    assert len(LESSONS) == 11
    assert len(set(SLUGS)) == 11
    for lesson in LESSONS:
        assert set(lesson.terms) <= TERMS.keys()
        assert lesson.recipe is None or lesson.recipe in RECIPES
        assert lesson.sources
        assert lesson.formula
        assert lesson.symbols


def test_next_and_back_walk_through_the_lessons(visited):
    app = open_lesson("return-to-go")
    app.button(key="lesson.next").click().run()
    assert "low-middle-high" in app.query_params["lesson"]
    app.button(key="lesson.back").click().run()
    assert "return-to-go" in app.query_params["lesson"]
    assert app.button(key="lesson.back").disabled


def test_the_tour_stops_at_pages_and_states_that_exist():
    assert 6 <= len(STOPS) <= 8
    for stop in STOPS:
        assert stop.query.get("lesson", SLUGS[0]) in SLUGS


@pytest.mark.parametrize(("asked", "shown"), [("1", True), ("8", True), ("9", False), ("x", False), ("", False)])
def test_the_tour_is_shown_where_the_address_names_a_stop(asked, shown, home):
    app = AppTest.from_file("../../app.py", default_timeout=30)
    app.query_params["tour"] = asked
    app.run()
    assert not app.exception
    assert any(f"Stop {asked} of {len(STOPS)}" in text.value for text in app.markdown) == shown
    assert any(button.key == "tour.leave" for button in app.button) == (asked == "1")


def test_a_lesson_of_another_name_is_the_first(home):
    app = open_lesson("no-such-lesson")
    assert app.title[0].value == LESSONS[0].question


def test_a_failed_experiment_says_why_and_can_be_run_again(small, home):
    store = Store(home)
    store.set_setting("lesson.luck", "")
    job = records.due(store, records.own_recipe(store, "luck"))[0]
    from seqrl import jobs

    class Dead(jobs.LocalBackend):
        """Starts nothing."""

        def start(self, *arguments, **keywords):
            return False

    row = jobs.submit(store, job, Dead())
    jobs.cancel(store, row.id)
    app = open_lesson("luck")
    assert "my-gamble stopped" in app.warning[0].value
    assert app.button(key="lesson.run.luck").label == "Run it again"
