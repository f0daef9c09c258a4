"""What must hold before a job is queued, and the rows that it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seqrl.config import DatasetFacts, JobSpec, check_run
from seqrl.store import RunRow, Store

_RUN_POLICY = "run:"


def create_rows(store: Store, job: JobSpec) -> int:
    """Check a job against what exists, and queue it together with the row of what it makes.

    Returns:
        The id of the job.

    Raises:
        ValueError: one sentence on what does not fit; nothing is queued then.
    """
    with store.database.transaction():
        job_id = store.add_job(job, job_name(job))
        creator = _create_sweep if job.kind.startswith("sweep_") else _CREATORS[job.kind]
        creator(store, job, job_id)
    return job_id


def job_name(job: JobSpec) -> str:
    """The name of what a job makes."""
    if job.kind == "render":
        return f"{job.spec.sweep}/{job.spec.episode_id}"
    return str(job.spec.name)


def usable_dataset(store: Store, name: str) -> DatasetFacts:
    """The facts of a dataset that is ready.

    Raises:
        ValueError: if there is none of that name, or it is still being built.
    """
    dataset = store.dataset(name)
    if dataset.facts is None:
        raise ValueError(f"the dataset {name} is still being built; wait until its job has succeeded")
    return dataset.facts


def usable_run(store: Store, name: str) -> RunRow:
    """A run that can act.

    Raises:
        ValueError: if there is none of that name, or it has no checkpoint yet.
    """
    run = store.run(name)
    if not store.has_checkpoint(name):
        raise ValueError(f"the run {name} has no checkpoint yet; wait for its first one or train it again")
    return run


def _create_dataset(store: Store, job: Any, job_id: int) -> None:
    for behaviour in job.spec.behaviours:
        if behaviour.policy.startswith(_RUN_POLICY):
            usable_run(store, behaviour.policy.removeprefix(_RUN_POLICY))
    store.add_dataset(job.spec.name, source=job.spec.model_dump(mode="json"), job_id=job_id)


def _create_run(store: Store, job: Any, job_id: int) -> None:
    facts = usable_dataset(store, job.spec.dataset)
    check_run(job.spec, facts)
    store.add_run(job.spec, facts, job_id)


def _create_sweep(store: Store, job: Any, job_id: int) -> None:
    environments = {}
    for name in job.spec.runs:
        facts = usable_run(store, name).facts
        if facts.environment is None:
            raise ValueError(f"the run {name} learned from data without an environment; it cannot be measured in one")
        environments[name] = (facts.environment, tuple(sorted(facts.environment_kwargs.items())))
    if len(set(environments.values())) > 1:
        shown = ", ".join(f"{name} in {environment[0]}" for name, environment in environments.items())
        raise ValueError(f"the runs act in different environments ({shown}); choose runs of one environment")
    store.add_sweep(job.spec, job.kind, job_id)


def _create_video(store: Store, job: Any, job_id: int) -> None:
    store.media_path(job.spec.sweep, job.spec.episode_id, job.spec.format)


_CREATORS: dict[str, Callable[[Store, Any, int], None]] = {
    "dataset": _create_dataset,
    "train": _create_run,
    "render": _create_video,
}
