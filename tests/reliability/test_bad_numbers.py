"""A number that is not finite stops a training before the update, and the last good checkpoint is kept."""

import math
import re

import numpy as np
import pytest
import torch

from seqrl import jobs
from seqrl.checkpoints import load_model, load_training_state
from seqrl.models import decision_transformer, trajectory_transformer
from tests.in_process import InProcess
from tests.specs import train_job

CHECKPOINT_EVERY = 4
MODELS = {
    "dt": (decision_transformer.DecisionTransformer, {"kind": "dt"}),
    "bc": (decision_transformer.BehaviourCloning, {"kind": "bc"}),
    "tt": (trajectory_transformer.TrajectoryTransformer, {"kind": "tt", "context_length": 4, "bins": 10}),
}
CASES = [(kind, where) for kind in MODELS for where in ("loss", "gradient", "data") if (kind, where) != ("tt", "data")]
"""Tokens are never NaN: see below for what a Trajectory Transformer says of numbers that become none."""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind, where", CASES)
@pytest.mark.parametrize("step", [0, 1, 9])
def test_the_step_is_named_and_the_checkpoint_kept(tiny, monkeypatch, kind, where, value, step):
    model, spec = MODELS[kind]
    loss = model.loss
    calls = iter(range(10_000))

    def bad(self, batch, **options):
        if not torch.is_grad_enabled() or next(calls) != step:  # validation, or another step
            return loss(self, batch, **options)
        if where == "data":
            batch.observations[0, 0, 0] = value
        found, measures = loss(self, batch, **options)
        if where == "loss":
            found = found + value
        elif where == "gradient":
            found = found + torch.zeros((), requires_grad=True)
            next(self.parameters()).grad.view(-1)[0] = value
        return found, measures

    monkeypatch.setattr(model, "loss", bad)
    job = train_job("run", steps=20, model=spec, checkpoint_every=CHECKPOINT_EVERY, precision="fp32")
    row = jobs.submit(tiny, job, InProcess())
    assert row.state == "failed"
    what = "gradient" if where == "gradient" else "loss"
    assert (
        row.error == f"the {what} is not finite at step {step}; the last checkpoint is kept, try a lower learning rate"
    )
    kept = step // CHECKPOINT_EVERY * CHECKPOINT_EVERY
    assert tiny.has_checkpoint("run") == (kept > 0)
    if kept:
        state = load_training_state(tiny.run_folder("run"))
        assert state.step == kept
        assert all(tensor.isfinite().all() for tensor in state.tensors.values())
        assert all(tensor.isfinite().all() for tensor in load_model(tiny.run_folder("run"))[0].state_dict().values())
    assert tiny.metrics("run").fillna(0).map(math.isfinite).all().all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", MODELS)
def test_a_bad_number_on_the_disk_is_met_before_an_update(tiny, kind, value):
    """Every observation of one episode is spoilt in the dataset's own file; the step that meets it is the last."""
    path = tiny.columns_folder("tiny") / "observations.npy"
    observations = np.load(path, mmap_mode="r+")
    length = int(tiny.dataset_episodes("tiny")["length"][0])
    observations[:length] = value
    observations.flush()
    spec = {"model": MODELS[kind][1], "steps": 200, "checkpoint_every": 1, "validate_every": 1000}
    row = jobs.submit(tiny, train_job("run", **spec), InProcess())
    assert row.state == "failed"
    if kind == "tt":
        assert row.error == f"cart position is {value} at row 0; bins need finite numbers, remove or replace it"
        assert not tiny.has_checkpoint("run")
        return
    step = int(re.fullmatch(r"the (?:loss|gradient) is not finite at step (\d+); the last checkpoint .*", row.error)[1])
    assert tiny.has_checkpoint("run") == (step > 0)
    if step:
        state = load_training_state(tiny.run_folder("run"))
        assert state.step == step
        assert all(tensor.isfinite().all() for tensor in state.tensors.values())
