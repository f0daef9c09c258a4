"""The choice where jobs run, in the sidebar of every page."""

import importlib.util
import socket

import pytest
from streamlit.testing.v1 import AppTest

from seqrl.jobs.choice import BACKEND_SETTING, BACKEND_VARIABLE, Choice, choice
from seqrl.store import Store


@pytest.fixture
def app(home, monkeypatch):
    """The home page; Ray counts as installed, and nothing of it is imported."""
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: name == "ray" or found(name, *rest))
    return AppTest.from_file("../../app.py", default_timeout=30)


def labels(app):
    """What the popovers of the sidebar say."""
    return [block.proto.popover.label for block in app.sidebar.children.values() if block.type == "popover"]


def use(app, address):
    app.segmented_control(key="place.backend").set_value("ray").run()
    app.text_input(key="place.address").set_value(address)
    app.button(key="place.use").click().run()


def test_a_cluster_is_chosen_and_shown(app, home):
    app.run()
    assert labels(app) == ["Jobs run here"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        use(app, address)
        assert not app.error
    assert choice(Store(home)) == Choice("ray", address)
    assert labels(app) == [f"Ray at {address}"]
    app.segmented_control(key="place.backend").set_value("local").run()
    app.button(key="place.use").click().run()
    assert choice(Store(home)) == Choice("local") and labels(app) == ["Jobs run here"]


def test_an_address_that_does_not_answer_is_a_sentence(app, home):
    use(app.run(), "127.0.0.1:1")
    (error,) = app.error
    assert error.value.startswith("No Ray cluster answers at 127.0.0.1:1 (")
    assert choice(Store(home)) == Choice("local")


def test_what_the_environment_says_is_shown_and_not_offered(app, monkeypatch):
    monkeypatch.setenv(BACKEND_VARIABLE, "local")
    app.run()
    assert labels(app) == ["Jobs run here"]
    assert not [button for button in app.button if button.key == "place.use"]
    assert any(BACKEND_VARIABLE in markdown.value for markdown in app.sidebar.markdown)


def test_a_choice_that_can_no_longer_be_kept_leaves_the_way_out(app, home, monkeypatch):
    Store(home).set_setting(BACKEND_SETTING, "ray")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else found(name, *rest))
    app.run()
    assert "Ray is not installed" in app.error[0].value
    app.segmented_control(key="place.backend").set_value("local").run()
    app.button(key="place.use").click().run()
    assert not app.error and choice(Store(home)) == Choice("local")
