import math

import numpy as np
import pytest

from seqrl.plots import observed_from_plans, plan_tree, plan_tree_info, sentence

from .synthetic import plan

NAMES = ["cart position", "cart velocity", "pole angle", "pole angular velocity"]


def test_futures_start_at_the_decision_and_the_best_lies_on_top():
    imagined, scores, observed, start, _ = plan()
    shuffled = np.random.default_rng(0).permutation(len(scores))
    info = plan_tree_info(imagined[shuffled], scores[shuffled], observed, start, NAMES)
    assert info.scores[0] == scores.max()
    figure = plan_tree(info)
    beams = [trace for trace in figure.data if trace.name.startswith("future") and (trace.yaxis or "y") == "y"]
    assert beams[-1].name == "future 1"
    assert beams[-1].customdata[0] == 0
    for beam in beams:
        rank = beam.customdata[0]
        assert beam.x[0] == start
        np.testing.assert_allclose(beam.y, info.imagined[rank, :, 0])


def test_opacity_follows_the_score():
    imagined, scores, observed, start, _ = plan()
    info = plan_tree_info(imagined, scores, observed, start, NAMES, dimensions=[0])
    beams = {t.customdata[0]: t.line.color for t in plan_tree(info).data if t.name.startswith("future")}
    opacity = [float(beams[rank].split(",")[-1].rstrip(")")) for rank in range(1, len(scores))]
    assert opacity == sorted(opacity, reverse=True)
    assert opacity[-1] < 0.2
    assert info.strength[0] == 1.0


def test_what_happened_is_drawn_around_the_decision_only_where_it_is_known():
    imagined, scores, observed, start, _ = plan()
    observed[start + 3 :] = np.nan
    info = plan_tree_info(imagined, scores, observed, start, NAMES)
    real = next(trace for trace in plan_tree(info, history=5).data if trace.name == "what happened")
    assert list(real.x) == list(range(start - 5, start + 3))
    np.testing.assert_allclose(real.y, observed[start - 5 : start + 3, 0])


def test_an_imagined_termination_ends_its_future():
    imagined, scores, observed, start, ends = plan()
    info = plan_tree_info(imagined, scores, observed, start, NAMES, ends=ends)
    assert info.lengths.tolist() == [15] * 15 + [8]
    figure = plan_tree(info)
    last = next(trace for trace in figure.data if trace.name == "future 16")
    assert len(last.x) == 8
    cross = next(trace for trace in figure.data if trace.name == "future 16, end")
    assert cross.x[0] == start + 7
    assert "1 of which ends in a termination" in sentence(info)


def test_the_error_is_that_of_the_best_future():
    imagined, scores, observed, start, _ = plan()
    imagined[0] = observed[start : start + 15]
    info = plan_tree_info(imagined, scores, observed, start, NAMES)
    assert info.error == pytest.approx(0.0, abs=1e-12)
    shifted = imagined.copy()
    shifted[0, 1:] += observed.std(axis=0)
    assert plan_tree_info(shifted, scores, observed, start, NAMES).error == pytest.approx(1.0)


def test_at_most_four_panels_and_they_do_not_overlap():
    imagined, scores, observed, start, _ = plan(dimensions=9)
    info = plan_tree_info(imagined, scores, observed, start, NAMES)
    assert info.dimensions == (0, 1, 2, 3)
    assert info.names[8] == "dimension 8"
    figure = plan_tree(info)
    domains = [figure.layout[f"yaxis{n if n > 1 else ''}"].domain for n in range(1, 5)]
    assert all(upper[0] > lower[1] for upper, lower in zip(domains[:-1], domains[1:], strict=True))


def test_observations_come_from_fresh_plans_only():
    recorded = np.arange(3 * 2 * 4 * 1, dtype=float).reshape(3, 2, 4, 1)
    seen = observed_from_plans(recorded, np.array([0, 1, 0]))
    assert seen[0, 0] == 0.0
    assert math.isnan(seen[1, 0])
    assert seen[2, 0] == 16.0


def test_one_future_at_the_last_step_and_none():
    imagined, scores, observed, _, _ = plan(beams=1, horizon=1)
    info = plan_tree_info(imagined, scores, observed, 79, NAMES)
    assert plan_tree(info).data
    assert math.isnan(info.error)
    none = plan_tree_info(np.empty((0, 5, 4)), np.empty(0), observed, 0, NAMES)
    assert sentence(none) == plan_tree(none).layout.annotations[0].text
