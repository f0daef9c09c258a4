"""Pieces of a sweep that any machine can measure: what is to be played in plain JSON, and the checkpoint that plays.

An episode is fixed by checkpoint, sweep and its number, not by what it is measured together with, so a sweep may be cut
anywhere. A piece of a return sweep is episodes of consecutive points of one run, as many as are worth playing in lock
step; one of a beam sweep is the episodes of a point that are planned for together, since that is part of its record.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Set
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Annotated, Literal

import torch
from pydantic import Field, TypeAdapter

import seqrl
from seqrl.beam_evaluation import BeamCell, beam_cells, measure_beam, planned_together
from seqrl.checkpoints import model_of
from seqrl.config import BeamSweepSpec, DatasetFacts, Decoding, ReturnSweepSpec, RunSpec, sweep_discount
from seqrl.config.base import Name, Spec
from seqrl.config.sweeps import Precision
from seqrl.evaluation import Actor, Cell, Plan, largest_chunk, measure_plans, precision_on, sweep_cells
from seqrl.store.episodes import encode
from seqrl.store.records import EpisodeRecord

_SMALLEST = 16
"""Episodes of a return sweep's piece at least: a model computes no fewer rows at once."""

_PIECES_A_WORKER = 4
"""So that all workers end at about the same time, though episodes last differently long."""


class _Piece(Spec):
    run: Name
    checkpoint: str = Field(description="SHA-256 of the checkpoint's two files, see `digest`.")
    versions: dict[str, str] = Field(description="Packages that decide the numbers, where the sweep was submitted.")


class PointEpisodes(Spec):
    """Episodes ``first`` to ``stop`` (excluded) of a point of a return sweep."""

    decoding: Decoding
    target: float | None
    first: int
    stop: int


class ReturnPiece(_Piece):
    """Some episodes of a return sweep, whose number format no longer depends on the machine."""

    kind: Literal["sweep_rtg"] = "sweep_rtg"
    sweep: ReturnSweepSpec
    points: tuple[PointEpisodes, ...]
    discount: float = Field(1.0, description="of the sweep's targets, whatever this run takes")

    @property
    def episodes(self) -> int:
        """How many it has."""
        return sum(point.stop - point.first for point in self.points)

    def play(self, actor: Actor) -> list[EpisodeRecord]:
        """Measure it."""
        plans = [
            Plan(Cell(self.run, point.decoding, point.target), episode, self.sweep.seed)
            for point in self.points
            for episode in range(point.first, point.stop)
        ]
        return measure_plans(self.sweep, actor, plans, self.discount)


class BeamPiece(_Piece):
    """Episodes ``first`` to ``stop`` (excluded) of a point of a beam sweep."""

    kind: Literal["sweep_beam"] = "sweep_beam"
    sweep: BeamSweepSpec
    width: int
    horizon: int
    first: int
    stop: int

    @property
    def episodes(self) -> int:
        """How many it has."""
        return self.stop - self.first

    def play(self, actor: Actor) -> list[EpisodeRecord]:
        """Measure it."""
        cell = BeamCell(self.run, self.width, self.horizon)
        return measure_beam(self.sweep, cell, range(self.first, self.stop), tuple(actor))  # type: ignore[arg-type]


Piece = Annotated[ReturnPiece | BeamPiece, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[ReturnPiece | BeamPiece] = TypeAdapter(Piece)


def digest(about_json: bytes, weights: bytes) -> str:
    """The name of a checkpoint by its content."""
    return hashlib.sha256(hashlib.sha256(about_json).digest() + hashlib.sha256(weights).digest()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """What must be the same everywhere for the same spec to give the same record."""
    return {"seqrl": seqrl.__version__} | {name: version(name) for name in ("torch", "numpy", "gymnasium")}


def return_pieces(
    spec: ReturnSweepSpec,
    runs: Mapping[str, tuple[RunSpec, DatasetFacts]],
    checkpoints: Mapping[str, str],
    done: Set[tuple[str, str, float | None]],
    workers: int,
    precisions: Mapping[str, Precision] | None = None,
) -> Iterator[ReturnPiece]:
    """Cut what is left of a return sweep.

    Args:
        spec: the sweep.
        runs: spec and facts of its runs.
        checkpoints: the digests of their checkpoints.
        done: (run, decoding, target) of points that are measured already.
        workers: how many measure at once; the cuts depend on it, the records do not.
        precisions: number format of the runs; those that are missing act in what ``spec`` means on this machine.
    """
    cells = [cell for cell in sweep_cells(spec, runs) if tuple(cell) not in done]
    discount = sweep_discount(run.model for run, _ in runs.values())
    for run, group in itertools.groupby(cells, lambda cell: cell.run):
        own = [(cell, episode) for cell in group for episode in range(spec.episodes)]
        rows = rows_of_a_piece(len(own), workers, largest_chunk(*runs[run]))
        precision = (precisions or {}).get(run) or precision_on(spec, runs[run][0], torch.device("cpu"))
        settled = spec.model_copy(update={"precision": precision})
        for start in range(0, len(own), rows):
            yield ReturnPiece(
                sweep=settled,
                run=run,
                points=points_of(own[start : start + rows]),
                discount=discount,
                checkpoint=checkpoints[run],
                versions=versions(),
            )


def rows_of_a_piece(episodes: int, workers: int, largest: int) -> int:
    """Into how many episodes each a run's share of a return sweep is cut.

    Args:
        episodes: of the run.
        workers: how many measure at once.
        largest: as many as are worth playing in lock step.

    >>> [rows_of_a_piece(10_000, workers, 512) for workers in (1, 16, 512)]
    [512, 160, 16]
    """
    even = math.ceil(episodes / (workers * _PIECES_A_WORKER) / _SMALLEST) * _SMALLEST
    return min(even, largest)


def beam_pieces(
    spec: BeamSweepSpec, checkpoints: Mapping[str, str], done: Set[tuple[str, int, int]]
) -> Iterator[BeamPiece]:
    """Cut what is left of a beam sweep; see `return_pieces`."""
    for cell in beam_cells(spec):
        if tuple(cell) in done:
            continue
        for chunk in planned_together(spec):
            yield BeamPiece(
                sweep=spec,
                run=cell.run,
                width=cell.width,
                horizon=cell.horizon,
                first=chunk.start,
                stop=chunk.stop,
                checkpoint=checkpoints[cell.run],
                versions=versions(),
            )


def measure(piece_json: str, about_json: bytes, weights: bytes) -> bytes:
    """Measure a piece; this is what a task of the cluster runs.

    Args:
        piece_json: a `Piece`.
        about_json: ``spec.json`` of the checkpoint.
        weights: ``model.safetensors`` of the checkpoint.

    Returns:
        The episodes in the form of a part file, see `seqrl.store.episodes.encode`.

    Raises:
        ValueError: if this machine would not measure the same, or the checkpoint is not the one that was meant.
    """
    piece = _ADAPTER.validate_json(piece_json)
    for name, here in versions().items():
        if piece.versions.get(name) != here:
            raise ValueError(
                f"a machine of the cluster has {name} {here} but the sweep was submitted with "
                f"{piece.versions.get(name)}; install the same requirements everywhere"
            )
    if piece.checkpoint != digest(about_json, weights):
        raise ValueError(f"the checkpoint of {piece.run} that arrived is not the one that was sent; try again")
    torch.set_num_threads(1)
    return encode(piece.play(_actor(about_json, weights)))


@lru_cache(maxsize=4)
def _actor(about_json: bytes, weights: bytes) -> Actor:
    """A process measures many pieces of few checkpoints."""
    return Actor(*model_of(about_json, weights, "the checkpoint of this task"))


def points_of(rows: list[tuple[Cell, int]]) -> tuple[PointEpisodes, ...]:
    """Consecutive episodes of a point as one entry."""
    grouped = [(cell, list(group)) for cell, group in itertools.groupby(rows, lambda row: row[0])]
    return tuple(
        PointEpisodes(decoding=cell.decoding, target=cell.target, first=group[0][1], stop=group[-1][1] + 1)
        for cell, group in grouped
    )
