"""What a person waits for in the browser, beside what may be waited for: ``python -m benchmarks.ui [PART ...]``.

Chromium on the real app with the bundled demo and real jobs, in a fresh home. Times begin with the press of a button
or key in the page and end when what was asked for is on the screen; they go to ``benchmarks/results/ui.json``. The
parts are those of `PARTS`. All take about five minutes on a quiet machine, so `make bench` leaves them out.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.harness import Comparison, save
from benchmarks.screen import App, Onlooker, Screen
from benchmarks.workbench import Workbench
from seqrl import jobs
from seqrl.config import DecisionTransformerSpec, RunSpec, TrainingSpec, TrainJob
from seqrl.store import MetricRow, Store

ROUNDS = 3
PAGES = {
    "Lessons": "How much reward is still to come?",
    "Playground": "Playground",
    "Datasets": "Datasets",
    "Bins": "Bins",
    "Train": "Train",
    "Runs": "Runs",
    "RTG sweep": "RTG sweep",
    "Beam planning": "Beam planning",
    "Episode lab": "Episode lab",
    "Open loop": "Open loop",
    "Home": "Ask for a return, and watch what you get",
}
"""Name in the sidebar → heading."""

DRAWN = "[...document.querySelectorAll('.seqrl-chart')].every(chart => chart.dataset.drawn)"
_SURELY_THERE_S = 12.0
_LONG = TrainingSpec(steps=100_000, log_every=10, validate_every=100_000, checkpoint_every=50, threads=1)


@dataclass(frozen=True)
class Waited:
    """How long one kind of thing took.

    Attributes:
        what: in words, from what to what.
        at_most_ms: the 95th percentile that is allowed.
        times_ms: every measurement, in order.
    """

    what: str
    at_most_ms: float
    times_ms: Sequence[float]

    def percentile_ms(self, percent: float) -> float:
        """The smallest measurement that ``percent`` of all do not exceed."""
        return sorted(self.times_ms)[max(0, math.ceil(percent / 100 * len(self.times_ms)) - 1)]

    @property
    def comparison(self) -> Comparison:
        """As the harness keeps it."""
        middle = self.percentile_ms(50)
        notes = f"the 95th percentile of {len(self.times_ms)}; the median is {middle:.0f} ms"
        runs = {"each": [round(value, 1) for value in self.times_ms]}
        return Comparison(self.what, "ms", self.percentile_ms(95), runs=runs, notes=notes, at_most=self.at_most_ms)


class Bench:
    """The app with the demo, a browser in front of it, and a training to be watched."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.store = Store(self.home)
        self.app = App(self.home)

    @contextmanager
    def _training(self, name: str) -> Iterator[int]:
        """A training that goes on meanwhile, once its first figures are written; the number of its process."""
        bench = Workbench(self.home)
        bench.dataset("poles", "CartPole-v1", 200, {"poor": 0.5, "expert": 0.5})
        model = DecisionTransformerSpec(embedding_dim=32, layers=1, context_length=10)
        spec = RunSpec(name=name, dataset="poles", model=model, training=_LONG)
        job = jobs.submit(self.store, TrainJob(spec=spec))
        while not self.store.metric_rows(name) or not self.store.has_checkpoint(name):
            time.sleep(0.05)
        pid = self.store.job(job.id).pid
        assert pid is not None  # noqa: S101
        try:
            yield pid
        finally:
            if not self.store.job(job.id).ended:
                jobs.cancel(self.store, job.id, wait=True)

    def start(self) -> list[Waited]:
        """From the command to the first chart and moving picture, in a browser that is open."""
        times = []
        for _ in range(ROUNDS + 1):
            with Onlooker() as browser:
                began = time.time()
                with App(self.home) as app:
                    browser.open(app.address)
                    time.sleep(_SURELY_THERE_S)
                    moments = browser.moments(app.address, ("seqrl chart drawn", "seqrl video moves"))
                times.append(1000 * (max(moments) - began))
        return [
            Waited("the first start to chart and moving picture", 10_000, times[:1]),
            Waited("a later start to chart and moving picture", 4000, times[1:]),
        ]

    def pages(self) -> list[Waited]:
        """From the click in the sidebar to a page that stands still with all its charts."""
        times = []
        with self.app, Screen(self.app.address) as screen:
            screen.open("")
            for _ in range(ROUNDS + 1):
                for name, title in PAGES.items():
                    screen.settle()
                    link = screen.page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True)
                    times.append(screen.timed(link.click, f"heading({title!r}) && resting() && {DRAWN}"))
        first, later = times[: len(PAGES)], times[len(PAGES) :]
        return [Waited("changing page", 1000, later), Waited("a page that nobody opened before", 3000, first)]

    def controls(self) -> list[Waited]:
        """From a control that computes nothing to the picture that it changes."""
        with self.app, Screen(self.app.address) as screen:
            return [Waited("a control without computation", 400, _controls(screen))]

    def busy(self) -> list[Waited]:
        """The same beside a training; and how long after it was written a figure of that training is on the screen."""
        with self.app, Screen(self.app.address) as screen, self._training("beside"):
            times = _controls(screen)
            lags = _lags(screen, self.store, "beside")
        return [
            Waited("a control while a job trains", 700, times),
            Waited("a training metric on screen after it was written", 3000, lags),
        ]

    def episodes(self) -> list[Waited]:
        """From a point of a sweep to its video."""
        with self.app, Screen(self.app.address) as screen:
            screen.open("rtg_sweep?sweep=demo/rtg")
            screen.page.locator(".seqrl-chart[data-drawn]").first.wait_for()
            screen.settle()
            cached = [_film(screen, "sampled", target) for target in (100, 200, 300, 400, 500) * 2]
            new = [_film(screen, "greedy", target) for target in (100, 200, 300, 400, 450, 500)]
        return [
            Waited("from a point to its video, drawn before", 1000, cached[1:]),
            Waited("from a point to its video, drawn then", 4000, new),
        ]

    def steps(self) -> list[Waited]:
        """Frames of the Episode lab, the answers for a step, and episodes of the playground."""
        with self.app, Screen(self.app.address) as screen:
            screen.open("episode_lab?sweep=demo/rtg&step=20")
            screen.page.locator('.lab[data-frame="20"]').wait_for()
            screen.settle()
            asked = []
            for step in range(21, 31):
                shown = f"{DRAWN} && described('Response at step {step}') && described('Attention at step {step}')"
                asked.append(screen.timed(partial(screen.page.keyboard.press, "ArrowRight"), shown))
                screen.settle()
            frames = []
            for _ in range(100):
                screen.page.keyboard.press("ArrowRight")
                frames.append(float(screen.read("everywhere('.lab')[0].dataset.stepMs")))
            screen.open("playground")
            slider = screen.page.locator(".playground input[type=range]")
            slider.focus()
            played: list[float] = []
            for _ in range(20):
                before = screen.read("everywhere('.playground')[0].dataset.shown")
                while screen.read("everywhere('.playground')[0].dataset.shown") == before:
                    screen.page.keyboard.press("ArrowLeft" if len(played) < 10 else "ArrowRight")
                screen.wait("everywhere('.playground')[0].dataset.playMs")
                played.append(float(screen.read("everywhere('.playground')[0].dataset.playMs")))
        return [
            Waited("a frame of the Episode lab", 50, frames),
            Waited("attention and response after a step", 400, asked[1:]),
            Waited("another target of the playground", 400, played),
        ]

    def sweep(self) -> list[Waited]:
        """A new sweep of 11 targets with 10 episodes each, from the button to its first point and to its end."""
        first, last = [], []
        with self.app, Screen(self.app.address) as screen:
            for _ in range(ROUNDS):
                screen.open("rtg_sweep?ask=demo/dt")
                screen.settle()
                for label, text in (("Targets (reward)", "0:500:50"), ("Episodes per target", "10")):
                    field = screen.page.get_by_label(label, exact=True)
                    field.fill(text)
                    field.press("Enter")
                    screen.settle()
                pressed = screen.page.get_by_role("button", name="Run the sweep").click
                points = (
                    "(chart => Math.max(0, ...(chart?._fullData || []).filter(line => line.mode === 'lines+markers')"
                )
                points += ".map(line => line.x.length)))(document.querySelector('.seqrl-chart[aria-label^=Achieved]'))"
                before = screen.read(points)  # of the sweep that was shown until then
                first.append(screen.timed(pressed, f"{points} >= 1 && {points} < {before}"))
                last.append(screen.since(f"{points} === 11 && stopless()"))
        return [Waited("the first point of a new sweep", 3000, first), Waited("11 targets × 10 episodes", 15_000, last)]

    def many(self) -> list[Waited]:
        """The Runs page with 100 runs."""
        source = self.store.run("demo/dt")
        curve = [MetricRow(step, step / 20, {"loss": 0.3 + 1 / (1 + step)}) for step in range(0, 1700, 50)]
        for index in range(100):
            name = f"run-{index:03d}"
            if not self.store.has_run(name):
                self.store.add_run(source.spec.model_copy(update={"name": name, "seed": index}), source.facts)
                self.store.add_metrics(name, curve)
                self.store.set_run_progress(name, 1700, 0.3 + index / 1000)
        times = []
        with self.app, Screen(self.app.address) as screen:
            for _ in range(2 * ROUNDS):
                screen.open("train")
                screen.settle()
                link = screen.page.get_by_test_id("stSidebarNav").get_by_role("link", name="Runs", exact=True)
                times.append(screen.timed(link.click, f"heading('Runs') && resting() && {DRAWN}"))
        return [Waited("Runs with 100 runs", 1000, times[1:])]

    def ends(self) -> list[Waited]:
        """A stopped job with its checkpoint; a killed worker that shows as failed."""
        stopped, failed = [], []
        with self.app, Screen(self.app.address) as screen:
            for turn in range(ROUNDS):
                with self._training(f"stopped-{turn}"):
                    screen.open(f"runs?runs=stopped-{turn}&run=stopped-{turn}")
                    screen.settle()
                    stop = screen.page.get_by_role("button", name="Stop", exact=True)
                    stopped.append(screen.timed(stop.click, "says('stMetricValue', 'Stopped')"))
                    assert self.store.has_checkpoint(f"stopped-{turn}")  # noqa: S101
                with self._training(f"killed-{turn}") as pid:
                    screen.open(f"runs?runs=killed-{turn}&run=killed-{turn}")
                    screen.settle()
                    killed = "says('stMetricValue', 'Failed') || says('stMetricValue', 'Interrupted')"
                    failed.append(screen.timed(partial(os.kill, pid, signal.SIGKILL), killed, now=True))
        return [
            Waited("stopping a job, its last checkpoint usable", 5000, stopped),
            Waited("a killed worker shows as failed", 5000, failed),
        ]


def _controls(screen: Screen) -> list[float]:
    """Controls of several pages, each several times: milliseconds from the press to the picture that it changes."""
    page, times = screen.page, []
    redrawn = "document.querySelector('.seqrl-chart[aria-label^=\"{}\"]')?.dataset.drawn"
    for path, label, chart in (
        ("rtg_sweep?sweep=demo/rtg", "Single episodes", "Achieved"),
        ("beam_planning?beams=demo/beam", "Single episodes", "Return and time"),
        ("runs?runs=demo/dt&runs=demo/bc", "Log scale", "loss of"),
    ):
        screen.open(path)
        for _ in range(4):
            screen.settle()
            drawn, toggle = redrawn.format(chart), page.get_by_test_id("stCheckbox").filter(has_text=label)
            screen.wait(f"Number({drawn}) > 0")
            times.append(screen.timed(toggle.locator("label").click, f"Number({drawn}) > {screen.read(drawn)}"))
    screen.open("datasets?dataset=demo/cartpole")
    for view, chart in (
        ("Lengths", "Histogram of episode"),
        ("Percentiles", "Returns by percentile"),
        ("Returns", "Histogram of"),
    ):
        screen.settle()
        press = page.get_by_test_id("stButtonGroup").get_by_text(view, exact=True).click
        times.append(screen.timed(press, f"Number({redrawn.format(chart)}) > 0"))
    screen.open("lessons?lesson=greedy-or-sampled")
    for choice in ("Sampled", "Greedy", "Sampled", "Greedy"):
        screen.settle()
        screen.wait(f"Number({redrawn.format('Achieved')}) > 0")
        before = screen.read(redrawn.format("Achieved"))
        press = page.get_by_test_id("stButtonGroup").get_by_text(choice, exact=True).click
        times.append(screen.timed(press, f"Number({redrawn.format('Achieved')}) > {before}"))
    return times


def _lags(screen: Screen, store: Store, run: str, seconds: float = 40.0) -> list[float]:
    """How long after it was in the store each figure of a running training was on the screen, milliseconds."""
    screen.open(f"runs?runs={run}&run={run}")
    screen.settle()
    screen.read(
        "{ window.seen = []; const look = () => { const lines = document.querySelector('.seqrl-chart')?._fullData;"
        " const last = lines?.at(-1)?.x?.at(-1); if (last !== undefined && last !== window.seen.at(-1)?.[1])"
        " window.seen.push([Date.now(), last]);"
        " requestAnimationFrame(look); }; look(); }"
    )
    written: dict[int, float] = {}
    until = time.time() + seconds
    while time.time() < until:
        for row in store.metric_rows(run, after_step=max(written, default=-1)):
            written[row.step] = 1000 * time.time()
        time.sleep(0.01)
    shown = screen.read("window.seen")
    first, waiting = min(written), sorted(written)
    lags = []
    for moment, last in shown[1:]:
        while waiting and waiting[0] <= last:
            step = waiting.pop(0)
            if step > first:  # the first look found many at once
                lags.append(moment - written[step])
    return lags


def _film(screen: Screen, decoding: str, target: float) -> float:
    """Milliseconds from the click on a point of the demo's chart until its video moves."""
    place = screen.read(f"place('demo/dt', {decoding!r}, {target})")
    screen.read("{ window.old = everywhere('video')[0]?.src; }")
    moving = "everywhere('video').some(video => video.src !== old && video.readyState >= 2 && video.currentTime > 0)"
    waited = screen.timed(partial(screen.page.mouse.click, *place), moving)
    screen.settle()
    return waited


PARTS = ("start", "pages", "controls", "busy", "episodes", "steps", "sweep", "many", "ends")


def table(waited: Sequence[Waited]) -> str:
    """What was waited for, beside what may be."""
    lines = [f"{'what':58} {'n':>4} {'p50':>9} {'p95':>9} {'at most':>9}"]
    for row in waited:
        figures = (row.percentile_ms(50), row.percentile_ms(95), row.at_most_ms)
        shown = " ".join(f"{value:>6,.0f} ms" if value >= 10 else f"{value:>6.1f} ms" for value in figures)
        lines.append(f"{row.what:58} {len(row.times_ms):>4} {shown}{'' if figures[1] <= figures[2] else '  too long'}")
    return "\n".join(lines)


if __name__ == "__main__":
    everything: list[Waited] = []
    for part in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory(prefix="seqrl-ui-") as temporary:
            everything += getattr(Bench(Path(temporary)), part)()
        print(f"{part} is measured", file=sys.stderr, flush=True)
    print(table(everything))
    if not sys.argv[1:]:
        print(f"\nin {save('ui', [row.comparison for row in everything])}")
