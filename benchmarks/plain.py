"""A Decision Transformer and its evaluation loop as reference notebooks have them, written anew from their description.

One environment at a time. Every step appends to growing tensors, cuts out the last K steps, pads them on the left with
a mask, runs the whole window through the network and reads the last action. The network is GPT-2's, in plain modules.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """A pre-norm block; attention scores over all pairs of tokens, masked."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(B, T, D); ``hidden``: (B, 1, T, T) bool, True where a key is not to be seen."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm_1(x)).split(width, dim=-1)
        q, k, v = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in (q, k, v))
        scores = (q @ k.transpose(-1, -2)) / (width // self.heads) ** 0.5
        weights = self.dropout(scores.masked_fill(hidden, -1e4).softmax(-1))
        x = x + self.dropout(self.projection((weights @ v).transpose(1, 2).reshape(batch, tokens, width)))
        return x + self.dropout(self.contract(torch.relu(self.expand(self.norm_2(x)))))


class PlainDecisionTransformer(nn.Module):
    """Tokens (R, s, a) a step, actions read off at s.

    Args:
        observations: width of an observation.
        actions: number of actions, or of their dimensions.
        timesteps: size of the timestep table.
        discrete: whether actions are numbers to look up.
    """

    def __init__(
        self, observations: int, actions: int, timesteps: int, width: int, layers: int, heads: int, discrete: bool
    ) -> None:
        super().__init__()
        self.embed_return = nn.Linear(1, width)
        self.embed_observation = nn.Linear(observations, width)
        self.embed_action: nn.Module = nn.Embedding(actions, width) if discrete else nn.Linear(actions, width)
        self.embed_timestep = nn.Embedding(timesteps, width)
        self.embed_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(layers))
        self.predict_action = nn.Linear(width, actions)

    def forward(
        self, observations: Tensor, actions: Tensor, returns: Tensor, timesteps: Tensor, mask: Tensor
    ) -> Tensor:
        """Outputs at every step: (B, L, A). ``mask``: (B, L), 1 for real steps."""
        batch, steps = mask.shape
        time_embedding = self.embed_timestep(timesteps)
        tokens = (self.embed_return(returns), self.embed_observation(observations), self.embed_action(actions))
        x = torch.stack([token + time_embedding for token in tokens], dim=2).reshape(batch, 3 * steps, -1)
        x = self.embed_norm(x)
        causal = torch.ones(3 * steps, 3 * steps, dtype=torch.bool).triu(1)
        hidden = causal | ~mask.bool().repeat_interleave(3, dim=1)[:, None, None, :]
        for block in self.blocks:
            x = block(x, hidden)
        return self.predict_action(self.norm(x).view(batch, steps, 3, -1)[:, :, 1])


@torch.no_grad()
def play_one(
    model: Any,
    env: gym.Env,
    target: float,
    k: int,
    seed: int,
    *,
    scale: float,
    mean: Tensor,
    std: Tensor,
    sampled: bool,
) -> tuple[int, float]:
    """One episode.

    Returns:
        Steps, and seconds spent in the environment.
    """
    discrete = isinstance(env.action_space, gym.spaces.Discrete)
    generator = torch.Generator().manual_seed(seed)
    observation, _ = env.reset(seed=seed)
    observations = torch.from_numpy(np.asarray(observation, dtype=np.float32)).reshape(1, -1)
    width = 1 if discrete else env.action_space.shape[0]
    actions = torch.zeros((0, width))
    returns, timesteps = torch.tensor([[target / scale]]), torch.zeros((1, 1), dtype=torch.long)
    steps, environment_s = 0, 0.0
    while True:
        actions = torch.cat([actions, torch.zeros((1, width))])
        window = [((observations - mean) / std)[-k:], actions[-k:], returns[-k:], timesteps[-k:]]
        missing = k - len(window[0])
        mask = torch.cat([torch.zeros(missing), torch.ones(k - missing)])[None]
        window = [torch.cat([torch.zeros((missing, part.shape[1]), dtype=part.dtype), part])[None] for part in window]
        if discrete:
            window[1] = window[1][..., 0].long()
        output = model(window[0], window[1], window[2], window[3][..., 0], mask)[0, -1]
        if discrete:
            chances = output.softmax(-1)
            action = int(torch.multinomial(chances, 1, generator=generator)) if sampled else int(chances.argmax())
            actions[-1] = action
        else:
            action = torch.tanh(output).numpy()
            actions[-1] = torch.from_numpy(action)
        started = time.perf_counter()
        observation, reward, terminated, truncated, _ = env.step(action)
        environment_s += time.perf_counter() - started
        steps += 1
        observations = torch.cat([observations, torch.from_numpy(np.asarray(observation, dtype=np.float32))[None]])
        returns = torch.cat([returns, returns[-1:] - float(reward) / scale])
        timesteps = torch.cat([timesteps, torch.full((1, 1), steps)])
        if terminated or truncated:
            return steps, environment_s
