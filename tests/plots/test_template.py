import ast
from itertools import combinations
from pathlib import Path

import pytest

import seqrl.plots
from seqrl.plots.drawing import new_drawing
from seqrl.plots.template import PALETTES, Style, data_greys, family_colour, template


def channels(colour):
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def luminance(colour):
    """Relative luminance (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour, other):
    light, dark = sorted([luminance(colour), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_run_of_a_family_can_be_seen_and_told_from_the_others(theme):
    for kind in ("dt", "tt", "bc", "%bc"):
        for count in range(1, 5):
            colours = [family_colour(kind, theme, index, count) for index in range(count)]
            assert min(contrast(colour, PALETTES[theme].background) for colour in colours) > 1.9
            for one, other in combinations(colours, 2):
                assert contrast(one, other) > 1.1


def test_colours_are_those_of_the_table():
    assert [family_colour(kind, "light") for kind in ("dt", "tt", "bc", "%bc", "rvs")] == [
        "#0072B2",
        "#D55E00",
        "#555555",
        "#CC79A7",
        "#CC79A7",
    ]
    assert family_colour("dt", "dark") == "#56B4E9"
    assert family_colour("something else", "dark") == PALETTES["dark"].muted


def test_an_impossible_place_in_the_family_is_refused():
    with pytest.raises(ValueError, match="index is 2 of 2 runs"):
        family_colour("dt", "light", 2, 2)


def test_greys_grow_stronger():
    for count in (1, 2, 3, 7):
        greys = data_greys(count, "light")
        assert len(set(greys)) == count
        assert [luminance(grey) for grey in greys] == sorted((luminance(grey) for grey in greys), reverse=True)


def test_presentation_size_is_that_of_the_visual_language():
    style = Style("light", True)
    assert (style.sizes.font, style.sizes.line, style.sizes.marker) == (20, 4, 12)
    assert new_drawing(style).figure().layout.template.layout.font.size == 20
    assert template("dark").layout.paper_bgcolor == PALETTES["dark"].background


def test_no_figure_sets_its_own_colours_fonts_or_background():
    folder = Path(seqrl.plots.__file__).parent
    for path in folder.glob("*.py"):
        if path.name == "template.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not (node.value.startswith("#") and len(node.value) == 7), f"{path.name}: {node.value}"
                assert node.value not in ("paper_bgcolor", "plot_bgcolor", "family"), f"{path.name}: {node.value}"
            if isinstance(node, ast.keyword):
                assert node.arg not in ("paper_bgcolor", "plot_bgcolor", "font_family"), path.name
