"""A home where datasets, trainings, sweeps and videos are made by jobs, each only once.

What the scripts of this folder measure is what a person would: the same specs, submitted the same way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.harness import RESULTS
from seqrl import calibration, jobs
from seqrl.cli.session import Session
from seqrl.config import (
    DatasetFacts,
    DatasetJob,
    DatasetSpec,
    DeriveJob,
    DeriveSpec,
    JobSpec,
    RenderJob,
    RenderSpec,
    ReturnSweepJob,
    ReturnSweepSpec,
    RunSpec,
    TrainingSpec,
    TrainJob,
    parse_model,
)
from seqrl.registry import environment_row
from seqrl.store import JobRow, Store


class Workbench:
    """Makes things in a home unless they are there already, so that a script may be stopped and started again.

    Args:
        home: the folder to work in.
        backend: where jobs run; processes of this machine by default.
    """

    def __init__(self, home: Path, backend: Any = None) -> None:
        self.session = Session(home, backend)

    @property
    def store(self) -> Store:
        """Of the home."""
        return self.session.store

    def dataset(self, name: str, environment: str, episodes: int, mix: dict[str, float], seed: int = 0) -> DatasetFacts:
        """Collect a mixture of an environment's tiers."""
        row = environment_row(environment)
        spec = DatasetSpec(
            name=name,
            environment=environment,
            environment_kwargs=dict(row.kwargs),
            episodes=episodes,
            behaviours=row.behaviours(mix),
            seed=seed,
        )
        self._ensure(DatasetJob(spec=spec))
        facts = self.store.dataset(name).facts
        assert facts is not None  # noqa: S101
        return facts

    def derive(self, name: str, sources: list[str], **filters: Any) -> DatasetFacts:
        """Take the episodes of datasets that pass a filter."""
        self._ensure(DeriveJob(spec=DeriveSpec.model_validate({"name": name, "sources": sources, **filters})))
        facts = self.store.dataset(name).facts
        assert facts is not None  # noqa: S101
        return facts

    def train(self, name: str, dataset: str, model: dict[str, Any], seed: int = 0, **training: Any) -> str:
        """Train a model; returns the name of the run."""
        settings = TrainingSpec.model_validate(training)
        self._ensure(
            TrainJob(spec=RunSpec(name=name, dataset=dataset, model=parse_model(model), training=settings, seed=seed))
        )
        return name

    def sweep(self, name: str, runs: list[str], targets: list[float], episodes: int, **settings: Any) -> pd.DataFrame:
        """Ask for targets; returns one row an episode."""
        values = {"name": name, "runs": runs, "targets": targets, "episodes": episodes, **settings}
        self._ensure(ReturnSweepJob(spec=ReturnSweepSpec.model_validate(values)))
        return self.store.sweep_episodes(name)

    def video(self, sweep: str, episode_id: int) -> Path:
        """Film an episode of a sweep."""
        self._ensure(RenderJob(spec=RenderSpec(sweep=sweep, episode_id=episode_id)))
        return self.store.media_path(sweep, episode_id, "mp4")

    def _ensure(self, job: JobSpec) -> None:
        """Do what is not done yet; what a script that was stopped had begun goes on from where it was."""
        jobs.reconcile(self.store, self.session.backend)
        same = [row for row in self.store.jobs() if row.job == job]
        if any(row.state == "succeeded" for row in same):
            return
        begun = next((row for row in same if not row.ended or jobs.can_resume(self.store, row)), None)
        if begun is None:
            self.session.run(job, as_json=False, detach=False, on_success=_told)
            return
        if begun.ended:
            begun = jobs.resume(self.store, begun.id, self.session.backend)
        self.session.follow(begun, as_json=False, detach=False, on_success=_told)


def _told(row: JobRow) -> None:
    print(row.kind, row.name, flush=True)


class Results:
    """A table that is measured piece by piece and kept, as JSON and as Markdown, in ``benchmarks/results``.

    A script that was stopped goes on where it was: a piece that stands there, measured with the same settings, is not
    measured again.

    Args:
        name: of the files.
        settings: what the figures depend on, as plain values; others in the file make all of it stale.
        order: the pieces in the order of the table.
    """

    def __init__(self, name: str, settings: dict[str, Any], order: Sequence[str]) -> None:
        self._path, self._settings, self._order = RESULTS / f"{name}.json", settings, list(order)
        held = json.loads(self._path.read_text()) if self._path.is_file() else {}
        self._pieces: dict[str, list[dict[str, Any]]] = held["pieces"] if held.get("settings") == settings else {}

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the table so far."""
        return [line for piece in self._order for line in self._pieces.get(piece, [])]

    def measure(self, piece: str, work: Callable[[], list[dict[str, Any]]], *, again: bool = False) -> None:
        """Measure a piece, unless it stands there and is not to be measured ``again``, and write the table."""
        if piece in self._pieces and not again:
            return
        self._pieces[piece] = work()
        RESULTS.mkdir(exist_ok=True)
        held = {"machine": machine(), "settings": self._settings, "pieces": self._pieces}
        self._path.write_text(json.dumps(held, indent=1))
        about = "; ".join([*(f"{name} {value}" for name, value in self._settings.items()), machine()])
        self._path.with_suffix(".md").write_text(f"{about}\n\n{markdown(self.lines)}\n")


def with_interval(achieved: pd.Series, digits: int = 1) -> str:
    """Mean and bootstrap 95 % interval: ``12.3 (10.1 to 14.2)``."""
    low, high = calibration.bootstrap_interval(achieved.to_numpy(float)[:, None])
    return f"{achieved.mean():.{digits}f} ({low[0]:.{digits}f} to {high[0]:.{digits}f})"


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a table; all have the keys of the first."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(row[column]) for column in head) + " |" for row in rows]
    return "\n".join(lines)


def machine() -> str:
    """What it was measured on, in half a line."""
    return f"{os.cpu_count()} cores, torch {torch.__version__}"
