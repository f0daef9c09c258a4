"""Presenting, sharing and taking away, in Chromium, on the bundled demo with real jobs."""

import io
import json
import re
import zipfile

import pandas as pd
import pytest
from browsing import at_rest, drawn, visit
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from seqrl.checkpoints import load_model
from seqrl.config import ReturnSweepSpec
from seqrl.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PAGES = {
    "": "Ask for a return, and watch what you get",
    "playground": "Playground",
    "datasets": "Datasets",
    "bins": "Bins",
    "train": "Train",
    "runs": "Runs",
    "rtg_sweep": "RTG sweep",
    "beam_planning": "Beam planning",
    "episode_lab": "Episode lab",
    "open_loop": "Open loop",
}
LESSONS = 11
TOO_WIDE = """() => {
    const main = document.querySelector('[data-testid="stMain"]')
    const edge = main.getBoundingClientRect().left + main.clientWidth
    if (main.scrollWidth <= main.clientWidth && document.documentElement.scrollWidth <= window.innerWidth) return ''
    const over = [...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > edge + 0.5)
    const name = e => `${e.tagName} ${e.className.baseVal ?? e.className} to ${e.getBoundingClientRect().right}`
    return `${main.scrollWidth} of ${main.clientWidth}: ${over.map(name).join('; ')}`
}"""
"""What stands out to the right of the page, and by how much; empty where nothing has to be scrolled sideways."""


def all_drawn(page):
    """Wait until nothing is computed and every chart is drawn."""
    at_rest(page)
    page.wait_for_function("[...document.querySelectorAll('.seqrl-chart')].every(chart => chart.dataset.drawn)")


def fits_the_screen(page):
    """Wait until nothing has to be scrolled sideways; what stays too wide is named."""
    try:
        page.wait_for_function(f"({TOO_WIDE})() === ''", timeout=10_000)
    except PlaywrightTimeout:
        pytest.fail(f"wider than the screen at {page.url}: {page.evaluate(TOO_WIDE)}")


def download(page, name, number=0):
    """The bytes and the name of what a button gives."""
    with page.expect_download() as waiting:
        page.get_by_test_id("stMain").get_by_role("button", name=name, exact=True).nth(number).click()
    return waiting.value.path().read_bytes(), waiting.value.suggested_filename


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_projector_and_tells_what_its_pictures_show(page, server, scheme):
    page.set_viewport_size({"width": 1024, "height": 768})
    page.emulate_media(color_scheme=scheme)
    for path, title in PAGES.items():
        visit(page, server, path)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        all_drawn(page)
        fits_the_screen(page)
        for picture in (".seqrl-chart", "video", "canvas.picture", "canvas.strip"):
            expect(page.locator(f"{picture}:not([aria-label])")).to_have_count(0)
        assert not page.get_by_text("This page met a fault").count(), path
        charts = page.locator(".seqrl-chart").count()
        for form in ("PNG", "HTML", "CSV") if charts else ():  # below the chart, and drawn after it
            page.get_by_test_id("stMain").get_by_role("button", name=form, exact=True).nth(charts - 1).wait_for()


def test_eleven_lessons_are_shown_to_a_room_with_one_key(page, server):
    page.set_viewport_size({"width": 1024, "height": 768})
    visit(page, server, "lessons?lesson=return-to-go&present=1")
    questions = []
    for _ in range(LESSONS):
        page.get_by_text("What to notice").wait_for()
        page.locator(".seqrl-chart, .player").first.wait_for(state="attached")
        all_drawn(page)
        questions.append(page.get_by_role("heading", level=1).inner_text())
        fits_the_screen(page)
        page.keyboard.press("PageDown")
        expect(page.get_by_role("heading", level=1)).not_to_have_text(questions[-1])
    expect(page.get_by_role("heading", level=1)).to_have_text("Glossary")
    assert len(set(questions)) == LESSONS


def test_a_presentation_has_large_type_moving_pictures_and_is_left_with_a_key(page, server):
    visit(page, server, "")
    page.get_by_role("button", name="Present").click()
    page.wait_for_url(re.compile("present=1"))
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "20px"
    step = page.locator(".player .step")
    before = step.inner_text()
    expect(step).not_to_have_text(before)
    all_drawn(page)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stSidebar")).to_be_visible()
    expect(page).not_to_have_url(re.compile("present"))


def test_what_is_seen_is_taken_away(page, server):
    visit(page, server, "rtg_sweep?sweep=demo/rtg")
    chart = drawn(page, "Achieved against target return")
    all_drawn(page)
    html, name = download(page, "HTML")
    assert b"Plotly.newPlot" in html and name == "rtg-sweep-demo-rtg-Raw.html"
    assert {"run", "target", "mean", "low", "high"} <= set(pd.read_csv(io.BytesIO(download(page, "Points as CSV")[0])))
    spec = json.loads(download(page, "Spec as JSON")[0])
    assert ReturnSweepSpec.model_validate(spec) == Store(server[1]).sweep("demo/rtg").spec
    assert download(page, "MP4")[0][4:8] == b"ftyp"
    page.get_by_role("button", name="GIF", exact=True).click()
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=stDownloadButton]')].some(b => b.innerText.includes('GIF'))"
    )
    all_drawn(page)
    assert download(page, "GIF")[0][:4] == b"GIF8"
    picture, name = download(page, "PNG")
    assert picture[1:4] == b"PNG" and name == "rtg-sweep-demo-rtg-Raw.png"
    chart.hover()
    with page.expect_download() as waiting:
        chart.locator('[data-title^="Download plot"]').click()
    assert waiting.value.path().read_bytes()[1:4] == b"PNG"
    assert b"Plotly.newPlot" in download(page, "Strips as HTML")[0]


def test_a_run_leaves_as_an_archive_and_comes_in_again(page, server, tmp_path):
    store = Store(server[1])
    visit(page, server, "runs?runs=demo/dt&run=demo/dt")
    page.get_by_text("Export the model").click()
    page.get_by_role("button", name="Prepare the file").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("^.*ZIP, ")).click()
    path = tmp_path / "taken.zip"
    waiting.value.save_as(path)
    assert zipfile.is_zipfile(path)
    page.get_by_text("Bring a model from elsewhere").click()
    page.get_by_test_id("stButtonGroup").get_by_text("Exported run (ZIP)").click()
    page.get_by_text("Upload the ZIP archive").wait_for()
    page.get_by_test_id("stFileUploader").first.locator("input[type=file]").set_input_files(str(path))
    name = page.get_by_label("Name of the run", exact=True)
    name.fill("brought")
    name.press("Enter")
    page.get_by_role("button", name="Import the model").click()
    page.get_by_text("brought is a run now").wait_for()
    ours, theirs = (load_model(store.run_folder(name))[0].state_dict() for name in ("demo/dt", "brought"))
    assert all((ours[key] == theirs[key]).all() for key in ours)


def test_runs_are_found_ticked_and_compared_and_the_address_brings_them_back(page, server):
    visit(page, server, "runs")
    all_drawn(page)
    sought = page.get_by_role("textbox", name="Find runs")
    sought.fill("context-k5")
    sought.press("Enter")
    page.wait_for_url(re.compile("find=context-k5"))
    all_drawn(page)
    table = page.get_by_test_id("stDataFrame").first
    for row in (0, 2):
        box = table.bounding_box()
        page.mouse.click(box["x"] + 14, box["y"] + 36 + 35 * row + 17)
        drawn(page, "loss of 1 run" if row == 0 else "loss of 2 runs")
    page.wait_for_url(re.compile("runs=demo.*context-k5-seed0&runs=demo.*context-k5-seed2"))
    address = page.url
    fresh = page.context.browser.new_context(viewport={"width": 1440, "height": 900})
    other = fresh.new_page()
    other.goto(address)
    drawn(other, "loss of 2 runs")
    expect(other.get_by_role("textbox", name="Find runs")).to_have_value("context-k5")
    fresh.close()
