"""What the store hands out: frozen rows, already parsed."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from seqrl.config import DatasetFacts, GridSpec, JobSpec, RunSpec, Spec, parse_job

Time = Annotated[float, Field(ge=0, lt=1e11)]
"""Seconds since the epoch."""
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
ACTIVE_STATES: tuple[JobState, ...] = ("queued", "running")
ENDED_STATES: tuple[JobState, ...] = ("succeeded", "failed", "cancelled", "interrupted")


_DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, RecursionError, zipfile.BadZipFile)


class NotFound(ValueError):
    """Nothing of that name exists; the sentence names the nearest names that do."""

    def __init__(self, what: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        if close:
            remedy = f"did you mean {' or '.join(close)}?"
        elif names:
            remedy = f"there is {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
        else:
            remedy = "none exists yet"
        super().__init__(f"there is no {what} named {name}; {remedy}")


@contextmanager
def reading_stored(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged file of the home makes its reader throw into one sentence.

    Args:
        what: is read, as the sentence begins.
        remedy: as it ends.

    Raises:
        ValueError: for any fault that a file can cause; one that already says what is wrong is left as it is.
    """
    try:
        yield
    except NotFound:
        raise
    except _DAMAGE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        short = " ".join(reason.split()) or type(error).__name__
        raise ValueError(f"{what} cannot be read ({short[:160]}); {remedy}") from error


@dataclass(frozen=True)
class DatasetRow:
    """A dataset.

    Attributes:
        name: ``demo/...`` for the bundled ones.
        source: dump of its `DatasetSpec`, or where an import came from.
        facts: None until it is built.
        created: seconds since the epoch.
        archived: deleted, but not destroyed.
        size_bytes: on disk, None until it is built.
        state: whether it can be used.
        job_id: the job that builds or built it.
    """

    name: str
    source: Mapping[str, Any]
    facts: DatasetFacts | None
    created: float
    archived: bool
    size_bytes: int | None
    state: Literal["building", "ready", "failed"]
    job_id: int | None


@dataclass(frozen=True)
class RunRow:
    """A training run. Its state is that of its job.

    Attributes:
        step: optimizer updates done, of ``steps``.
        best_value: lowest validation loss so far (training loss where nothing is held out).
        message: what it does now, or why it ended.
        facts: what was known of its dataset when it was submitted.
        grid: the grid that it is part of, or None.
    """

    name: str
    spec: RunSpec
    facts: DatasetFacts
    state: JobState
    step: int
    steps: int
    best_value: float | None
    created: float
    started: float | None
    finished: float | None
    heartbeat: float | None
    message: str
    note: str
    tags: tuple[str, ...]
    job_id: int | None
    archived: bool
    grid: str | None = None


@dataclass(frozen=True)
class GridRow:
    """A grid of runs; which runs are its own is written in their rows."""

    name: str
    spec: GridSpec
    created: float


@dataclass(frozen=True)
class SweepRow:
    """A sweep. Its state and progress (0 to 1) are those of its job."""

    name: str
    kind: str
    spec: Any
    state: JobState
    progress: float
    message: str
    created: float
    finished: float | None
    job_id: int | None
    archived: bool


@dataclass(frozen=True)
class MetricRow:
    """Metrics of one training step; ``time_s`` is computation since the run began."""

    step: int
    time_s: float
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Histogram:
    """Counts between edges (one more edge than counts) of a quantity at a training step."""

    step: int
    name: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]


WATCHED_KINDS = ("render", "sweep_schedule")
"""Jobs of a few seconds whose result somebody is waiting for."""


@dataclass(frozen=True)
class JobRow:
    """A job.

    Attributes:
        name: the dataset, run or sweep that it makes; ``SWEEP/EPISODE`` for a video.
        spec: plain values of its `JobSpec`; `job` parses them.
        ticket: place in the queue, lowest first.
        attempt: how often it was started; together with the id it names one worker.
        progress: 0 to 1.
        message: what it does now.
        error: why it ended other than succeeded.
        created: this and the other times are seconds since the epoch.
        heartbeat: when its loop last wrote.
        cancel_requested: when it was asked to stop.
        pid: this, ``process_started`` and ``boot_id`` identify the worker's process for certain.
        token: marks the worker's descendants in their environment.
    """

    id: int
    kind: str
    name: Annotated[str, Field(max_length=200)]
    spec: Mapping[str, Any]
    state: JobState
    ticket: int
    attempt: int
    progress: Annotated[float, Field(allow_inf_nan=False)]
    message: str
    error: str | None
    created: Time
    started: Time | None
    finished: Time | None
    heartbeat: Time | None
    cancel_requested: Time | None
    pid: Annotated[int, Field(gt=0, lt=2**31)] | None
    process_started: str | None
    boot_id: str | None
    token: str | None

    @property
    def watched(self) -> bool:
        """Whether somebody looks at the screen for it, as for a video; such jobs have a queue of their own."""
        return self.kind in WATCHED_KINDS

    @property
    def job(self) -> JobSpec:
        """The parsed spec."""
        parsed: JobSpec = parse_job(dict(self.spec))
        return parsed

    def is_for(self, wanted: JobSpec) -> bool:
        """Whether it does exactly this; one that another version of seqrl has submitted may do what this one cannot."""
        try:
            return self.kind == wanted.kind and self.job == wanted
        except ValueError:
            return False

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless somebody resumes it."""
        return self.state in ENDED_STATES


def spec_of_sweep(kind: str, values: Mapping[str, Any]) -> Spec:
    """The parsed spec of a sweep of this kind."""
    spec: Spec = parse_job({"kind": kind, "spec": dict(values)}).spec
    return spec
