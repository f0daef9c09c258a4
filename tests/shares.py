"""What `tests/test_training_together.py` lets two processes do: ``python -m tests.shares FOLDER``, under ``torchrun``.

Each leaves in the folder what it said and what it held in the end, named by case and rank.
"""

import itertools
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from seqrl.checkpoints import load_training_state, save_checkpoint
from seqrl.training import loop, train
from seqrl.training.group import joined
from tests import trajectories
from tests.test_training import LENGTHS, run_spec
from tests.windowed import make_columns

MODELS = {
    "dt": {"kind": "dt", "return_head": "bins"},
    "box": {"kind": "bc"},
    "tt": {"kind": "tt", "bins": 20, "heads": 2},
}
DROPOUTS = (0.0, 0.3)
STOPPED_AT = 7
"""The second process asks to stop after so many updates; both stop one update later."""


def case_spec(name, dropout=0.0, **training):
    """One thread and plain numbers, so that nothing differs but the way of sharing; 9 windows cannot be halved."""
    settings = {"precision": "fp32", "steps": 20, "batch_size": 9, "threads": 1, "log_every": 1}
    return run_spec(MODELS[name] | {"dropout": dropout}, **settings | training)


def case_columns(name):
    """Episodes of many lengths, so that parts of a batch differ in how much they hold."""
    if name == "tt":
        return trajectories.make_columns(2, trajectories.box(2))
    return make_columns(LENGTHS, action="box" if name == "box" else "discrete")


class Watched(loop.Training):
    """A training that can be looked at when it is over, in every process."""

    last: "Watched"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        Watched.last = self


def leave(folder, case, group, records):
    said = [(record.step, dict(record.values), record.checkpoint is not None) for record in records]
    (folder / f"{case}-{group.rank}.json").write_text(json.dumps(said))
    save_file(Watched.last.optimizer.state(), folder / f"{case}-{group.rank}.safetensors")


def stop_and_go_on(folder, group):
    """Stop because the second process is asked to, and go on from what the first one has saved."""
    spec, columns = case_spec("dt", 0.3, processes=2), case_columns("dt")
    calls = itertools.count(1)
    first = list(train(spec, columns, should_stop=lambda: group.rank == 1 and next(calls) >= STOPPED_AT, group=group))
    if group.leads:
        save_checkpoint(folder / "run", first[-1].checkpoint, spec, columns.facts)
    group.sum(torch.zeros(1))  # the second process waits until it is saved
    rest = list(train(spec, columns, state=load_training_state(folder / "run"), group=group))
    leave(folder, "resumed", group, [*first, *rest])


def main(folder):
    loop.Training = Watched
    with joined(str(folder / "meeting")) as group:
        for name, dropout in itertools.product(MODELS, DROPOUTS):
            spec = case_spec(name, dropout, processes=2)
            leave(folder, f"{name}-{dropout}", group, list(train(spec, case_columns(name), group=group)))
        stop_and_go_on(folder, group)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
