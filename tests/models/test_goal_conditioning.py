"""A Decision Transformer that is told a goal instead of a return."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from seqrl.config import BehaviourSpec, DatasetSpec, RunSpec, check_run, parse_model
from seqrl.datasets import build
from seqrl.models.decision_transformer import DecisionTransformer
from seqrl.store.columns import Columns

SMALL = {"kind": "dt", "conditioning": "goal", "embedding_dim": 16, "layers": 1, "context_length": 3, "dropout": 0.0}


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("goals") / "walks"
    behaviours = (BehaviourSpec(tier="random", policy="random"),)
    build(DatasetSpec(name="walks", environment="seqrl/GraphGoals-v0", episodes=10, behaviours=behaviours), folder)
    return Columns.open(folder)


def answers(model, batch, observations=None, returns_to_go=None):
    with torch.inference_mode():
        return model.act_logits(
            batch.observations if observations is None else observations,
            batch.actions[:, :-1],
            batch.returns_to_go if returns_to_go is None else returns_to_go,
            torch.arange(batch.observations.shape[1]),
        )


def test_it_hears_the_goal_and_no_return(walks):
    model = DecisionTransformer.build(parse_model(SMALL), walks.facts, 0)
    assert not model.conditioned
    batch = model.batches(walks, np.arange(10)).sample(8, 0, 0)
    base = answers(model, batch)
    torch.testing.assert_close(answers(model, batch, returns_to_go=batch.returns_to_go - 7), base, rtol=0, atol=0)
    changed = batch.observations.clone()
    changed[..., 20:40] = changed[..., 20:40].roll(1, dims=-1)
    assert (answers(model, batch, changed) - base).abs().max() > 1e-4


def test_the_goal_stands_in_its_own_token_alone(walks):
    model = DecisionTransformer.build(parse_model(SMALL), walks.facts, 0)
    observations = model.batches(walks, np.arange(10)).sample(8, 0, 0).observations
    changed = observations.clone()
    changed[..., 20:40] = changed[..., 20:40].roll(1, dims=-1)
    nothing = torch.zeros(observations.shape[:2])
    before, after = (model._request(values, nothing) for values in (observations, changed))
    assert list(before) == ["goal", "observation"]
    torch.testing.assert_close(after["observation"], before["observation"], rtol=0, atol=0)
    assert (after["goal"] - before["goal"]).abs().max() > 1e-4


def test_weights_come_back_from_a_checkpoint(walks):
    spec = parse_model(SMALL)
    model = DecisionTransformer.build(spec, walks.facts, 0)
    again = DecisionTransformer.from_weights(spec, walks.facts, model.state_dict())
    batch = model.batches(walks, np.arange(10)).sample(4, 0, 0)
    torch.testing.assert_close(answers(again, batch), answers(model, batch), rtol=0, atol=0)


def test_what_cannot_be_is_refused_with_a_sentence(walks):
    with pytest.raises(ValidationError, match="return_head is bins but a model that is asked for a goal"):
        parse_model(SMALL | {"return_head": "bins"})
    silent = walks.facts.model_copy(update={"observation": walks.facts.observation.model_copy(update={"goal": None})})
    with pytest.raises(ValueError, match="conditioning is goal but the observations of this dataset name none"):
        check_run(RunSpec(name="r", dataset="d", model=parse_model(SMALL)), silent)
