"""What the server reads before anybody asks, and how plotly.js is handed to browsers."""

import asyncio
import threading

import pytest
from plotly.offline import get_plotlyjs
from small_store import fill
from streamlit.testing.v1 import AppTest

from pages.shared.charts import library
from pages.shared.ready import make_ready, making_ready
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


def test_the_server_does_not_wait_for_what_is_made_ready(home):
    async def served():
        async with making_ready(None):
            return [thread for thread in threading.enumerate() if thread.name == "making ready"]

    (thread,) = asyncio.run(served())
    assert thread.daemon
    thread.join()


@pytest.mark.browser
def test_plotly_in_parentheses_is_plotly(page):
    shipped, sent = get_plotlyjs().rstrip(), library().decode()
    assert len(sent) == len(shipped) + 2  # else plotly.js is wrapped in another way, and browsers read it twice
    page.add_script_tag(content=sent)
    assert page.evaluate("Plotly.version") in shipped[:100]
    assert page.evaluate("typeof Plotly.react") == "function"
