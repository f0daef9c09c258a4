"""The visual language: one colour table, one Plotly template, each in light, dark and presentation size.

No other module names a colour, a font or a background. Colours are Okabe and Ito's, which colour-blind
readers can tell apart; the same thing has the same colour on every page.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import plotly.graph_objects as go

Theme = Literal["light", "dark"]
Family = Literal["dt", "tt", "bc", "filtered"]

HEIGHT = 480
"""Height of a figure in pixels; all figures stay between 420 and 560."""

RIBBON_OPACITY = 0.18
FONT = "'Source Sans', 'Source Sans Pro', 'Source Sans 3', 'Helvetica Neue', Helvetica, Arial, sans-serif"
THIN_SPACE = "\u2009"


class Palette(NamedTuple):
    """What each colour means; ``data`` are three greys from faint to strong."""

    background: str
    ink: str
    muted: str
    grid: str
    axis: str
    dt: str
    tt: str
    bc: str
    filtered: str
    data: tuple[str, str, str]
    reward: str
    warning: str
    warning_opacity: float


PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        background="#FFFFFF",
        ink="#1B1F24",
        muted="#5B6470",
        grid="#E9ECEF",
        axis="#AEB6C2",
        dt="#0072B2",
        tt="#D55E00",
        bc="#555555",
        filtered="#CC79A7",
        data=("#E3E6EA", "#C9CED6", "#AEB6C2"),
        reward="#009E73",
        warning="#B3261E",
        warning_opacity=0.08,
    ),
    "dark": Palette(
        background="#0E1117",
        ink="#E8EAED",
        muted="#A9B1BD",
        grid="#232831",
        axis="#4B5464",
        dt="#56B4E9",
        tt="#E69F00",
        bc="#BBBBBB",
        filtered="#CC79A7",
        data=("#2A2F38", "#3A414D", "#4B5464"),
        reward="#2BC79A",
        warning="#F28B82",
        warning_opacity=0.12,
    ),
}

_FAMILIES: dict[str, Family] = {"dt": "dt", "tt": "tt", "bc": "bc", "%bc": "filtered", "rvs": "filtered"}


class Sizes(NamedTuple):
    """Pixels: base type, line width, markers of means, dots of single episodes, small type."""

    font: int
    line: float
    marker: float
    dot: float
    small: int


SIZES = {False: Sizes(font=14, line=2.5, marker=9, dot=5, small=12), True: Sizes(20, 4, 12, 7, 16)}


class Style(NamedTuple):
    """All that a figure needs to know of how it shall look."""

    theme: Theme
    present: bool

    @property
    def palette(self) -> Palette:
        """The colours of the theme."""
        return PALETTES[self.theme]

    @property
    def sizes(self) -> Sizes:
        """Pixel sizes, larger at a projector."""
        return SIZES[self.present]


def family_colour(kind: str, theme: Theme, index: int = 0, count: int = 1) -> str:
    """Colour of a run: the hue of its family, its lightness among the family's runs.

    Args:
        kind: ``dt``, ``tt``, ``bc``, ``%bc`` or ``rvs``; any other kind is drawn in muted ink.
        theme: light or dark.
        index: place of the run among the runs of its family in this figure.
        count: number of those runs.

    Returns:
        ``#RRGGBB``; the family's own colour when it has one run.

    Raises:
        ValueError: if the index is not below the count.

    >>> family_colour("dt", "light")
    '#0072B2'
    """
    if not 0 <= index < count:
        raise ValueError(f"index is {index} of {count} runs; choose 0 to {count - 1}")
    palette = PALETTES[theme]
    family = _FAMILIES.get(kind)
    base = getattr(palette, family) if family else palette.muted
    if count == 1:
        return base
    darkest = 0.0 if count == 2 else -0.5
    shift = darkest + (0.35 - darkest) * index / (count - 1)
    return mix(base, palette.background, shift) if shift >= 0 else mix(base, palette.ink, -shift)


def mix(colour: str, other: str, share: float) -> str:
    """The colour ``share`` of the way from one to the other.

    >>> mix("#000000", "#FFFFFF", 0.5)
    '#808080'
    """
    channels = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in channels)


def readable_on(fill: str, theme: Theme) -> str:
    """Whichever of ink and background stands out more on a colour (contrast of WCAG 2.1, relative luminance).

    >>> readable_on("#FFFFFF", "light"), readable_on("#2BC79A", "dark")
    ('#1B1F24', '#0E1117')
    """
    palette = PALETTES[theme]

    def contrast(colour: str) -> float:
        darker, lighter = sorted((_luminance(colour), _luminance(fill)))
        return (lighter + 0.05) / (darker + 0.05)

    return max((palette.ink, palette.background), key=contrast)


def _luminance(colour: str) -> float:
    shares = [channel / 255 for channel in _channels(colour)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def translucent(colour: str, opacity: float) -> str:
    """The colour as ``rgba()`` text.

    >>> translucent("#0072B2", 0.18)
    'rgba(0,114,178,0.18)'
    """
    red, green, blue = _channels(colour)
    return f"rgba({red},{green},{blue},{opacity:g})"


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def data_greys(count: int, theme: Theme) -> list[str]:
    """``count`` greys of the data from faint to strong: those of the table, or between them when there are many.

    >>> data_greys(3, "light")
    ['#E3E6EA', '#C9CED6', '#AEB6C2']
    """
    faint, middle, strong = PALETTES[theme].data
    if count <= 3:
        return [[strong], [faint, strong], [faint, middle, strong]][count - 1] if count else []
    steps = [2 * index / (count - 1) for index in range(count)]
    return [mix(faint, middle, step) if step <= 1 else mix(middle, strong, step - 1) for step in steps]


def sequential(colour: str, theme: Theme, deep: bool = True) -> list[list[Any]]:
    """Plotly colour scale from the background to a colour.

    Args:
        colour: ``#RRGGBB``.
        theme: light or dark.
        deep: go on from the colour towards the ink, as densities need; probabilities end at the colour itself.
    """
    background, ink = PALETTES[theme].background, PALETTES[theme].ink
    if not deep:
        return [[0.0, background], [1.0, colour]]
    stops = ((0.0, background), (0.35, mix(background, colour, 0.4)), (0.75, colour), (1.0, mix(colour, ink, 0.45)))
    return [[share, shade] for share, shade in stops]


@lru_cache
def template(theme: Theme, present: bool = False) -> go.layout.Template:
    """The one Plotly template; do not change what it returns."""
    palette, sizes = PALETTES[theme], SIZES[present]
    axis = {
        "gridcolor": palette.grid,
        "linecolor": palette.axis,
        "tickcolor": palette.axis,
        "zerolinecolor": palette.grid,
        "zerolinewidth": 1,
        "showline": False,
        "ticks": "",
        "automargin": True,
        "title": {"standoff": 12 if not present else 16, "font": {"size": sizes.font + 1}},
        "tickfont": {"color": palette.muted},
        "nticks": 7,
        "separatethousands": True,
        "exponentformat": "none",
    }
    layout = {
        "font": {"family": FONT, "size": sizes.font, "color": palette.ink},
        "paper_bgcolor": palette.background,
        "plot_bgcolor": palette.background,
        "separators": "." + THIN_SPACE,
        "xaxis": axis,
        "yaxis": axis,
        "margin": {"l": 12, "r": 16, "t": 16, "b": 12},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": mix(palette.background, palette.ink, 0.06),
            "bordercolor": palette.axis,
            "font": {"family": FONT, "size": sizes.small + 1, "color": palette.ink},
            "align": "left",
        },
        "legend": {"font": {"size": sizes.font}, "bgcolor": "rgba(0,0,0,0)", "itemsizing": "constant"},
        "colorway": [palette.dt, palette.tt, palette.bc, palette.filtered, palette.reward, palette.muted],
        "annotationdefaults": {"font": {"size": sizes.small, "color": palette.muted}, "showarrow": False},
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": palette.axis,
            "activecolor": palette.ink,
            "remove": ["select2d", "lasso2d", "autoScale2d", "sendChartToCloud"],
        },
        "coloraxis": {"colorbar": {"outlinewidth": 0, "thickness": 12, "ticks": ""}},
        "bargap": 0.04,
    }
    return go.layout.Template(layout=layout)
