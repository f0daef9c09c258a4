"""Grids of trainings: all or none are queued, again only what is missing, and means are over the seeds."""

import math

import numpy as np
import pandas as pd
import pytest

from seqrl import grids, jobs
from seqrl.calibration import bootstrap_interval, summarise
from seqrl.config import GridSpec, ReturnSweepJob
from tests.in_process import InProcess, Nowhere, do
from tests.specs import run_spec, sweep_spec, train_job


def grid(values=(1, 5), seeds=(0, 1), name="ctx", **changes):
    return GridSpec.of(run_spec(name, **changes), {"model.context_length": values}, seeds)


def test_nothing_is_queued_if_one_run_cannot_be_trained(tiny):
    before = len(tiny.jobs())
    for spec, sentence in (
        (grid((1, 100)), "context_length is 100 but CartPole-v1 episodes end at 60 steps; choose at most 60"),
        (grid(dataset="nothing"), "there is no dataset named nothing"),
        (grid(name="demo/ctx"), "read-only"),
    ):
        with pytest.raises(ValueError, match=sentence):
            grids.plan(tiny, spec)
        with pytest.raises(ValueError, match=sentence):
            grids.submit(tiny, spec, Nowhere())
    tiny.add_run(run_spec("ctx-cl5-seed1"), tiny.dataset("tiny").facts)
    with pytest.raises(ValueError, match="a run named ctx-cl5-seed1 exists already outside of the grid"):
        grids.submit(tiny, grid(), Nowhere())
    assert len(tiny.jobs()) == before and not tiny.has_run("ctx-cl1-seed0") and tiny.grids() == []


def test_what_is_there_is_not_trained_again_and_more_may_be_added(tiny):
    first = grids.submit(tiny, grid(), Nowhere())
    assert (len(first.queued), first.present) == (4, ())
    again = grids.submit(tiny, grid(), Nowhere())
    assert (again.queued, len(again.present)) == ((), 4)
    more = grids.submit(tiny, grid((5, 10), (1, 2)), Nowhere())
    assert more.present == ("ctx-cl5-seed1",)
    assert more.queued == ("ctx-cl5-seed2", "ctx-cl10-seed1", "ctx-cl10-seed2")
    assert more.grid.spec.axes[0].values == (1, 5, 10) and len(tiny.grid_runs("ctx")) == 7
    assert len(tiny.jobs(["queued"])) == 7
    with pytest.raises(ValueError, match="exists already with training.steps 30, not 40; choose another name"):
        grids.submit(tiny, grid(steps=40), Nowhere())
    with pytest.raises(ValueError, match="the grid has 67 runs; choose at most 64"):
        grids.submit(tiny, grid(range(1, 61), (3,)), Nowhere())
    tiny.archive_run("ctx-cl1-seed0")
    with pytest.raises(ValueError, match="ctx-cl1-seed0 is in the archive; restore it"):
        grids.submit(tiny, grid(), Nowhere())


def test_a_whole_grid_is_stopped_and_resumed(tiny):
    grids.submit(tiny, grid(), Nowhere())
    assert {job.state for job in grids.cancel(tiny, "ctx", backend=Nowhere())} == {"cancelled"}
    assert grids.states(tiny.grid_runs("ctx")) == {"cancelled": 4}
    with pytest.raises(ValueError, match="nothing to cancel"):
        grids.cancel(tiny, "ctx")
    grids.resume(tiny, "ctx", InProcess())
    assert grids.states(tiny.grid_runs("ctx")) == {"succeeded": 4}
    assert grids.progress(tiny.grid_runs("ctx")) == 1
    with pytest.raises(ValueError, match="nothing to resume"):
        grids.resume(tiny, "ctx")
    with pytest.raises(ValueError, match="there is no grid named nothing"):
        grids.cancel(tiny, "nothing")


def test_a_running_one_is_stopped_too_and_none_that_waits_takes_its_place(tiny):
    grids.submit(tiny, grid(steps=100_000), jobs.LocalBackend())
    running = grids.states(tiny.grid_runs("ctx"))["running"]
    grids.cancel(tiny, "ctx", wait=True)
    assert grids.states(tiny.grid_runs("ctx")) == {"cancelled": 4}
    assert [row.started is not None for row in tiny.grid_runs("ctx")].count(True) == running


def test_a_grid_changes_no_bits(tiny):
    grids.submit(tiny, grid((5,), (1,)), InProcess())
    do(tiny, train_job("alone").model_copy(update={"spec": run_spec("alone").model_copy(update={"seed": 1})}))
    one, other = (tiny.metrics(name)[["step", "loss", "validation_loss"]] for name in ("ctx-cl5-seed1", "alone"))
    assert len(one) and one.equals(other)


def test_means_are_over_the_finished_seeds_with_bootstrap_intervals(tiny):
    spec = grid((1, 5), (0, 1, 2))
    grids.submit(tiny, spec, Nowhere())
    rows = tiny.grid_runs("ctx")
    losses = {"ctx-cl1-seed0": 0.5, "ctx-cl1-seed1": 0.7, "ctx-cl1-seed2": 0.6, "ctx-cl5-seed0": 0.4}
    for row in rows:
        if row.name in losses:
            tiny.transition(row.job_id, ["queued"], "succeeded")
        tiny.set_run_progress(row.name, 30, losses.get(row.name, 0.1))
    table = grids.runs_table(spec, tiny.grid_runs("ctx"))
    assert table[grids.BEST_LOSS].notna().sum() == 4  # what has not finished has no result
    means = grids.aggregate(spec, table).set_index("combination")
    assert means["finished"].to_dict() == {"cl1": 3, "cl5": 1} and (means["runs"] == 3).all()
    assert means.loc["cl1", "best_value"] == pytest.approx(0.6)
    low, high = bootstrap_interval(np.array([[0.5], [0.7], [0.6]]))
    assert means.loc["cl1", ["best_value_low", "best_value_high"]].tolist() == [low[0], high[0]]
    assert means.loc["cl5", "best_value"] == 0.4 and math.isnan(means.loc["cl5", "best_value_low"])


def test_an_unfinished_grid_and_one_that_varies_only_the_seed_have_tables(tiny):
    spec = GridSpec.of(run_spec("seeds"), {}, (0, 1))
    grids.submit(tiny, spec, Nowhere())
    means = grids.aggregate(spec, grids.runs_table(spec, tiny.grid_runs("seeds")))
    assert means["combination"].tolist() == ["seeds"] and means["best_value"].isna().all()
    assert grids.aggregate(spec, grids.runs_table(spec, [])).empty


def results_of(store, sweep):
    _, calibration = summarise(store.sweep_episodes(sweep.name), targets=sweep.spec.targets)
    return grids.sweep_results(calibration)


def test_a_sweep_over_the_runs_says_how_well_they_follow(tiny):
    spec = grid((1, 5), (0,))
    grids.submit(tiny, spec, InProcess())
    names = tuple(row.name for row in tiny.grid_runs("ctx"))
    do(tiny, ReturnSweepJob(spec=sweep_spec("one", runs=names[:1])))
    do(tiny, ReturnSweepJob(spec=sweep_spec("all", runs=names)))
    found = grids.sweeps_of(tiny, tiny.grid_runs("ctx"))
    assert [row.name for row in found] == ["all", "one"]
    results = results_of(tiny, found[0])
    assert set(results.index) == set(names)
    episodes = tiny.sweep_episodes("all")
    drawn = episodes[(episodes["run"] == names[0]) & (episodes["decoding"] == "sampled")]
    means = drawn.groupby("target")["achieved_return"].mean()
    assert results.loc[names[0], grids.BEST_RETURN] == pytest.approx(means.max())
    off = (means - means.index.to_series()).abs().mean()
    assert results.loc[names[0], grids.CALIBRATION_ERROR] == pytest.approx(off)
    table = grids.runs_table(spec, tiny.grid_runs("ctx"), results_of(tiny, found[1]))
    assert pd.isna(table.set_index("run").loc[names[1], grids.BEST_RETURN])
