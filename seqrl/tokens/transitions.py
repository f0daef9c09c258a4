"""One transition as tokens: (s..., a..., r, V), one token a dimension.

Three decisions that the papers' code leaves to chance:

* The value of a step leaves its own reward out: ``V_t = sum_{k>t} discount^(k-t-1) r_k``, so a plan may add the
  rewards that it imagines to the value of its last step without counting anything twice.
* A termination is an event of its own. The value token of the last step of a terminated episode is ``END``, a token
  behind the last value bin, worth nothing. The model learns its probability like any other token's.
* A time limit ends the recording, not the future. The value after the last step of a truncated episode is taken to
  be that of going on with the mean reward of its last ``1 / (1 - discount)`` steps for ever.

One-hot groups of observations and discrete actions are one token with a bin for each category.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.mapped import Resident, zeros
from seqrl.tokens.discretizer import Discretizer
from seqrl.tokens.values import value_targets

TokenKind = Literal["observation", "action", "reward", "value"]

_CHUNK_ROWS = 65_536
_CHUNK_VALUES = 8_000_000


class TokenDimension(NamedTuple):
    """One token of a transition.

    Attributes:
        name: what it measures.
        kind: which part of the transition it belongs to.
        first: first column of the observation or action that it reads.
        categories: number of categories, None for a numeric dimension.
        one_hot: whether it reads ``categories`` columns that are one-hot, instead of one column.
    """

    name: str
    kind: TokenKind
    first: int = 0
    categories: int | None = None
    one_hot: bool = False


@dataclass(frozen=True)
class TransitionLayout:
    """The tokens of one transition, in order: observations, actions, reward, value.

    Attributes:
        dimensions: every token of a transition.
        observation_size: width of a flattened observation.
        action_kind: "discrete", "multi_discrete" or "box".
    """

    dimensions: tuple[TokenDimension, ...]
    observation_size: int
    action_kind: str

    def __len__(self) -> int:
        return len(self.dimensions)

    @property
    def observation(self) -> slice:
        """The observation tokens of a transition."""
        return slice(0, sum(dimension.kind == "observation" for dimension in self.dimensions))

    @property
    def action(self) -> slice:
        """The action tokens of a transition."""
        return slice(self.observation.stop, len(self) - 2)

    @property
    def reward(self) -> int:
        """Position of the reward token."""
        return len(self) - 2

    @property
    def value(self) -> int:
        """Position of the value token."""
        return len(self) - 1

    def observation_columns(self, observations: np.ndarray) -> np.ndarray:
        """Numbers behind the observation tokens: (..., size) flattened → (..., observation tokens) float64."""
        return _gather_columns(self.dimensions[self.observation], observations)

    def action_columns(self, actions: np.ndarray) -> np.ndarray:
        """Numbers behind the action tokens: (...,) or (..., columns) → (..., action tokens) float64."""
        actions = actions[..., None] if self.action_kind == "discrete" else actions
        return _gather_columns(self.dimensions[self.action], actions)

    def flatten_observations(self, columns: np.ndarray) -> np.ndarray:
        """Undo `observation_columns`: (..., observation tokens) → (..., size) float32, one-hot where it was."""
        flat = np.zeros((*columns.shape[:-1], self.observation_size), np.float32)
        for d, dimension in enumerate(self.dimensions[self.observation]):
            if dimension.one_hot:
                hot = dimension.first + columns[..., d].astype(np.int64)
                np.put_along_axis(flat, hot[..., None], 1.0, axis=-1)
            else:
                flat[..., dimension.first] = columns[..., d]
        return flat

    def flatten_actions(self, columns: np.ndarray) -> np.ndarray:
        """Undo `action_columns`: (..., action tokens) → actions as the environment takes them."""
        if self.action_kind == "discrete":
            return columns[..., 0].astype(np.int64)
        return columns.astype(np.int64 if self.action_kind == "multi_discrete" else np.float32)


def transition_layout(facts: DatasetFacts) -> TransitionLayout:
    """The tokens of a transition of a dataset.

    Raises:
        ValueError: for images, which would need a token a pixel.
    """
    observation, action = facts.observation, facts.action
    if observation.kind == "image":
        raise ValueError(f"these observations are images of {observation.size} numbers; tokens need vectors")
    dimensions: list[TokenDimension] = []
    if observation.kind in ("discrete", "multi_discrete") and sum(observation.categories) == observation.size:
        first = 0
        for group, categories in enumerate(observation.categories):
            name = "state"
            if len(observation.categories) > 1:
                name = shared_words(observation.names[first : first + categories])
                taken = [dimension.name for dimension in dimensions]
                name = name if name and name not in taken else f"state {group}"
            dimensions.append(TokenDimension(name, "observation", first, categories, one_hot=True))
            first += categories
    else:
        dimensions += [TokenDimension(observation.names[d], "observation", d) for d in range(observation.size)]
    for d in range(action.size):
        name = action.names[d] if len(action.names) == action.size else f"action {d}" if action.size > 1 else "action"
        dimensions.append(TokenDimension(name, "action", d, None if action.kind == "box" else action.categories[d]))
    dimensions += [TokenDimension("reward", "reward"), TokenDimension("value", "value")]
    return TransitionLayout(tuple(dimensions), observation.size, action.kind)


def shared_words(names: Sequence[str]) -> str:
    """What a one-hot group is called: the words that the names of its values begin with.

    >>> shared_words(["last bet: lost", "last bet: won"]), shared_words(["key is 0", "key is 1"])
    ('last bet', 'key')
    >>> shared_words(["row 1"]), shared_words(["left", "right"])
    ('row 1', '')
    """
    words: list[str] = []
    for column in zip(*(name.split() for name in names), strict=False):
        if len(set(column)) > 1:
            break
        words.append(column[0])
    return " ".join(words).removesuffix(" is").rstrip(":")


@dataclass(frozen=True)
class TransitionTokenizer:
    """Transitions to tokens and back, with the edges that a model was trained with.

    Attributes:
        layout: what the tokens of a transition are.
        bins: the bins of every token; the value dimension has one bin less than the width, `end_token` follows them.
        value_returns: (W,) float64, mean undiscounted return that followed each value token in the data, reward units.
    """

    layout: TransitionLayout
    bins: Discretizer
    value_returns: np.ndarray

    @property
    def end_token(self) -> int:
        """The value token that says: terminated here."""
        return int(self.bins.counts[self.layout.value])

    @property
    def vocabulary(self) -> np.ndarray:
        """(D,) int64, tokens in use of each dimension, `end_token` included."""
        counts = self.bins.counts.copy()
        counts[self.layout.value] += 1
        return counts

    def encode(
        self,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        values: np.ndarray,
        terminal: np.ndarray,
    ) -> np.ndarray:
        """Tokens of complete transitions.

        Args:
            observations: (N, size).
            actions: (N,) or (N, columns).
            rewards: (N,), reward units.
            values: (N,), discounted rewards after each step, reward units.
            terminal: (N,) bool, whether the episode terminated with this step.

        Returns:
            (N, D) unsigned integers.

        Raises:
            ValueError: if a number is not finite, naming its dimension.
        """
        tokens = self.bins.encode(self._table(observations, actions, rewards, values))
        tokens[terminal, self.layout.value] = self.end_token
        return tokens

    def encode_observations(self, observations: np.ndarray) -> np.ndarray:
        """(..., size) → (..., observation tokens)."""
        return self.bins.encode(self.layout.observation_columns(observations), self.layout.observation)

    def encode_actions(self, actions: np.ndarray) -> np.ndarray:
        """(...,) or (..., columns) → (..., action tokens)."""
        return self.bins.encode(self.layout.action_columns(actions), self.layout.action)

    def encode_rewards(self, rewards: np.ndarray) -> np.ndarray:
        """(...,) → (...,)."""
        return self.bins.encode(np.asarray(rewards)[..., None], [self.layout.reward])[..., 0]

    def decode_observations(self, tokens: np.ndarray) -> np.ndarray:
        """(..., observation tokens) → (..., size) float32."""
        return self.layout.flatten_observations(self.bins.decode(tokens, self.layout.observation))

    def decode_actions(self, tokens: np.ndarray) -> np.ndarray:
        """(..., action tokens) → actions as the environment takes them."""
        return self.layout.flatten_actions(self.bins.decode(tokens, self.layout.action))

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint has to keep; `from_arrays` is the way back."""
        return {
            "counts": self.bins.counts,
            "edges": self.bins.edges,
            "values": self.bins.values,
            "value_returns": self.value_returns,
        }

    @classmethod
    def from_arrays(cls, layout: TransitionLayout, arrays: Mapping[str, np.ndarray]) -> TransitionTokenizer:
        """The tokenizer that `arrays` came from.

        Raises:
            ValueError: if the edges are not finite and increasing.
        """
        names = tuple(dimension.name for dimension in layout.dimensions)
        bins = Discretizer(names, arrays["counts"], arrays["edges"], arrays["values"])
        return cls(layout, bins, arrays["value_returns"])

    def _table(
        self, observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, values: np.ndarray
    ) -> np.ndarray:
        parts = [self.layout.observation_columns(observations), self.layout.action_columns(actions)]
        return np.concatenate([*parts, rewards[:, None], values[:, None]], axis=-1)


def dataset_tokens(
    tokenizer: TransitionTokenizer,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    episode_ends: np.ndarray,
    terminated: np.ndarray,
    *,
    discount: float,
    tail: int = 0,
    folder: Path | None = None,
) -> np.ndarray:
    """A whole dataset as tokens, in the smallest integer type: (N + tail, D), the tail rows zero.

    Args:
        tokenizer: fitted bins.
        observations: (N or more, size), read in parts.
        actions: (N or more, ...).
        rewards: (N or more,).
        episode_ends: (E,) one past the last step of each episode, the last one N.
        terminated: (E,) bool.
        discount: of the value tokens, as in the fit.
        tail: rows of zeros behind the last step, so that a window may run on past it.
        folder: where tokens that are too many for memory lie in a nameless file; None keeps them in memory.
    """
    steps = int(episode_ends[-1])
    values = value_targets(np.asarray(rewards[:steps], dtype=np.float64), episode_ends, terminated, discount)
    terminal = np.zeros(steps, dtype=bool)
    terminal[episode_ends[terminated] - 1] = True
    tokens = zeros((steps + tail, len(tokenizer.layout)), tokenizer.bins.dtype, folder)
    resident = Resident(observations, actions, tokens)
    for rows in chunks_of(steps, len(tokenizer.layout)):
        resident.touch(rows.stop - rows.start)
        tokens[rows] = tokenizer.encode(
            np.asarray(observations[rows]),
            np.asarray(actions[rows]),
            np.asarray(rewards[rows]),
            values[rows],
            terminal[rows],
        )
    return tokens


def chunks_of(steps: int, width: int) -> Iterator[slice]:
    """Pieces of at most `_CHUNK_ROWS` rows, fewer where rows are wide."""
    rows = max(1, min(_CHUNK_ROWS, _CHUNK_VALUES // width))
    for start in range(0, steps, rows):
        yield slice(start, min(start + rows, steps))


def _gather_columns(dimensions: tuple[TokenDimension, ...], values: np.ndarray) -> np.ndarray:
    columns = np.empty((*values.shape[:-1], len(dimensions)))
    for d, dimension in enumerate(dimensions):
        if dimension.one_hot:
            group = values[..., dimension.first : dimension.first + (dimension.categories or 0)]
            columns[..., d] = group.argmax(axis=-1)
        else:
            columns[..., d] = values[..., dimension.first]
    return columns
