"""Lessons, tour and report in Chromium, on the bundled demo."""

import re

import pytest
from browsing import at_rest, drawn, visit
from playwright.sync_api import expect

from pages.shared.tour import STOPS
from seqrl.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_a_lesson_is_a_link_and_a_remote_walks_on_and_back(page, server):
    visit(page, server, "lessons?lesson=greedy-or-sampled")
    expect(page.get_by_role("heading", level=1)).to_have_text("Should it take the likeliest action, or draw one?")
    drawn(page, "Achieved against target return")
    page.keyboard.press("PageDown")
    page.wait_for_url(re.compile("lesson=context"))
    page.keyboard.press("PageUp")
    page.wait_for_url(re.compile("lesson=greedy-or-sampled"))


def test_a_control_changes_the_picture_and_its_sentence(page, server):
    visit(page, server, "lessons?lesson=greedy-or-sampled")
    chart = drawn(page, "Achieved against target return")
    before = chart.get_attribute("aria-label")
    page.get_by_role("radio", name="Sampled", exact=True).or_(
        page.get_by_role("button", name="Sampled", exact=True)
    ).click()
    page.wait_for_url(re.compile("greedy.by=Sampled"))
    expect(chart).not_to_have_attribute("aria-label", before)


def test_a_term_opens_where_it_is_used(page, server):
    visit(page, server, "lessons?lesson=greedy-or-sampled")
    page.get_by_role("button", name="calibration").click()
    expect(page.get_by_text("How close the mean return of many episodes comes to what was asked for.")).to_be_visible()


def test_a_lesson_leads_to_the_very_state_in_the_product(page, server):
    visit(page, server, "lessons?lesson=greedy-or-sampled")
    page.get_by_role("link", name="Open this sweep").click()
    page.wait_for_url(re.compile("rtg_sweep.*sweep=demo"))
    expect(page.get_by_role("combobox", name="Sweep", exact=True)).to_have_value("demo/rtg")


def test_the_tour_goes_through_the_real_pages_there_and_back(page, server):
    visit(page, server, "")
    page.get_by_role("button", name="Start the tour").click()
    for number, stop in enumerate(STOPS, 1):
        page.get_by_text(f"Stop {number} of {len(STOPS)}").wait_for()
        for name in {"lesson", "sweep", "dataset"} & set(stop.query):
            page.wait_for_url(re.compile(f"[?&]{name}={stop.query[name].replace('/', '(%2F|/)')}(&|$)"))
        at_rest(page)
        if number < len(STOPS):
            page.keyboard.press("PageDown")
    page.keyboard.press("PageUp")
    page.get_by_text(f"Stop {len(STOPS) - 1} of").wait_for()
    page.get_by_role("button", name="Leave the tour").click()
    expect(page.get_by_text(f"Stop {len(STOPS) - 1} of")).to_have_count(0)


def test_the_tour_goes_on_from_an_address_that_says_something_else(page, server):
    number = next(at for at, stop in enumerate(STOPS, 1) if stop.page == "pages/datasets.py")
    visit(page, server, f"datasets?dataset=demo/walks&view=Lengths&tour={number}")
    drawn(page, "Histogram of episode lengths")
    page.get_by_role("button", name="Next").click()
    page.get_by_text(f"Stop {number + 1} of").wait_for()
    expect(page.get_by_role("heading", level=1)).to_have_text("Train")
    expect(page.get_by_role("combobox", name="Dataset", exact=True)).to_have_value("demo/cartpole")


def test_a_formula_is_typeset_with_its_symbols_and_sources(page, server):
    visit(page, server, "lessons?lesson=luck")
    page.get_by_text("In symbols").click()
    page.locator(".katex-display").first.wait_for()
    expect(page.get_by_text("how likely the return is after action")).to_be_visible()
    expect(page.get_by_text("You can't count on luck")).to_be_visible()


def test_a_lesson_is_run_by_the_visitor_with_real_jobs(page, server):
    visit(page, server, "lessons?lesson=luck")
    page.get_by_role("button", name="Run it yourself").click()
    page.get_by_text(re.compile("of [23] jobs done")).wait_for()
    own = page.get_by_test_id("stButtonGroup").get_by_text("my-luck", exact=True)
    own.wait_for()
    own.click()
    page.wait_for_url(re.compile("records=my-luck"))
    drawn(page, "Achieved against target return")
    assert Store(server[1]).sweep("my-luck").state == "succeeded"


def test_a_projector_sees_the_question_the_picture_and_what_to_notice(page, server):
    page.set_viewport_size({"width": 1024, "height": 768})
    visit(page, server, "lessons?lesson=low-middle-high&present=1")
    page.get_by_text("What to notice").wait_for()
    expect(page.get_by_text("Run it yourself")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1024


def test_a_report_opens_without_the_server(page, server, tmp_path):
    visit(page, server, "rtg_sweep?sweep=demo/rtg")
    drawn(page, "Achieved against target return")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Report", exact=True).click()
    waiting.value.save_as(tmp_path / "report.html")
    page.context.set_offline(True)
    page.goto(f"file://{tmp_path}/report.html")
    expect(page.get_by_role("heading", level=1)).to_have_text("demo/rtg")
    page.locator(".plotly-graph-div .main-svg").first.wait_for()
    page.wait_for_function("[...document.querySelectorAll('video')].some(video => video.readyState >= 2)")
