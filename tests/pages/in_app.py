"""Pages drawn in the process of a test."""

from urllib.parse import parse_qsl

from streamlit.testing.v1 import AppTest


def open_page(name, **query):
    """The page, drawn once inside the app."""
    app = AppTest.from_file("../../app.py", default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    if name != "home":
        app.switch_page(f"pages/{name}.py").run()
    assert not app.exception, app.exception[0].message
    return app


def go_on(app, name, query=""):
    """Open another page in the same session: from the sidebar, or with the address of a link."""
    app.query_params = dict(parse_qsl(query))
    app.switch_page(f"pages/{name}.py")._run()  # a browser, other than `run`, sends nothing of the page that it leaves
    assert not app.exception, app.exception[0].message
    return app


def press_link(app, label):
    """Follow a link to another page."""
    link = next(link.proto for link in app.page_link if link.value == label)
    return go_on(app, link.page, link.query_string)


def folds(app):
    """The names of the page's folds, each there once."""
    labels = [fold.label for fold in app.expander]
    assert len(set(labels)) == len(labels)
    return labels
