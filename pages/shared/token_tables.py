"""A dataset as the numbers behind its tokens, and the bins of a model or fitted on the spot."""

from __future__ import annotations

from collections.abc import Sequence
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
    TransitionLayout,
    TransitionTokenizer,
    error_by_bins,
    fit_numbers,
    fit_tokenizer,
    restricted_layout,
    restricted_tokenizer,
    token_numbers,
    transition_layout,
    value_targets,
)

MOST_ROWS = 200_000
"""The pictures are drawn from at most so many evenly spaced steps."""

MOST_WIDE_ROWS = 20_000
"""From so many where the steps are larger than memory should hold."""

MOST_TOKENS = 64
"""Where a transition has more tokens, some of its dimensions are chosen."""

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


class Source(NamedTuple):
    """The steps of a dataset that the pictures are drawn from.

    Attributes:
        columns: the dataset.
        layout: the tokens that are looked at.
        discount: of the value tokens.
        fingerprint: of all this, so that equal data is read once.
    """

    columns: Columns
    layout: TransitionLayout
    discount: float
    fingerprint: str

    @property
    def rows(self) -> np.ndarray:
        """Evenly spaced steps."""
        most = MOST_WIDE_ROWS if self.columns.large else MOST_ROWS
        return np.arange(0, self.columns.steps, max(1, -(-self.columns.steps // most)))

    def values(self, discount: float) -> np.ndarray:
        """(N,) discounted rewards after every step."""
        ends, terminated = (self.columns.episodes[name].to_numpy() for name in ("end", "terminated"))
        return value_targets(np.asarray(self.columns.rewards[: self.columns.steps]), ends, terminated, discount)


def source(columns: Columns, discount: float, names: Sequence[str] | None = None) -> Source:
    """A dataset with all its tokens, or with those of these dimensions."""
    layout = transition_layout(columns.facts)
    if names is not None:
        layout = restricted_layout(layout, names)
    shown = ",".join(dimension.name for dimension in layout.dimensions)
    return Source(columns, layout, discount, f"{columns.facts.content_hash} {discount:g} {shown}")


@st.cache_resource(max_entries=4, show_spinner="Reading the dataset")
def _table(fingerprint: str, _source: Source) -> Table:
    data = _source.columns
    values = token_numbers(
        _source.layout, data.observations, data.actions, data.rewards, _source.values(_source.discount), _source.rows
    )
    names, kinds = zip(*((dimension.name, dimension.kind) for dimension in _source.layout.dimensions), strict=True)
    return Table(names, kinds, values)


def table(of: Source) -> Table:
    """The numbers behind the tokens of a dataset, at evenly spaced steps."""
    return _table(of.fingerprint, of)


@st.cache_resource(max_entries=16, show_spinner="Fitting bins")
def _fitted(fingerprint: str, bins: int, strategy: Strategy, _source: Source) -> TransitionTokenizer:
    data, episodes = _source.columns, _source.columns.episodes
    ends, terminated = (episodes[name].to_numpy() for name in ("end", "terminated"))
    if data.large:  # the edges of a sample: a pass over everything would take minutes
        terminal = np.zeros(data.steps, dtype=bool)
        terminal[ends[terminated] - 1] = True
        rows = _source.rows
        returns = _source.values(1.0)[rows]
        numbers = table(_source).values
        return fit_numbers(_source.layout, numbers, returns, terminal[rows], bins=bins, strategy=strategy)
    arrays = (data.observations, data.actions, data.rewards, ends, terminated)
    return fit_tokenizer(_source.layout, *arrays, bins=bins, strategy=strategy, discount=_source.discount)


def fitted(of: Source, bins: int, strategy: Strategy) -> TransitionTokenizer:
    """Bins fitted to a whole dataset as training would; to the steps of `table` where it is larger than memory."""
    return _fitted(of.fingerprint, bins, strategy, of)


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


def tokenizer_of(run: RunRow, names: Sequence[str] | None = None) -> TransitionTokenizer:
    """The bins of a run, of all its dimensions or of these, read once for each checkpoint."""
    path = open_store().run_folder(run.name) / CHECKPOINT / "model.safetensors"
    tokenizer = of_run(str(path), path.stat().st_mtime_ns, run)
    return tokenizer if names is None else restricted_tokenizer(tokenizer, names)


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
