"""Runs, curves and histograms in the store."""

import math

import pytest

from seqrl.store import MetricRow, NotFound
from tests.specs import run_spec


@pytest.fixture
def with_run(tiny):
    tiny.add_run(run_spec("one"), tiny.dataset("tiny").facts)
    return tiny


def test_a_run_comes_back_as_it_was(with_run):
    run = with_run.run("one")
    assert run.spec == run_spec("one")
    assert run.facts == with_run.dataset("tiny").facts
    assert (run.step, run.steps, run.best_value, run.note, run.tags) == (0, 30, None, "", ())
    with pytest.raises(ValueError, match="a run named one exists already"):
        with_run.add_run(run_spec("one"), run.facts)
    with pytest.raises(NotFound, match="did you mean one"):
        with_run.run("on")


def test_a_checkpoint_without_a_row_is_not_taken_over(tiny):
    facts = tiny.dataset("tiny").facts
    (tiny.run_folder("dt-1") / "checkpoint").mkdir(parents=True)
    with pytest.raises(ValueError, match="^runs/dt-1 in SEQRL_HOME holds results of a run that .* move that folder"):
        tiny.add_run(run_spec("dt-1"), facts)
    assert not tiny.has_run("dt-1")
    assert tiny.free_name("runs", "dt") == "dt-2"
    assert tiny.free_name("sweeps", "dt") == tiny.free_name("grids", "dt") == "dt-1"
    (tiny.run_folder("dt-1-seed0") / "checkpoint").mkdir(parents=True)
    assert tiny.free_name("grids", "dt") == "dt-2"
    bare = tiny.run_folder("dt-2")  # as a grid that was not queued leaves it
    bare.mkdir()
    (bare / "spec.json").write_text("{}")
    tiny.add_run(run_spec("dt-2"), facts)
    assert tiny.run("dt-2").spec == run_spec("dt-2")


def test_metrics_of_one_step_join(with_run):
    with_run.add_metrics("one", [MetricRow(5, 0.5, {"loss": 2.0}), MetricRow(10, 1.0, {"loss": 1.0})])
    with_run.add_metrics("one", [MetricRow(10, 1.5, {"validation_loss": 3.0, "odd": math.nan})])
    frame = with_run.metrics("one")
    assert list(frame["step"]) == [5, 10]
    assert list(frame["time_s"]) == [0.5, 1.5]
    assert frame["loss"].tolist() == [2.0, 1.0]
    assert math.isnan(frame["validation_loss"][0]) and frame["validation_loss"][1] == 3.0
    assert "odd" not in frame
    assert with_run.run("one").step == 10
    assert with_run.metrics("one", after_step=5)["step"].tolist() == [10]


def test_a_run_without_metrics_has_an_empty_frame(with_run):
    assert list(with_run.metrics("one").columns) == ["step", "time_s"]
    assert len(with_run.metrics("one")) == 0


def test_resuming_forgets_what_the_checkpoint_does_not_know(with_run):
    with_run.add_metrics("one", [MetricRow(step, 0.0, {"loss": 1.0}) for step in (5, 10, 15)])
    with_run.add_histogram("one", 10, "weights/w", [0, 1, 2], [3, 4])
    with_run.add_histogram("one", 15, "weights/w", [0, 1, 2], [3, 4])
    with_run.truncate_metrics("one", 10)
    assert with_run.metrics("one")["step"].tolist() == [5, 10]
    assert [item.step for item in with_run.histograms("one")] == [10]
    assert with_run.run("one").step == 10


def test_histograms_of_one_name_are_read_alone(with_run):
    for name in ("weights/w", "gradients/w"):
        for step in (10, 5):
            with_run.add_histogram("one", step, name, [0, 1, 2], [3, step])
    assert with_run.histogram_names("one") == ["gradients/w", "weights/w"]
    found = with_run.histograms("one", "weights/w")
    assert [(item.name, item.step, item.counts) for item in found] == [
        ("weights/w", 5, (3, 5)),
        ("weights/w", 10, (3, 10)),
    ]
    assert len(with_run.histograms("one")) == 4


def test_small_curves_of_many_runs_come_in_one_query(with_run):
    with_run.add_run(run_spec("two"), with_run.dataset("tiny").facts)
    for name in ("one", "two"):
        with_run.add_metrics(name, [MetricRow(step, 0.0, {"a/b c": float(step)}) for step in (5, 10)])
    with_run.add_metrics("two", [MetricRow(15, 0.0, {"other": 1.0})])
    series = with_run.metric_series(["one", "two"], "a/b c")
    assert series == {"one": ([5, 10], [5.0, 10.0]), "two": ([5, 10], [5.0, 10.0])}
    assert with_run.metric_series([], "loss") == {}


def test_histograms_need_one_edge_more(with_run):
    with pytest.raises(ValueError, match="2 edges and 2 counts"):
        with_run.add_histogram("one", 0, "weights/w", [0, 1], [3, 4])


def test_notes_tags_and_archive(with_run):
    with_run.set_run_note("one", "good")
    with_run.set_run_tags("one", ["b", "a", "b"])
    run = with_run.run("one")
    assert (run.note, run.tags) == ("good", ("b", "a"))
    with_run.archive_run("one")
    assert "one" not in [row.name for row in with_run.runs()]
    assert [row.name for row in with_run.runs(archived=True)] == ["one"]
    with_run.restore_run("one")
    with pytest.raises(NotFound):
        with_run.set_run_note("none", "x")
