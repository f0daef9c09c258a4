"""Jobs in the test's own process: the worker's code without the time that a start takes."""

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


def do(store, job):
    """Carry a job out and return its row, which must have succeeded."""
    row = jobs.submit(store, job, InProcess())
    assert row.state == "succeeded", row.error
    return row
