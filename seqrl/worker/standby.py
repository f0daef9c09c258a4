"""Import, and wait for a job: ``python -m seqrl.worker.standby GROUP DOOR``, started by `seqrl.jobs.standby`."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import cast

from seqrl.jobs.standby import DESCRIPTORS, GROUPS, HEAD_BYTES, Group
from seqrl.worker.__main__ import MODULES, leave, main, yield_to_others

_MEANWHILE: dict[Group, tuple[str, ...]] = {
    "films": ("seqrl.rendering", "pygame", "imageio_ffmpeg", "PIL.Image"),
    "models": ("seqrl.checkpoints", "seqrl.evaluation", "seqrl.planning"),
}
"""What these jobs import when they have begun."""


def wait(group: Group, door: socket.socket) -> int:
    """Import, and carry out the job that is handed in.

    Returns:
        The job's exit code; 0 without a job.
    """
    yield_to_others()
    own = sorted({MODULES[kind].partition(":")[0] for kind in GROUPS if GROUPS[kind] == group})
    for module in (*_MEANWHILE[group], *own):
        with suppress(Exception):  # the job that needs it will say so
            import_module(module)
    with door:
        head, descriptors, _, _ = socket.recv_fds(door, HEAD_BYTES, DESCRIPTORS)
        if not head:
            return 0  # the server has ended
        with door.makefile("rb") as rest:
            job = json.loads(rest.read(int.from_bytes(head, "big")))
    held, log = descriptors
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    return main([*job["arguments"], str(held)])


if __name__ == "__main__":
    leave(wait(cast(Group, sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
