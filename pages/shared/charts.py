"""Charts that keep their zoom while new data arrives, and that answer clicks.

Streamlit's own Plotly element is built anew whenever its data changes and forgets the zoom. This
component updates the figure in place (`Plotly.react`) from the plotly.js that ships with plotly, so
live curves and sweeps can be zoomed while they grow, without a network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.shared.exports import csv_button, html_button, png_button
from pages.shared.frame import presenting, sentence
from pages.shared.plotly_library import library_name
from seqrl.plots.drawn import drawn_table

_HERE = Path(__file__).parent


_load_library = st.components.v2.component(
    "seqrl_plotly", html="<span hidden>\n</span>", js=(_HERE / "plotly_library.js").read_text()
)
_mount_chart = st.components.v2.component(
    "seqrl_chart",
    html='<div class="seqrl-chart">\n</div>',
    css=(_HERE / "charts.css").read_text(),
    js=(_HERE / "charts.js").read_text(),
    isolate_styles=False,
)


def load_library() -> None:
    """Tell the browser where plotly.js is; it asks for it once."""
    _load_library(key="seqrl_plotly", data=library_name(), height=1)


def chart(
    figure: go.Figure,
    key: str,
    what: str,
    told: str = "",
    *,
    table: pd.DataFrame | Callable[[], pd.DataFrame] | None = None,
    on_click: Callable[[Any], None] | None = None,
) -> None:
    """Draw a figure of `seqrl.plots`, the sentence that says what to look for, and what can be taken away.

    Args:
        figure: with its own height; new data under the same key keeps the zoom.
        key: names the element, and the files that are exported from it.
        what: what the chart shows; with the sentence, its text for those who cannot see it.
        told: the sentence.
        table: the numbers behind it, for a CSV file; those that it draws if not given.
        on_click: called with the ``customdata`` of a clicked point before the page is drawn again.
    """

    def clicked() -> None:
        event = (st.session_state.get(key) or {}).get("clicked")
        if on_click is not None and event:
            on_click(event.get("customdata"))

    figure.update_layout(uirevision=f"{key} {figure.layout.uirevision}")
    payload = {
        "figure": figure.to_json(),
        "alt": f"{what}. {told}",
        "filename": key.replace("/", "-"),
        "clickable": on_click is not None,
        "height": int(figure.layout.height or 450),
    }
    with st.container(gap="xsmall"):
        _mount_chart(key=key, data=payload, on_clicked_change=clicked)
        if told:
            sentence(told)
        if not presenting():
            with st.container(horizontal=True, horizontal_alignment="right"):
                png_button(key)
                html_button(figure, key)
                csv_button((lambda: drawn_table(figure)) if table is None else table, key)
