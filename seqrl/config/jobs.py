"""A job is a spec with a kind: what the queue stores and the worker carries out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from seqrl.config.base import Spec
from seqrl.config.datasets import DatasetSpec
from seqrl.config.imports import (
    DeriveJob,
    DownloadJob,
    ExportJob,
    ImportJob,
    OpenLoopJob,
    RunExportJob,
    RunImportJob,
)
from seqrl.config.lab import ScheduleSweepSpec
from seqrl.config.planning import BeamSweepSpec
from seqrl.config.policies import PolicyJob
from seqrl.config.sweeps import RenderSpec, ReturnSweepSpec
from seqrl.config.training import RunSpec


class DatasetJob(Spec):
    """Collect a dataset, store it as Minari, compile its columns."""

    kind: Literal["dataset"] = "dataset"
    spec: DatasetSpec


class TrainJob(Spec):
    """Train a run."""

    kind: Literal["train"] = "train"
    spec: RunSpec


class ReturnSweepJob(Spec):
    """Measure achieved against target return."""

    kind: Literal["sweep_rtg"] = "sweep_rtg"
    spec: ReturnSweepSpec


class BeamSweepJob(Spec):
    """Measure achieved return and time per decision against beam width and horizon."""

    kind: Literal["sweep_beam"] = "sweep_beam"
    spec: BeamSweepSpec


class ScheduleSweepJob(Spec):
    """Play episodes whose target changes on the way."""

    kind: Literal["sweep_schedule"] = "sweep_schedule"
    spec: ScheduleSweepSpec


class RenderJob(Spec):
    """Replay a recorded episode into a video."""

    kind: Literal["render"] = "render"
    spec: RenderSpec


JobSpec = Annotated[
    DatasetJob
    | TrainJob
    | PolicyJob
    | ReturnSweepJob
    | BeamSweepJob
    | ScheduleSweepJob
    | RenderJob
    | ImportJob
    | DownloadJob
    | DeriveJob
    | ExportJob
    | RunImportJob
    | RunExportJob
    | OpenLoopJob,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[Any] = TypeAdapter(JobSpec)


def parse_job(values: dict[str, Any] | str) -> Any:
    """A job spec from plain values or its JSON text."""
    return _ADAPTER.validate_json(values) if isinstance(values, str) else _ADAPTER.validate_python(values)
