"""A number that is not finite stops a training before the update, and the last good checkpoint is kept."""

import math

import pytest
import torch

from seqrl import jobs
from seqrl.checkpoints import load_model, load_training_state
from seqrl.models import decision_transformer
from tests.in_process import InProcess
from tests.specs import train_job

CHECKPOINT_EVERY = 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient", "data"])
@pytest.mark.parametrize("step", [0, 1, 9])
def test_the_step_is_named_and_the_checkpoint_kept(tiny, monkeypatch, where, value, step):
    model = decision_transformer.DecisionTransformer
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
    job = train_job("run", steps=20, checkpoint_every=CHECKPOINT_EVERY, precision="fp32")
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
