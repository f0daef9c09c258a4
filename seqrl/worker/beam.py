"""Carry out a beam sweep; points that are measured already are not measured again."""

from __future__ import annotations

from collections.abc import Iterator

from seqrl.beam_evaluation import BeamSweepProgress, beam_cells, beam_sweep
from seqrl.checkpoints import load_model
from seqrl.config import BeamSweepSpec, check_beam_sweep
from seqrl.jobs.choice import fans_out
from seqrl.store import Store
from seqrl.store.records import EpisodeRecord
from seqrl.training.machine import IdleCores
from seqrl.worker.context import JobContext, Stopped
from seqrl.worker.fan_out import FanOut
from seqrl.worker.pieces import beam_pieces

Points = set[tuple[str, int, int]]
"""(run, width, horizon) of points, as the store knows them."""


def run(context: JobContext, spec: BeamSweepSpec) -> None:
    """Measure, keeping every point as soon as it is complete."""
    store = context.store
    done = finished_cells(store, spec)
    if done:
        context.log(f"{len(done)} points are measured already")
    for records in _on_cluster(context, spec, done) if fans_out(store) else _here(context, spec, done):
        store.append_episodes(spec.name, records)
        first = records[0]
        achieved = sum(record.achieved_return for record in records) / len(records)
        how = f"width {first.cell['width']}, horizon {first.cell['horizon']}" if first.cell["width"] else "no planning"
        context.log(f"{first.run} {how}: achieved {achieved:.1f} in {len(records)} episodes")
    if context.should_stop():
        raise Stopped
    store.finish_sweep(spec.name)


def _here(context: JobContext, spec: BeamSweepSpec, done: Points) -> Iterator[list[EpisodeRecord]]:
    context.progress(0.0, "loading the models", now=True)
    cores = IdleCores()
    models = {name: load_model(context.store.run_folder(name)) for name in spec.runs}

    def tell(progress: BeamSweepProgress) -> None:
        cores.take()
        cell = progress.cell
        context.progress(progress.fraction, f"{cell.run}, width {cell.width}, horizon {cell.horizon}")

    return beam_sweep(spec, models, done=done, should_stop=context.should_stop, on_progress=tell)


def _on_cluster(context: JobContext, spec: BeamSweepSpec, done: Points) -> Iterator[list[EpisodeRecord]]:
    fan = FanOut(context, spec.runs, ("width", "horizon"), spec.episodes)
    check_beam_sweep(spec, {name: fan.about(name)[0] for name in spec.runs})
    return fan.measure(list(beam_pieces(spec, fan.checkpoints, done)), len(beam_cells(spec)) * spec.episodes)


def finished_cells(store: Store, spec: BeamSweepSpec) -> Points:
    """(run, width, horizon) of the points that have all their episodes."""
    episodes = store.sweep_episodes(spec.name)
    if not len(episodes):
        return set()
    counts = episodes.groupby(["run", "width", "horizon"]).size()
    return {(str(run), int(width), int(horizon)) for run, width, horizon in counts[counts >= spec.episodes].index}
