"""What people do, in Chromium, on the real app with real jobs."""

import re

import pytest
from browsing import SLOW_MS, VIDEOS, choose_option, drawn, fill_number, finish, visit
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from seqrl.config import (
    BeamSweepSpec,
    BehaviourSpec,
    DatasetJob,
    DatasetSpec,
    DecisionTransformerSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    RunSpec,
    TrainingSpec,
    TrainJob,
)
from seqrl.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SMALL_MODEL = DecisionTransformerSpec(embedding_dim=32, layers=1, context_length=10)
MIXTURE = (
    BehaviourSpec(tier="poor", share=0.5, policy="heuristic", epsilon=0.6),
    BehaviourSpec(tier="medium", share=0.5, policy="heuristic", epsilon=0.3),
)


@pytest.fixture(scope="session")
def prepared(server):
    """A small dataset, a run and a sweep, made by real jobs."""
    _, home = server
    store = Store(home)
    finish(store, DatasetJob(spec=DatasetSpec(name="small", episodes=60, behaviours=MIXTURE)))
    training = TrainingSpec(steps=120, batch_size=16, log_every=20, validate_every=60, checkpoint_every=60)
    finish(store, TrainJob(spec=RunSpec(name="small-dt", dataset="small", model=SMALL_MODEL, training=training)))
    sweep = ReturnSweepSpec(
        name="small-sweep", runs=("small-dt",), targets=(20, 60, 100), episodes=4, decodings=("sampled",)
    )
    finish(store, ReturnSweepJob(spec=sweep))
    return store


def click_point(page, point):
    """Click into the middle of a marker, as a hand does: plotly listens above the markers.

    A chart that is being drawn anew takes its old markers away; a hand would then click the new one.
    """
    for _ in range(5):
        try:
            point.scroll_into_view_if_needed()
        except PlaywrightError as error:
            if "not attached" not in str(error):
                raise
            continue
        if box := point.bounding_box():
            break
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def click_until(page, point, pattern):
    """Click a marker until the address says so: a click that meets a chart being drawn anew goes nowhere."""
    for timeout_ms in (10_000, 10_000, SLOW_MS):
        click_point(page, point)
        try:
            page.wait_for_url(re.compile(pattern), timeout=timeout_ms)
            return
        except PlaywrightTimeout:
            if timeout_ms == SLOW_MS:
                raise


def test_the_first_request_of_a_fresh_server_may_be_a_deep_link(page, server):
    visit(page, server, "train?model=BC")
    page.get_by_role("button", name="Train", exact=True).wait_for()
    expect(page.get_by_text("Behaviour cloning", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="RTG sweep")).to_be_visible()


def test_home_shows_a_chart_and_three_moving_episodes_without_a_click(page, server):
    visit(page, server, "")
    drawn(page, "Achieved against target return")
    page.wait_for_function(f"{VIDEOS}.filter(video => video.currentTime > 0 && video.muted).length >= 3")


def test_home_has_no_gap_below_its_films_and_nothing_moves_when_they_end(page, server):
    visit(page, server, "")
    drawn(page, "Achieved against target return")
    page.locator(".playground[data-shown]").wait_for()
    heading = page.get_by_role("heading", name="Move the target")
    above, top = (place.bounding_box() for place in (page.get_by_role("link", name="Train a model"), heading))
    assert 0 < top["y"] - above["y"] - above["height"] < 60
    page.set_viewport_size({"width": 1024, "height": 768})
    page.get_by_label("step of the episode").focus()
    places = []
    for key, told in (("Home", "collected 0 of 500 asked"), ("End", "reached the time limit after 500 steps")):
        page.keyboard.press(key)
        expect(page.locator("figcaption").last).to_contain_text(told)
        places.append(heading.bounding_box())
    assert places[0] == places[1]


def test_the_slider_of_a_film_leads_to_its_step_while_it_plays(page, server):
    visit(page, server, "rtg_sweep?sweep=demo/rtg")
    page.wait_for_function(f"{VIDEOS}[0]?.currentTime > 0")
    slider = page.get_by_label("step of the episode")
    slider.focus()
    page.keyboard.press("End")
    expect(slider).to_have_value(slider.get_attribute("max"))
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_value(str(int(slider.get_attribute("max")) - 1))


def test_a_film_begins_again_at_its_end_and_rests_out_of_sight(page, server):
    visit(page, server, "rtg_sweep?sweep=demo/rtg")
    page.wait_for_function(f"{VIDEOS}[0]?.currentTime > 0")
    page.evaluate(
        f"const film = {VIDEOS}[0]; window.begins = 0; film.currentTime = film.duration - 0.1;"
        " film.addEventListener('seeked', () => { if (film.currentTime < 1) window.begins += 1; })"
    )
    page.wait_for_function(f"window.begins && !{VIDEOS}[0].paused")
    page.set_viewport_size({"width": 1024, "height": 300})
    page.wait_for_function(f"{VIDEOS}[0].paused")
    page.locator("video").first.scroll_into_view_if_needed()
    page.wait_for_function(f"!{VIDEOS}[0].paused")


def test_an_invalid_form_shows_its_sentence_and_a_valid_one_builds(page, server):
    visit(page, server, "datasets?do=Build")
    fill_number(page, "Episodes", 0)
    expect(page.get_by_text("episodes is 0; choose at least 1.")).to_be_visible()
    expect(page.get_by_test_id("stMain").get_by_role("button", name="Build", exact=True)).to_be_disabled()
    fill_number(page, "Episodes", 40)
    name = page.get_by_label("Name", exact=True)
    name.fill("built")
    name.press("Enter")
    expect(page.get_by_text("40 episodes of at most")).to_be_visible()
    page.get_by_test_id("stMain").get_by_role("button", name="Build", exact=True).click()
    page.get_by_text("built is built: 40 episodes").wait_for()
    page.get_by_role("button", name="Look at it").click()
    drawn(page, "Histogram of returns by tier")
    for view, chart in (("Coverage", "Coverage of"), ("Return-to-go", "Return-to-go over"), ("Actions", "Actions")):
        page.get_by_role("radio", name=view, exact=True).or_(page.get_by_role("button", name=view, exact=True)).click()
        drawn(page, chart)


def test_training_is_watched_live_found_again_after_a_reload_and_keeps_the_zoom(page, server, prepared):
    visit(page, server, "train?dataset=small&model=DT&preset=Custom&custom.dt.layers=1&custom.dt.embedding_dim=32")
    page.get_by_role("heading", name="Train").wait_for()
    name = page.get_by_label("Name", exact=True)
    name.fill("watched")
    name.press("Enter")
    page.get_by_text("Training", exact=True).click()
    fill_number(page, "Steps", 100_000)
    fill_number(page, "Log every (steps)", 10)
    fill_number(page, "Checkpoint every (steps)", 50)
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("link", name="Watch it learn").click()
    chart = drawn(page, "loss of 1 run")
    page.wait_for_function("document.querySelector('.seqrl-chart').calcdata.at(-1).length > 3")
    page.reload()
    chart = drawn(page, "loss of 1 run")
    before = page.evaluate("document.querySelector('.seqrl-chart').calcdata.at(-1).length")
    plot = chart.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(plot["x"] + 60, plot["y"] + 60)
    page.mouse.down()
    page.mouse.move(plot["x"] + 260, plot["y"] + 200, steps=4)
    page.mouse.up()
    zoomed = page.evaluate("document.querySelector('.seqrl-chart').layout.xaxis.range")
    page.wait_for_function(f"document.querySelector('.seqrl-chart').calcdata?.at(-1)?.length > {before} + 2")
    assert page.evaluate("document.querySelector('.seqrl-chart').layout.xaxis.range") == zoomed
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Resume").wait_for()
    assert prepared.run("watched").state == "cancelled"
    assert prepared.has_checkpoint("watched")


def test_a_sweep_grows_and_a_click_on_a_point_plays_its_episode(page, server, prepared):
    visit(page, server, "rtg_sweep?ask=small-dt")
    targets = page.get_by_role("textbox", name="Targets (reward)")
    targets.fill("30, x")
    targets.press("Enter")
    page.get_by_text("targets 'x' is neither a number nor start:stop:step").wait_for()
    targets.fill("30:90:30")
    targets.press("Enter")
    fill_number(page, "Episodes per target", 4)
    name = page.get_by_label("Name", exact=True)
    name.fill("asked")
    name.press("Enter")
    page.get_by_role("button", name="Run the sweep").click()
    page.wait_for_url(re.compile("sweep=asked"))
    chart = drawn(page, "Achieved against target return")
    page.wait_for_function(
        "[...document.querySelectorAll('.seqrl-chart')].some("
        "c => (c.data ?? []).some(t => t.mode === 'lines+markers' && t.customdata?.length === 3))"
    )
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0, timeout=SLOW_MS)
    means = chart.locator(".scatterlayer .trace:has(path.js-line):has(.points path) .points path")
    click_until(page, means.nth(1), r"episode=\d+")
    page.wait_for_function(f"{VIDEOS}[0]?.readyState >= 2 && {VIDEOS}[0].currentTime > 0")
    address = page.url
    fresh = page.context.browser.new_context(viewport={"width": 1440, "height": 900})
    other = fresh.new_page()
    other.set_default_timeout(SLOW_MS)
    other.goto(address)
    drawn(other, "Achieved against target return")
    for label in ("Sweep", "Point", "Episode"):
        shown = page.get_by_role("combobox", name=label, exact=True).input_value()
        expect(other.get_by_role("combobox", name=label, exact=True)).to_have_value(shown)
    other.locator("video").first.wait_for()
    fresh.close()


@pytest.mark.parametrize(
    ("path", "key", "shown", "spec"),
    [
        ("rtg_sweep", "point", "^demo.rtg$", ReturnSweepSpec(name="asks-later", runs=("small-dt",), targets=(30.0,))),
        ("beam_planning", "beam.point", "^demo.beam$", BeamSweepSpec(name="plans-later", runs=("demo/tt",))),
    ],
)
def test_the_point_of_another_sweep_leaves_the_address(page, server, prepared, path, key, shown, spec):
    waiting = spec.model_copy(update={"name": prepared.free_name("sweeps", spec.name)})
    prepared.add_sweep(waiting, kind="sweep_rtg" if path == "rtg_sweep" else "sweep_beam")
    try:
        visit(page, server, path)
        choose_option(page, "Sweep", re.compile(shown))
        page.wait_for_url(re.compile(rf"[?&]{re.escape(key)}="))
        choose_option(page, "Sweep", waiting.name)
        page.wait_for_url(lambda address: f"{key}=" not in address)
        page.get_by_text("It ended before its first point").wait_for()
    finally:
        prepared.archive_sweep(waiting.name)
