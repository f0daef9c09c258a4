"""What something will cost before it is started, from what the same machine did before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from seqrl.config import DatasetSpec, RunSpec
from seqrl.registry import MODELS, environment_row
from seqrl.store import Store

STEPS_PER_SECOND = 20_000.0
"""Environment steps that are collected each second on two cores when nothing was collected here yet."""

FALLBACK_LENGTH = 500
_SECONDS_TO_START = 2.0


def dataset_cost(store: Store, spec: DatasetSpec) -> tuple[int, float, float]:
    """What a dataset will cost at most.

    Returns:
        Steps (upper bound: every episode runs to its time limit, or as long as they did here before),
        bytes on disk, and seconds.
    """
    row = environment_row(spec.environment)
    known = [data for data in store.datasets() if data.facts and data.facts.environment == spec.environment]
    longest = spec.max_episode_steps or row.max_episode_steps or FALLBACK_LENGTH
    lengths = [data.facts.steps / data.facts.episodes for data in known if data.facts]
    steps = round(spec.episodes * (min(longest, 1.3 * max(lengths)) if lengths else longest))
    per_step = [data.size_bytes / data.facts.steps for data in known if data.facts and data.size_bytes]
    bytes_per_step = median(per_step) if per_step else 2 * (4 * max(len(row.observation_names), 4) + 24)
    speeds = [speed for data in known if (speed := _collected_per_second(store, data)) is not None]
    return steps, steps * bytes_per_step, _SECONDS_TO_START + steps / (median(speeds) if speeds else STEPS_PER_SECOND)


def _collected_per_second(store: Store, data: Any) -> float | None:
    if data.job_id is None or data.facts is None:
        return None
    job = store.job(data.job_id)
    if job.started is None or job.finished is None or job.state != "succeeded":
        return None
    return float(data.facts.steps / max(0.5, job.finished - job.started - _SECONDS_TO_START))


def training_seconds(store: Store, spec: RunSpec) -> tuple[float, str]:
    """How long a training takes, and where the figure comes from.

    The work of a step is proportional to windows × steps of context × layers × width²; what one unit costs is
    the median over finished runs of this kind on this machine, and before there is one, what the preset was
    measured to take.
    """
    unit, source = _seconds_per_unit(store, spec)
    return unit * _work(spec) * spec.training.steps, source


def grid_seconds(store: Store, specs: Sequence[RunSpec], at_once: int) -> tuple[float, str]:
    """How long some trainings of one kind take, so many of them at once; see `training_seconds`."""
    unit, source = _seconds_per_unit(store, specs[0])
    each = [unit * _work(spec) * spec.training.steps for spec in specs]
    return max(sum(each) / at_once, max(each)), source


def _seconds_per_unit(store: Store, spec: RunSpec) -> tuple[float, str]:
    costs = [
        (run.finished - run.started) / (_work(run.spec) * run.step)
        for run in store.runs()
        if run.started is not None
        and run.finished is not None
        and run.state == "succeeded"
        and run.job_id is not None
        and run.step >= 100
        and run.spec.model.kind == spec.model.kind
    ]
    if costs:
        return median(costs[:5]), "from your earlier runs"
    preset = next(iter(MODELS[spec.model.kind].presets.values()))
    reference = spec.model_copy(
        update={
            "model": spec.model.model_copy(update=dict(preset.model)),
            "training": spec.training.model_copy(update=dict(preset.training)),
        }
    )
    return preset.seconds / (_work(reference) * reference.training.steps), "measured on two cores"


def _work(spec: RunSpec) -> float:
    """Of one step, in arbitrary units."""
    model, width = spec.model, spec.model.embedding_dim
    return float(spec.training.batch_size * model.context_length * model.layers * width * (width + 64))
