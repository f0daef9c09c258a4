import numpy as np
import pytest
import torch

from seqrl.config import SamplingSpec
from seqrl.planning import PlanNoise, draw, draw_distinct, sampling_log_probabilities

LOGITS = torch.tensor([[0.1, 0.5, 0.1, 0.3], [0.4, 0.3, 0.2, 0.1]]).log()


def test_temperature_top_k_and_top_p_are_their_definitions():
    sharp = sampling_log_probabilities(LOGITS, SamplingSpec(temperature=0.5)).exp()
    squares = LOGITS.exp() ** 2
    torch.testing.assert_close(sharp, squares / squares.sum(-1, keepdim=True))
    two = sampling_log_probabilities(LOGITS, SamplingSpec(top_k=2)).exp()
    torch.testing.assert_close(two, torch.tensor([[0, 0.625, 0, 0.375], [4 / 7, 3 / 7, 0, 0]]))
    most = sampling_log_probabilities(LOGITS, SamplingSpec(top_p=0.75)).exp()
    torch.testing.assert_close(most, torch.tensor([[0, 0.625, 0, 0.375], [4 / 9, 3 / 9, 2 / 9, 0]]))


def test_ties_at_the_border_of_top_k_keep_exactly_k():
    kept = torch.isfinite(sampling_log_probabilities(torch.zeros(1, 6), SamplingSpec(top_k=3)))
    assert kept.tolist() == [[True, True, True, False, False, False]]


@pytest.mark.parametrize("sampling", [SamplingSpec(top_k=1), SamplingSpec(top_k=2), SamplingSpec(top_p=0.5)])
def test_bug_06_greedy_has_the_right_shape_and_filters_leave_the_callers_logits_alone(sampling):
    """The notebook's greedy branch crashes, and its top-k turns a later expectation into an argmax."""
    logits = LOGITS.clone()
    tokens = draw(logits, sampling, torch.tensor([0.99, 0.0]))
    assert tokens.shape == (2,)
    assert torch.equal(logits, LOGITS)
    values = torch.tensor([0.0, 1.0, 2.0, 3.0])
    torch.testing.assert_close(logits.softmax(-1) @ values, torch.tensor([1.6, 1.0]))
    if sampling.top_k == 1:
        assert tokens.tolist() == [1, 0]
        assert draw(logits, sampling, None).tolist() == [1, 0]


def test_drawing_follows_the_probabilities_at_every_uniform_number():
    uniforms = (torch.arange(1000) + 0.5) / 1000
    tokens = draw(LOGITS[:1].expand(1000, -1), SamplingSpec(), uniforms)
    assert torch.bincount(tokens, minlength=4).tolist() == pytest.approx([100, 500, 100, 300], abs=1)
    edge = draw(LOGITS[:1], SamplingSpec(top_k=2), torch.tensor([1 - 2**-24]))
    assert edge.tolist() == [3]


def gumbel(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return PlanNoise([seed], 0).gumbel(rows, width)[0][:, None]


def test_distinct_draws_never_repeat_and_cover_everything_when_asked():
    log_probabilities = LOGITS[:1, None].expand(50, 1, 4)
    zero = torch.zeros(50, 1)
    for count in (1, 2, 4):
        index, total, perturbed = draw_distinct(log_probabilities, zero, zero, gumbel(50, 4), count)
        assert all(len(set(row)) == count for row in index.tolist())
        torch.testing.assert_close(total, log_probabilities[:, 0].gather(1, index))
        assert (perturbed[:, :-1] >= perturbed[:, 1:]).all()
    assert (index.sort(dim=1).values == torch.arange(4)).all()


def test_the_first_of_distinct_draws_has_the_models_probabilities():
    rows = 20_000
    zero = torch.zeros(rows, 1)
    index, _, _ = draw_distinct(LOGITS[:1, None].expand(rows, 1, 4), zero, zero, gumbel(rows, 4), 2)
    shares = torch.bincount(index[:, 0], minlength=4) / rows
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.5, 0.1, 0.3]), atol=0.015, rtol=0)
    second = index[index[:, 0] == 1, 1]  # without replacement: 0.1, 0.1, 0.3 of what is left
    shares = torch.bincount(second, minlength=4) / len(second)
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.0, 0.2, 0.6]), atol=0.02, rtol=0)


def test_distinct_sequences_of_two_tokens_are_drawn_by_their_joint_probability():
    """Level by level (Kool et al. 2019): the first of the kept sequences is a sample of the joint distribution."""
    rows = 20_000
    second = torch.tensor([[0.9, 0.1], [0.25, 0.75]]).log()
    zero = torch.zeros(rows, 1)
    first = torch.tensor([[0.6, 0.4]]).log().expand(rows, 1, 2)
    index, total, perturbed = draw_distinct(first, zero, zero, gumbel(rows, 2, 1), 2)
    noise = PlanNoise([2], 0).gumbel(rows, 2, 2)[0]
    joint, total, perturbed = draw_distinct(second[index], total, perturbed, noise, 3)
    sequences = index.gather(1, joint // 2) * 2 + joint % 2
    assert all(len(set(row)) == 3 for row in sequences[:100].tolist())
    shares = torch.bincount(sequences[:, 0], minlength=4) / rows
    torch.testing.assert_close(shares, torch.tensor([0.54, 0.06, 0.1, 0.3]), atol=0.015, rtol=0)
    torch.testing.assert_close(total[:, 0].exp(), torch.tensor([0.54, 0.06, 0.1, 0.3])[sequences[:, 0]])


def test_what_is_impossible_comes_last_and_is_marked():
    log_probabilities = torch.tensor([[[0.5, 0.5, 0.0, 0.0]]]).log()
    zero = torch.zeros(1, 1)
    index, _, perturbed = draw_distinct(log_probabilities, zero, zero, gumbel(1, 4), 4)
    assert set(index[0, :2].tolist()) == {0, 1}
    assert torch.isfinite(perturbed).tolist() == [[True, True, False, False]]
    parents = torch.tensor([[0.0, -torch.inf]])
    _, _, perturbed = draw_distinct(
        log_probabilities.expand(1, 2, 4), zero.expand(1, 2), parents, gumbel(2, 4)[None, :, 0], 4
    )
    assert torch.isfinite(perturbed).tolist() == [[True, True, False, False]]


def test_noise_belongs_to_the_episode_and_the_decision():
    together, alone = PlanNoise([3, 4, 5], 7), PlanNoise([4], 7)
    for shape in ((5, 3), (2,)):
        assert torch.equal(together.uniforms(*shape)[1:2], alone.uniforms(*shape))
    assert not torch.equal(PlanNoise([4], 7).uniforms(8), PlanNoise([4], 8).uniforms(8))
    assert np.unique(PlanNoise([4, 5], 7).uniforms(1000)).size > 1990
