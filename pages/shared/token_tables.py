"""A dataset as the numbers behind its tokens, and the bins of a model or fitted on the spot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import streamlit as st
from safetensors import SafetensorError, safe_open

from pages.shared.frame import open_store
from seqrl.store import RunRow
from seqrl.store.columns import Columns
from seqrl.store.runs import CHECKPOINT
from seqrl.tokens import (
    Discretizer,
    Strategy,
    TransitionTokenizer,
    error_by_bins,
    fit_tokenizer,
    transition_layout,
    value_targets,
)

MOST_ROWS = 200_000
"""The pictures are drawn from at most so many evenly spaced steps."""

ERROR_ROWS = 20_000
ERROR_BINS = (5, 10, 20, 35, 50, 75, 100, 150, 200, 300)


class Table(NamedTuple):
    """The numbers of a dataset, one row a step, one column a token.

    Attributes:
        names: of the columns.
        kinds: "observation", "action", "reward" or "value".
        values: (N, D).
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    values: np.ndarray


@st.cache_resource(max_entries=4, show_spinner="Reading the dataset")
def table(fingerprint: str, discount: float, _columns: Columns) -> Table:
    """The numbers behind the tokens of a dataset, values with this discount.

    Args:
        fingerprint: of the content, so that equal data is read once.
        discount: of the value tokens.
    """
    columns, steps = _columns, _columns.steps
    layout = transition_layout(columns.facts)
    ends, terminated = (columns.episodes[name].to_numpy() for name in ("end", "terminated"))
    values = value_targets(np.asarray(columns.rewards[:steps]), ends, terminated, discount)
    rows = np.arange(0, steps, max(1, -(-steps // MOST_ROWS)))
    parts = [
        layout.observation_columns(columns.observations[rows]),
        layout.action_columns(columns.actions[rows]),
        np.asarray(columns.rewards)[rows][:, None],
        values[rows][:, None],
    ]
    names, kinds = zip(*((dimension.name, dimension.kind) for dimension in layout.dimensions), strict=True)
    return Table(names, kinds, np.concatenate(parts, axis=1))


@st.cache_resource(max_entries=16, show_spinner="Fitting bins")
def fitted(fingerprint: str, bins: int, strategy: Strategy, discount: float, _columns: Columns) -> TransitionTokenizer:
    """Bins fitted to a whole dataset, as training would fit them to its training part."""
    columns = _columns
    return fit_tokenizer(
        transition_layout(columns.facts),
        columns.observations,
        columns.actions,
        columns.rewards,
        columns.episodes["end"].to_numpy(),
        columns.episodes["terminated"].to_numpy(),
        bins=bins,
        strategy=strategy,
        discount=discount,
    )


@st.cache_resource(max_entries=16, show_spinner=False)
def of_run(path: str, modified_ns: int, _run: RunRow) -> TransitionTokenizer:
    """The bins that a trained model really uses, from its checkpoint (no weights are read).

    Raises:
        ValueError: if the checkpoint cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as tensors:
            arrays = {
                "counts": tensors.get_tensor("token_counts"),
                "edges": tensors.get_tensor("token_edges"),
                "values": tensors.get_tensor("token_values"),
                "value_returns": tensors.get_tensor("value_returns"),
            }
    except (SafetensorError, OSError) as error:
        raise ValueError(f"the checkpoint of {_run.name} cannot be read ({error}); train it again") from error
    return TransitionTokenizer.from_arrays(transition_layout(_run.facts), arrays)


def tokenizer_of(run: RunRow) -> TransitionTokenizer:
    """The bins of a run, read once for each checkpoint."""
    path = open_store().run_folder(run.name) / CHECKPOINT / "model.safetensors"
    return of_run(str(path), path.stat().st_mtime_ns, run)


@st.cache_data(max_entries=64, show_spinner="Measuring the rounding error")
def errors(fingerprint: str, dimension: str, bins: tuple[int, ...], _column: np.ndarray) -> dict[str, np.ndarray]:
    """Error of rounding one dimension to bins, for uniform and quantile bins."""
    thinned = _column[:: max(1, -(-len(_column) // ERROR_ROWS))]
    return error_by_bins(thinned, bins)


def edges_of(bins: Discretizer, dimension: int) -> np.ndarray:
    """(B+1,) edges of a dimension, without the padding."""
    return bins.edges[dimension][: int(bins.counts[dimension]) + 1]


class EpisodeTokens(NamedTuple):
    """An episode as tokens: (T, D) bins, the numbers behind them, and what the bins stand for."""

    tokens: np.ndarray
    values: np.ndarray
    centres: np.ndarray


def episode_tokens(columns: Columns, tokenizer: TransitionTokenizer, episode: int, discount: float) -> EpisodeTokens:
    """Encode one episode; the token that says "terminated" stands for no number."""
    part, about = columns.episode(episode), columns.episodes.iloc[episode]
    terminated = np.array([bool(about["terminated"])])
    length = len(part.rewards)
    values = value_targets(np.asarray(part.rewards), np.array([length]), terminated, discount)
    terminal = np.zeros(length, dtype=bool)
    terminal[-1] = terminated[0]
    observations = np.asarray(part.observations[:-1])
    tokens = tokenizer.encode(observations, np.asarray(part.actions), np.asarray(part.rewards), values, terminal)
    layout = tokenizer.layout
    numbers = [layout.observation_columns(observations), layout.action_columns(np.asarray(part.actions))]
    numbers += [np.asarray(part.rewards)[:, None], values[:, None]]
    readable = tokens.copy()
    readable[terminal, layout.value] = 0
    centres = tokenizer.bins.decode(readable)
    centres[terminal, layout.value] = np.nan
    return EpisodeTokens(tokens.astype(np.int64), np.concatenate(numbers, axis=1), centres)
