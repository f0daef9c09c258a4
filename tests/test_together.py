"""Jobs that train in two processes: how they end, and that nothing of them is left then."""

import os
import signal
import socket

import numpy as np
import psutil
import pytest
import torch

from seqrl import jobs
from seqrl.checkpoints import load_training_state
from seqrl.jobs.backend import PROCESSES_LOG_NAME
from seqrl.jobs.choice import BACKEND_VARIABLE
from seqrl.jobs.process import TOKEN_VARIABLE, ProcessIdentity
from seqrl.jobs.torchrun import _loopback
from tests.in_process import do
from tests.specs import train_job
from tests.waiting import until


def processes_of(job):
    """Everything that a job has started, itself included: command line → process."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN_VARIABLE) == job.token:
                found[process] = process.cmdline()
        except psutil.Error:  # it has ended, or is somebody else's
            continue
    return found


def ranks_of(job):
    """The processes that compute, in no order."""
    commands = processes_of(job)
    return [process for process, command in commands.items() if command[1:4] == ["-u", "-m", "seqrl.worker.rank"]]


def all_gone(processes):
    return not any(ProcessIdentity.of(process.pid) for process in processes)


def begun(store, job_id, steps):
    """The job, once its training is so far."""
    name = store.job(job_id).name
    until(lambda: store.run(name).step >= steps or store.job(job_id).ended, timeout_s=90)
    job = store.job(job_id)
    assert job.state == "running", jobs.log_tail(store, job_id)
    return job


@pytest.mark.slow
def test_a_training_in_two_processes_fails_goes_on_and_stops_and_leaves_no_process(tiny):
    """One job after the other, since each start loads torch three times."""
    job_id = jobs.submit(tiny, train_job("pair", steps=1_000_000, processes=2, validation_fraction=0.0)).id
    job = begun(tiny, job_id, 20)
    everybody = processes_of(job)
    assert len(ranks_of(job)) == 2 and len(everybody) == 4  # the job and torchrun
    heard = {c.laddr.ip for process in everybody for c in process.net_connections("inet") if c.status == "LISTEN"}
    assert heard <= {"127.0.0.1", "::1"}

    ranks_of(job)[1].kill()
    failed = jobs.wait(tiny, job_id)
    assert failed.state == "failed" and "of 2 of the training was killed or crashed" in failed.error
    assert (tiny.job_folder(job_id) / PROCESSES_LOG_NAME).stat().st_size
    until(lambda: all_gone(everybody))

    saved = load_training_state(tiny.run_folder("pair")).step
    jobs.resume(tiny, job_id)
    job = begun(tiny, job_id, saved + 20)
    assert f"training resumes at step {saved}" in jobs.log_tail(tiny, job_id)
    everybody = processes_of(job)
    stopped = jobs.cancel(tiny, job_id, grace_s=30, wait=True)
    assert (stopped.state, stopped.error) == ("cancelled", None)
    until(lambda: all_gone(everybody))
    assert load_training_state(tiny.run_folder("pair")).step >= tiny.run("pair").step >= saved + 20

    jobs.resume(tiny, job_id)
    job = begun(tiny, job_id, tiny.run("pair").step + 20)
    everybody = processes_of(job)
    os.kill(job.pid, signal.SIGKILL)  # and nobody looks: they end by themselves
    until(lambda: all_gone(everybody), timeout_s=30)


def test_a_failure_of_the_processes_is_the_sentence_of_their_job(tiny):
    job = train_job("pair", steps=50, processes=2, learning_rate=1.0, warmup_steps=0, gradient_clip=1000.0)
    columns = tiny.columns_folder("tiny") / "observations.npy"
    observations = np.load(columns, mmap_mode="r+")
    observations[:] = np.nan
    observations.flush()
    done = jobs.wait(tiny, jobs.submit(tiny, job).id)
    assert done.state == "failed"
    assert done.error == "the loss is not finite at step 0; the last checkpoint is kept, try a lower learning rate"


@pytest.mark.xdist_group("ray")
def test_two_workers_of_a_cluster_train_what_one_process_does_in_two_parts(tiny, connected, monkeypatch):
    """Both processors of the cluster are theirs: the job itself takes none."""
    settings = {"steps": 12, "log_every": 1, "model": {"dropout": 0.2}}
    do(tiny, train_job("here", accumulation=2, **settings))
    monkeypatch.setenv(BACKEND_VARIABLE, "ray")
    job = jobs.wait(tiny, jobs.submit(tiny, train_job("there", processes=2, **settings)).id)
    assert (job.state, job.error) == ("succeeded", None), jobs.log_tail(tiny, job.id)
    here, there = (tiny.metrics(name) for name in ("here", "there"))
    assert list(here["step"]) == list(there["step"]) == list(range(1, 13))
    for name in ("loss", "validation_loss"):
        np.testing.assert_allclose(here[name], there[name], atol=1e-4, rtol=0)
    ends = [load_training_state(tiny.run_folder(name)).tensors["parameters"] for name in ("here", "there")]
    torch.testing.assert_close(*ends, atol=1e-4, rtol=0)


def test_the_interface_of_loopback_is_found():
    addresses = psutil.net_if_addrs()[_loopback()]
    assert "127.0.0.1" in {address.address for address in addresses if address.family == socket.AF_INET}
