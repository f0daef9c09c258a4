"""Measuring a sweep with the tasks of a Ray cluster; the job's own process cuts, collects and writes.

A task gets a piece as JSON and a checkpoint by its content, and returns episodes as bytes; it knows no store. So the
store has one writer, machines that only measure need none of its files, and what is written does not depend on how
many they are. A task whose worker or machine dies is started again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from seqrl.checkpoints import read_about, read_files
from seqrl.config import DatasetFacts, RunSpec
from seqrl.jobs.ray_cluster import LOOK_EVERY_S, MOST_RETRIES, connect, most_queued, workers_of
from seqrl.store.episodes import decode
from seqrl.store.records import EpisodeRecord
from seqrl.worker.context import JobContext
from seqrl.worker.pieces import BeamPiece, ReturnPiece, digest, measure


class FanOut:
    """The tasks of one sweep.

    Args:
        context: its job.
        runs: its runs.
        columns: columns of a record's cell which tell points apart, besides run, decoding and target.
        episodes: how many episodes make a point.
    """

    def __init__(self, context: JobContext, runs: Sequence[str], columns: Sequence[str], episodes: int) -> None:
        self.context, self.columns, self.episodes = context, tuple(columns), episodes
        self._files = {run: read_files(context.store.run_folder(run)) for run in runs}
        self.checkpoints = {run: digest(*files) for run, files in self._files.items()}
        self._finished, self._planned = 0, 0
        context.progress(0.0, "asking for workers", now=True)
        self.ray = connect(context.store.home)
        self.workers = workers_of(self.ray)

    def about(self, run: str) -> tuple[RunSpec, DatasetFacts]:
        """Spec and facts of a run, as its checkpoint knows them."""
        about = read_about(self.context.store.run_folder(run))
        return RunSpec.model_validate(about["spec"]), DatasetFacts.model_validate(about["facts"])

    def measure(self, pieces: Sequence[ReturnPiece | BeamPiece], planned: int) -> Iterator[list[EpisodeRecord]]:
        """Measure pieces and yield the episodes of a point as soon as they are complete.

        Args:
            pieces: what is left of the sweep.
            planned: episodes of the whole sweep.

        Raises:
            ValueError: if a task cannot be carried out, or its workers die again and again.
        """
        pending: dict[tuple[Any, ...], list[EpisodeRecord]] = {}
        self._finished, self._planned = planned - sum(piece.episodes for piece in pieces), planned
        for records in self._results(pieces):
            for record in records:
                point = (record.run, record.decoding, record.target, *(record.cell[name] for name in self.columns))
                pending.setdefault(point, []).append(record)
                if len(pending[point]) == self.episodes:
                    yield sorted(pending.pop(point), key=lambda record: record.episode)

    def _results(self, pieces: Sequence[ReturnPiece | BeamPiece]) -> Iterator[list[EpisodeRecord]]:
        """The episodes of every piece, in the order in which they are measured.

        When the sweep stops, tasks on their way are left alone: they end with the job's process. Cancelling a thousand
        of them while some ended was seen to crash Ray 2.60 in the process that asked.
        """
        ray, context = self.ray, self.context
        task = ray.remote(measure).options(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")
        files = {run: tuple(map(ray.put, parts)) for run, parts in self._files.items()}
        waiting = deque((piece, 0) for piece in pieces)
        running: dict[Any, tuple[ReturnPiece | BeamPiece, int]] = {}
        most = most_queued(self.workers)
        while (waiting or running) and not context.should_stop():
            while waiting and len(running) < most:
                piece, tries = waiting.popleft()
                running[task.remote(piece.model_dump_json(), *files[piece.run])] = (piece, tries)
            for reference in self._ended(list(running)):
                piece, tries = running.pop(reference)
                records = self._collect(reference, piece, tries)
                if records is None:
                    waiting.appendleft((piece, tries + 1))
                else:
                    self._finished += len(records)
                    yield records
            self._tell()

    def _ended(self, references: list[Any]) -> list[Any]:
        """The tasks that have ended, all of them; waits a moment for the first."""
        ready, others = self.ray.wait(references, timeout=LOOK_EVERY_S)
        if ready and others:
            ready = ready + self.ray.wait(others, num_returns=len(others), timeout=0)[0]
        return list(ready)

    def _tell(self) -> None:
        workers = f"{self.workers} worker" + ("s" if self.workers > 1 else "")
        message = f"{self._finished:,} of {self._planned:,} episodes, {workers}"
        self.context.progress(self._finished / max(self._planned, 1), message)

    def _collect(self, reference: Any, piece: ReturnPiece | BeamPiece, tries: int) -> list[EpisodeRecord] | None:
        """The episodes of a task that has ended; None if it has to be started again."""
        errors = self.ray.exceptions
        try:
            return decode(self.ray.get(reference))
        except errors.RayTaskError as error:  # what `measure` itself raised
            raise error.cause from error
        except errors.RayError as error:
            why = type(error).__name__
            if tries >= MOST_RETRIES:
                raise ValueError(
                    f"the workers of {piece.episodes} episodes of {piece.run} ended {tries + 1} times ({why}); "
                    "look into Ray's logs, and resume the sweep"
                ) from error
            self.context.log(f"a worker ended amid {piece.episodes} episodes of {piece.run} ({why}); tried again")
            return None
