"""Random numbers that belong to an episode and a timestep, never to the batch an episode ran in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_BLOCK_STEPS = 64


class EpisodeNoise:
    """Counter-based noise for episodes in lock step.

    The numbers of an episode at timestep t are a function of (seed, stream, t) alone: a Philox generator
    (Salmon et al. 2011) keyed by seed and stream, its counter set by t. So an episode plays out the same alone,
    among others, after others have ended, or resumed in the middle.

    Args:
        seeds: one non-negative integer below 2**64 for each episode.
        width: numbers that an episode needs at each timestep.
        stream: what they are used for; different streams of one seed are independent.
        normal: standard normal numbers instead of uniform ones in [0, 1).

    >>> seeds = [3, 4, 5]
    >>> together, alone = EpisodeNoise(seeds, width=2), EpisodeNoise([4], width=2)
    >>> bool((together.at(700)[1] == alone.at(700)[0]).all())
    True
    """

    def __init__(self, seeds: Sequence[int], width: int, stream: str = "sampling", *, normal: bool = False) -> None:
        self.width = width
        self._seeds = np.array([int(seed) for seed in seeds], dtype=np.uint64)
        self._stream = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
        self._normal = normal
        self._block = -1
        self._numbers = np.empty((len(self._seeds), _BLOCK_STEPS, width))

    def at(self, t: int) -> np.ndarray:
        """Numbers of timestep ``t`` for every episode still running: (n, width) float64."""
        block, position = divmod(t, _BLOCK_STEPS)
        if block != self._block:
            self._draw(block)
        return self._numbers[:, position]

    def keep(self, running: np.ndarray) -> None:
        """Drop the episodes where ``running``, (n,) bool, is false."""
        self._seeds = self._seeds[running]
        self._numbers = self._numbers[running]

    def _draw(self, block: int) -> None:
        bits = np.random.Philox(key=[0, self._stream])
        generator = np.random.Generator(bits)
        draw = generator.standard_normal if self._normal else generator.random
        state = bits.state
        # setting the state of one generator is six times faster than making one for each episode
        for row, seed in enumerate(self._seeds):
            state["state"]["key"][0] = seed
            state["state"]["counter"][:] = (0, 0, block, 0)
            state["buffer_pos"], state["has_uint32"] = 4, 0
            bits.state = state
            draw(out=self._numbers[row])
        self._block = block


def episode_seed(seed: int, episode: int) -> int:
    """Environment seed of an episode of a sweep: the same for every run and every setting that is compared.

    >>> episode_seed(0, 1) == episode_seed(0, 1) != episode_seed(1, 1)
    True
    """
    return int(np.random.SeedSequence((seed, episode)).generate_state(1)[0] >> 1)
