"""The tree decoder against the plain network, which sees every sequence as a whole."""

import pytest
import torch

from seqrl.models.beam_decoder import BeamDecoder, Workspace
from seqrl.models.transformer import CausalTransformer


@pytest.fixture
def network():
    network = CausalTransformer(width=32, layers=3, heads=4)
    network.reset(torch.Generator().manual_seed(0))
    for parameter in network.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(6)
    return network.requires_grad_(False)


class Tree:
    """A decoder, and beside it the whole sequence of every row."""

    def __init__(self, network, starts: torch.Tensor, workspace=None) -> None:
        self.network, self.decoder = network, BeamDecoder(network, workspace)
        self.generator = torch.Generator().manual_seed(1)
        self.states = self.decoder.start(starts)
        self.rows = [row[None] for row in starts]

    def branch(self, width: int, capacity: int) -> None:
        self.decoder.branch(width, capacity)
        self.rows = [row for row in self.rows for _ in range(width)]

    def step(self) -> None:
        new = torch.randn(len(self.rows), 32, generator=self.generator)
        self.states = self.decoder.step(new)
        self.rows = [torch.cat([row, new[i][None, None]], dim=1) for i, row in enumerate(self.rows)]

    def choose(self, rows: list[int]) -> None:
        self.decoder.choose(torch.tensor(rows))
        self.rows = [self.rows[row] for row in rows]

    def merge(self, rows: list[int], shared: int, capacity: int) -> None:
        self.decoder.merge(torch.tensor(rows), shared, capacity)
        self.rows = [self.rows[row] for row in rows]

    def check(self) -> None:
        whole = torch.cat([self.network(row)[:, -1] for row in self.rows])
        torch.testing.assert_close(self.states, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("environments", [1, 3])
@torch.inference_mode()
def test_every_state_of_a_growing_tree_is_that_of_the_whole_sequence(network, environments):
    tree = Tree(network, torch.randn(environments, 21, 32, generator=torch.Generator().manual_seed(2)))
    tree.check()
    tree.branch(4, 3)
    for _ in range(3):
        tree.step()
        tree.check()
    tree.merge([4 * e + i for e in range(environments) for i in (3, 0, 0)], environments, 2)
    tree.step()
    tree.check()
    tree.branch(2, 2)
    tree.step()
    tree.choose([6 * e + i for e in range(environments) for i in (1, 0, 1, 3, 3, 2, 5, 4, 4)])
    tree.step()
    tree.check()
    tree.merge([9 * e + i for e in range(environments) for i in (8, 1)], environments, 1)
    tree.step()
    tree.check()


@torch.inference_mode()
def test_sequences_that_share_nothing_merge_too(network):
    """After a restart every beam has a history of its own."""
    tree = Tree(network, torch.randn(6, 5, 32))
    tree.branch(1, 2)
    tree.step()
    tree.branch(2, 2)
    tree.step()
    tree.check()
    tree.merge([5, 0, 3, 6, 11, 8], 2, 1)  # two environments of three beams
    tree.step()
    tree.check()


@torch.inference_mode()
def test_a_row_has_the_same_bits_whatever_is_beside_it(network):
    starts = torch.randn(7, 9, 32)
    new = torch.randn(7 * 3, 32)
    states = []
    for chosen in (slice(0, 7), slice(2, 3)):
        decoder = BeamDecoder(network)
        first = decoder.start(starts[chosen])
        decoder.branch(3, 2)
        second = decoder.step(new.view(7, 3, 32)[chosen].flatten(0, 1))
        states.append((first, second))
    assert torch.equal(states[0][0][2:3], states[1][0])
    assert torch.equal(states[0][1][6:9], states[1][1])


@torch.inference_mode()
def test_memory_is_reused_and_what_it_held_makes_no_difference(network):
    workspace = Workspace()
    starts = torch.randn(2, 9, 32)
    fresh = Tree(network, starts)
    for size in (2, 5, 1):
        Tree(network, torch.randn(size, 11, 32), workspace).branch(4, 2)
    reused = Tree(network, starts, workspace)
    for tree in (fresh, reused):
        tree.branch(2, 2)
        tree.step()
    assert torch.equal(fresh.states, reused.states)


def test_a_full_level_is_refused(network):
    decoder = BeamDecoder(network)
    decoder.start(torch.randn(1, 3, 32))
    with pytest.raises(ValueError, match="holds 3 tokens, which is all that fit"):
        decoder.step(torch.randn(1, 32))
