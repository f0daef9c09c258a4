"""A report holds the figures, the videos and the specs of its sweep, and needs nothing from outside."""

import base64
import dataclasses
import re

import pytest

from seqrl import calibration
from seqrl.cli import main
from seqrl.plots.format import number
from seqrl.report import report, report_episodes
from seqrl.store import Store
from tests.pages.small_store import BEAMS, DATASET, SCHEDULES, SWEEP, TARGETS, add_planner, add_schedules, fill


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    filled = fill(tmp_path_factory.mktemp("report") / "home")
    add_planner(filled)
    return filled


def render_falsely(store, sweep, content=b"not really a video"):
    """Put bytes where the videos of the report's episodes would be."""
    for episode in report_episodes(store, sweep):
        store.media_path(sweep, episode).write_bytes(content)


def test_nothing_is_loaded_from_outside_and_plotly_is_there_once(store):
    text = report(store, SWEEP)
    without_scripts = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", without_scripts)
    assert not re.findall(r"<script[^>]+src=", text)
    assert text.count("plotly.js v") == 1


def test_the_figures_are_those_of_the_calibration(store):
    text = report(store, SWEEP)
    points, figures = calibration.summarise(store.sweep_episodes(SWEEP), targets=TARGETS)
    for value in [*figures["mae"], *figures["best"], *points["mean"]]:
        assert number(float(value)) in text


def test_videos_that_are_rendered_are_inside_and_others_left_out(store):
    text = report(store, SWEEP)
    assert "<video" not in text
    render_falsely(store, SWEEP)
    text = report(store, SWEEP)
    assert text.count("<video") == 3
    assert base64.b64encode(b"not really a video").decode() in text


def test_the_report_of_the_demo_has_its_three_films(tmp_path):
    store = Store(tmp_path)
    assert all(store.media_path("demo/rtg", episode).is_file() for episode in report_episodes(store, "demo/rtg"))


def test_a_low_a_middle_and_a_high_request_are_shown(store):
    table = store.sweep_episodes(SWEEP).set_index("episode_id")
    assert list(table.loc[report_episodes(store, SWEEP), "target"]) == list(TARGETS)


def test_the_specs_can_be_read_back(store):
    text = report(store, SWEEP)
    for name in (SWEEP, DATASET, "dt-poles", "bc-poles"):
        assert f"&quot;{name}&quot;" in text


def test_a_beam_sweep_has_its_points(store):
    text = report(store, BEAMS)
    assert "without planning" in text
    assert "<td>3</td>" in text
    assert len(report_episodes(store, BEAMS)) == 2


def test_schedules_stand_beside_the_unchanged_target(store):
    records = add_schedules(store, 5, 7)
    text = report(store, SCHEDULES)
    assert "Episode 5 of ask-poles, played anew from step 7 on." in text
    for schedule, pair in (("40", records[:2]), ("40, from step 7: 60", records[2:])):
        mean = sum(record.achieved_return for record in pair) / 2
        assert re.search(rf"<td>{schedule}</td><td>{number(mean)} \(", text)
    assert report_episodes(store, SCHEDULES) == [0, 2]


def test_a_name_is_text_and_never_markup(store, monkeypatch):
    row = store.dataset(DATASET)
    hostile = dataclasses.replace(row, source={"behaviours": [{"tier": "<script>alert(1)</script>"}]})
    monkeypatch.setattr(type(store), "dataset", lambda self, name: hostile)
    text = report(store, SWEEP)
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert(1)" not in text


def test_the_command_writes_a_file_and_refuses_other_endings(store, tmp_path, capsys):
    render_falsely(store, SWEEP)
    home = ["--home", str(store.home)]
    out = tmp_path / "it.html"
    assert main([*home, "report", SWEEP, "--out", str(out)]) == 0
    assert "<video" in out.read_text()
    assert main([*home, "report", SWEEP, "--out", str(tmp_path / "it.pdf")]) == 1
    assert "ends with .html" in capsys.readouterr().err
    assert main([*home, "report", "nothing"]) == 1
    assert "no sweep named nothing" in capsys.readouterr().err
