"""Carry out a dataset job: collect, store, measure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from seqrl.config import DatasetFacts, DatasetSpec, discounted_bounds
from seqrl.config.policies import POLICY_PREFIX, RUN_PREFIX
from seqrl.datasets import BuildStopped, build
from seqrl.environments import EnvironmentFacts
from seqrl.environments.behaviours import MakeController
from seqrl.environments.snapshots import SnapshotController, load_snapshot
from seqrl.store import NotFound, Store
from seqrl.store.columns import Columns
from seqrl.worker.context import JobContext, Stopped
from seqrl.worker.shards import play

if TYPE_CHECKING:
    from seqrl.policies import SequencePolicy


def run(context: JobContext, spec: DatasetSpec) -> None:
    """Build a dataset and declare it ready."""
    store = context.store
    try:
        facts = build(
            spec,
            store.columns_folder(spec.name),
            store.minari_folder(),
            on_progress=context.progress,
            should_stop=context.should_stop,
            policies=run_policies(store, spec),
            play=partial(play, context),
        )
    except BuildStopped as error:
        raise Stopped from error
    store.set_dataset_facts(spec.name, facts, Columns.open(store.columns_folder(spec.name)).episodes)
    returns = facts.returns
    context.log(f"{facts.episodes:,} episodes, {facts.steps:,} steps, return {returns.mean:.1f} ± {returns.std:.1f}")


def run_policies(store: Store, spec: DatasetSpec) -> dict[str, MakeController]:
    """What was trained among the behaviours: ``run:NAME`` or ``policy:NAME@TIER`` → what makes its controller."""
    wanted = sorted({item.policy for item in spec.behaviours})
    runs = {policy for policy in wanted if policy.startswith(RUN_PREFIX)}
    makers: dict[str, MakeController] = {run: _Maker(store, run.removeprefix(RUN_PREFIX)) for run in sorted(runs)}
    for policy in wanted:
        if policy.startswith(POLICY_PREFIX):
            snapshots = [load_snapshot(path) for path in store.policy_snapshots(policy)]
            makers[policy] = partial(SnapshotController, snapshots)
    return makers


class _Maker:
    """Makes the controller of a run, once it is known where it will act."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name

    def __call__(self, facts: EnvironmentFacts) -> RunController:
        from seqrl.checkpoints import load_model

        model, spec, trained_on = load_model(self._store.run_folder(self._name))
        for what in ("observation", "action"):
            theirs, ours = getattr(trained_on, what), getattr(facts, what)
            if (theirs.kind, theirs.size) != (ours.kind, ours.size):
                raise ValueError(
                    f"the run {self._name} knows {what}s of {theirs.size} numbers ({theirs.kind}) but "
                    f"{facts.environment} has {ours.size} ({ours.kind}); choose a run of this environment"
                )
        known, limit = getattr(model, "max_timestep", None), facts.max_episode_steps
        if known is not None and (limit is None or limit > known):
            raise ValueError(
                f"max_episode_steps is {limit} but the run {self._name} knows {known} timesteps; choose at most {known}"
            )
        return RunController(model, spec.model, trained_on, self._best_return(spec.dataset, trained_on, model.discount))

    def _best_return(self, dataset: str, facts: DatasetFacts, discount: float) -> float:
        """Of the data's episodes, as the run counts returns; where they are gone, what rewards could add up to."""
        if discount == 1:
            return facts.returns.maximum
        try:
            return float(self._store.dataset_returns(dataset, discount).max())
        except NotFound:
            return discounted_bounds(facts, discount, facts.max_length)[1]


class RunController:
    """A trained run as a behaviour: sampled, and asked for the best return that its data holds."""

    def __init__(self, model: Any, spec: Any, facts: DatasetFacts, target: float) -> None:
        self._model, self._spec, self._facts, self._target = model, spec, facts, target
        self._policy: SequencePolicy | None = None

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin an episode for each seed."""
        from seqrl.policies import SequencePolicy

        count = len(seeds)
        self._policy = SequencePolicy(
            self._model,
            self._spec,
            self._facts,
            seeds=list(seeds),
            targets=np.full(count, self._target),
            sampled=np.ones(count, dtype=bool),
        )

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions of the present timestep.

        The request stays what it was: a controller is not told rewards.
        """
        if self._policy is None:
            raise RuntimeError("the controller acts before its first reset")
        actions: np.ndarray = self._policy.act(observations).actions
        self._policy.timestep += 1
        return actions

    def keep(self, running: np.ndarray) -> None:
        """Forget the episodes where ``running`` is false."""
        if self._policy is not None:
            self._policy.keep(running)
