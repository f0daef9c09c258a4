"""RvS: a plain network that sees the present observation and the target, and nothing else."""

import dataclasses

import pytest
import torch

from seqrl.config import RvsSpec
from seqrl.models.layers import DropoutNoise
from seqrl.models.rvs import RvsNetwork
from seqrl.windows import Windows
from tests.windowed import make_columns, make_facts


def make_model(action="discrete", **settings):
    return RvsNetwork.build(RvsSpec(**{"embedding_dim": 32} | settings), make_facts(action), seed=0)


def make_batch(action="discrete", k=1, count=12):
    return Windows(make_columns(action=action), k).sample(count, 0, 0)


@pytest.mark.parametrize("action", ["discrete", "multi_discrete", "box", "open_box"])
def test_it_is_the_network_that_it_says(action):
    model, batch = make_model(action), make_batch("box" if action == "open_box" else action)
    observations = (batch.observations[:, 0] - 0.5) / 2.0  # the facts' mean and spread
    x = torch.cat([observations, batch.returns_to_go / 10.0], dim=1)  # the facts' largest return
    for layer in model.hidden:
        x = (x @ layer.weight.T + layer.bias).clamp(min=0)
    expected = x @ model.predict_action.weight.T + model.predict_action.bias
    torch.testing.assert_close(model(batch)[:, 0], expected, atol=1e-5, rtol=1e-5)
    assert len(model.hidden) == 2


def test_steps_of_a_window_do_not_see_each_other():
    model, batch = make_model(), make_batch(k=6)
    changed = batch.observations.clone()
    changed[:, 2] += 1
    differs = (model(dataclasses.replace(batch, observations=changed)) - model(batch)).abs().sum((0, 2)) > 0
    assert differs.tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_acting_says_what_training_says_whatever_the_batch(compute):
    model, batch = make_model(), make_batch(count=37)
    acted = model.act_logits(batch.observations, batch.actions[:, :0], batch.returns_to_go, batch.timesteps[0], compute)
    torch.testing.assert_close(acted, model(batch, compute=compute)[:, 0], atol=1e-5, rtol=1e-5)
    for row in range(37):
        one = slice(row, row + 1)
        alone = model.prefill(
            model.begin(1),
            batch.observations[one],
            batch.actions[one, :0],
            batch.returns_to_go[one],
            batch.timesteps[0],
        )
        assert compute != torch.float32 or torch.equal(alone, acted[one])


def test_it_learns_from_every_step_and_with_dropout():
    columns = make_columns()
    model = make_model(dropout=0.1)
    windows = model.batches(columns, RvsNetwork.eligible_episodes(RvsSpec(), columns))
    assert len(windows) == columns.steps
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(150):
        optimizer.zero_grad()
        loss, _ = model.loss(windows.sample(64, 0, step), noise=DropoutNoise(0.1, 0, step))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]
    assert set(model.embedding_norms(windows.sample(8, 0, 0))) == {"observation", "return"}
