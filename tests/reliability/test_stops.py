"""Stop means stop, and the queue holds, also for many jobs at once."""

import subprocess
import sys

import pytest

from seqrl import jobs
from seqrl.jobs.process import ProcessIdentity
from seqrl.store import Store
from tests.reliability.conftest import SOAK
from tests.specs import train_job
from tests.stand_in import BACKEND
from tests.waiting import until


def notes(store):
    path = store.home / "notes"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.xdist_group("browser")  # two browsers that start 40 trainings at once would be in its way
def test_many_jobs_are_stopped_with_everything_that_they_started(tiny, times):
    """One of them ignores SIGTERM and has children and grandchildren, some of which left the process group."""
    count, waiting, grace_s = times(6, 50), 4, 2.0
    tiny.set_setting("job_limit", str(count))
    ids = [jobs.submit(tiny, train_job("stubborn-0"), BACKEND).id]
    ids += [jobs.submit(tiny, train_job(f"nap-{i}"), BACKEND).id for i in range(1, count + waiting)]
    until(lambda: sum(line.endswith(" begin") for line in notes(tiny)) == count, 240)
    processes = [tiny.job(job_id).pid for job_id in ids[:count]]
    processes += [int(line.split()[-1]) for line in notes(tiny) if " child " in line]
    assert len(processes) == count + 5
    for job_id in ids[::-1]:
        jobs.cancel(tiny, job_id, grace_s=grace_s, backend=BACKEND)
    until(lambda: not any(ProcessIdentity.of(pid) for pid in processes), 120)
    gone = tiny.now()
    until(lambda: all(tiny.job(job_id).ended for job_id in ids), 120)
    rows = [tiny.job(job_id) for job_id in ids]
    assert {row.state for row in rows} == {"cancelled"}
    begun = {line.split()[0] for line in notes(tiny) if line.endswith(" begin")}
    assert len(begun) == count  # what waited never began
    longest = max(row.finished - row.cancel_requested for row in rows[:count])
    last = gone - max(row.cancel_requested for row in rows[:count])
    print(f"{count} jobs: each gone at most {longest:.2f} s after it was asked, all {last:.2f} s after the last was")
    if SOAK:
        assert max(longest, last) < grace_s + 2.0


def test_many_submissions_from_two_processes(tiny, times):
    count, limit = times(4, 20), 3
    tiny.set_setting("job_limit", str(limit))
    source = (
        "import os, sys; from tests.reliability.test_stops import *\n"
        "store = Store(sys.argv[1])\n"
        "[jobs.submit(store, train_job(f'hold-{sys.argv[2]}-{i}'), BACKEND) for i in range(int(sys.argv[3]))]\n"
        "os._exit(0)"
    )
    submitters = [
        subprocess.Popen([sys.executable, "-c", source, str(tiny.home), who, str(count)]) for who in ("one", "two")
    ]
    assert [submitter.wait() for submitter in submitters] == [0, 0]
    store = Store(tiny.home)
    until(lambda: [job.state for job in store.jobs()] == ["succeeded"] * 2 * count, 300)
    running, most = set(), 0
    for line in notes(tiny):
        name, what = line.split()
        assert (name in running) == (what == "end")
        (running.remove if what == "end" else running.add)(name)
        most = max(most, len(running))
    assert most <= limit
    begun = [line.split()[0] for line in notes(tiny) if line.endswith("begin")]
    assert sorted(begun) == sorted(job.name for job in store.jobs())
    started = sorted(store.jobs(), key=lambda job: job.started)
    assert [job.ticket for job in started] == sorted(job.ticket for job in started)
