"""Names in forms: what was typed stays, what was proposed is free."""

import pytest
from streamlit.testing.v1 import AppTest

from seqrl.store import Store
from tests.specs import dataset_spec


def form():
    import streamlit as st

    from pages.shared.names import name_field, name_used

    st.write(name_field(st.container(), "Name", "walk", "form"))
    st.button("Start", on_click=name_used)


def take(home, name):
    """Somebody else starts something of this name."""
    Store(home).add_dataset(name, source=dataset_spec(name).model_dump(mode="json"))


@pytest.fixture
def app(home):
    Store(home)
    return AppTest.from_function(form, default_timeout=30).run()


def said(app):
    assert not app.exception, app.exception[0].message
    return app.markdown[0].value


def test_what_was_typed_stays_whatever_others_start(app, home):
    app.text_input[0].input("mine").run()
    take(home, "walk")
    take(home, "other")
    assert said(app.run()) == "mine"


def test_a_proposal_that_somebody_took_is_replaced(app, home):
    assert said(app) == "walk"
    take(home, "walk")
    assert said(app.run()) == "walk-2"


def test_after_a_start_the_next_free_name_is_proposed(app, home):
    app.text_input[0].input("mine").run()
    take(home, "mine")
    assert said(app.run()) == "mine"  # it is typed again on purpose: the refusal says that it is taken
    app.button[0].click().run()
    assert said(app) == "walk"


@pytest.mark.parametrize("left", ["runs/walk/checkpoint", "sweeps/walk/parts"])
def test_a_name_whose_folder_holds_results_is_not_proposed(app, home, left):
    (home / left).mkdir(parents=True)
    assert said(app.run()) == "walk-2"
