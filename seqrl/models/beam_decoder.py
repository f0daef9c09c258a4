"""Decoding many continuations of few sequences, one token at a time.

The keys and values of a beam search form a tree: all beams of an environment share its history, all candidates of a
beam share the beam's imagined past, and only the last few tokens belong to a candidate alone. The tree is kept as
levels. A row of a level serves all its descendants, so shared keys are read once for all of them (one matrix product
instead of many dot products), nothing is copied when beams branch, and only surviving beams are moved when they are
chosen.

Keys and values are stored heads first, (layers, H, rows, capacity, K): with the rows of a level ordered by their
parent, every product below is then a view of contiguous memory.

Rows are padded to multiples of `ROWS` in every linear map, where a matrix product gives each row the same bits
whatever the other rows are: what is imagined for one environment does not depend on those beside it.

Shape suffixes: R rows of the last level, E embedding, H heads, K = E // H, G rows of a level, S tokens seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from seqrl.models.transformer import Block, CausalTransformer

ROWS = 16
"""Rows of every linear map come in multiples of this."""


@dataclass
class Level:
    """Keys and values that G rows of the tree hold in common for their descendants.

    Attributes:
        keys: (layers, H, G, capacity, K).
        values: (layers, H, G, capacity, K).
        length: tokens held.
    """

    keys: Tensor
    values: Tensor
    length: int = 0

    @property
    def rows(self) -> int:
        """Rows held (G)."""
        return self.keys.shape[2]

    def part(self, held: Tensor, layer: int) -> Tensor:
        """Keys or values of one layer: (H * G, tokens held, K)."""
        return held[layer].flatten(0, 1)[:, : self.length]


class Workspace:
    """Memory for levels, allocated once and reused for every plan: one pair of buffers for each slot."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, str], Tensor] = {}

    def level(self, slot: int, shape: tuple[int, ...], like: Tensor) -> Level:
        """An empty level of this shape; what the slot held before is overwritten."""
        return Level(self._take(slot, "keys", shape, like), self._take(slot, "values", shape, like))

    def _take(self, slot: int, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        size = torch.Size(shape).numel()
        buffer = self._buffers.get((slot, name))
        if buffer is None or buffer.numel() < size or buffer.device != like.device:
            buffer = self._buffers[slot, name] = like.new_empty(size)
        return buffer[:size].view(shape)


class BeamDecoder:
    """A transformer's exact continuation of a tree of sequences, in float32.

    Args:
        transformer: the network.
        workspace: memory to work in; not shared by decoders that are in use at the same time.
    """

    def __init__(self, transformer: CausalTransformer, workspace: Workspace | None = None) -> None:
        self.transformer = transformer
        self.workspace = workspace or Workspace()
        self.levels: list[Level] = []
        self._blocks = cast("list[Block]", list(transformer.blocks))
        self._free_slots: list[int] = []
        self._slots: list[int] = []

    @property
    def rows(self) -> int:
        """Sequences that are continued (R)."""
        return self.levels[-1].rows

    def start(self, x_NTE: Tensor) -> Tensor:
        """Read the sequences that everything continues, from nothing: (N, T, E) → (N, E), their last states."""
        self.levels, self._slots, self._free_slots = [], [], [0, 1, 2, 3]
        count, tokens = x_NTE.shape[:2]
        padded = F.pad(x_NTE, (0, 0, 0, -tokens % ROWS))  # behind the real tokens, which do not see it
        cache = self.transformer.new_cache(count, padded.shape[1])
        states = self.transformer.extend(padded, cache, queries=slice(-ROWS, None))[:, (tokens - 1) % ROWS]
        level = self._push(count, tokens)
        level.keys.copy_(cache.keys[:, :, :, :tokens].transpose(1, 2))
        level.values.copy_(cache.values[:, :, :, :tokens].transpose(1, 2))
        level.length = tokens
        return states

    def branch(self, width: int, capacity: int) -> None:
        """Give every row ``width`` children with room for ``capacity`` tokens of their own."""
        self._push(self.rows * width, capacity)

    def choose(self, rows: Tensor) -> None:
        """Continue only these rows of the last level. ``rows``: (R',), equally many for every parent, in its order."""
        old, slot = self._pop()
        self._gather(self._push(len(rows), old.keys.shape[3]), 0, old, rows)
        self._free_slots.append(slot)

    def merge(self, rows: Tensor, shared: int, capacity: int) -> None:
        """Continue only these rows, whatever their parents, and join what they do not share into one level.

        Args:
            rows: (R',) rows of the last level, equally many for each of the ``shared`` rows, in their order.
            shared: a first level of at most so many rows stays as it is.
            capacity: room for tokens of their own after the merge.
        """
        last_rows = self.rows
        own: list[tuple[Level, int]] = []
        while len(self.levels) > (1 if self.levels and self.levels[0].rows <= shared else 0):
            own.insert(0, self._pop())
        merged = self._push(len(rows), sum(level.length for level, _ in own) + capacity)
        for level, slot in own:
            self._gather(merged, merged.length, level, rows // (last_rows // level.rows))
            self._free_slots.append(slot)

    def step(self, x_RE: Tensor) -> Tensor:
        """Read one more token of every row: (R, E) → (R, E), the states after it.

        Raises:
            ValueError: if the last level is full.
        """
        level = self.levels[-1]
        if level.length == level.keys.shape[3]:
            raise ValueError(f"the level holds {level.length} tokens, which is all that fit; branch or merge first")
        level.length += 1
        rows = len(x_RE)
        x_RE = F.pad(x_RE, (0, 0, 0, -rows % ROWS)) if rows % ROWS else x_RE.clone()
        for layer, block in enumerate(self._blocks):
            x_RE += self._attend(block.norm_1(x_RE), block, layer, rows)
            hidden = block.activation(block.expand(block.norm_2(x_RE)))
            x_RE += block.contract(hidden)
        return self.transformer.norm(x_RE)[:rows]

    def _attend(self, x_RE: Tensor, block: Block, layer: int, rows: int) -> Tensor:
        attention, heads = block.attention, block.attention.heads
        q_RE, k_RE, v_RE = attention.qkv(x_RE)[:rows].chunk(3, dim=-1)
        level = self.levels[-1]
        level.keys[layer, :, :, level.length - 1] = k_RE.unflatten(-1, (heads, -1)).transpose(0, 1)
        level.values[layer, :, :, level.length - 1] = v_RE.unflatten(-1, (heads, -1)).transpose(0, 1)
        q_HRK = q_RE.unflatten(-1, (heads, -1)).transpose(0, 1).contiguous()
        q_HRK *= q_HRK.shape[-1] ** -0.5
        scores = [
            torch.bmm(_by_row(q_HRK, held), held.part(held.keys, layer).transpose(1, 2)).view(heads, rows, -1)
            for held in self.levels
            if held.length
        ]
        weights_HRS = torch.cat(scores, dim=-1).softmax(-1)
        out_HRK, start = torch.zeros_like(q_HRK), 0
        for held in self.levels:
            if held.length:
                weights = _by_row(weights_HRS[..., start : start + held.length], held)
                _by_row(out_HRK, held).baddbmm_(weights, held.part(held.values, layer))
                start += held.length
        out_RE = out_HRK.transpose(0, 1).reshape(rows, -1)
        return attention.projection(F.pad(out_RE, (0, 0, 0, len(x_RE) - rows)) if rows % ROWS else out_RE)

    def _push(self, rows: int, capacity: int) -> Level:
        weight = self.transformer.norm.weight
        heads = self.transformer.heads
        slot = self._free_slots.pop(0)
        shape = (len(self._blocks), heads, rows, capacity, self.transformer.width // heads)
        self.levels.append(self.workspace.level(slot, shape, weight))
        self._slots.append(slot)
        return self.levels[-1]

    def _pop(self) -> tuple[Level, int]:
        return self.levels.pop(), self._slots.pop()

    @staticmethod
    def _gather(target: Level, start: int, source: Level, rows: Tensor) -> None:
        """Copy the tokens of some rows of ``source`` behind the first ``start`` tokens of ``target``."""
        end = start + source.length
        for into, held in ((target.keys, source.keys), (target.values, source.values)):
            into[:, :, :, start:end] = held[:, :, :, : source.length].index_select(2, rows)
        target.length = end


def padded_linear(x_RE: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear map of rows padded to a multiple of `ROWS`: (R, inputs) → (R, outputs)."""
    rows = len(x_RE)
    if rows % ROWS:
        x_RE = F.pad(x_RE, (0, 0, 0, -rows % ROWS))
    return F.linear(x_RE, weight, bias)[:rows]


def _by_row(x_HRK: Tensor, level: Level) -> Tensor:
    """(H, R, X) → (H * G, R / G, X), the rows of a level with their descendants; a view."""
    return x_HRK.unflatten(1, (level.rows, -1)).flatten(0, 1)
