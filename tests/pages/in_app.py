"""Pages drawn in the process of a test."""

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


def folds(app):
    """The names of the page's folds, each there once."""
    labels = [fold.label for fold in app.expander]
    assert len(set(labels)) == len(labels)
    return labels
