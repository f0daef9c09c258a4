"""Carry out a sweep of schedules; those that are played already are not played again."""

from __future__ import annotations

from seqrl.checkpoints import load_model
from seqrl.config import ScheduleSweepSpec
from seqrl.evaluation import Actor, schedule_sweep
from seqrl.store import Store
from seqrl.store.episodes import has_parts
from seqrl.training.machine import IdleCores
from seqrl.worker.context import JobContext, Stopped
from seqrl.worker.precision import settled_precisions

_MOST_THREADS = 4


def run(context: JobContext, spec: ScheduleSweepSpec) -> None:
    """Play, keeping every schedule as soon as it is complete."""
    store = context.store
    cores = IdleCores(most=_MOST_THREADS)
    context.progress(0.0, "loading the model", now=True)
    actor = Actor(*load_model(store.run_folder(spec.runs[0])))
    origin = store.episode_record(spec.origin.sweep, spec.origin.episode_id) if spec.origin else None
    like = spec.origin.sweep if spec.origin else None
    precision = settled_precisions(store, spec, {spec.runs[0]: actor.spec}, like)[spec.runs[0]]
    done = finished_schedules(store, spec)
    if done:
        context.log(f"{len(done)} schedules are played already")

    def tell(fraction: float) -> None:
        cores.take()
        context.progress(fraction, "playing")

    settled = spec.model_copy(update={"precision": precision})
    episodes = schedule_sweep(settled, actor, origin, done=done, should_stop=context.should_stop, on_progress=tell)
    for records in episodes:
        store.append_episodes(spec.name, records)
        achieved = sum(record.achieved_return for record in records) / len(records)
        context.log(f"{records[0].cell['schedule']}: achieved {achieved:.1f} in {len(records)} episodes")
    if context.should_stop():
        raise Stopped
    store.finish_sweep(spec.name)


def finished_schedules(store: Store, spec: ScheduleSweepSpec) -> set[str]:
    """Texts of the schedules that have all their episodes."""
    if not has_parts(store.sweep_folder(spec.name)):
        return set()
    counts = store.sweep_episodes(spec.name).groupby("schedule").size()
    return {str(text) for text in counts[counts >= spec.episodes].index}
