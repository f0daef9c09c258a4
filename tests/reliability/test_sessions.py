"""Many people at once: nobody sees anything of anybody else, the server keeps its size, and nothing fails."""

import json
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from seqrl import jobs
from seqrl.store import Store
from tests.conftest import CHROMIUM
from tests.reliability.conftest import SOAK
from tests.reliability.socket_visitor import visiting
from tests.reliability.visitors import THINKING_S
from tests.serving import ROOT, serving
from tests.specs import train_job
from tests.waiting import until

in_browsers = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; install the Debian package chromium")

PLACES = (
    ("", ""),
    ("datasets", "dataset=demo/cartpole"),
    ("datasets", "dataset=tiny"),
    ("bins", ""),
    ("train", "model=BC"),
    ("train", "model=TT"),
    ("runs", ""),
    ("rtg_sweep", "sweep=demo/compare"),
    ("rtg_sweep", "sweep=demo/cloning"),
    ("beam_planning", "sweep=demo/beam"),
    ("open_loop", ""),
)
TIMED = ("-m", "tests.reliability.timed_server")


@pytest.fixture
def served(built_home, tmp_path):
    """A server over a home with the dataset ``tiny``, whose reruns are timed: store, address, process."""
    home = tmp_path / "home"
    shutil.copytree(built_home, home)
    log, noted = tmp_path / "server.log", tmp_path / "reruns"
    with serving(home, log, TIMED, own_session=True, RERUNS=str(noted)) as (address, process):
        server = psutil.Process(process.pid)
        with suppress(psutil.AccessDenied, OSError):  # people have processors of their own, and do not draw on this one
            server.nice(-10)
            Path(f"/proc/{process.pid}/autogroup").write_text("-10")  # between sessions only this counts
        yield Store(home), address, server


def people(doing, *arguments):
    """The processes of `tests.reliability.visitors`."""
    command = [sys.executable, "-m", "tests.reliability.visitors", doing, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def told(visitors):
    """What everybody met, when they have gone."""
    lines = [json.loads(line) for line in visitors.stdout]
    assert visitors.wait() == 0
    return lines


def reruns(path, what):
    """Seconds of the reruns so far, in increasing order."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return sorted(float(seconds) for seconds, kind in lines if kind == what)


class Memory:
    """The resident set of a process, looked at every second: what one look finds depends on what is answered just then.

    Args:
        process: which one.
    """

    def __init__(self, process):
        self._process, self._seen, self._over = process, [], threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._over.wait(1):
            self._seen.append(self._process.memory_info().rss)

    def __enter__(self):
        self._watcher.start()
        return self

    def __exit__(self, *problem):
        self._over.set()
        self._watcher.join()

    def grown(self):
        """From the first to the last tenth of the time, medians; and what there was at first."""
        tenth = max(1, len(self._seen) // 10)
        first, last = statistics.median(self._seen[:tenth]), statistics.median(self._seen[-tenth:])
        return last / first - 1, first


def summary(seconds):
    return f"{len(seconds)}, median {statistics.median(seconds):.2f} s, p95 {seconds[int(0.95 * len(seconds))]:.2f} s"


@contextmanager
def two_trainings(store):
    """Two trainings that are still running afterwards."""
    store.set_setting("job_limit", "2")
    running = [jobs.submit(store, train_job(f"busy-{i}", steps=1_000_000, log_every=50)).id for i in range(2)]
    try:
        until(lambda: all(store.job(job_id).state == "running" for job_id in running))
        yield
        assert all(store.job(job_id).state == "running" for job_id in running)
    finally:
        for job_id in running:
            if not store.job(job_id).ended:
                jobs.cancel(store, job_id, grace_s=1.0, wait=True)


def call(address, seconds, seed):
    """One session without a browser that opens page after page."""
    chance, until_s = random.Random(seed), time.monotonic() + seconds
    with visiting(address) as visitor:
        while time.monotonic() < until_s:
            visitor.open(*chance.choice(PLACES))
            time.sleep(chance.uniform(*THINKING_S))


def test_many_sessions_are_answered_while_jobs_run(served, tmp_path, times, chance):
    """What the server alone takes: the same messages as from browsers, which draw nothing here."""
    store, address, server = served
    warm_s, seconds, count = times(5, 60), times(5, 600), times(3, 10)
    with two_trainings(store), ThreadPoolExecutor(count) as people:
        calls = [people.submit(call, address, warm_s + seconds, chance.random()) for _ in range(count)]
        time.sleep(warm_s)
        used = sum(server.cpu_times()[:2])
        (tmp_path / "reruns").write_text("")
        with Memory(server) as memory:
            for one in calls:
                one.result()
        used = sum(server.cpu_times()[:2]) - used
    grown, before = memory.grown()
    pages = reruns(tmp_path / "reruns", "click")
    print(f"whole pages of {count} sessions: {summary(pages)}, {used / len(pages):.2f} s of processor time each")
    print(f"resident set {before / 1e6:,.0f} MB, {grown:+.1%} afterwards")
    assert len(pages) >= count
    if SOAK:
        assert pages[int(0.95 * len(pages))] < 1.0
        assert grown < 0.1


@pytest.mark.browser
@in_browsers
def test_many_visitors_while_jobs_run(served, tmp_path, times, chance):
    store, address, server = served
    # memory is compared from when every page was seen (the Episode lab imports torch) and the first sessions have ended
    warm_s, seconds, count = times(8, 240), times(15, 600), times(3, 10)
    with two_trainings(store):
        visitors = people("wander", address, count, warm_s + seconds, chance.random())
        try:
            assert json.loads(visitors.stdout.readline()) == {"begun": True}
            time.sleep(warm_s)
            (tmp_path / "reruns").write_text("")
            with Memory(server) as memory:
                time.sleep(seconds - 5)
            met = told(visitors)
        finally:
            visitors.kill()
    grown, before = memory.grown()
    clicks = reruns(tmp_path / "reruns", "click")
    print(f"reruns after a click: {summary(clicks)}; of live parts: {summary(reruns(tmp_path / 'reruns', 'timer'))}")
    print(f"as the browsers saw it: {summary(sorted(second for one in met for second in one['seconds']))}")
    print(f"resident set {before / 1e6:,.0f} MB, {grown:+.1%} afterwards")
    assert len(met) == count
    assert [problem for one in met for problem in one["problems"]] == []
    assert len(clicks) >= times(1, 300)
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log and "rror" not in log, log[-2000:]
    if SOAK:
        assert clicks[int(0.95 * len(clicks))] < 1.0
        assert grown < 0.1


@pytest.mark.browser
@in_browsers
def test_two_browsers_start_trainings_at_once(served, times):
    """Never more than the limit run, none is lost, none runs twice, first in first out."""
    store, address, _ = served
    limit, count, launches = 2, 2, times(3, 20)
    store.set_setting("job_limit", str(limit))
    visitors = people("launch", address, count, launches, "dataset=tiny&quick.steps=10")
    most = 0
    try:
        while visitors.poll() is None or store.jobs(["queued", "running"]):
            most = max(most, len(store.jobs(["running"])))
            time.sleep(0.05)
    finally:
        visitors.kill()
    names = [one["name"] for one in told(visitors)]
    rows = store.jobs()
    assert sorted(row.name for row in rows) == sorted(f"{name}-{i}" for name in names for i in range(launches))
    assert {(row.state, row.attempt) for row in rows} == {("succeeded", 1)}
    assert all(store.has_checkpoint(row.name) for row in rows)
    begun = sorted(rows, key=lambda row: row.started)
    assert [row.ticket for row in begun] == sorted(row.ticket for row in rows)
    ends = sorted([(row.started, 1) for row in rows] + [(row.finished, -1) for row in rows])
    running = [sum(change for _, change in ends[: i + 1]) for i in range(len(ends))]
    print(f"{len(rows)} trainings of {count} browsers: at most {max(running)} at once, {most} were seen")
    assert max(most, *running) <= limit
