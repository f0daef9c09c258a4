"""Play the episodes of a dataset: behaviours of a mixture, in lock step, a chunk of episodes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from seqrl.config import BehaviourSpec, DatasetSpec, Spec
from seqrl.environments import EnvironmentFacts, EnvironmentVector, GymnasiumVector, make_vector, space_facts
from seqrl.environments.behaviours import Behaviour, MakeController

_CHUNK_BYTES = 64 * 2**20
_CHUNK_EPISODES = 2048
_CHUNK_OF_SINGLES = 64  # environments stepped one by one gain nothing from more, and each takes memory
_PROGRESS_STEPS = 20


@dataclass(frozen=True, eq=False)
class CollectedEpisode:
    """One episode of T steps, flattened as `seqrl.environments.spaces` does.

    Attributes:
        observations: (T + 1, *observation) float32, or uint8 for images.
        actions: (T,) int64 discrete, (T, M) int64 multi-discrete, or (T, A) float32.
        rewards: (T,) float64, reward units.
        terminated: whether the environment ended it.
        truncated: whether the time limit cut it off; both can be true of the last step.
        seed: seed of the reset and of the behaviour's noise.
        behaviour: who played.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    seed: int
    behaviour: BehaviourSpec

    def about(self) -> dict[str, bool | int | float | str]:
        """What is stored about the episode beside its steps."""
        return {
            "terminated": self.terminated,
            "truncated": self.truncated,
            "tier": self.behaviour.tier,
            "policy": self.behaviour.policy,
            "epsilon": self.behaviour.epsilon,
            "noise_std": self.behaviour.noise_std,
            "seed": self.seed,
        }


@dataclass(frozen=True, eq=False)
class Collected:
    """A piece of a collection: the episodes that are complete since the last piece, possibly none.

    Attributes:
        episodes: in the order of the dataset.
        progress: share of the whole collection that is done, 0 to 1.
        steps: environment steps taken so far.
    """

    episodes: list[CollectedEpisode]
    progress: float
    steps: int


class Piece(Spec):
    """Consecutive episodes of one behaviour; what is played does not depend on how a collection is cut into pieces."""

    behaviour: int = Field(description="Which one of the dataset's.")
    first: int = Field(description="Number of its first episode among all of the dataset.")
    count: int


def pieces(spec: DatasetSpec, largest: int, first: int = 0) -> list[Piece]:
    """Cut a collection into pieces, in the order of the dataset.

    Args:
        spec: what to collect.
        largest: episodes of a piece at most.
        first: leave out the episodes before this one.

    >>> [(piece.first, piece.count) for piece in pieces(DatasetSpec(name="d", episodes=10), 4, first=3)]
    [(3, 4), (7, 3)]
    """
    ends = np.cumsum(spec.episodes_by_tier()).tolist()
    starts = [max(start, first) for start in (0, *ends[:-1])]
    return [
        Piece(behaviour=number, first=at, count=min(largest, end - at))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        for at in range(start, end, largest)
    ]


class Collector:
    """Plays pieces of a collection, in any order.

    Args:
        spec: what to collect.
        facts: of the environment, where they are known already.
        policies: policies beyond the registry, see `seqrl.environments.behaviours.make_controller`.

    Attributes:
        at_once: episodes that may play together, by the memory that they may need.

    Raises:
        ValueError: if the environment, a policy or its noise does not fit, or episodes might never end.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        facts: EnvironmentFacts | None = None,
        policies: Mapping[str, MakeController] | None = None,
    ) -> None:
        facts = facts or space_facts(spec.environment, spec.environment_kwargs, spec.max_episode_steps)
        if facts.max_episode_steps is None:
            raise ValueError(
                f"{spec.environment} has no time limit, so an episode may never end; set max_episode_steps"
            )
        self.spec, self._most_steps = spec, facts.max_episode_steps
        self._behaviours = [Behaviour(behaviour, facts, policies) for behaviour in spec.behaviours]
        self._vector = make_vector(spec.environment, spec.environment_kwargs, max_episode_steps=spec.max_episode_steps)
        self.at_once = episodes_at_once(facts, isinstance(self._vector, GymnasiumVector))

    def play(self, piece: Piece, steps: int = 0) -> Iterator[Collected]:
        """Play a piece: news without episodes, and in the end all of them.

        Args:
            piece: what to play, after all that comes before it.
            steps: taken before.
        """
        behaviour, total = self._behaviours[piece.behaviour], self.spec.episodes
        chunk = _Chunk([episode_seed(self.spec.seed, piece.first + i) for i in range(piece.count)])
        for share in chunk.play(self._vector, behaviour, self._most_steps):
            yield Collected([], (piece.first + share * piece.count) / total, steps + chunk.steps)
        yield Collected(chunk.episodes(behaviour.spec), (piece.first + piece.count) / total, steps + chunk.steps)

    def close(self) -> None:
        """Let go of the environments."""
        self._vector.close()


def collect(
    spec: DatasetSpec,
    *,
    facts: EnvironmentFacts | None = None,
    policies: Mapping[str, MakeController] | None = None,
    chunk_episodes: int | None = None,
) -> Iterator[Collected]:
    """Play the episodes of a specification, tier after tier; equal specifications give equal episodes.

    The generator may be left at any piece; nothing but its own environments is held.

    Args:
        spec: what to collect.
        facts: see `Collector`.
        policies: see `Collector`.
        chunk_episodes: episodes that play at once; chosen by the memory that they may need. It changes nothing
            but speed and memory.

    Raises:
        ValueError: see `Collector`.
    """
    collector, steps = Collector(spec, facts, policies), 0
    try:
        for piece in pieces(spec, chunk_episodes or collector.at_once):
            for news in collector.play(piece, steps):
                yield news
            steps = news.steps
    finally:
        collector.close()


def episode_seed(seed: int, episode: int) -> int:
    """Seed of an episode: a different one for each of the first 2**31 episodes of a dataset.

    >>> len({episode_seed(0, i) for i in range(1000)})
    1000
    """
    base = int(np.random.SeedSequence([seed, 0xDA7A]).generate_state(1)[0])
    return (base + episode) % 2**31


def episodes_at_once(facts: EnvironmentFacts, one_by_one: bool) -> int:
    """Episodes of full length whose steps fit into the memory that a chunk may use."""
    observation_bytes = facts.observation.size * (1 if facts.observation.kind == "image" else 4)
    episode_bytes = (observation_bytes + 8 * facts.action.size + 16) * (facts.max_episode_steps or 1)
    return int(np.clip(_CHUNK_BYTES // episode_bytes, 1, _CHUNK_OF_SINGLES if one_by_one else _CHUNK_EPISODES))


class _Chunk:
    """Episodes that play together: the steps of all of them in the order in which they were taken."""

    def __init__(self, seeds: list[int]) -> None:
        self.steps = 0
        self._seeds = seeds
        self._ends = np.zeros((len(seeds), 2), dtype=bool)
        self._first: np.ndarray = np.empty(0)
        self._rows: list[np.ndarray] = []
        self._observations: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._rewards: list[np.ndarray] = []

    def play(self, vector: EnvironmentVector, behaviour: Behaviour, max_steps: int) -> Iterator[float]:
        """Play until all have ended; yields the share that is done every few steps."""
        rows = np.arange(len(self._seeds))
        observations = self._first = vector.reset(self._seeds)
        behaviour.reset(self._seeds)
        for t in range(max_steps):
            actions = behaviour.act(observations)
            step = vector.step(actions)
            self._rows.append(rows)
            self._observations.append(step.observations)
            self._actions.append(actions)
            self._rewards.append(step.rewards)
            self.steps += len(rows)
            observations = step.observations
            running = ~(step.terminated | step.truncated)
            if not running.all():
                self._ends[rows[~running]] = np.stack([step.terminated, step.truncated], axis=1)[~running]
                vector.keep(running)
                behaviour.keep(running)
                rows, observations = rows[running], observations[running]
                if not len(rows):
                    return
            if t % _PROGRESS_STEPS == _PROGRESS_STEPS - 1:
                yield max(1 - len(rows) / len(self._seeds), (t + 1) / max_steps)

    def episodes(self, behaviour: BehaviourSpec) -> list[CollectedEpisode]:
        """The steps sorted into episodes."""
        rows = np.concatenate(self._rows)
        order = np.argsort(rows, kind="stable")
        ends = np.cumsum(np.bincount(rows, minlength=len(self._seeds)))
        sort = (np.concatenate(column)[order] for column in (self._observations, self._actions, self._rewards))
        observations, actions, rewards = sort
        episodes = []
        for i, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            terminated, truncated = self._ends[i]
            episodes.append(
                CollectedEpisode(
                    observations=np.concatenate([self._first[i : i + 1], observations[start:end]]),
                    actions=actions[start:end],
                    rewards=rewards[start:end],
                    terminated=bool(terminated),
                    truncated=bool(truncated),
                    seed=self._seeds[i],
                    behaviour=behaviour,
                )
            )
        return episodes
