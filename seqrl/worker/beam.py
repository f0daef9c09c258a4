"""Carry out a beam sweep; points that are measured already are not measured again."""

from __future__ import annotations

from seqrl.beam_evaluation import BeamSweepProgress, beam_sweep
from seqrl.checkpoints import load_model
from seqrl.config import BeamSweepSpec
from seqrl.store import Store
from seqrl.training.machine import IdleCores
from seqrl.worker.context import JobContext, Stopped


def run(context: JobContext, spec: BeamSweepSpec) -> None:
    """Measure, keeping every point as soon as it is complete."""
    store = context.store
    context.progress(0.0, "loading the models", now=True)
    cores = IdleCores()
    models = {name: load_model(store.run_folder(name)) for name in spec.runs}
    done = finished_cells(store, spec)
    if done:
        context.log(f"{len(done)} points are measured already")

    def tell(progress: BeamSweepProgress) -> None:
        cores.take()
        cell = progress.cell
        context.progress(progress.fraction, f"{cell.run}, width {cell.width}, horizon {cell.horizon}")

    for records in beam_sweep(spec, models, done=done, should_stop=context.should_stop, on_progress=tell):
        store.append_episodes(spec.name, records)
        first = records[0]
        achieved = sum(record.achieved_return for record in records) / len(records)
        how = f"width {first.cell['width']}, horizon {first.cell['horizon']}" if first.cell["width"] else "no planning"
        context.log(f"{first.run} {how}: achieved {achieved:.1f} in {len(records)} episodes")
    if context.should_stop():
        raise Stopped
    store.finish_sweep(spec.name)


def finished_cells(store: Store, spec: BeamSweepSpec) -> set[tuple[str, int, int]]:
    """(run, width, horizon) of the points that have all their episodes."""
    episodes = store.sweep_episodes(spec.name)
    if not len(episodes):
        return set()
    counts = episodes.groupby(["run", "width", "horizon"]).size()
    return {(str(run), int(width), int(horizon)) for run, width, horizon in counts[counts >= spec.episodes].index}
