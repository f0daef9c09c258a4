"""The numbers of any figure as one long table, for charts whose info has no better one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

SERIES = "series"


def drawn_table(figure: go.Figure) -> pd.DataFrame:
    """Everything that a figure draws: one row a point, columns named as the axes are.

    A ribbon becomes its upper and its lower edge, a heat map one row a cell, and places that stand for names become
    these names. Points without a place, which only interrupt lines, are left out.

    Args:
        figure: of scatter, bar and heat map traces.

    Returns:
        The column ``series``, then one column an axis title; empty cells where a trace has no such axis.

    >>> figure = go.Figure(layout={"xaxis_title_text": "time (steps)", "yaxis_title_text": "reward"})
    >>> drawn_table(figure.add_scatter(x=[0, 1], y=[1.0, 5.0], name="episode 3")).to_dict("list")
    {'series': ['episode 3', 'episode 3'], 'time (steps)': [0, 1], 'reward': [1.0, 5.0]}
    """
    parts = [part for at, trace in enumerate(figure.data, 1) for part in _parts(figure, trace, at) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[SERIES])


def _parts(figure: go.Figure, trace: Any, at: int) -> Iterator[pd.DataFrame]:
    """The tables of one trace."""
    name = _plain(trace.name or "") or f"trace {at}"
    across, up = _axis(figure, trace, "x"), _axis(figure, trace, "y")
    if trace.type == "heatmap":
        yield _cells(trace, name, across, up)
        return
    y = _values(trace.y)
    x = _values(trace.x) if trace.x is not None else np.arange(len(y))
    half = len(x) // 2
    if trace.type.startswith("scatter") and trace.fill == "toself" and np.array_equal(x[:half], x[half:][::-1]):
        yield _points(f"{name}, upper edge", (across, x[:half]), (up, y[:half]))
        yield _points(f"{name}, lower edge", (across, x[:half]), (up, y[half:][::-1]))
        return
    yield _points(name, (across, x), (up, y))


def _points(name: str, x: tuple[Any, np.ndarray], y: tuple[Any, np.ndarray]) -> pd.DataFrame:
    """Points of one trace, those without a place left out."""
    columns = {_title(axis, letter): _named(axis, values) for letter, (axis, values) in (("x", x), ("y", y))}
    if len(columns) == 1:  # both axes have the same title
        columns = {f"{_title(axis, '')} ({letter})": values for letter, (axis, values) in (("x", x), ("y", y))}
    table = pd.DataFrame(columns).dropna(how="any")
    table.insert(0, SERIES, name)
    return table


def _cells(trace: Any, name: str, across: Any, up: Any) -> pd.DataFrame:
    """Cells of a heat map, those without a value left out."""
    z = np.asarray(trace.z)
    x = _values(trace.x) if trace.x is not None else np.arange(z.shape[1])
    y = _values(trace.y) if trace.y is not None else np.arange(z.shape[0])
    rows, columns = np.divmod(np.arange(z.size), z.shape[1])
    table = _points(name, (across, x[columns]), (up, y[rows]))
    table[_plain(trace.colorbar.title.text or "") or "value"] = z.ravel()
    return table.dropna(how="any")


def _values(values: Any) -> np.ndarray:
    return np.asarray([] if values is None else values)


def _axis(figure: go.Figure, trace: Any, letter: str) -> Any:
    """The axis of a trace, such as ``xaxis2`` for its ``x2``."""
    return figure.layout[f"{letter}axis{(getattr(trace, f'{letter}axis') or letter)[1:]}"]


def _title(axis: Any, letter: str) -> str:
    return _plain(axis.title.text or "") or letter


def _named(axis: Any, values: np.ndarray) -> np.ndarray:
    """Places that the axis gives names to, as these names; numbers stay numbers."""
    if axis.tickvals is None or axis.ticktext is None or not len(values):
        return values
    names = {place: _plain(str(text)) for place, text in zip(axis.tickvals, axis.ticktext, strict=False)}
    if all(_is_number(text) for text in names.values()) or not set(values.tolist()) <= names.keys():
        return values
    return np.array([names[place] for place in values.tolist()], dtype=object)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-−+]?[\d\s.]+%?", text) is not None


def _plain(text: str) -> str:
    """Text without the tags of a chart."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).strip()
