"""Some of the tokens of a transition, fitted to some of its rows: for data with thousands of dimensions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from seqrl.mapped import copied_rows
from seqrl.tokens.discretizer import Discretizer
from seqrl.tokens.transitions import TransitionLayout, TransitionTokenizer


def restricted_layout(layout: TransitionLayout, names: Collection[str]) -> TransitionLayout:
    """The tokens of these observations and actions; reward and value always stay.

    It reads the same observations and actions as the whole layout does.
    """
    wanted = set(names)
    return replace(
        layout,
        dimensions=tuple(
            dimension
            for dimension in layout.dimensions
            if dimension.kind in ("reward", "value") or dimension.name in wanted
        ),
    )


def restricted_tokenizer(tokenizer: TransitionTokenizer, names: Collection[str]) -> TransitionTokenizer:
    """The bins of these observations and actions, and of reward and value, as they are."""
    layout, bins = restricted_layout(tokenizer.layout, names), tokenizer.bins
    kept = [index for index, dimension in enumerate(tokenizer.layout.dimensions) if dimension in layout.dimensions]
    part = Discretizer(
        tuple(bins.names[index] for index in kept), bins.counts[kept], bins.edges[kept], bins.values[kept]
    )
    return TransitionTokenizer(layout, part, tokenizer.value_returns)


def token_numbers(
    layout: TransitionLayout,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """The numbers behind the tokens of some steps, in memory for these alone.

    Args:
        layout: whole or restricted.
        observations: (N or more, size), may be mapped and larger than memory.
        actions: (N or more, ...), likewise.
        rewards: (N or more,).
        values: (N,), see `seqrl.tokens.value_targets`.
        rows: (R,) steps.

    Returns:
        (R, D) float64.
    """
    parts = [
        np.concatenate([layout.observation_columns(piece) for piece in copied_rows(observations, rows)]),
        np.concatenate([layout.action_columns(piece) for piece in copied_rows(actions, rows)]),
        np.asarray(rewards)[rows][:, None],
        np.asarray(values)[rows][:, None],
    ]
    return np.concatenate(parts, axis=1)
