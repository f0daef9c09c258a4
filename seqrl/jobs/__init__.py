"""Submit, queue, cancel, resume and reconcile background jobs.

There is no daemon: whoever looks moves the queue (a submission, the end of a worker, a refreshed page). The state of
every job is in the store, each change a compare-and-set; whether a job lives is known from a lock that the kernel holds
for its worker. Closing a tab or killing the server leaves jobs running.
"""

from seqrl.jobs.backend import Backend, LocalBackend, choose, chosen_backend, was_put_back
from seqrl.jobs.choice import BackendName, Choice, choice
from seqrl.jobs.queue import (
    GRACE_S,
    advance,
    can_resume,
    cancel,
    clean_up,
    job_limit,
    log_tail,
    reconcile,
    resume,
    submit,
    wait,
)
from seqrl.jobs.submission import usable_dataset, usable_run

__all__ = [
    "GRACE_S",
    "Backend",
    "BackendName",
    "Choice",
    "LocalBackend",
    "advance",
    "can_resume",
    "cancel",
    "choice",
    "choose",
    "chosen_backend",
    "clean_up",
    "job_limit",
    "log_tail",
    "reconcile",
    "resume",
    "submit",
    "usable_dataset",
    "usable_run",
    "wait",
    "was_put_back",
]
