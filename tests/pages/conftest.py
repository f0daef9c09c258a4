"""A page of a real browser, and homes for the app in this process."""

import shutil

import pytest
from streamlit.runtime.pages_manager import PagesManager


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
