"""Carry out a return-to-go sweep; points that are measured already are not measured again."""

from __future__ import annotations

from seqrl.checkpoints import load_model
from seqrl.config import ReturnSweepSpec
from seqrl.evaluation import SweepProgress, return_sweep
from seqrl.store import Store
from seqrl.store.episodes import has_parts
from seqrl.training.machine import IdleCores
from seqrl.worker.context import JobContext, Stopped

_MOST_THREADS = 4


def run(context: JobContext, spec: ReturnSweepSpec) -> None:
    """Measure, keeping every point as soon as it is complete."""
    store = context.store
    cores = IdleCores(most=_MOST_THREADS)
    context.progress(0.0, "loading the models", now=True)
    models = {name: load_model(store.run_folder(name)) for name in spec.runs}
    done = finished_cells(store, spec)
    if done:
        context.log(f"{len(done)} points are measured already")

    def tell(progress: SweepProgress) -> None:
        cores.take()
        context.progress(progress.fraction, f"{progress.episodes:,} episodes, {progress.steps:,} steps")

    episodes = return_sweep(spec, models, done=done, should_stop=context.should_stop, on_progress=tell)
    for records in episodes:
        store.append_episodes(spec.name, records)
        first = records[0]
        achieved = sum(record.achieved_return for record in records) / len(records)
        asked = "" if first.target is None else f" asked for {first.target:g}"
        context.log(f"{first.run} {first.decoding}{asked}: achieved {achieved:.1f} in {len(records)} episodes")
    if context.should_stop():
        raise Stopped
    store.finish_sweep(spec.name)


def finished_cells(store: Store, spec: ReturnSweepSpec) -> set[tuple[str, str, float | None]]:
    """(run, decoding, target) of the points that have all their episodes; target None where none is taken."""
    if not has_parts(store.sweep_folder(spec.name)):
        return set()
    episodes = store.sweep_episodes(spec.name)
    counts = episodes.groupby(["run", "decoding", "target"], dropna=False).size()
    cells = counts[counts >= spec.episodes].index
    return {(str(run), str(how), None if target != target else float(target)) for run, how, target in cells}
