"""A worker that is there before its job: it does what a fresh one does, and is never left over."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from psutil import Process, pid_exists

from seqrl import jobs
from seqrl.config import RenderJob, RenderSpec, ReturnSweepJob
from seqrl.jobs import standby
from seqrl.jobs.backend import LOG_NAME, LocalBackend
from seqrl.jobs.process import TOKEN_VARIABLE, is_worker
from tests.in_process import do
from tests.specs import sweep_spec, train_job
from tests.waiting import until


@pytest.fixture
def trained(tiny):
    do(tiny, train_job("run", steps=2))
    return tiny


@pytest.fixture
def waiting(monkeypatch):
    """The process that stands by; the next one comes soon."""
    monkeypatch.setattr(standby, "_REST_S", 0.2)
    standby.keep()
    yield standby._waiting["models"]
    standby.dismiss()


def sweep(name="sweep", episodes=2, **changes):
    return ReturnSweepJob(spec=sweep_spec(name, episodes=episodes, **changes))


def finished(store, job_id):
    return jobs.wait(store, job_id, backend=LocalBackend())


def test_it_does_the_next_job_and_another_follows(trained, waiting):
    job = finished(trained, jobs.submit(trained, sweep(), LocalBackend()).id)
    assert (job.state, job.pid, job.token) == ("succeeded", waiting.process.pid, waiting.token)
    assert len(trained.sweep_episodes("sweep")) == 8
    assert "succeeded" in (trained.job_folder(job.id) / LOG_NAME).read_text()
    following = until(lambda: standby._waiting.get("models"), timeout_s=20)
    assert following.token != waiting.token
    films = standby._waiting["films"]
    render = RenderJob(spec=RenderSpec(sweep="sweep", episode_id=0))
    job = finished(trained, jobs.submit(trained, render, LocalBackend()).id)
    assert (job.state, job.pid) == ("succeeded", films.process.pid)


def test_the_job_has_the_environment_the_folder_and_the_log_of_who_handed_it_in(tmp_path):
    text = (
        "import os, socket, sys; from seqrl.worker import standby;"
        " standby.main = lambda arguments: print(*arguments[:2], os.getcwd(), dict(os.environ), flush=True);"
        " standby.wait('films', socket.socket(fileno=int(sys.argv[1])))"
    )
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", text, str(theirs.fileno())], pass_fds=(theirs.fileno(),))
    given = {"COLOUR": "green", "LONG": "x" * 100_000}
    with open(tmp_path / "log", "wb") as log, open(tmp_path / "lock", "wb") as lock:
        standby.Standby("films", "token", process, ours).begin(
            ["home", "7"], held=lock.fileno(), log=log.fileno(), folder=tmp_path, environment=given
        )
    assert process.wait(timeout=60) is not None
    assert (tmp_path / "log").read_text() == f"home 7 {tmp_path} {given}\n"


def test_its_job_can_be_cancelled(trained, waiting):
    job = jobs.submit(trained, sweep(episodes=500), LocalBackend())
    until(lambda: "attempt" in jobs.log_tail(trained, job.id), timeout_s=30)
    assert is_worker(trained.job(job.id))
    assert jobs.cancel(trained, job.id, wait=True).state == "cancelled"
    until(lambda: not is_alive(waiting.process.pid))


def test_another_worker_does_the_job_of_one_that_was_killed(trained, waiting):
    os.kill(waiting.process.pid, signal.SIGKILL)
    until(lambda: not is_alive(waiting.process.pid))
    job = finished(trained, jobs.submit(trained, sweep(), LocalBackend()).id)
    assert job.state == "succeeded"
    assert job.pid != waiting.process.pid


def is_alive(pid):
    return pid_exists(pid) and Process(pid).status() != "zombie"


def test_a_job_for_which_there_is_no_room_leaves_it_waiting(trained, waiting):
    trained.set_setting("job_limit", "1")
    busy = trained.add_job(train_job("busy"), "busy")
    trained.claim(busy, 1, token="busy")
    queued = trained.add_job(sweep("later"), "later")
    assert not LocalBackend().start(trained, trained.job(queued), 1, lambda: None)
    time.sleep(2 * standby._REST_S)
    assert standby._waiting["models"] == waiting
    trained.transition(busy, ["running"], "cancelled")
    trained.transition(queued, ["queued"], "cancelled")


def test_trainings_and_other_commands_do_not_take_it(trained, waiting):
    job = finished(trained, jobs.submit(trained, train_job("own", steps=1), LocalBackend()).id)
    assert (job.state, job.pid != waiting.process.pid) == ("succeeded", True)
    assert not LocalBackend((sys.executable, "-c", "pass")).uses_standby
    assert standby._waiting["models"] == waiting


def test_they_end_with_their_server(home):
    text = (
        "import os, time; from seqrl.jobs import standby; standby.keep();"
        " print(*(one.process.pid for one in standby._waiting.values()), flush=True); time.sleep(60)"
    )
    server = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in server.stdout.readline().split()]
    tokens = [until(lambda pid=pid: Process(pid).environ().get(TOKEN_VARIABLE), timeout_s=5) for pid in pids]
    assert len(set(tokens)) == 2
    server.kill()
    server.wait()
    until(lambda: not any(is_alive(pid) for pid in pids), timeout_s=30)


def test_one_that_comes_back_after_another_followed_is_ended(trained, waiting):
    taken = standby.take("sweep_rtg")
    assert taken == waiting
    standby.follow("sweep_rtg")
    following = until(lambda: standby._waiting.get("models"), timeout_s=20)
    standby.give_back(taken)
    assert standby._waiting["models"] == following
    until(lambda: taken.process.poll() is not None, timeout_s=20)


def test_none_is_kept_unless_asked_for(trained):
    assert standby.take("sweep_rtg") is None
    assert not standby._waiting
