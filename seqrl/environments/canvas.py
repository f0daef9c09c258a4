"""Smooth drawings for the frames of seqrl's own environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED, LINE = "#FFFFFF", "#1B1F24", "#5B6470", "#C9CED6"
AGENT, GOAL, WARNING, GOLD = "#0072B2", "#009E73", "#D55E00", "#E69F00"

_OVERSAMPLING = 3

Point = tuple[float, float]


class Canvas:
    """A picture in pixels, drawn larger and scaled down, so that edges are smooth.

    Args:
        width: pixels, even for the sake of video codecs.
        height: pixels, even.
        paper: background colour.
    """

    def __init__(self, width: int = 480, height: int = 360, paper: str = PAPER) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * _OVERSAMPLING, height * _OVERSAMPLING), paper)
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[Point], colour: str, width: float = 2.0) -> None:
        """Straight pieces through the points."""
        self._draw.line(self._scaled(points), fill=colour, width=round(width * _OVERSAMPLING), joint="curve")

    def circle(self, centre: Point, radius: float, colour: str, outline: str | None = None, width: float = 2.0) -> None:
        """A disc."""
        (x, y), r = centre, radius
        box = self._scaled([(x - r, y - r), (x + r, y + r)])
        self._draw.ellipse(box, fill=colour, outline=outline, width=round(width * _OVERSAMPLING))

    def polygon(self, points: Sequence[Point], colour: str) -> None:
        """A filled outline."""
        self._draw.polygon(self._scaled(points), fill=colour)

    def box(
        self, corner: Point, opposite: Point, colour: str | None, outline: str | None = None, radius: float = 6.0
    ) -> None:
        """A rectangle with round corners."""
        self._draw.rounded_rectangle(
            self._scaled([corner, opposite]), radius * _OVERSAMPLING, fill=colour, outline=outline, width=_OVERSAMPLING
        )

    def text(
        self, where: Point, words: str, colour: str = INK, size: float = 14.0, anchor: Literal["mm", "lm", "rm"] = "mm"
    ) -> None:
        """Words at a point: centred, or starting or ending there."""
        font = ImageFont.load_default(size * _OVERSAMPLING)
        self._draw.text(self._scaled([where])[0], words, fill=colour, font=font, anchor=anchor)

    def frame(self) -> np.ndarray:
        """The picture: (height, width, 3) uint8."""
        small = self._image.resize((self.width, self.height), Image.Resampling.BOX)
        return np.asarray(small, dtype=np.uint8)

    @staticmethod
    def _scaled(points: Sequence[Point]) -> list[Point]:
        return [(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in points]
