"""What journeys in the browser share: run jobs beforehand, visit, type, wait for a chart."""

from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from seqrl import jobs

SLOW_MS = 90_000
"""Far more than anything takes: other tests run beside the browser."""

VIDEOS = """(() => {
    const inside = root => [...root.querySelectorAll('*')].flatMap(
        e => [...(e.tagName === 'VIDEO' ? [e] : []), ...(e.shadowRoot ? inside(e.shadowRoot) : [])])
    return inside(document)
})()"""
"""Every <video> of a page, those of its components included."""

expect.set_options(timeout=SLOW_MS)


def finish(store, job):
    """Run a job to its end, and say why if it did not succeed."""
    row = jobs.wait(store, jobs.submit(store, job).id)
    assert row.state == "succeeded", f"{row.error}\n{jobs.log_tail(store, row.id)}"


def visit(page, server, path):
    """Open a page of the app and wait for its heading."""
    page.goto(f"{server[0]}/{path}")
    page.get_by_role("heading", level=1).wait_for()


def fill_number(page, label, value):
    """Type a number and leave the field, once the page is drawn: a field that is just drawn anew forgets it."""
    at_rest(page)
    field = page.get_by_label(label, exact=True)
    expect(field).to_have_count(1)
    field.fill(str(value))
    field.press("Enter")


def drawn(page, name):
    """The chart whose description starts so, once it is drawn and the one before it is gone."""
    chart = page.locator(f'.seqrl-chart[aria-label^="{name}"][data-drawn]')
    expect(chart).to_have_count(1, timeout=90_000)
    chart.wait_for()
    return chart


def at_rest(page):
    """Wait until no script runs and what stood on the page before is gone."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def choose_option(page, label, option):
    """Open a list and take one of it; a list that is closed by what is being drawn is opened again, as a hand would."""
    box, wanted = page.get_by_role("combobox", name=label, exact=True), page.get_by_role("option", name=option)
    for _ in range(5):
        box.click()
        try:
            wanted.click(timeout=6000)
            return
        except PlaywrightTimeout:
            page.keyboard.press("Escape")
    wanted.click()
