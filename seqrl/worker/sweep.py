"""Carry out a return-to-go sweep; points that are measured already are not measured again."""

from __future__ import annotations

from collections.abc import Iterator

from seqrl.checkpoints import load_model
from seqrl.config import ReturnSweepSpec, check_return_sweep
from seqrl.evaluation import SweepProgress, return_sweep, sweep_cells
from seqrl.jobs.choice import fans_out
from seqrl.store import Store
from seqrl.store.episodes import has_parts
from seqrl.store.records import EpisodeRecord
from seqrl.training.machine import IdleCores
from seqrl.worker.context import JobContext, Stopped
from seqrl.worker.fan_out import FanOut
from seqrl.worker.pieces import return_pieces
from seqrl.worker.precision import settled_precisions

_MOST_THREADS = 4

Points = set[tuple[str, str, float | None]]
"""(run, decoding, target) of points, as the store knows them."""


def run(context: JobContext, spec: ReturnSweepSpec) -> None:
    """Measure, keeping every point as soon as it is complete."""
    store = context.store
    done = finished_cells(store, spec)
    if done:
        context.log(f"{len(done)} points are measured already")
    for records in _on_cluster(context, spec, done) if fans_out(store) else _here(context, spec, done):
        store.append_episodes(spec.name, records)
        first = records[0]
        achieved = sum(record.achieved_return for record in records) / len(records)
        asked = "" if first.target is None else f" asked for {first.target:g}"
        context.log(f"{first.run} {first.decoding}{asked}: achieved {achieved:.1f} in {len(records)} episodes")
    if context.should_stop():
        raise Stopped
    store.finish_sweep(spec.name)


def _here(context: JobContext, spec: ReturnSweepSpec, done: Points) -> Iterator[list[EpisodeRecord]]:
    cores = IdleCores(most=_MOST_THREADS)
    context.progress(0.0, "loading the models", now=True)
    models = {name: load_model(context.store.run_folder(name)) for name in spec.runs}

    def tell(progress: SweepProgress) -> None:
        cores.take()
        context.progress(progress.fraction, f"{progress.episodes:,} episodes, {progress.steps:,} steps")

    precisions = settled_precisions(context.store, spec, {name: run for name, (_, run, _) in models.items()})
    return return_sweep(
        spec, models, done=done, precisions=precisions, should_stop=context.should_stop, on_progress=tell
    )


def _on_cluster(context: JobContext, spec: ReturnSweepSpec, done: Points) -> Iterator[list[EpisodeRecord]]:
    fan = FanOut(context, spec.runs, (), spec.episodes)
    runs = {name: fan.about(name) for name in spec.runs}
    check_return_sweep(spec, runs)
    planned = len(sweep_cells(spec, runs)) * spec.episodes
    precisions = settled_precisions(context.store, spec, {name: run for name, (run, _) in runs.items()})
    return fan.measure(list(return_pieces(spec, runs, fan.checkpoints, done, fan.workers, precisions)), planned)


def finished_cells(store: Store, spec: ReturnSweepSpec) -> Points:
    """(run, decoding, target) of the points that have all their episodes; target None where none is taken."""
    if not has_parts(store.sweep_folder(spec.name)):
        return set()
    episodes = store.sweep_episodes(spec.name)
    counts = episodes.groupby(["run", "decoding", "target"], dropna=False).size()
    cells = counts[counts >= spec.episodes].index
    return {(str(run), str(how), None if target != target else float(target)) for run, how, target in cells}
