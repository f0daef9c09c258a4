"""Everything seen can be taken away: tables as CSV, specs as JSON, charts as PNG and HTML, episodes as MP4."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from seqrl.config import Spec
from seqrl.report import report
from seqrl.store import Store

_HERE = Path(__file__).parent
_mount_png = st.components.v2.component(
    "seqrl_png",
    html='<button class="seqrl-png" type="button" title="Download the chart as a picture">'
    '<span aria-hidden="true">download</span>PNG</button>',
    css=(_HERE / "png_button.css").read_text(),
    js=(_HERE / "png_button.js").read_text(),
    isolate_styles=False,
)


def csv_button(table: pd.DataFrame | Callable[[], pd.DataFrame], name: str, label: str = "CSV") -> None:
    """Download a table; a function is called only when the button is pressed."""

    def data() -> bytes:
        frame = table() if callable(table) else table
        return frame.to_csv(index=False).encode()

    _button(label, data, f"{name}.csv", "text/csv", "Download the table as CSV")


def json_button(spec: Spec, name: str, label: str = "JSON") -> None:
    """Download the spec that makes exactly this again."""
    _button(
        label, lambda: spec.model_dump_json(indent=2).encode(), f"{name}.json", "application/json", "Download the spec"
    )


def json_text_button(values: Mapping[str, Any], name: str, label: str) -> None:
    """Download a stored result."""
    _button(
        label, lambda: json.dumps(values, indent=2).encode(), f"{name}.json", "application/json", "Download as JSON"
    )


def html_button(figure: go.Figure | Callable[[], go.Figure], name: str, label: str = "HTML") -> None:
    """Download a chart as one self-contained interactive page (works without a network); a function is called then."""

    def data() -> bytes:
        drawn = figure() if callable(figure) else figure
        return drawn.to_html(include_plotlyjs=True, full_html=True).encode()

    _button(label, data, f"{name}.html", "text/html", "Download the chart as an interactive page")


def png_button(name: str) -> None:
    """Download the chart that stands in the same container, as it looks now; the browser draws it."""
    _mount_png(key=f"png.{name}", data={"filename": name.replace("/", "-")}, width="content")


def report_button(store: Store, sweep: str) -> None:
    """Download a sweep as one page with charts, tables, rendered episodes and specs; it opens without a network."""
    _button(
        "Report",
        lambda: report(store, sweep).encode(),
        f"{sweep}-report.html",
        "text/html",
        "Download everything as one page that opens anywhere: charts, tables, the rendered episodes, specs",
    )


def text_button(text: str, name: str, mime: str, label: str) -> None:
    """Download a text."""
    _button(label, text.encode, name, mime, f"Download {name}")


def file_button(path: Path, name: str, mime: str, label: str, help: str) -> None:
    """Download a file that exists already."""
    _button(label, path.read_bytes, name, mime, help)


def _button(label: str, data: Callable[[], bytes], name: str, mime: str, help: str) -> None:
    safe = name.replace("/", "-").replace(":", "-")
    st.download_button(
        label,
        data,
        file_name=safe,
        mime=mime,
        key=f"download.{name}",
        help=help,
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )
