"""A home where datasets, trainings, sweeps and videos are made by jobs, each only once.

What the scripts of this folder measure is what a person would: the same specs, submitted the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from seqrl import calibration
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
from seqrl.store import Store


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
        behaviours = environment_row(environment).behaviours(mix)
        spec = DatasetSpec(name=name, environment=environment, episodes=episodes, behaviours=behaviours, seed=seed)
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
        if any(row.job == job for row in self.store.jobs(["succeeded"])):
            return
        self.session.run(job, as_json=False, detach=False, on_success=lambda row: print(row.kind, row.name, flush=True))


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
    import os

    return f"{os.cpu_count()} cores, torch {torch.__version__}"
