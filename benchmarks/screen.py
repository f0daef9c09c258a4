"""The app in a process of its own, and Chromium in front of it; what is waited for is timed inside the page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_FRESH = ("--no-first-run", "--disable-component-update", "--disable-extensions", "--disable-sync")
_SETTLED_S = 3.0
_PATIENCE_MS = 40_000
_POLL_S = 0.02
_LOOK_MS = 20
"""Between looks at a condition: to look before every frame makes the browser draw them all, half a processor's work."""


# What conditions are made of, and the moment of the last press, taken before anything of the page hears of it. Roots of
# shadows are noted when they are made, since to look for them all takes longer than a frame.
_HELPERS = """
const shadows = new Set(), attachShadow = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (...given) {
  const root = attachShadow.apply(this, given);
  shadows.add(root);
  return root;
};
window.everywhere = selector => [document, ...[...shadows].filter(root => root.host.isConnected)].flatMap(
  root => [...root.querySelectorAll(selector)]);
window.heading = text => document.querySelector('h1')?.innerText.trim() === text;
window.resting = () => !!document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]');
window.described = text => [...document.querySelectorAll('.seqrl-chart')].some(
  chart => chart.dataset.drawn && chart.getAttribute('aria-label').startsWith(text + '.'));
window.says = (testid, text) => [...document.querySelectorAll(`[data-testid=${testid}]`)].some(
  element => element.innerText.trim() === text);
window.stopless = () => ![...document.querySelectorAll('button')].some(button => button.innerText.includes('Stop'));
window.place = (...point) => {
  const chart = document.querySelector('.seqrl-chart[aria-label^=Achieved]'), box = chart.getBoundingClientRect();
  const { xaxis, yaxis } = chart._fullLayout, wanted = JSON.stringify(point);
  for (const line of chart._fullData) {
    const at = (line.customdata || []).findIndex(told => JSON.stringify(told) === wanted);
    if (at < 0) continue;
    return [box.left + xaxis._offset + xaxis.l2p(line.x[at]), box.top + yaxis._offset + yaxis.l2p(line.y[at])];
  }
};
for (const press of ['pointerdown', 'keydown'])
  window.addEventListener(press, () => { window.pressed = performance.now(); }, true);
"""


class App:
    """The app on a port of its own; a context manager that ends it.

    Args:
        home: of its store.
    """

    def __init__(self, home: Path) -> None:
        self._environment = os.environ | {"SEQRL_HOME": str(home)}

    def __enter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=quiet, stderr=quiet)
        self.address = f"http://127.0.0.1:{port}"
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=1):
                    return self
            except OSError:
                if self._process.poll() is not None:
                    raise RuntimeError("the app did not start; see what `make app` says") from None
                time.sleep(_POLL_S)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


class Onlooker:
    """A browser with a fresh profile, open already, in which nobody looks over the page's shoulder until it stands.

    A browser that is driven by a program notes where every exception was thrown, also those that libraries catch: for
    plotly.js, whose functions are nested in a single one of 4.8 MB, that takes longer than all the rest of reading it.
    What a page does first is therefore timed by its own marks, and these are read when it is done.
    """

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(prefix="seqrl-browser-")
        command = [CHROMIUM, "--headless", "--window-size=1440,900", "--remote-debugging-port=0", *_ARGUMENTS, *_FRESH]
        command += [f"--user-data-dir={self._profile.name}", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        told = Path(self._profile.name) / "DevToolsActivePort"
        while not (told.is_file() and told.read_text().count("\n")):
            time.sleep(_POLL_S)
        self._door = f"http://127.0.0.1:{told.read_text().split()[0]}"
        time.sleep(_SETTLED_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._profile.cleanup()

    def open(self, address: str) -> None:
        """Open a page in a tab of its own."""
        request = urllib.request.Request(f"{self._door}/json/new?{address}", method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def moments(self, address: str, marks: Sequence[str]) -> list[float]:
        """When the page at an address first set each of its marks, seconds since the epoch."""
        from playwright.sync_api import sync_playwright  # of the tests' environment; `make bench` has none

        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(self._door)
            page = next(one for one in browser.contexts[0].pages if one.url.startswith(address))
            told = [
                page.evaluate(
                    "mark => performance.timeOrigin + performance.getEntriesByName(mark)[0]?.startTime || null", mark
                )
                for mark in marks
            ]
            if None in told:
                raise RuntimeError(f"{address} has not set the marks {marks} yet: {told}")
            return [moment / 1000 for moment in told]


class Screen:
    """A browser with a fresh profile; a context manager that closes it.

    Args:
        address: of the app.
        width: of the window, pixels.
        height: of the window, pixels.
    """

    def __init__(self, address: str, width: int = 1440, height: int = 900) -> None:
        self.address, self._size = address, {"width": width, "height": height}

    def __enter__(self) -> Self:
        from playwright.sync_api import sync_playwright  # of the tests' environment; `make bench` has none

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        self.page = self._browser.new_page(viewport=self._size)  # type: ignore[arg-type]
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.add_init_script(_HELPERS)
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()

    def open(self, path: str) -> None:
        """Go to a page, as with a link from elsewhere."""
        self.page.goto(f"{self.address}/{path}")
        self.page.get_by_role("heading", level=1).wait_for()

    def read(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.page.evaluate(f"() => {expression}")

    def wait(self, condition: str) -> None:
        """Wait until a condition holds in the page."""
        self.page.wait_for_function(f"() => !!({condition})", polling=_LOOK_MS)

    def settle(self) -> None:
        """Wait until nothing is computed or drawn."""
        for _ in range(2):
            self.wait("resting() && [...document.querySelectorAll('.seqrl-chart')].every(chart => chart.dataset.drawn)")
            self.page.wait_for_timeout(300)

    def timed(self, act: Callable[[], object], condition: str, *, now: bool = False) -> float:
        """Milliseconds from a press until a condition is seen to hold, at most `_LOOK_MS` late.

        Args:
            act: presses a button or key of the page.
            condition: in the page; must not hold before.
            now: begin when ``act`` is called, because it presses nothing.
        """
        if now:
            self.read("{ window.pressed = performance.now(); }")
        act()
        return self.since(condition)

    def since(self, condition: str) -> float:
        """Milliseconds from the last press until a condition is seen to hold."""
        waited = self.page.wait_for_function(
            f"() => ({condition}) ? performance.now() - window.pressed : false", polling=_LOOK_MS
        )
        return float(waited.json_value())
