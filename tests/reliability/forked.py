"""Workers forked from a process that has everything imported: they can really be killed, and start at once.

The process is a fresh one with a single thread: a fork of the test's own might inherit locks that nobody holds.
"""

import os
import signal
import subprocess
import sys
import time
import traceback

from seqrl.jobs import LocalBackend
from seqrl.jobs.backend import LOG_NAME, OUTCOME_BYTES, OUTCOME_NAME, lock
from seqrl.store import Store
from tests.waiting import until


class NoBackend(LocalBackend):
    """Starts nothing: the end of a forked worker leaves the queue to the test."""

    def start(self, store, job, limit, on_exit):
        return False


class Forked(LocalBackend):
    """Asks the helper process to fork a worker.

    The environment that a kernel shows of a process is that of its start, so such a worker has no token and is never
    signalled by `seqrl.jobs`; tests signal it themselves.

    Attributes:
        pid: the worker that was started last.
    """

    def __init__(self):
        super().__init__()
        self.pid = None
        self.helper = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def start(self, store, job, limit, on_exit):
        return self.ask("job", store.home, job.id)

    def save_for_ever(self, folder, first):
        """A process that writes one checkpoint after the other, from step ``first`` on."""
        return self.ask("save", folder, first)

    def ask(self, *words):
        print(*words, file=self.helper.stdin, flush=True)
        self.pid = int(self.helper.stdout.readline())
        return self.pid > 0

    def kill_now(self):
        """SIGKILL to the worker that was started last, and wait until it is gone; whether it was still alive."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.join()
        return True

    def join(self, timeout_s=120.0):
        """Wait for the worker that was started last."""
        until(lambda: not os.path.exists(f"/proc/{self.pid}"), timeout_s)

    def close(self):
        """End the helper and the worker that was started last."""
        if self.pid:
            self.kill_now()
        self.helper.kill()
        self.helper.wait()


def serve():
    """In the helper: fork for every line ``job HOME JOB`` or ``save FOLDER FIRST``, and say the child's number.

    It is 0 if the job cannot be started.
    """
    import seqrl.worker.beam
    import seqrl.worker.dataset
    import seqrl.worker.imports
    import seqrl.worker.sweep
    import seqrl.worker.train  # noqa: F401
    import tests.reliability.saving  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    for line in sys.stdin:
        what, folder, number = line.split()
        print({"job": fork_worker, "save": fork_writer}[what](folder, int(number)), flush=True)


def fork_writer(folder, first):
    from tests.reliability.saving import save_for_ever

    pid = os.fork()
    if pid == 0:
        try:
            save_for_ever(folder, first)
        finally:
            os._exit(1)
    return pid


def fork_worker(home, job_id):
    store = Store(home)
    folder = store.job_folder(job_id)
    folder.mkdir(parents=True, exist_ok=True)
    held = until(lambda: lock(folder), 10)
    if store.claim(job_id, 1, token=f"forked {time.monotonic_ns()}") is None:
        os.close(held)
        return 0
    (folder / OUTCOME_NAME).write_bytes(b" " * OUTCOME_BYTES)
    pid = os.fork()
    if pid == 0:
        work(home, job_id, folder, held)
    os.close(held)
    return pid


def work(home, job_id, folder, held):
    from seqrl.worker import __main__ as worker

    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(folder / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for standard in (1, 2):
            os.dup2(log, standard)
        code = worker.main([home, str(job_id), str(held)], NoBackend())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
