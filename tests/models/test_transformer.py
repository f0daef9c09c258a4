import numpy as np
import pytest
import torch

from seqrl.models.layers import DropoutNoise, Linear, residual_dropout
from seqrl.models.transformer import CausalTransformer

B, T, D = 3, 11, 16


@pytest.fixture(params=[1, 4], ids=["one head", "four heads"])
def network(request):
    """A transformer with weights large enough for every token to matter."""
    generator = torch.Generator().manual_seed(0)
    network = CausalTransformer(width=D, layers=3, heads=request.param)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return network.requires_grad_(False)


@pytest.fixture
def tokens():
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(1))


def test_it_is_gpt_2_without_its_embeddings(tokens):
    """Against the real package, layer by layer the same arithmetic."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=D,
        n_layer=2,
        n_head=4,
        n_positions=T,
        vocab_size=1,
        bos_token_id=0,
        eos_token_id=0,
        activation_function="relu",
    )
    theirs = transformers.GPT2Model(config).eval()
    ours = CausalTransformer(width=D, layers=2, heads=4)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
        theirs.wpe.weight.zero_()
        for block, other in zip(ours.blocks, theirs.h, strict=True):
            pairs = [
                (block.norm_1, other.ln_1),
                (block.norm_2, other.ln_2),
                (block.attention.qkv, other.attn.c_attn),
                (block.attention.projection, other.attn.c_proj),
                (block.expand, other.mlp.c_fc),
                (block.contract, other.mlp.c_proj),
            ]
            for mine, their in pairs:
                mine.weight.copy_(their.weight.T if isinstance(mine, Linear) else their.weight)
                mine.bias.copy_(their.bias)
        ours.norm.weight.copy_(theirs.ln_f.weight)
        ours.norm.bias.copy_(theirs.ln_f.bias)
        expected = theirs(inputs_embeds=tokens).last_hidden_state
        torch.testing.assert_close(ours(tokens), expected, atol=1e-5, rtol=1e-5)


def test_a_token_sees_itself_and_earlier_ones_only(network, tokens):
    before = network(tokens)
    changed = tokens.clone()
    changed[:, 5] += 1
    moved = (network(changed) - before).abs().amax(dim=(0, 2)) > 0
    assert moved.tolist() == [False] * 5 + [True] * 6


def test_a_token_hidden_from_all_changes_nothing_but_itself(network, tokens):
    visible = torch.ones(T, T, dtype=torch.bool)
    visible[:, 5] = False
    changed = tokens.clone()
    changed[:, 5] += 1
    moved = (network(changed, visible=visible) - network(tokens, visible=visible)).abs().amax(dim=(0, 2)) > 0
    assert moved.tolist() == [token == 5 for token in range(T)]


def test_a_mask_may_differ_between_rows(network, tokens):
    visible = torch.rand(B, T, T, generator=torch.Generator().manual_seed(2)) > 0.3
    together = network(tokens, visible=visible)
    for row in range(B):
        torch.testing.assert_close(together[row], network(tokens[row : row + 1], visible=visible[row])[0])


@pytest.mark.parametrize("queries", [slice(1, None, 3), slice(-1, None), slice(0, 4)])
def test_asking_few_tokens_gives_the_same_answers(network, tokens, queries):
    torch.testing.assert_close(network(tokens, queries=queries), network(tokens)[:, queries])


@pytest.mark.parametrize("pieces", [(11,), (1,) * 11, (5, 1, 3, 2)])
def test_tokens_in_pieces_through_the_cache_equal_the_whole(network, tokens, pieces):
    cache = network.new_cache(B, T + 2)
    whole, start, answers = network(tokens), 0, []
    for piece in pieces:
        answers.append(network.extend(tokens[:, start : start + piece], cache))
        start += piece
    torch.testing.assert_close(torch.cat(answers, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_masks_hold_in_the_cache_too(network, tokens):
    visible = torch.rand(T, T, generator=torch.Generator().manual_seed(2)) > 0.3
    cache = network.new_cache(B, T)
    first = network.extend(tokens[:, :6], cache, visible=visible[:6, :6])
    second = network.extend(tokens[:, 6:], cache, visible=visible[6:], queries=slice(2, None))
    whole = network(tokens, visible=visible)
    torch.testing.assert_close(torch.cat([first, second], dim=1), torch.cat([whole[:, :6], whole[:, 8:]], dim=1))


def test_a_cache_goes_back_drops_rows_and_refuses_what_does_not_fit(network, tokens):
    cache = network.new_cache(B, T)
    network.extend(tokens, cache)
    cache.clear(4)
    cache.keep(torch.tensor([2, 0]))
    again = network.extend(tokens[[2, 0], 4:], cache)
    torch.testing.assert_close(again, network(tokens)[[2, 0], 4:])
    with pytest.raises(ValueError, match="1 tokens do not fit into a cache of 11 that holds 11"):
        network.extend(tokens[:2, :1], cache)


def test_attention_weights_are_distributions_over_what_is_seen(network, tokens):
    seen = []
    network(tokens, seen=seen, queries=slice(-1, None))
    assert [weights.shape for weights in seen] == [(B, network.heads, T, T)] * 2 + [(B, network.heads, 1, T)]
    for weights in seen:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert (seen[0].triu(1) == 0).all()


def test_bfloat16_is_close_and_its_gradients_are_float32(network, tokens):
    network.requires_grad_(True)
    answers = network(tokens.bfloat16())
    assert answers.dtype == torch.bfloat16
    assert (answers.float() - network(tokens)).abs().max() < 0.15
    answers.float().square().sum().backward()
    assert {parameter.grad.dtype for parameter in network.parameters()} == {torch.float32}


def test_fresh_weights_follow_from_the_generator_and_leave_global_randomness_alone():
    def fresh(seed):
        network = CausalTransformer(width=D, layers=2, heads=2)
        network.reset(torch.Generator().manual_seed(seed))
        return network

    state = torch.get_rng_state()
    one, same, other = fresh(0), fresh(0), fresh(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.blocks[0].expand.weight, same.blocks[0].expand.weight)
    assert not torch.equal(one.blocks[0].expand.weight, other.blocks[0].expand.weight)
    assert one.blocks[0].contract.weight.std() < 0.6 * one.blocks[0].expand.weight.std()


# --- dropout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_drop_the_rate_and_keep_the_mean(dtype):
    like = torch.empty(300, 1001, dtype=dtype)
    mask = DropoutNoise(0.1, seed=0, step=0).mask(like)
    assert mask.dtype == dtype
    assert len(mask.unique()) == 2
    assert abs(float((mask == 0).float().mean()) - 26 / 256) < 0.005
    assert abs(float(mask.float().mean()) - 1) < 0.008


def test_masks_are_a_function_of_seed_and_step():
    like = torch.empty(40, 33)

    def masks(seed, step):
        noise = DropoutNoise(0.3, seed, step)
        return torch.stack([noise.mask(like), noise.mask(like)])

    assert torch.equal(masks(1, 2), masks(1, 2))
    assert not torch.equal(*masks(1, 2))
    for other in ((1, 3), (2, 2), (2, 1)):
        assert not torch.equal(masks(1, 2), masks(*other))
    agreement = float((masks(1, 2)[0].eq(0) == masks(1, 3)[0].eq(0)).float().mean())
    assert abs(agreement - (0.3**2 + 0.7**2)) < 0.06


@pytest.mark.parametrize(("rate", "share"), [(0.001, 1), (0.1, 26), (0.999, 255)])
def test_every_rate_above_0_drops_something_and_keeps_something(rate, share):
    mask = DropoutNoise(rate, seed=0, step=0).mask(torch.empty(1000, 1000))
    assert float((mask == 0).float().mean()) == pytest.approx(share / 256, rel=0.05)
    assert float(mask.max()) == pytest.approx(256 / (256 - share))


def test_without_a_rate_nothing_is_drawn():
    assert DropoutNoise(0.0, 0, 0).mask(torch.empty(3)) is None
    residual, update = torch.ones(4, 2), torch.full((4, 2), 2.0)
    for noise in (None, DropoutNoise(0.0, 0, 0)):
        assert torch.equal(residual_dropout(residual, update, noise), torch.full((4, 2), 3.0))


def test_dropout_reaches_the_input_and_both_branches(network, tokens):
    drawn = []

    class Counting(DropoutNoise):
        def mask(self, like):
            drawn.append(like.numel())
            return super().mask(like)

    noisy = network(tokens, noise=Counting(0.5, 0, 0), queries=slice(1, None, 3))
    assert drawn == [B * T * D] * 5 + [B * 4 * D] * 2
    assert not np.allclose(noisy, network(tokens)[:, 1::3])
