"""Carry out the training of a behaviour policy."""

from __future__ import annotations

from seqrl.config import PolicySpec, SnapshotFacts
from seqrl.environments.snapshots import save_snapshot
from seqrl.policy_training import train_policy
from seqrl.worker.context import JobContext, Stopped


def run(context: JobContext, spec: PolicySpec) -> None:
    """Train a policy; every snapshot is of use as soon as it is kept, also if the training is stopped later."""
    store = context.store

    def tell(step: int) -> None:
        context.progress(step / spec.steps, f"step {step:,} of {spec.steps:,}")

    for snapshot in train_policy(spec, should_stop=context.should_stop, on_step=tell):
        facts = SnapshotFacts(step=snapshot.step, mean_return=snapshot.mean_return or 0.0)
        save_snapshot(store.snapshot_path(spec.name, facts.step), snapshot)
        store.add_snapshot(spec.name, facts)
        context.log(f"step {facts.step:,}: mean return {facts.mean_return:.1f}")
        context.progress(facts.step / spec.steps, f"step {facts.step:,} of {spec.steps:,}", now=True)
    if context.should_stop():
        raise Stopped
