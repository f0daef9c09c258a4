"""The real app on a free port of 127.0.0.1, a real browser, and homes with something in them."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from streamlit.runtime.pages_manager import PagesManager

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Address and home of one running app; stopped by its process, jobs and all."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home.parent / "server.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
            cwd=ROOT,
            env=os.environ | {"SEQRL_HOME": str(home)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(480):
            if process.poll() is not None:
                raise RuntimeError(f"the app did not start: {log.read_text()}")
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.25)
        yield address, home
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def page(browser):
    """A fresh profile; any error that the page throws fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(90_000)
    thrown = []
    opened.on("pageerror", lambda error: thrown.append(str(error)))
    yield opened
    context.close()
    assert not thrown


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home for in-process runs of the app, on a server that has run ``app.py`` before.

    `AppTest` forgets between runs that ``st.navigation`` was called; a running server does not.
    """
    begin = PagesManager.__init__

    def begin_after_navigation(self, *arguments, **keywords):
        begin(self, *arguments, **keywords)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", begin_after_navigation)
    monkeypatch.setenv("SEQRL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("seqrl.store.base.PACKAGED_BUNDLE", tmp_path / "no bundle")
    yield tmp_path / "home"
    shutil.rmtree(tmp_path / "home", ignore_errors=True)
