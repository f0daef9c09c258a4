"""Checkpoints in which every number says which step it is of."""

import torch

from seqrl.checkpoints import Checkpoint, TrainingState, save_checkpoint
from tests.acting import actor_for, facts_for

STATE_SIZE = 200_000


def save(folder, actor, step):
    weights = {name: torch.full_like(value, step) for name, value in actor.model.state_dict().items()}
    state = TrainingState(step, {"parameters": torch.full((STATE_SIZE,), float(step))}, {"time_s": float(step)})
    save_checkpoint(folder, Checkpoint(weights, state), actor.spec, actor.facts)


def save_for_ever(folder, first):
    """One checkpoint after the other, until killed."""
    actor = actor_for(facts_for("CartPole-v1"))
    for step in range(first, 2**24):
        save(folder, actor, step)
