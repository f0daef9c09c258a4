"""What must hold before a job is queued, and the rows that it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqrl.config import DatasetFacts, JobSpec, check_beam_sweep, check_return_sweep, check_run, check_schedule_sweep
from seqrl.config.models import ACTING_SPECS
from seqrl.config.policies import POLICY_PREFIX, RUN_PREFIX
from seqrl.registry import MODELS
from seqrl.store import RunRow, Store


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
        if behaviour.policy.startswith(RUN_PREFIX):
            run = usable_run(store, behaviour.policy.removeprefix(RUN_PREFIX))
            if not isinstance(run.spec.model, ACTING_SPECS):
                raise ValueError(
                    f"policy is {behaviour.policy}, a {MODELS[run.spec.model.kind].title}, which has to plan and is no "
                    "behaviour; choose a Decision Transformer, RvS or behaviour cloning"
                )
        elif behaviour.policy.startswith(POLICY_PREFIX):
            store.policy_snapshots(behaviour.policy)
    store.add_dataset(job.spec.name, source=job.spec.model_dump(mode="json"), job_id=job_id)


def _create_policy(store: Store, job: Any, job_id: int) -> None:
    store.add_policy(job.spec)


def _create_run(store: Store, job: Any, job_id: int) -> None:
    facts = usable_dataset(store, job.spec.dataset)
    check_run(job.spec, facts)
    store.add_run(job.spec, facts, job_id)


def _create_sweep(store: Store, job: Any, job_id: int) -> None:
    runs = {name: usable_run(store, name) for name in job.spec.runs}
    environments = {}
    for name, run in runs.items():
        if run.facts.environment is None:
            raise ValueError(f"the run {name} learned from data without an environment; use evaluate open-loop")
        environments[name] = (run.facts.environment, tuple(sorted(run.facts.environment_kwargs.items())))
    if len(set(environments.values())) > 1:
        shown = ", ".join(f"{name} in {environment[0]}" for name, environment in environments.items())
        raise ValueError(f"the runs act in different environments ({shown}); choose runs of one environment")
    if job.kind == "sweep_rtg":
        check_return_sweep(job.spec, {name: (run.spec, run.facts) for name, run in runs.items()})
    if job.kind == "sweep_beam":
        check_beam_sweep(job.spec, {name: run.spec for name, run in runs.items()})
    if job.kind == "sweep_schedule":
        check_schedule_sweep(job.spec, {name: (run.spec, run.facts) for name, run in runs.items()})
        _check_origin(store, job.spec)
    store.add_sweep(job.spec, job.kind, job_id)


def _check_origin(store: Store, spec: Any) -> None:
    """An episode is continued by the run that played it, from a step that it has."""
    if spec.origin is None:
        return
    record = store.episode_record(spec.origin.sweep, spec.origin.episode_id)
    if record.run != spec.runs[0]:
        raise ValueError(f"episode {spec.origin.episode_id} was played by {record.run}, not {spec.runs[0]}")
    if spec.origin.step >= record.length:
        raise ValueError(f"step is {spec.origin.step} but the episode has {record.length} steps; choose less")


def _create_video(store: Store, job: Any, job_id: int) -> None:
    store.media_path(job.spec.sweep, job.spec.episode_id, job.spec.format)


def _create_import(store: Store, job: Any, job_id: int) -> None:
    if job.kind == "import" and not Path(job.spec.path).expanduser().exists():
        raise ValueError(f"{job.spec.path} does not exist; give a file or folder of this machine")
    store.add_dataset(job.spec.name, source={job.kind: job.spec.model_dump(mode="json")}, job_id=job_id)


def _create_derived(store: Store, job: Any, job_id: int) -> None:
    for name in job.spec.sources:
        usable_dataset(store, name)
    store.add_dataset(job.spec.name, source={job.kind: job.spec.model_dump(mode="json")}, job_id=job_id)


def _create_export(store: Store, job: Any, job_id: int) -> None:
    usable_dataset(store, job.spec.name)


def _create_run_export(store: Store, job: Any, job_id: int) -> None:
    usable_run(store, job.spec.name)


def _create_imported_run(store: Store, job: Any, job_id: int) -> None:
    """Only checks: what the run is, is known when its files were read."""
    store.check_writable(job.spec.name)
    if store.has_run(job.spec.name):
        raise ValueError(f"a run named {job.spec.name} exists already; choose another name")
    store.refuse_results("runs", job.spec.name)
    if job.spec.dataset is not None:
        usable_dataset(store, job.spec.dataset)
    if not Path(job.spec.path).expanduser().exists():
        raise ValueError(f"{job.spec.path} does not exist; give a folder or archive of this machine")


def _create_open_loop(store: Store, job: Any, job_id: int) -> None:
    run, facts = usable_run(store, job.spec.run), usable_dataset(store, job.spec.dataset)
    for what in ("observation", "action"):
        ours, theirs = getattr(run.facts, what), getattr(facts, what)
        if (ours.kind, ours.size) != (theirs.kind, theirs.size):
            raise ValueError(
                f"the run {run.name} knows {what}s of {ours.size} numbers ({ours.kind}) but {job.spec.dataset} has "
                f"{theirs.size} ({theirs.kind}); choose episodes of the same kind"
            )


_CREATORS: dict[str, Callable[[Store, Any, int], None]] = {
    "dataset": _create_dataset,
    "train": _create_run,
    "policy": _create_policy,
    "render": _create_video,
    "import": _create_import,
    "download": _create_import,
    "derive": _create_derived,
    "export": _create_export,
    "import_run": _create_imported_run,
    "export_run": _create_run_export,
    "open_loop": _create_open_loop,
}
