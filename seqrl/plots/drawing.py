"""A figure while it is drawn: plain properties, which plotly checks once, when the figure is made of them.

plotly checks a property when it is set, and looks through all annotations and shapes at every further one. Drawing four
runs of a sweep took 60 ms that way, and takes 22 ms with all of it checked at the end.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import plotly.graph_objects as go

from seqrl.plots.template import HEIGHT, Style, template


class Drawing:
    """Traces and layout under plotly's own names; methods take what those of `plotly.graph_objects.Figure` take.

    Args:
        layout: of `plotly.graph_objects.Layout`.

    Attributes:
        layout: the same; axes, annotations and shapes that were added are in it.
    """

    def __init__(self, **layout: Any) -> None:
        self.layout: dict[str, Any] = {"xaxis": {}, "yaxis": {}, "annotations": [], "shapes": [], **layout}
        self._traces: list[dict[str, Any]] = []

    def figure(self) -> go.Figure:
        """The figure.

        Raises:
            ValueError: if plotly does not know a property, or not such a value of it.
        """
        return go.Figure({"data": self._traces, "layout": self.layout})

    def add_scatter(self, *, webgl: bool = False, **trace: Any) -> None:
        """Add points or lines.

        Args:
            webgl: draw them on the graphics card, for thousands of points.
            trace: of `plotly.graph_objects.Scatter`.
        """
        self._traces.append({"type": "scattergl" if webgl else "scatter", **trace})

    def add_bar(self, **trace: Any) -> None:
        """Add bars, described as in `plotly.graph_objects.Bar`."""
        self._traces.append({"type": "bar", **trace})

    def add_heatmap(self, **trace: Any) -> None:
        """Add a heat map, described as in `plotly.graph_objects.Heatmap`."""
        self._traces.append({"type": "heatmap", **trace})

    def add_ribbon(
        self, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, name: str, **trace: Any
    ) -> None:
        """Fill what lies between two curves, below the line they belong to.

        Args:
            x: (N,).
            low: (N,).
            high: (N,).
            colour: of the filling, its opacity included.
            name: what the ribbon is, for tests and readers of the figure.
            trace: further properties of the trace.
        """
        self.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            fillcolor=colour,
            mode="lines",
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            name=name,
            **trace,
        )

    def add_annotation(self, **annotation: Any) -> None:
        """Add text, described as in `plotly.graph_objects.layout.Annotation`."""
        self.layout["annotations"].append(annotation)

    def add_shape(self, **shape: Any) -> None:
        """Add a shape, described as in `plotly.graph_objects.layout.Shape`."""
        self.layout["shapes"].append(shape)

    def add_vline(self, x: float, **shape: Any) -> None:
        """Add a line over the whole height of the plot."""
        self.add_shape(type="line", x0=x, x1=x, xref="x", y0=0, y1=1, yref="y domain", **shape)

    def add_hline(self, y: float, **shape: Any) -> None:
        """Add a line over the whole width of the plot."""
        self.add_shape(type="line", x0=0, x1=1, xref="x domain", y0=y, y1=y, yref="y", **shape)

    def update_layout(self, **layout: Any) -> None:
        """Set entries of the layout; those of an axis join what the axis has."""
        for name, value in layout.items():
            is_axis = name.startswith(("xaxis", "yaxis"))
            self.layout[name] = self.layout.get(name, {}) | value if is_axis else value

    def update_xaxes(self, **axis: Any) -> Self:
        """Set properties of all x axes that there are."""
        return self._update_axes("xaxis", axis)

    def update_yaxes(self, **axis: Any) -> Self:
        """Set properties of all y axes that there are."""
        return self._update_axes("yaxis", axis)

    def _update_axes(self, prefix: str, axis: dict[str, Any]) -> Self:
        for name in self.layout:
            if name.startswith(prefix):
                self.layout[name] = self.layout[name] | axis
        return self


def new_drawing(style: Style, *, height: int = HEIGHT, **layout: Any) -> Drawing:
    """An empty drawing in the visual language.

    Args:
        style: theme and size.
        height: pixels, 420 to 560.
        **layout: further entries of `plotly.graph_objects.Layout`.
    """
    return Drawing(template=template(*style), height=height, **layout)


def note(drawing: Drawing, style: Style, text: str) -> go.Figure:
    """The figure with its axes hidden and one sentence in the middle: what an empty state shows."""
    drawing.update_xaxes(visible=False).update_yaxes(visible=False)
    place = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    drawing.add_annotation(text=text, font_size=style.sizes.font + 2, **place)
    return drawing.figure()
