"""Tokens and plans in Chromium: on the bundled Trajectory Transformer, with real jobs where something is measured."""

import re

import pytest
from browsing import SLOW_MS, at_rest, drawn, fill_number, visit
from playwright.sync_api import expect

from seqrl import jobs
from seqrl.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def sentence_under(chart):
    """What a chart says to those who cannot see it: its title and its sentence."""
    return chart.get_attribute("aria-label")


def rounding_error(page, bins):
    """The error of uniform bins that the chart states for this number of bins."""
    chart = page.locator(f'.seqrl-chart[aria-label*="With {bins} bins"][data-drawn]')
    chart.wait_for()
    return float(re.search(r"costs .*?([\d.e×−⁻⁰¹²³-]+) with uniform bins", sentence_under(chart)).group(1))


def run_and_wait(page, server, name, parameter):
    """Name the sweep of an open form, run it, and wait until it is measured."""
    field = page.get_by_label("Name", exact=True)
    for _ in range(3):  # typed while the page was just drawn anew, it is forgotten
        at_rest(page)
        field.fill(name)
        field.press("Enter")
        at_rest(page)
        if field.input_value() == name:
            break
    page.get_by_role("button", name="Run the sweep").click()
    page.wait_for_url(re.compile(f"{parameter}={name}"))
    store = Store(server[1])
    row = jobs.wait(store, store.sweep(name).job_id)
    assert row.state == "succeeded", f"{row.error}\n{jobs.log_tail(store, row.id)}"
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0, timeout=SLOW_MS)


def test_fewer_bins_round_more_and_the_chart_says_by_how_much(page, server):
    visit(page, server, "bins?bins.of=dataset+demo/cartpole&bins.view=Rounding+error&bins=100")
    fine = rounding_error(page, 100)
    slider = page.get_by_role("slider", name="Bins")
    slider.focus()
    slider.press("Home")
    coarse = rounding_error(page, 3)
    assert coarse > 10 * fine > 0
    assert "bins=3" in page.url


def test_a_click_on_a_token_explains_it(page, server):
    visit(page, server, "bins?bins.of=run+demo/tt&bins.view=An+episode")
    chart = drawn(page, "Episode 0 as tokens")
    plot = chart.locator(".nsewdrag").first.bounding_box()
    page.mouse.click(plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2)
    page.wait_for_url(re.compile(r"token=\d+"))
    step, dimension = re.search(r"token=(\d+)(?:%2C|,)(?:\+|%20)?(\d+)", page.url).groups()
    expect(page.get_by_text(f"Step {step}", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stMetricValue").nth(1)).to_have_text(re.compile(r"\d+ of \d+"))
    expect(page.get_by_text("Stands for", exact=True)).to_be_visible()
    assert int(dimension) < 7


def test_a_beam_sweep_is_run_and_drawn(page, server):
    visit(page, server, "beam_planning?plan.with=demo/tt")
    for label, text in (("Beam widths", "0, x"), ("Horizons (steps)", "1")):
        field = page.get_by_role("textbox", name=label)
        field.fill(text)
        field.press("Enter")
    page.get_by_text("widths 'x' is neither a number nor start:stop:step").wait_for()
    field = page.get_by_role("textbox", name="Beam widths")
    field.fill("0, 1")
    field.press("Enter")
    fill_number(page, "Episodes per point", 1)
    run_and_wait(page, server, "looking-ahead", "beams")
    drawn(page, "Return and time per decision against beam width")
    table = Store(server[1]).sweep_episodes("looking-ahead")
    assert table.groupby(["width", "horizon"]).size().to_dict() == {(0, 0): 1, (1, 1): 1}
    page.get_by_role("combobox", name="Point", exact=True).click()
    page.get_by_role("option", name="demo/tt · width 1 · horizon 1").click()
    expect(page.get_by_text("in its only episode")).to_be_visible()
    drawn(page, "Futures imagined at step 10 over what then happened")


def test_the_futures_of_any_decision_can_be_opened_and_linked_to(page, server):
    visit(page, server, "beam_planning?beams=demo/beam")
    drawn(page, "Futures imagined at step 10 over what then happened")
    slider = page.get_by_role("slider", name="Decision at step")
    slider.focus()
    for _ in range(7):
        slider.press("ArrowRight")
    chart = drawn(page, "Futures imagined at step 17 over what then happened")
    page.wait_for_url(re.compile(r"decision.*=17"))
    told = sentence_under(chart)
    assert page.evaluate("document.querySelectorAll('.seqrl-chart[aria-label^=\"Futures\"] .js-line').length") > 4
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert sentence_under(drawn(page, "Futures imagined at step 17 over what then happened")) == told


def test_three_families_are_compared_in_one_chart(page, server):
    visit(page, server, "rtg_sweep?ask=demo/dt&ask=demo/bc&ask=demo/tt")
    targets = page.get_by_role("textbox", name="Targets (reward)")
    targets.fill("30, 60")
    targets.press("Enter")
    fill_number(page, "Episodes per target", 2)
    page.get_by_text("2 targets × 2 episodes").wait_for()
    page.get_by_text("More settings").click()
    fill_number(page, "Beam width (beams)", 2)
    fill_number(page, "Horizon (steps)", 2)
    run_and_wait(page, server, "three-families", "sweep")
    chart = drawn(page, "Achieved against target return")
    for family in ("DT", "BC", "TT"):
        expect(chart.locator(".annotation").filter(has_text=re.compile(rf"^{family}\b")).first).to_be_visible()
    expect(
        page.get_by_text("takes the one whose predicted return is nearest to what is still asked for")
    ).to_be_visible()
    table = Store(server[1]).sweep_episodes("three-families")
    assert set(table["run"]) == {"demo/dt", "demo/bc", "demo/tt"}
    planning = Store(server[1]).sweep("three-families").spec.planning
    assert (planning.beam_width, planning.horizon) == (2, 2)
