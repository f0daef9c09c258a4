"""The real worker doing stand-in work, for what real jobs do not do on command: crash, disobey, hold on.

The name of a training or dataset says what happens, such as ``nap-1`` or ``crash-2``.
"""

import errno
import os
import signal
import subprocess
import sys
import time

from seqrl.jobs import LocalBackend
from seqrl.jobs.choice import BACKEND_VARIABLE
from seqrl.worker import __main__ as worker
from seqrl.worker.context import Stopped

COMMAND = (sys.executable, "-P", "-m", "tests.stand_in")
BACKEND = LocalBackend(COMMAND)


def stand_in_backend():
    """The chosen backend, with stand-in work."""
    if os.environ.get(BACKEND_VARIABLE) != "ray":
        return BACKEND
    from seqrl.jobs.ray_backend import RayBackend

    return RayBackend(COMMAND)


def run(context, spec):
    DOINGS[spec.name.partition("-")[0]](context)


def quick(context):
    note(context, "begin")
    note(context, "end")


def hold(context):
    """Last for a moment, and say when."""
    note(context, "begin")
    time.sleep(0.15)
    note(context, "end")


def nap(context):
    """Last until told to stop, then save and stop."""
    note(context, "begin")
    for i in range(6000):
        if context.should_stop():
            note(context, "saved")
            raise Stopped
        context.progress(i / 6000, f"nap {i}")
        time.sleep(0.01)


def stubborn(context):
    """Ignore SIGTERM, with a child in the group and one that left it, which have a child each and ignore it too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); grandchild = os.fork(); "
        "grandchild and print(grandchild, flush=True); time.sleep(600)"
    )
    for leaves in (False, True):
        command = [sys.executable, "-c", sleeper]
        child = subprocess.Popen(command, start_new_session=leaves, stdout=subprocess.PIPE, text=True)
        note(context, f"child {child.pid}")
        note(context, f"child {int(child.stdout.readline())}")
    fork = os.fork()
    if fork == 0:
        time.sleep(600)
    note(context, f"child {fork}")
    note(context, "begin")
    time.sleep(600)


def crash(context):
    context.log("just before the end")
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(context):
    raise ValueError("episodes is 0; choose at least 1")


def mistake(context):
    raise KeyError("nobody thought of this")


def full(context):
    raise OSError(errno.ENOSPC, "No space left on device")


def note(context, text):
    with open(context.store.home / "notes", "a") as file:
        file.write(f"{context.job.name} {text}\n")


DOINGS = {function.__name__: function for function in (quick, hold, nap, stubborn, crash, refuse, mistake, full)}

if __name__ == "__main__":
    worker.MODULES |= {"train": "tests.stand_in", "dataset": "tests.stand_in"}
    worker.leave(worker.main(sys.argv[1:], stand_in_backend()))
