"""Decoding many continuations of few sequences, one token at a time.

The keys and values of a beam search form a tree: all beams of an environment share its history, all candidates of a
beam share the beam's imagined past, and only the last few tokens belong to a candidate alone. The tree is kept as
levels. A row of a level serves all its descendants, so shared keys are read once for all of them (one matrix product
instead of many dot products), nothing is copied when beams branch, and only surviving beams are moved when they are
chosen.

Values are stored heads first, (layers, H, rows, capacity, K), and keys the same but transposed, as the product with
the queries reads them. With the rows of a level ordered by their parent, every product below is then a view.

Rows are padded to multiples of `ROWS` in every linear map, where a matrix product gives each row the same bits
whatever the other rows are: what is imagined for one environment does not depend on those beside it.

Shape suffixes: R rows of the last level, E embedding, H heads, K = E // H, G rows of a level, S tokens seen.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from seqrl.models.layers import ACTIVATIONS
from seqrl.models.transformer import Block, CausalTransformer

ROWS = 16
"""Rows of every linear map come in multiples of this."""


class Level:
    """Keys and values that G rows of the tree hold in common for their descendants.

    Args:
        keys: (layers, H, G, K, capacity).
        values: (layers, H, G, capacity, K).

    Attributes:
        length: tokens held.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values, self.length = keys, values, 0
        self.rows, self.capacity = values.shape[2:4]
        self._keys, self._values = keys.flatten(1, 2).unbind(), values.flatten(1, 2).unbind()

    def held_keys(self, layer: int) -> Tensor:
        """Of one layer: (H * G, K, tokens held)."""
        return self._keys[layer][:, :, : self.length]

    def held_values(self, layer: int) -> Tensor:
        """Of one layer: (H * G, tokens held, K)."""
        return self._values[layer][:, : self.length]

    def gather(self, source: Level, rows: Tensor) -> None:
        """Append the tokens of some rows of another level: one row for each row here."""
        start, self.length = self.length, self.length + source.length
        self.keys[..., start : self.length] = source.keys[..., : source.length].index_select(2, rows)
        self.values[..., start : self.length, :] = source.values[..., : source.length, :].index_select(2, rows)


class Workspace:
    """Memory for levels, allocated once and reused for every plan: one pair of buffers for each slot."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, str], Tensor] = {}

    def level(self, slot: int, shape: tuple[int, ...], like: Tensor) -> Level:
        """An empty level whose values have this shape; what the slot held before is overwritten."""
        *outer, capacity, size = shape
        return Level(self._take(slot, "keys", (*outer, size, capacity), like), self._take(slot, "values", shape, like))

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
        self._weights = [block.weights() for block in cast("list[Block]", list(transformer.blocks))]
        self._activate = ACTIVATIONS[transformer.activation]
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
        level.keys.copy_(cache.keys[:, :, :, :tokens].permute(0, 2, 1, 4, 3))
        level.values.copy_(cache.values[:, :, :, :tokens].transpose(1, 2))
        level.length = tokens
        return states

    def branch(self, width: int, capacity: int) -> None:
        """Give every row ``width`` children with room for ``capacity`` tokens of their own."""
        self._push(self.rows * width, capacity)

    def choose(self, rows: Tensor) -> None:
        """Continue only these rows of the last level. ``rows``: (R',), equally many for every parent, in its order."""
        old, slot = self._pop()
        self._push(len(rows), old.capacity).gather(old, rows)
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
            merged.gather(level, rows // (last_rows // level.rows))
            self._free_slots.append(slot)

    def step(self, x_RE: Tensor) -> Tensor:
        """Read one more token of every row: (R, E) → (R, E), the states after it.

        Raises:
            ValueError: if the last level is full.
        """
        level = self.levels[-1]
        if level.length == level.capacity:
            raise ValueError(f"the level holds {level.length} tokens, which is all that fit; branch or merge first")
        level.length += 1
        rows, eps = len(x_RE), self.transformer.norm.eps
        x_RE = F.pad(x_RE, (0, 0, 0, -rows % ROWS)) if rows % ROWS else x_RE.clone()
        for layer, w in enumerate(self._weights):
            qkv_RE = F.linear(F.layer_norm(x_RE, w.gain_1.shape, w.gain_1, w.offset_1, eps), w.qkv, w.qkv_bias)
            x_RE += F.linear(self._attend(qkv_RE, layer, rows), w.projection, w.projection_bias)
            normed_RE = F.layer_norm(x_RE, w.gain_2.shape, w.gain_2, w.offset_2, eps)
            hidden_RF = self._activate(F.linear(normed_RE, w.expand, w.expand_bias))
            x_RE += F.linear(hidden_RF, w.contract, w.contract_bias)
        return self.transformer.norm(x_RE)[:rows]

    def _attend(self, qkv_RE: Tensor, layer: int, rows: int) -> Tensor:
        """What attention mixes for every row, padded ones included: (R, E); keys and values join the last level."""
        heads, size = self.transformer.heads, self.transformer.width // self.transformer.heads
        q_HRK, k_HRK, v_HRK = qkv_RE[:rows].view(rows, 3, heads, size).permute(1, 2, 0, 3).unbind()
        last = self.levels[-1]
        last.keys[layer, ..., last.length - 1] = k_HRK
        last.values[layer, :, :, last.length - 1] = v_HRK
        q_HRK = torch.mul(q_HRK, size**-0.5, out=q_HRK.new_empty(q_HRK.shape))  # contiguous
        levels = [level for level in self.levels if level.length]
        scores = [
            torch.bmm(q_HRK.view(heads * level.rows, -1, size), level.held_keys(layer)).view(heads, rows, -1)
            for level in levels
        ]
        weights = torch.cat(scores, dim=-1).softmax(-1).split([level.length for level in levels], dim=-1)
        out_HRK = torch.zeros_like(q_HRK)
        for level, weights_HRS in zip(levels, weights, strict=True):
            by_row = weights_HRS.unflatten(1, (level.rows, -1)).flatten(0, 1)  # (H * G, R / G, S), a view
            out_HRK.view(heads * level.rows, -1, size).baddbmm_(by_row, level.held_values(layer))
        out_RHK = qkv_RE.new_zeros(len(qkv_RE), heads, size)
        out_RHK[:rows] = out_HRK.transpose(0, 1)
        return out_RHK.flatten(1)

    def _push(self, rows: int, capacity: int) -> Level:
        weight = self.transformer.norm.weight
        heads = self.transformer.heads
        slot = self._free_slots.pop(0)
        shape = (len(self._weights), heads, rows, capacity, self.transformer.width // heads)
        self.levels.append(self.workspace.level(slot, shape, weight))
        self._slots.append(slot)
        return self.levels[-1]

    def _pop(self) -> tuple[Level, int]:
        return self.levels.pop(), self._slots.pop()


def padded_linear(x_RE: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear map of rows padded to a multiple of `ROWS`: (R, inputs) → (R, outputs)."""
    rows = len(x_RE)
    if rows % ROWS:
        x_RE = F.pad(x_RE, (0, 0, 0, -rows % ROWS))
    return F.linear(x_RE, weight, bias)[:rows]
