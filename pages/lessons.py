"""Lessons: eleven questions, each with a picture that answers it and controls that change it."""

from collections.abc import Sequence

import streamlit as st

from pages.shared.frame import empty_state, heading, link_to, open_store, presenting, sentence, two_columns
from pages.shared.lessons.glossary import glossary, popovers
from pages.shared.lessons.lesson import Lesson, Missing, Told
from pages.shared.lessons.records import run_it_yourself
from pages.shared.lessons.table import LESSONS
from pages.shared.tour import touring
from seqrl.store import Store

SLUGS = [lesson.slug for lesson in LESSONS]
GLOSSARY = "glossary"
PLACES = [*SLUGS, GLOSSARY]
NAMES = {lesson.slug: f"{at} of {len(LESSONS)}: {lesson.title}" for at, lesson in enumerate(LESSONS, 1)}
NAMES[GLOSSARY] = "Glossary"


def current() -> str:
    """The lesson of the address, else the last one that was open."""
    asked = st.query_params.get("lesson")
    if asked in PLACES:
        st.session_state["lesson.place"] = asked
    place: str = st.session_state.setdefault("lesson.place", SLUGS[0])
    if asked != place:
        st.query_params["lesson"] = place
    return place


def go(place: str) -> None:
    """Open a lesson, before the page is drawn again; nothing of the old one stays in the address."""
    st.session_state["lesson.place"] = place
    kept = {key: st.query_params[key] for key in ("present", "tour") if key in st.query_params}
    st.query_params.from_dict(kept | {"lesson": place})


def navigation(place: str, terms: Sequence[str] = ()) -> None:
    """Back, the list, and next, also on the keys of a presenter's remote; and the terms of the lesson.

    On the tour only the tour has a way back and on.
    """
    at, alone = PLACES.index(place), not touring()
    with st.container(horizontal=True, vertical_alignment="center"):
        if alone:
            st.button(
                "Back",
                icon=":material/arrow_back:",
                key="lesson.back",
                disabled=at == 0,
                on_click=go,
                args=(PLACES[max(0, at - 1)],),
                shortcut="PageUp",
            )

        def chosen() -> None:
            """A choice in the list opens that lesson."""
            if "lesson.list" in st.session_state:  # gone where the page was left in that moment
                go(st.session_state["lesson.list"])

        st.session_state["lesson.list"] = place
        st.selectbox(
            "Lesson",
            PLACES,
            format_func=NAMES.__getitem__,
            key="lesson.list",
            on_change=chosen,
            label_visibility="collapsed",
            width=320,
        )
        if alone:
            st.button(
                "Next",
                icon=":material/arrow_forward:",
                icon_position="right",
                key="lesson.next",
                disabled=at == len(PLACES) - 1,
                on_click=go,
                args=(PLACES[min(len(PLACES) - 1, at + 1)],),
                shortcut="PageDown",
            )
        if terms and not presenting():
            popovers(terms, place)


def missing(store: Store, lesson: Lesson, what: Missing) -> None:
    """What a lesson shows instead of a picture while its records are not here."""
    with st.container(border=True):
        st.markdown(f"#### Not on this machine yet: {what}")
        st.markdown(
            "Bundled records come with `python -m seqrl demo build`. Or make them here, with the very same jobs:"
            if lesson.recipe
            else "This lesson is computed from recorded episodes."
        )
        if lesson.recipe:
            run_it_yourself(store, lesson.recipe, primary=True)
    if not lesson.recipe:
        empty_state(
            "No recorded episodes yet",
            "Collect a dataset first; the default one takes a few seconds.",
            "Build a dataset",
            "pages/datasets.py",
            {"do": "Build"},
        )


def after(store: Store, lesson: Lesson, told: Told) -> None:
    """What to notice, where to go on, the formula, and how to make the records again."""
    with st.container(border=True):
        st.markdown(":material/visibility: **What to notice**")
        sentence(told.notice)
    if presenting():
        return
    if told.links:
        with st.container(horizontal=True):
            for link in told.links:
                link_to(link.page, link.label, link.icon, link.query)
    left, right = two_columns()
    with left, st.expander("In symbols", icon=":material/function:", expanded=False):
        st.latex(lesson.formula)
        for symbol, meaning in lesson.symbols.items():
            sign, words = st.columns([1, 3], vertical_alignment="center")
            sign.markdown(f"${symbol}$")
            words.markdown(meaning)
        st.caption("  \n".join(lesson.sources))
    if lesson.recipe:
        with right, st.expander("Run it yourself", icon=":material/play_circle:", expanded=True):
            if told.command:
                st.caption(f"The records shown were measured beforehand with `{told.command}`.")
            run_it_yourself(store, lesson.recipe)


def lesson_page(store: Store, lesson: Lesson) -> None:
    """One lesson: question, picture and controls, what to notice, and what next."""
    heading(lesson.question, lesson.opening)
    navigation(lesson.slug, lesson.terms)
    try:
        told = lesson.draw(store)
    except Missing as what:
        missing(store, lesson, what)
        return
    after(store, lesson, told)


place = current()
if place == GLOSSARY:
    heading("Glossary", "The words of this field: plain words first, then the symbol.")
    navigation(place)
    glossary()
else:
    lesson_page(open_store(), LESSONS[SLUGS.index(place)])
