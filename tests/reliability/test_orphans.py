"""A server or a worker that is killed: nothing that ran is lost, and what died is found by whoever looks next."""

import os
import signal
import subprocess
import sys
import time

import pytest

from seqrl import jobs
from seqrl.jobs.process import ProcessIdentity, ask_to_stop, is_worker, kill_all
from seqrl.jobs.submission import create_rows
from tests.reliability.conftest import SOAK
from tests.reliability.forked import NoBackend
from tests.reliability.socket_visitor import visiting
from tests.serving import serving
from tests.specs import train_job
from tests.waiting import until


@pytest.fixture
def queued(tiny):
    """A store with a long training that waits for somebody to look."""
    job_id = create_rows(tiny, train_job("long", steps=1_000_000, checkpoint_every=20))
    assert tiny.job(job_id).state == "queued"
    return tiny, job_id


def test_a_killed_server_leaves_its_jobs_and_a_killed_worker_is_found(queued, tmp_path, times):
    store, job_id = queued
    with serving(store.home, tmp_path / "first.log") as (address, server), visiting(address) as visitor:
        visitor.visit()
        until(lambda: store.job(job_id).state == "running" and store.metric_rows("long"))
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    assert is_worker(store.job(job_id))
    steps = store.metric_rows("long")[-1].step
    until(lambda: store.metric_rows("long")[-1].step > steps)  # it goes on without a server
    with serving(store.home, tmp_path / "second.log") as (address, _), visiting(address) as visitor:
        assert "1 job running" in visitor.visit()
        assert (store.job(job_id).state, store.job(job_id).attempt) == ("running", 1)
        seconds = [kill_and_find(store, job_id, visitor) for _ in range(times(1, 10))]
    print(f"{len(seconds)} killed workers: found at most {max(seconds):.2f} s after somebody looked")
    if SOAK:
        assert max(seconds) < 5.0


def kill_and_find(store, job_id, visitor):
    """Kill a worker, look, resume; seconds from the look to the row that says what happened."""
    os.kill(store.job(job_id).pid, signal.SIGKILL)
    looked = time.monotonic()
    until(lambda: visitor.visit() and store.job(job_id).state != "running")
    seconds = time.monotonic() - looked
    assert "no job running" in visitor.visit()
    row = store.job(job_id)
    assert row.state in ("failed", "interrupted")
    assert "was killed or crashed; the end of its log shows how far it was" in row.error
    assert "training starts" in jobs.log_tail(store, job_id)
    jobs.resume(store, job_id)
    until(lambda: store.job(job_id).heartbeat > row.heartbeat and is_worker(store.job(job_id)))
    return seconds


@pytest.mark.parametrize(
    "identity", ["number alone", "number and start", "number, start and boot", "all but the token"]
)
def test_a_forged_row_never_gets_a_stranger_signalled(tiny, identity):
    """Every door that signals, over a row that names a process of somebody else."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        known = ProcessIdentity.of(stranger.pid)
        forged = {"pid": stranger.pid, "process_started": "1", "boot_id": "boot"}
        if identity != "number alone":
            forged["process_started"] = known.started
        if identity in ("number, start and boot", "all but the token"):
            forged["boot_id"] = known.boot_id
        for number, door in enumerate(
            (
                ask_to_stop,
                kill_all,
                lambda row: jobs.cancel(tiny, row.id, grace_s=0.0, wait=True),
                lambda row: jobs.reconcile(tiny, NoBackend()),
            )
        ):
            job_id = tiny.add_job(train_job(f"forged-{number}"), f"forged-{number}")
            tiny.claim(job_id, 99, "token" if identity == "all but the token" else "")
            tiny.set_job(job_id, 1, cancel_requested=tiny.now() - 60, **forged)
            door(tiny.job(job_id))
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
