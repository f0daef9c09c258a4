"""Many people at once: nobody sees anything of anybody else, the server keeps its size, and nothing fails."""

import statistics
import time

import psutil
import pytest
from playwright.sync_api import Error as PlaywrightError

from seqrl import jobs
from seqrl.config import DatasetJob
from seqrl.store import Store
from tests.specs import dataset_spec, train_job
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PAGES = ("", "datasets", "bins", "train", "runs", "rtg_sweep", "beam_planning")
WAIT_MS = 60_000
DONE = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"


class Visitor:
    """One browser profile that clicks about, and writes its own name where it can be seen.

    Args:
        browser: a running Chromium.
        address: of the app.
        name: what it writes.
        chance: random numbers.
    """

    def __init__(self, browser, address, name, chance):
        self.context = browser.new_context(viewport={"width": 1200, "height": 800})
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.address, self.name, self.chance = address, name, chance
        self.seconds = []

    def wait(self):
        self.page.wait_for_function(DONE)

    def visit(self):
        self.page.goto(f"{self.address}/{self.chance.choice(PAGES)}")
        self.page.get_by_role("heading", level=1).wait_for()
        self.wait()

    def click(self):
        """Click a control that changes the view, and time the run of the script that follows."""
        options = self.page.locator("[data-testid=stMain] [data-testid=stBaseButton-segmented_control]").all()
        options += self.page.locator("[data-testid=stMain] label:has(input[role=switch]:not([disabled]))").all()
        if not options:
            return
        started = time.perf_counter()
        try:
            self.chance.choice(options).click(timeout=5000)
        except PlaywrightError:
            return  # it was drawn anew, as a hand would see
        time.sleep(0.05)
        self.wait()
        self.seconds.append(time.perf_counter() - started)

    def sign(self):
        """Write the own name into the form of Train; it must be there when everybody has written theirs."""
        self.page.goto(f"{self.address}/train")
        field = self.page.get_by_label("Name", exact=True)
        field.fill(self.name)
        field.press("Enter")
        self.wait()

    def signature(self):
        self.wait()
        return self.page.get_by_label("Name", exact=True).input_value()


def server_process(address):
    port = int(address.rpartition(":")[2])
    listening = (one for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN)
    return psutil.Process(next(one.pid for one in listening if one.laddr.port == port))


def test_many_visitors_while_jobs_run(browser, server, times, chance):
    address, home = server
    store = Store(home)
    process = server_process(address)
    visitors = [Visitor(browser, address, f"visitor-{number}", chance) for number in range(times(3, 10))]
    store.set_setting("job_limit", "2")
    running = busy_jobs(store)
    try:
        for visitor in visitors:
            visitor.sign()
        assert [visitor.signature() for visitor in visitors] == [visitor.name for visitor in visitors]
        for visitor in visitors:
            visitor.visit()
        before = process.memory_info().rss
        end = time.monotonic() + times(20, 600)
        while time.monotonic() < end:
            visitor = chance.choice(visitors)
            visitor.visit() if chance.random() < 0.1 else visitor.click()
        shown = [visitor.page.locator("[data-testid=stException]").count() for visitor in visitors]
        assert shown == [0] * len(visitors)
        timed = sorted(second for visitor in visitors for second in visitor.seconds)
        assert len(timed) >= times(3, 500)
        grown = process.memory_info().rss / before - 1
        print(
            f"{len(timed)} clicks: median {statistics.median(timed):.2f} s, p95 {timed[int(0.95 * len(timed))]:.2f} s"
        )
        print(f"resident set {before / 1e6:,.0f} MB, {grown:+.1%} afterwards")
        assert "Traceback" not in (home.parent / "server.log").read_text()
    finally:
        store.set_setting("job_limit", None)
        for job_id in running:
            jobs.cancel(store, job_id, grace_s=1.0, wait=True)
        for visitor in visitors:
            visitor.context.close()


def busy_jobs(store):
    """Two trainings that last longer than this test, on data of their own."""
    name = f"busy-{time.time_ns()}"
    row = jobs.wait(store, jobs.submit(store, DatasetJob(spec=dataset_spec(name))).id)
    assert row.state == "succeeded", row.error
    submitted = [
        jobs.submit(store, train_job(f"{name}-{number}", dataset=name, steps=1_000_000, log_every=50)).id
        for number in range(2)
    ]
    until(lambda: all(store.job(job_id).state == "running" for job_id in submitted))
    return submitted
