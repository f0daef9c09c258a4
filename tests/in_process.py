"""Jobs and commands in the test's own process: the worker's code without the time that a start takes."""

import json

from seqrl import jobs
from seqrl.jobs import LocalBackend
from seqrl.worker import __main__ as worker
from seqrl.worker.context import JobContext


class InProcess(LocalBackend):
    """Carries a job out where it is submitted."""

    def start(self, store, job, limit, on_exit):
        claimed = store.claim(job.id, limit, token="in-process")
        if claimed is None:
            return False
        store.job_folder(job.id).mkdir(exist_ok=True)
        context = JobContext(store, claimed)
        worker.finish(context, *worker.carry_out(context))
        return True


class Nowhere(LocalBackend):
    """A backend without room: everything waits."""

    def start(self, store, job, limit, on_exit):
        return False


def do(store, job):
    """Carry a job out and return its row, which must have succeeded."""
    row = jobs.submit(store, job, InProcess())
    assert row.state == "succeeded", row.error
    return row


def as_json(result):
    """The JSON that a command printed; what jobs print in this process comes before it.

    Args:
        result: of the fixture ``run``.
    """
    code, out, err = result
    assert (code, err) == (0, ""), err
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line[:1] in ("{", "["))
    return json.loads("\n".join(lines[start:]))
