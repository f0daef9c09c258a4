import pytest
import torch

from seqrl.models.layers import ACTIVATIONS, DropoutNoise
from seqrl.models.transformer import CausalTransformer

B, D = 3, 16
STATES = slice(1, None, 3)


def network(activation="relu", heads=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    network = CausalTransformer(width=D, layers=3, heads=heads, activation=activation).to(dtype)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return network


def gradients(network, tokens, queries, plain, rate=0.1, step=1):
    """States, and gradients of the tokens and of every parameter, of a sum whose terms weigh differently."""
    network.zero_grad()
    x = tokens.clone().requires_grad_()
    y = network(x, queries=queries, noise=DropoutNoise(rate, 0, step), seen=[] if plain else None)
    (y * torch.sin(torch.arange(y.numel())).view_as(y).to(y.dtype)).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad.clone() for parameter in network.parameters())]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_has_the_gradients_of_the_plain_blocks(activation):
    """In double precision, where only a wrong formula can differ; 1,050 rows are more than one piece."""
    net = network(activation)
    tokens = torch.randn(30, 35, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(gradients(net, tokens, STATES, False), gradients(net, tokens, STATES, True), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tokens", [1, 11, 64, 150])
@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("queries", [slice(None), STATES, slice(0, 1), slice(-1, None)], ids=str)
def test_every_shape_has_the_gradients_of_the_plain_blocks(tokens, heads, queries):
    """One group of queries and several, keys that end inside a group, keys that nothing asks for."""
    if tokens == 1 and queries == STATES:
        pytest.skip("asks for nothing")
    net = network(heads=heads)
    x = torch.randn(B, tokens, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(gradients(net, x, queries, False), gradients(net, x, queries, True), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_float32_differs_by_rounding():
    net = network(heads=4, dtype=torch.float32)
    x = torch.randn(B, 59, D, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(gradients(net, x, STATES, False), gradients(net, x, STATES, True), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_bfloat16_is_close_and_its_gradients_are_float32():
    net = network(heads=4, dtype=torch.float32)
    x = torch.randn(B, 59, D, generator=torch.Generator().manual_seed(1))
    exact = gradients(net, x, STATES, False, rate=0)[2:]
    rough = gradients(net, x.bfloat16(), STATES, False, rate=0)[2:]
    for mine, theirs in zip(rough, exact, strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - theirs).norm() / theirs.norm()) < 0.1


def test_memory_that_is_used_again_belongs_to_one_pass():
    """Two forward passes before their backward passes, and a pass of another size in between."""
    net = network()
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(B, 20, D, dtype=torch.float64, generator=generator) for _ in range(2))
    expected = [gradients(net, x, STATES, True)[1] for x in (first, second)]
    gradients(net, first[:, :7], STATES, False)
    inputs = [x.clone().requires_grad_() for x in (first, second)]
    states = [net(x, queries=STATES, noise=DropoutNoise(0.1, 0, 1)) for x in inputs]
    for y in states:
        (y * torch.sin(torch.arange(y.numel())).view_as(y).to(y.dtype)).sum().backward()
    for x, theirs in zip(inputs, expected, strict=True):
        torch.testing.assert_close(x.grad, theirs, rtol=1e-9, atol=1e-9)


def test_an_update_leaves_its_wide_layers_to_the_next_one():
    net = network()
    x = torch.randn(B, 20, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients(net, x, STATES, False)
    held = {tensor.data_ptr() for tensor in net._spare._held}
    gradients(net, x, STATES, False)
    assert held
    assert {tensor.data_ptr() for tensor in net._spare._held} == held
