"""A Trajectory Transformer as reference notebooks have it, written anew from their description.

minGPT's blocks with a mask that hides the value tokens, one optimizer entry a parameter, all targets shifted by one.
The planner's cache holds the normalised *inputs* of every layer; all of them are projected to keys and values again
for each token, and grow by concatenation. Every beam carries a copy of the history.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """A pre-norm block with separate projections."""

    def __init__(self, width: int, heads: int, tokens: int, transition: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.projection = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)
        mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        mask[:, transition - 1 :: transition] = False  # nothing attends to a value token ...
        mask |= torch.eye(tokens, dtype=torch.bool)  # ... but itself
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, T, D) and the normalised inputs so far → (B, T, D) and the inputs with these."""
        new = self.norm_1(x)
        seen = new if cache is None else torch.cat([cache, new], dim=1)
        batch, tokens, width = new.shape
        q, k, v = (
            part.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)
            for part in (self.query(new), self.key(seen), self.value(seen))
        )
        scores = (q @ k.transpose(-2, -1)) / (width // self.heads) ** 0.5
        length = seen.shape[1]
        scores = scores.masked_fill(~self.mask[length - tokens : length, :length], float("-inf"))
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.dropout(self.projection(mixed))
        return x + self.mlp(self.norm_2(x)), seen


class PlainTrajectoryTransformer(nn.Module):
    """Predicts every token from those before it."""

    def __init__(
        self, transition: int, steps: int, bins: int, width: int, layers: int, heads: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        tokens = transition * steps
        self.transition, self.bins = transition, bins
        self.embed_token = nn.Embedding(transition * bins + 1, width)
        self.embed_position = nn.Parameter(torch.zeros(1, tokens, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(PlainBlock(width, heads, tokens, transition, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Parameter(torch.empty(transition, bins, width).normal_(std=0.02))
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, caches: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """(B, T) new tokens → logits (B, T, W) of the tokens after them, and the grown caches."""
        before = 0 if caches is None else caches[0].shape[1]
        places = torch.arange(before, before + tokens.shape[1])
        x = self.embed_token(tokens + places % self.transition * self.bins)
        x = self.dropout(x + self.embed_position[:, places])
        grown = []
        for layer, block in enumerate(self.blocks):
            x, cache = block(x, None if caches is None else caches[layer])
            grown.append(cache)
        heads = self.heads[(places + 1) % self.transition]
        return torch.einsum("bte,twe->btw", self.norm(x), heads), grown

    def loss(self, tokens: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """(B, T) tokens, weight of each token and which are real → weighted mean cross-entropy."""
        logits, _ = self(tokens[:, :-1])
        losses = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        return (losses * (weights * mask)[:, 1:].flatten()).sum() / mask[:, 1:].sum()


@torch.no_grad()
def plain_plan(
    model: PlainTrajectoryTransformer,
    history: Tensor,
    observations: int,
    actions: int,
    *,
    beam_width: int,
    horizon: int,
    expansion: int,
    discount: float = 0.99,
) -> Tensor:
    """Beam search for one environment: history (T,) → the first action tokens of the best beam."""
    values = torch.linspace(-1, 1, model.bins)
    plan = history[None].repeat(beam_width, 1)
    logits, caches = model(plan)
    logits = logits[:, -1]
    rewards = torch.zeros(beam_width, 0)

    def append(count: int, greedy: bool) -> list[Tensor]:
        nonlocal plan, logits, caches
        seen = []
        for _ in range(count):
            probabilities = logits.softmax(-1)
            seen.append(probabilities)
            token = probabilities.argmax(-1, keepdim=True) if greedy else torch.multinomial(probabilities, 1)
            plan = torch.cat([plan, token], dim=1)
            logits, caches = model(token, caches)
            logits = logits[:, -1]
        return seen

    for step in range(horizon):
        rows = torch.arange(beam_width).repeat_interleave(expansion)
        plan, logits, rewards = plan[rows], logits[rows], rewards[rows]
        caches = [cache[rows] for cache in caches]
        append(actions, greedy=False)
        reward, value = append(2, greedy=True)
        rewards = torch.cat([rewards, (reward @ values)[:, None]], dim=1)
        score = (rewards * discount ** torch.arange(step + 1)).sum(1) + discount ** (step + 1) * (value @ values)
        rows = score.topk(beam_width).indices
        plan, logits, rewards = plan[rows], logits[rows], rewards[rows]
        caches = [cache[rows] for cache in caches]
        if step < horizon - 1:
            append(observations, greedy=True)
    start = len(history)
    return plan[0, start : start + actions]
