"""What all pages share: heading, theme, presentation mode, empty states, and errors as one sentence."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs, urlencode

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.pages_manager import PagesManager

from pages.shared.plain import plain
from seqrl.config import explain
from seqrl.files import is_disk_full
from seqrl.plots import Theme
from seqrl.plots.format import enumerate_words
from seqrl.store import RunRow, Store
from seqrl.store.database import DISK_FULL, describe

log = logging.getLogger("seqrl.pages")

_PARCEL = "go"
_WITHOUT_WIDGETS = "episode_lab"
"""The page whose address names no widget: what other pages keep under these names is theirs."""

_WHOLE = "page.whole"

Query = Mapping[str, str | Sequence[str]]
"""The state of a page as its address has it; several values where a widget takes several, empty text for a default."""

ICON = Path(__file__).with_name("icon.png")

_PAGE_CSS = """
<style>
[data-testid="stMainBlockContainer"] {
  padding-left: clamp(1.25rem, 3vw, 3.5rem);
  padding-right: clamp(1.25rem, 3vw, 3.5rem);
}
h1 { padding-top: 0; }
[data-testid="stPageLink"] p { white-space: normal; }
.st-key-seqrl_plotly { position: absolute; width: 0; overflow: hidden; }
@media (max-width: 1200px) {
  section[data-testid="stSidebar"][data-collapsed="false"] { width: 14rem !important; min-width: 14rem !important; }
}
</style>
"""
_PRESENT_CSS = """
<style>
html { font-size: 20px; }
section[data-testid="stSidebar"], header[data-testid="stHeader"] { display: none; }
[data-testid="stMainBlockContainer"] { padding-top: 1rem; }
h1 { padding-top: 0 !important; }
[data-testid="stLayoutWrapper"]:has(> .st-key-present-corner) { position: absolute; }
h2 { font-size: 28px !important; font-weight: 400 !important; }
.st-key-present-corner { position: fixed; right: 0.75rem; bottom: 0.25rem; z-index: 100; width: auto; zoom: 0.7;
  opacity: 0.35; border-radius: 0.5rem; background: var(--st-background-color, Canvas); }
.st-key-present-corner:hover, .st-key-present-corner:focus-within { opacity: 1; }
</style>
"""


@st.cache_resource(show_spinner=False)
def _store(home: str) -> Store:
    return Store()


def open_store() -> Store:
    """The store of this server (``SEQRL_HOME``), opened once."""
    return _store(os.environ.get("SEQRL_HOME", ""))


def theme() -> Theme:
    """The viewer's theme, as charts name it."""
    return "dark" if st.context.theme.type == "dark" else "light"


def style() -> tuple[Theme, bool]:
    """Theme and size for a chart, as `seqrl.plots` takes them."""
    return theme(), presenting()


def presenting() -> bool:
    """Whether the page is shown to a room: large type, controls folded away."""
    return bool(st.session_state.get("presenting"))


def go_to(page: str, query: Query | None = None) -> NoReturn:
    """Open a page in a state; see `link_to` for how the state gets there."""
    st.switch_page(page, query_params=_parcel(query))


def link_to(page: str, label: str, icon: str, query: Query, help: str | None = None) -> None:
    """A link to a page in a state.

    Streamlit refuses to set a name that a widget of the present page is bound to, and takes such names away on the way
    to another page. So the state travels in one name of its own, and `dress` spells it out where it arrives.
    """
    st.page_link(page, label=label, icon=icon, query_params=_parcel(query), help=help)


def _parcel(query: Query | None) -> dict[str, str] | None:
    return {_PARCEL: urlencode(query, doseq=True)} if query else None


def _unpack(page: str) -> None:
    """Spell out the state that a link of another page carries.

    A widget keeps its value when it leaves the screen, and comes back with it where an address names its default.
    What such values say otherwise is forgotten; an empty text asks for no more than that.
    """
    if _PARCEL not in st.query_params:
        return
    said = parse_qs(st.query_params[_PARCEL], keep_blank_values=True)
    for name in said.keys() & set(st.session_state) if page != _WITHOUT_WIDGETS else ():
        kept = st.session_state[name]
        if said[name] != [str(value) for value in (kept if isinstance(kept, list) else [kept])]:
            del st.session_state[name]
    spelt = {name: values for name, values in said.items() if values != [""]}
    try:
        st.query_params.from_dict(spelt)
    except StreamlitAPIException:  # of the page to itself: its widgets tell the address
        st.session_state.update({name: values[-1] for name, values in spelt.items()})
        del st.query_params[_PARCEL]
    st.rerun()


def dress(page: str) -> None:
    """Dress the page of this path; read ``?present=1`` and keep it in the address from page to page."""
    _unpack(page)
    st.html(_PAGE_CSS)
    if "present" in st.query_params:
        st.session_state["presenting"] = st.query_params["present"] == "1"
    if presenting():
        st.query_params["present"] = "1"
        st.html(_PRESENT_CSS)


def presentation_switch() -> None:
    """The way into presentation mode, in the sidebar, and out of it, in a corner of the screen or with Esc."""
    on = presenting()

    def switch() -> None:
        """Turn presentation mode on or off before the page is drawn again."""
        st.session_state["presenting"] = not on
        if on:
            del st.query_params["present"]
        else:
            st.query_params["present"] = "1"

    place = st.container(key="present.corner") if on else st.sidebar
    place.button(
        "Leave presentation" if on else "Present",
        icon=":material/close_fullscreen:" if on else ":material/present_to_all:",
        type="tertiary",
        on_click=switch,
        key="present.switch",
        help="Large type, controls folded away; also ?present=1 in the address.",
        shortcut="Esc" if on else None,
    )


@contextmanager
def drawn_whole() -> Iterator[None]:
    """Know of a page whether all of it was drawn, which `redraw` asks for."""
    st.session_state[_WHOLE] = False
    yield
    st.session_state[_WHOLE] = True


def redraw(*fragments: str) -> None:
    """Draw these fragments anew, and the rest of the page not; for callbacks of what changes nothing else.

    A page that was still being drawn or being left when a control was used is drawn as a whole.
    """
    if st.session_state.get(_WHOLE):
        with suppress(StreamlitAPIException):  # no such fragment any more
            st.rerun(list(fragments))


def start_with(key: str, value: str | list[str], known: Sequence[str] = ()) -> None:
    """Let a widget that is bound to the address start with a value that the address then names.

    A value that equals a widget's default is left out of the address; but which dataset or sweep is the newest
    changes, and a copied link has to keep meaning the same. So such widgets have no default and start with this.

    Args:
        key: of the widget.
        value: to start with.
        known: what a link may name; another name is said to be gone, and the widget starts with ``value``.
    """
    asked = bound(key)
    if known and asked not in known:
        if asked is not None:
            say_gone([asked], [str(value)])
        choose(key, value)
    if key not in st.session_state and key not in st.query_params:
        choose(key, value)


def say_gone(asked: Sequence[str], shown: Sequence[str]) -> None:
    """Say that what a link names is not here, and what is shown instead."""
    told = f"{enumerate_words(asked)} {'is' if len(asked) == 1 else 'are'} not here, or archived. "
    told += f"{'This is' if len(shown) == 1 else 'These are'} {enumerate_words(shown)}."
    st.info(plain(told), icon=":material/link_off:")


def start_with_some(key: str, values: list[str], known: Sequence[str]) -> None:
    """As `start_with`, for a widget that takes several: where a link names only unknown ones, it says so and starts."""
    asked = [name for name in st.session_state.get(key, st.query_params.get_all(key)) if name]
    if asked and not set(asked) & set(known):
        say_gone(asked, values)
        choose(key, values)
    start_with(key, values)


def start_among(key: str, options: Sequence[str], value: str) -> bool:
    """As `start_with`, for a list whose options come and go: where it says none of them, it starts; whether it did."""
    starts = bound(key) not in options
    if starts:
        choose(key, value)
    return starts


def choose(key: str, value: str | list[str]) -> None:
    """Give a widget that is bound to the address a value before it is drawn."""
    st.session_state[key] = value
    with suppress(StreamlitAPIException):  # drawn before in this session: then the widget tells the address
        st.query_params[key] = value


def bound(key: str) -> str | None:
    """What a widget that is bound to the address will say, before it is drawn."""
    return st.session_state.get(key, st.query_params.get(key))


def finite(key: str) -> str:
    """The key of a widget for whole numbers; an infinite one, at which Streamlit fails, leaves the address first."""
    if any(_is_infinite(value) for value in st.query_params.get_all(key)):
        try:
            del st.query_params[key]
        except StreamlitAPIException:  # the way back led here: the widget is bound to it, and leaves it when it goes
            return f"{key}.finite"
        st.rerun()
    return key


def _is_infinite(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False


def newest(names: Sequence[str]) -> str:
    """The newest of one's own, else the first of the bundled ones; names are sorted as the store does."""
    return next((name for name in names if not name.startswith("demo/")), names[0])


def own_first(rows: Sequence[RunRow]) -> list[RunRow]:
    """One's own runs, the newest first, then the bundled ones in the order of the demo."""
    own = [row for row in rows if not row.name.startswith("demo/")]
    return sorted(own, key=lambda row: row.created, reverse=True) + [row for row in rows if row not in own]


def form_is_open(key: str, link: str, otherwise: bool) -> bool:
    """Whether a page's form is open: by its button, or because a link came with something to fill in.

    Args:
        key: of the state that the button switches.
        link: the query parameter that a link to the form carries.
        otherwise: whether it is open on the first visit without such a link.
    """
    wanted = ",".join(st.query_params.get_all(link))
    if wanted and st.session_state.get(f"{key}.link") != wanted:
        st.session_state[key] = True
    st.session_state[f"{key}.link"] = wanted
    return bool(st.session_state.setdefault(key, otherwise))


def form_button(key: str, opens: str) -> None:
    """The button that opens and closes a page's form.

    Args:
        key: of the state, see `form_is_open`.
        opens: what it says while the form is closed.
    """
    is_open = bool(st.session_state[key])

    def switch() -> None:
        """Open or close it before the page is drawn again."""
        st.session_state[key] = not is_open

    st.button(
        "Close the form" if is_open else opens,
        type="secondary" if is_open else "primary",
        icon=":material/close:" if is_open else ":material/add:",
        on_click=switch,
        key=f"{key}.toggle",
    )


def heading(title: str, answers: str) -> None:
    """The page's heading, and one line that says what it answers."""
    _through_app()
    with st.container(gap="xsmall"):
        st.title(title, anchor=False)
        if not presenting():
            st.markdown(f":gray[{answers}]")


def two_columns(narrowest: int = 430) -> tuple[DeltaGenerator, DeltaGenerator]:
    """Two equal columns that stand below each other where they would be narrower than this many pixels."""
    grid = st.grid(2, min_column_width=narrowest, gap="medium")
    return grid.cell(), grid.cell()


def _through_app() -> None:
    """Run ``app.py`` around the page if it did not.

    The very first request of a fresh server decides whether ``pages/`` are plain scripts: before any
    ``st.navigation`` has run, a deep link would run the page's script alone, without its frame.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


def sentence(text: str) -> None:
    """The sentence under a chart: what to look for, computed from the figures."""
    st.markdown(f"## {text}" if presenting() else text)


def controls(name: str = "Controls") -> DeltaGenerator:
    """Where a page's controls go; folded away while presenting.

    Args:
        name: of the fold, where a page has several.
    """
    return st.expander(name, icon=":material/tune:") if presenting() else st.container()


def empty_state(what: str, then: str, button: str, page: str, query: Mapping[str, str] | None = None) -> None:
    """Say that there is nothing yet, what to do next, and have the button for it."""
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.markdown(f"#### {what}")
        st.markdown(then)
        if st.button(button, type="primary", icon=":material/arrow_forward:", key=f"empty.{page}.{button}"):
            go_to(page, query)
        st.space("small")


@contextmanager
def problems() -> Iterator[None]:
    """Show what goes wrong as one sentence with a remedy; the details go to the server's log.

    As a decorator it guards fragments, which are drawn again without the page around them.
    """
    try:
        yield
    except sqlite3.Error as error:
        log.exception("the store cannot be used")
        text = describe(error)
        st.error(f"{plain(text[:1].upper() + text[1:])}.", icon=":material/database_off:")
    except ValidationError as error:
        log.exception("a stored spec does not fit this version")
        text = plain(explain(error))
        st.error(f"Something stored does not fit this version of seqrl: {text}.", icon=":material/error:")
    except (ValueError, OSError) as error:
        log.exception("the page cannot be drawn")
        text = DISK_FULL if is_disk_full(error) else str(error) or type(error).__name__
        st.error(plain(text[:1].upper() + text[1:]), icon=":material/error:")
    except Exception:
        # The last line of defence: what is around the page still works, and nobody is shown a stack trace.
        log.exception("a fault in a page")
        st.error(
            "This page met a fault of seqrl itself; nothing stored is lost, and the server's log has the details. "
            "Reload the page, or choose another one.",
            icon=":material/error:",
        )
