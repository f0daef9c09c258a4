"""What plotly.js says of a click is what the pages rely on: tried in a real browser."""

import json

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from seqrl.calibration import points
from seqrl.plots import (
    attention_grid,
    attention_info,
    beam_sweep,
    beam_sweep_info,
    episode_tokens,
    episode_tokens_info,
    rtg_sweep,
    rtg_sweep_info,
)

from .synthetic import attention_weights, beam_points, sweep_episodes

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

CLICK = """
([figure, curve, point]) => new Promise((resolve) => {
  const element = document.createElement("div");
  document.body.replaceChildren(element);
  Plotly.newPlot(element, figure.data, {...figure.layout, width: 900}).then(() => {
    const box = element.querySelector(".nsewdrag").getBoundingClientRect();
    const axes = element._fullLayout;
    window.clicked = null;
    element.on("plotly_click", (event) => {
      window.clicked = event.points.map((p) => [p.curveNumber, p.customdata ?? null]);
    });
    const trace = element._fullData[curve];
    const at = trace.type === "heatmap" ? [point[1], point[0]] : [trace.x[point], trace.y[point]];
    resolve([box.left + axes.xaxis.d2p(at[0]), box.top + axes.yaxis.d2p(at[1])]);
  });
})
"""


@pytest.fixture(scope="module")
def page(browser):
    opened = browser.new_page(viewport={"width": 920, "height": 620})
    opened.set_content("<body style='margin:0'></body>")
    opened.add_script_tag(content=get_plotlyjs())
    yield opened
    opened.close()


def click(page, figure, curve, point):
    x, y = page.evaluate(CLICK, [json.loads(figure.to_json()), curve, point])
    page.mouse.move(x, y)
    page.wait_for_timeout(150)
    page.mouse.click(x, y)
    page.wait_for_function("window.clicked !== null", timeout=3000)
    return page.evaluate("window.clicked")


def test_a_click_on_the_mean_of_equal_episodes_in_a_beam_sweep_names_its_cell(page):
    table, episodes = beam_points()
    table[["mean", "low", "high"]], episodes["achieved_return"] = 500.0, 500.0
    figure = beam_sweep(beam_sweep_info(table, episodes=episodes))
    curve = next(i for i, trace in enumerate(figure.data) if trace.name == "horizon 15")
    assert click(page, figure, curve, 2) == [[curve, ["tt", 4, 15]]]


@pytest.mark.parametrize("episodes", [6, 1100])
def test_a_click_on_a_dot_names_its_episode_also_under_ribbons_and_in_webgl(page, episodes):
    table = sweep_episodes({"dt": "dt"}, [100.0, 400.0], episodes)
    table = table[table["decoding"] == "sampled"]
    figure = rtg_sweep(rtg_sweep_info(points(table), kinds={"dt": "dt"}, episodes=table))
    curve = next(
        i for i, trace in enumerate(figure.data) if trace.name.endswith("episodes") and trace.hoverinfo == "text"
    )
    assert figure.data[curve].type == ("scatter" if episodes == 6 else "scattergl")
    farthest = int(np.argmin(figure.data[curve].y))
    assert click(page, figure, curve, farthest) == [[curve, figure.data[curve].customdata[farthest]]]


def test_a_click_on_a_mean_names_its_cell(page):
    table = sweep_episodes({"dt": "dt"}, [100.0, 400.0], 6)
    figure = rtg_sweep(rtg_sweep_info(points(table), kinds={"dt": "dt"}, episodes=table))
    curve = next(i for i, trace in enumerate(figure.data) if trace.name == "DT greedy")
    assert click(page, figure, curve, 1) == [[curve, ["dt", "greedy", 400.0]]]


def test_a_click_on_a_token_names_step_dimension_and_bin(page):
    tokens = np.arange(24).reshape(8, 3) % 5
    info = episode_tokens_info(tokens, "abc", ["observation", "observation", "observation"], [5, 5, 5])
    assert click(page, episode_tokens(info), 0, [1, 6]) == [[0, [6, 1, int(tokens[6, 1])]]]


def test_a_click_on_a_small_head_names_it(page):
    info = attention_info(*attention_weights(2, 3, 4))
    assert click(page, attention_grid(info), 0, [5, 2]) == [[0, 0]]
