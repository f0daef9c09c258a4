"""What the server reads before anybody asks, and how plotly.js is handed to browsers."""

import gzip
import threading
import urllib.request

import pytest
from plotly.offline import get_plotlyjs
from small_store import fill
from streamlit.testing.v1 import AppTest

from pages.shared import ready
from pages.shared.plotly_library import library, library_name, library_route
from pages.shared.ready import make_ready
from pages.shared.sweep_view import _film
from seqrl.store import Store


def test_home_looks_up_no_film_that_was_looked_up_before(home, monkeypatch):
    fill(home)
    _film.cache_clear()
    sought, look_up = [], Store.media_path
    monkeypatch.setattr(Store, "media_path", lambda *asked: sought.append(asked[2]) or look_up(*asked))
    make_ready()
    assert sought
    sought.clear()
    assert not AppTest.from_file("../../app.py", default_timeout=30).run().exception
    assert not sought


@pytest.mark.parametrize("damaged", [False, True])
def test_a_home_with_nothing_to_show_is_left_to_the_pages(home, damaged):
    if damaged:
        home.mkdir()
        (home / "seqrl.db").write_bytes(b"this is not a database" * 100)
    make_ready()


def test_the_server_does_not_wait_for_what_is_made_ready(monkeypatch):
    served = threading.Event()
    monkeypatch.setattr(ready, "make_ready", lambda: served.wait(60))
    monkeypatch.setattr(ready, "STANDBY_AFTER_S", 0.0)
    monkeypatch.setattr(ready, "stand_by", lambda: stood_by.append(True))
    stood_by = []

    with pytest.raises(StopIteration):  # it is ready to serve, without a loop: browser tests have one in this thread
        ready.making_ready(None).__aenter__().send(None)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "making ready")
    assert thread.daemon
    assert not stood_by
    served.set()
    thread.join()
    assert stood_by


@pytest.mark.browser
def test_plotly_in_parentheses_is_plotly(page):
    shipped, sent = get_plotlyjs().rstrip(), library().decode()
    assert len(sent) == len(shipped) + 2  # else plotly.js is wrapped in another way, and browsers read it twice
    page.add_script_tag(content=sent)
    assert page.evaluate("Plotly.version") in shipped[:100]
    assert page.evaluate("typeof Plotly.react") == "function"


@pytest.mark.browser
def test_plotly_is_served_once_packed_or_not(page, server):
    address = f"{server[0]}/{library_name()}"
    with urllib.request.urlopen(address) as plain:
        assert plain.read() == library()
        assert "immutable" in plain.headers["Cache-Control"]
    asked = urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked) as packed:
        assert gzip.decompress(packed.read()) == library()
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"{server[0]}/bins")
    page.locator(".seqrl-chart[data-drawn]").first.wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Home", exact=True).click()
    page.locator('.seqrl-chart[aria-label^="Achieved"][data-drawn]').wait_for()
    assert fetched.count(address) == 1


@pytest.mark.parametrize(("base", "path"), [("", "/"), ("lab", "/lab/"), ("/a/b/", "/a/b/")])
def test_plotly_is_below_the_address_of_the_server(base, path):
    assert library_route(base).path == f"{path}{library_name()}"
