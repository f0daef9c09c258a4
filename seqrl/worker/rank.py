"""One of several processes that train a run together: it reads the columns, computes its share and knows no store.

``python -m seqrl.worker.rank FOLDER``, started by ``torchrun``, or `train_share` as what a worker of Ray's
``TorchTrainer`` runs. The process that leads sends the records of the training to the job's process, which keeps them,
and hears in return whether to stop; the others hear it from their group. Messages are bytes: a JSON head in a line, and
what belongs to it. Nothing is pickled here.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from seqrl.checkpoints import NoCheckpoint, TrainingState, load_training_state
from seqrl.config import RunSpec
from seqrl.config.base import Spec
from seqrl.jobs.process import ProcessIdentity
from seqrl.store.columns import Columns, ColumnsMissing
from seqrl.training.group import Group, PeersGone, joined
from seqrl.training.loop import train
from seqrl.training.records import encode
from seqrl.worker.sentences import describe, unexpected

ASSIGNMENT_NAME, POST_NAME, MEETING_NAME = "assignment.json", "post", "meeting"
HEAD_BYTES, STOP = 8, b"\1"
"""On the socket: how many bytes say how long a letter is, and the answer that means to stop."""


class Assignment(Spec):
    """What all processes of a training are told."""

    spec: RunSpec
    columns: str
    content_hash: str
    run_folder: str
    resumes: bool


class FilesMissing(ValueError):
    """What is to be read is not on this machine."""


class Letter(NamedTuple):
    """What a process tells the job.

    Attributes:
        kind: "begun" with the process's identity, "record" with an encoded record, or how it ended: "done", "failed"
            with a sentence, a trace and whether files were missing, or "left" because another process had ended.
        rank: of the process.
        about: JSON values.
        body: bytes that belong to it.
    """

    kind: Literal["begun", "record", "done", "failed", "left"]
    rank: int
    about: dict[str, Any] = {}
    body: bytes = b""

    def pack(self) -> bytes:
        """As bytes."""
        return json.dumps([self.kind, self.rank, self.about]).encode() + b"\n" + self.body

    @classmethod
    def unpack(cls, packed: bytes) -> Letter:
        """The letter that `pack` wrote."""
        head, _, body = packed.partition(b"\n")
        kind, rank, about = json.loads(head)
        return cls(kind, rank, about, body)


Post = Callable[[bytes], bool]
"""Sends a letter to the job; says whether it is to stop."""


def train_share(assignment_json: str, group: Group, post: Post) -> bool:
    """Train as one of a group, and tell the job how it went.

    Args:
        assignment_json: an `Assignment`.
        group: this process's place among the others.
        post: where letters go.

    Returns:
        Whether it went well.
    """
    assignment = Assignment.model_validate_json(assignment_json)
    try:
        _train(assignment, group, post)
    except PeersGone:
        post(Letter("left", group.rank).pack())
    except Exception as error:  # the boundary of the process: the job says what it was
        about: dict[str, Any] = {"sentence": describe(error, Path(assignment.columns)) or unexpected(error)}
        about |= {"trace": traceback.format_exc(), "missing": isinstance(error, FilesMissing)}
        post(Letter("failed", group.rank, about).pack())
    else:
        post(Letter("done", group.rank).pack())
        return True
    return False


def _train(assignment: Assignment, group: Group, post: Post) -> None:
    stop = threading.Event()
    columns, state = _read(assignment)
    for record in train(assignment.spec, columns, state=state, should_stop=stop.is_set, group=group):
        if group.leads and post(Letter("record", group.rank, body=encode(record)).pack()):
            stop.set()


def _read(assignment: Assignment) -> tuple[Columns, TrainingState | None]:
    try:
        columns = Columns.open(Path(assignment.columns))
        state = load_training_state(Path(assignment.run_folder)) if assignment.resumes else None
    except (ColumnsMissing, NoCheckpoint) as error:
        raise FilesMissing(
            f"{assignment.columns} or {assignment.run_folder} is missing on a machine of the cluster; share the "
            "folders columns and runs of SEQRL_HOME with all of them"
        ) from error
    if columns.facts.content_hash != assignment.content_hash:
        raise FilesMissing(f"{assignment.columns} holds other data on a machine of the cluster; share one folder")
    return columns, state


def main(arguments: Sequence[str]) -> int:
    """Take part in the training that a folder describes."""
    folder = Path(arguments[0])
    with socket.socket(socket.AF_UNIX) as connection, joined(str(folder / MEETING_NAME)) as group:
        connection.connect(str(folder / POST_NAME))

        def post(letter: bytes) -> bool:
            connection.sendall(len(letter).to_bytes(HEAD_BYTES, "big") + letter)
            answer = connection.recv(1)
            if not answer:
                raise ConnectionError("the job of this training has ended")
            return answer == STOP

        identity = ProcessIdentity.of(os.getpid())
        post(Letter("begun", group.rank, vars(identity) if identity else {}).pack())
        return 0 if train_share((folder / ASSIGNMENT_NAME).read_text(), group, post) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
