"""Collecting a dataset in several processes: each plays pieces of it, the job's process writes them in their order.

An episode is fixed by its number, so the dataset is the same, byte for byte, however many play. A collection begins in
the job's process alone; only one that will last goes on with a helper for every idle processor, or with the workers of
a cluster: starting these takes seconds.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from seqrl.config import DatasetSpec
from seqrl.datasets.collection import Collected, CollectedEpisode, Collector, Piece, pieces
from seqrl.environments import EnvironmentFacts
from seqrl.environments.behaviours import MakeController
from seqrl.jobs.backend import PROCESSES_LOG_NAME
from seqrl.jobs.choice import allowed_workers, fans_out
from seqrl.jobs.helpers import Helpers
from seqrl.jobs.ray_cluster import LOOK_EVERY_S, MOST_RETRIES, connect, most_queued, workers_of
from seqrl.processors import idle_processors
from seqrl.worker.context import JobContext

WORTH_S = 10.0
"""So many seconds of playing that are left are worth the start of helpers."""

PLAYING_SHARE = 2 / 3
"""Where playing takes less of the time than this, helpers would only wait for who writes (fast vectors such as
CartPole's: measured, two helpers took a quarter longer)."""

_SMALLEST = 128
"""Episodes of a helper's piece at least, where so many play together: a vector is slow with few."""

_PIECES_A_HELPER = 4
"""So that all end at about the same time."""


def play(
    context: JobContext,
    spec: DatasetSpec,
    *,
    facts: EnvironmentFacts,
    policies: Mapping[str, MakeController] | None,
    helpers: int | None = None,
) -> Iterator[Collected]:
    """The episodes of a specification, as `seqrl.datasets.collect` gives them.

    Args:
        context: the job that collects.
        spec: what to collect.
        facts: of the environment.
        policies: see `Collector`.
        helpers: how many help, and from the first episode on; None for as many as are idle once it is worth it.
    """
    collector, pace = Collector(spec, facts, policies), _Pace()
    done = steps = 0
    try:
        for piece in pieces(spec, collector.at_once):
            count = helpers or (_useful_helpers(context, spec) if pace.worth(done, spec.episodes) else 1)
            if count > 1:
                rest = pieces(spec, _piece_size(spec.episodes - done, count, collector.at_once), first=done)
                yield from _shared(context, spec, rest, count, done, steps)
                return
            for news in pace.timed(collector.play(piece, steps)):
                yield news
            done, steps = done + piece.count, news.steps
    finally:
        collector.close()


class _Pace:
    """How long playing takes, apart from whoever takes the episodes."""

    def __init__(self) -> None:
        self._began, self._played_s = time.monotonic(), 0.0

    def timed(self, news: Iterator[Collected]) -> Iterator[Collected]:
        """The same news."""
        started = time.monotonic()
        for item in news:
            self._played_s += time.monotonic() - started
            yield item
            started = time.monotonic()

    def worth(self, done: int, episodes: int) -> bool:
        """Whether helpers shorten what is left after ``done`` episodes."""
        if not done or self._played_s < PLAYING_SHARE * (time.monotonic() - self._began):
            return False
        return self._played_s / done * (episodes - done) >= WORTH_S


def _useful_helpers(context: JobContext, spec: DatasetSpec) -> int:
    """How many may help; 1 for none."""
    return max(2, allowed_workers() or 0) if _goes_to_cluster(context, spec) else idle_processors()


def _goes_to_cluster(context: JobContext, spec: DatasetSpec) -> bool:
    return spec.portable and fans_out(context.store)


def _piece_size(episodes: int, helpers: int, at_once: int) -> int:
    even = -(-episodes // (_PIECES_A_HELPER * helpers))
    return min(at_once, max(min(_SMALLEST, at_once // 8), even))


def _shared(
    context: JobContext, spec: DatasetSpec, rest: Sequence[Piece], helpers: int, done: int, steps: int
) -> Iterator[Collected]:
    """What is left, played by others; ``done`` episodes and ``steps`` steps are there already."""
    if _goes_to_cluster(context, spec):
        answers = _from_cluster(context, spec, rest)
    else:
        answers = _from_helpers(context, spec, rest, helpers)
    coming = iter(rest)
    for answer in answers:
        if answer is None:  # nothing new, but time to look whether to stop
            yield Collected([], done / spec.episodes, steps)
            continue
        piece = next(coming)
        episodes = decode_episodes(answer, spec, piece)
        done, steps = done + piece.count, steps + sum(len(episode.rewards) for episode in episodes)
        yield Collected(episodes, done / spec.episodes, steps)


def _from_helpers(context: JobContext, spec: DatasetSpec, rest: Sequence[Piece], count: int) -> Iterator[bytes | None]:
    log = context.store.job_folder(context.job.id) / PROCESSES_LOG_NAME
    context.log(f"{count} processes collect")
    helpers = Helpers(count, "seqrl.worker.shard", [str(context.store.home), spec.to_json()], log)
    return helpers.answers((piece.model_dump_json().encode() for piece in rest), LOOK_EVERY_S)


def _from_cluster(context: JobContext, spec: DatasetSpec, rest: Sequence[Piece]) -> Iterator[bytes | None]:
    """Pieces as tasks; Ray starts those again whose workers die."""
    ray = connect(context.store.home)
    workers = workers_of(ray)
    context.log(f"{workers} workers of the cluster collect")
    task = ray.remote(collect_piece).options(num_cpus=1, max_retries=MOST_RETRIES, scheduling_strategy="SPREAD")
    most = most_queued(workers)
    waiting: deque[Any] = deque()
    coming = iter(rest)
    while True:
        while len(waiting) < most and (piece := next(coming, None)) is not None:
            waiting.append(task.remote(spec.to_json(), piece.model_dump_json()))
        if not waiting:
            return
        if not ray.wait([waiting[0]], timeout=LOOK_EVERY_S)[0]:
            yield None
            continue
        try:
            yield ray.get(waiting.popleft())
        except ray.exceptions.RayTaskError as error:  # what `collect_piece` itself raised
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise ValueError(
                f"the workers that collect ended {MOST_RETRIES + 1} times ({type(error).__name__}); "
                "look into Ray's logs"
            ) from error


def collect_piece(spec_json: str, piece_json: str) -> bytes:
    """Play a piece; this is what a task of the cluster runs.

    Raises:
        ValueError: see `Collector`.
    """
    return played(_collector(spec_json), piece_json)


@lru_cache(maxsize=2)
def _collector(spec_json: str) -> Collector:
    """A process plays many pieces of few datasets."""
    return Collector(DatasetSpec.model_validate_json(spec_json))


def played(collector: Collector, piece_json: str | bytes) -> bytes:
    """The episodes of a piece, see `encode_episodes`."""
    *_, last = collector.play(Piece.model_validate_json(piece_json))
    return encode_episodes(last.episodes)


def encode_episodes(episodes: Sequence[CollectedEpisode]) -> bytes:
    """Episodes of one behaviour as an ``.npz`` of arrays, one after the other."""
    file = io.BytesIO()
    np.savez(
        file,
        observations=np.concatenate([episode.observations for episode in episodes]),
        actions=np.concatenate([episode.actions for episode in episodes]),
        rewards=np.concatenate([episode.rewards for episode in episodes]),
        lengths=np.array([len(episode.rewards) for episode in episodes]),
        ends=np.array([(episode.terminated, episode.truncated) for episode in episodes]),
        seeds=np.array([episode.seed for episode in episodes]),
    )
    return file.getvalue()


def decode_episodes(encoded: bytes, spec: DatasetSpec, piece: Piece) -> list[CollectedEpisode]:
    """The episodes that `encode_episodes` wrote.

    Raises:
        ValueError: if they are not those of the piece.
    """
    with np.load(io.BytesIO(encoded), allow_pickle=False) as arrays:
        parts = {name: arrays[name] for name in arrays.files}
    lengths = parts["lengths"]
    if len(lengths) != piece.count:
        raise ValueError(f"{piece.count} episodes were asked for but {len(lengths)} came")
    stops = np.cumsum(lengths)
    behaviour = spec.behaviours[piece.behaviour]
    return [
        CollectedEpisode(
            observations=parts["observations"][start + i : stop + i + 1],
            actions=parts["actions"][start:stop],
            rewards=parts["rewards"][start:stop],
            terminated=bool(terminated),
            truncated=bool(truncated),
            seed=int(seed),
            behaviour=behaviour,
        )
        for i, (start, stop, (terminated, truncated), seed) in enumerate(
            zip(stops - lengths, stops, parts["ends"], parts["seeds"], strict=True)
        )
    ]
