"""A return head tells what the data shows to be attainable, and favours high returns when it is told to."""

import doctest

import numpy as np
import pytest
import torch

from seqrl.config import DecisionTransformerSpec
from seqrl.models import return_head
from seqrl.models.decision_transformer import DecisionTransformer
from seqrl.models.return_head import BINS, ReturnHead, favoured_bin
from tests.windowed import make_columns, make_facts


def fitted(kind, expectile=0.99, steps=400):
    """A head that has learnt: state +1 returns 10 (90 %) or 40 (10 %), state -1 always returns 20."""
    head = ReturnHead(kind, 1, 10, expectile)
    head.reset(torch.Generator().manual_seed(0))
    head.set_span(0.0, 50.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    returns = torch.tensor([10.0] * 9 + [40.0] + [20.0] * 10)
    states = torch.tensor([[1.0]] * 10 + [[-1.0]] * 10)
    for _ in range(steps):
        optimizer.zero_grad()
        head.loss(states, torch.zeros(20), returns).backward()
        optimizer.step()
    return head.requires_grad_(False)


def test_doctests_hold():
    assert doctest.testmod(return_head).failed == 0


def test_a_distribution_is_tilted_from_the_usual_to_the_best():
    head, states = fitted("bins"), torch.tensor([[1.0], [-1.0]])
    assert head.choose(states, 0, 0.0).numpy() == pytest.approx([10.0, 20.0], abs=0.3)
    assert head.choose(states, 0, 10.0).numpy() == pytest.approx([40.0, 20.0], abs=0.3)


def test_no_tilt_asks_for_what_no_data_shows():
    probabilities = torch.full((1, BINS), 1e-5)
    probabilities[0, 30] = 1 - 99e-5
    assert int(favoured_bin(probabilities, 1e6)) == 30


def test_an_expectile_is_between_the_mean_and_the_best():
    states = torch.tensor([[1.0], [-1.0]])
    mean = fitted("expectile", 0.5).choose(states, 0, 0.0).numpy()
    high = fitted("expectile", 0.9).choose(states, 0, 0.0).numpy()
    assert mean == pytest.approx([13.0, 20.0], abs=0.5)
    # the expectile e of 10 (90 %) and 40 (10 %) at 0.9 solves 0.9 * 0.1 * (40 - e) = 0.1 * 0.9 * (e - 10)
    assert high == pytest.approx([25.0, 20.0], abs=0.5)


@pytest.mark.parametrize("kind", ["bins", "expectile"])
def test_a_choice_does_not_depend_on_the_other_rows(kind):
    head = ReturnHead(kind, 3, 10, 0.9)
    head.reset(torch.Generator().manual_seed(0))
    states = torch.randn(37, 3, generator=torch.Generator().manual_seed(1))
    together = head.choose(states, 4, 5.0)
    assert all(torch.equal(together[i : i + 1], head.choose(states[i : i + 1], 4, 5.0)) for i in range(37))


def test_the_span_is_that_of_the_training_episodes_and_travels_with_the_weights():
    columns = make_columns()
    spec = DecisionTransformerSpec(embedding_dim=16, layers=1, context_length=4, return_head="bins")
    model = DecisionTransformer.from_columns(spec, columns, np.array([1, 3]), seed=0)
    rows = [columns.rewards[4:24], columns.rewards[25:34]]
    every = np.concatenate([np.cumsum(part[::-1]) for part in rows])
    assert model.return_head.span.numpy() == pytest.approx([every.min(), every.max()], rel=1e-5)
    again = DecisionTransformer.from_weights(spec, make_facts(), model.state_dict())
    assert torch.equal(again.return_head.span, model.return_head.span)


def test_the_head_adds_its_loss_and_leaves_the_actions_alone():
    columns = make_columns()
    values = {"embedding_dim": 16, "layers": 1, "context_length": 4}
    plain = DecisionTransformer.build(DecisionTransformerSpec(**values), columns.facts, 0)
    both = DecisionTransformer.from_columns(
        DecisionTransformerSpec(**values, return_head="bins"), columns, np.arange(5), seed=0
    )
    batch = plain.batches(columns, np.arange(5)).sample(8, 0, 0)
    loss, measures = both.loss(batch)
    assert measures["action_loss"] == plain.loss(batch)[0]
    assert torch.allclose(loss, measures["action_loss"] + measures["return_loss"])
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in both.return_head.parameters())


def test_without_a_head_the_choice_is_refused_in_a_sentence():
    model = DecisionTransformer.build(DecisionTransformerSpec(embedding_dim=16, layers=1), make_facts(), 0)
    with pytest.raises(ValueError, match="train it with return_head bins"):
        model.choose_return(torch.zeros(1, 3), 0, 10.0)
