"""The life of jobs, with real processes that are really killed."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from seqrl import jobs
from seqrl.config import DatasetJob, RenderJob, RenderSpec, ReturnSweepJob
from seqrl.files import atomic_folder
from seqrl.jobs import backend
from seqrl.jobs.environment import python_path
from seqrl.jobs.process import ProcessIdentity, is_worker, largest_resident_bytes
from seqrl.processors import processors
from seqrl.store import NotFound, Store
from tests.specs import dataset_spec, sweep_spec, train_job
from tests.stand_in import BACKEND
from tests.waiting import until


def submit(store, name):
    return jobs.submit(store, train_job(name), BACKEND).id


def notes(store):
    path = store.home / "notes"
    return path.read_text().splitlines() if path.exists() else []


def wait(store, job_id):
    return jobs.wait(store, job_id, backend=BACKEND)


def begin(store, name):
    """Submit a job and wait until its work has begun."""
    job_id = submit(store, name)
    until(lambda: f"{name} begin" in notes(store))
    return job_id


def script(text, **values):
    """A process of its own that does this."""
    source = "from tests.test_jobs import *\n" + textwrap.dedent(text).format(**values)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)


def test_a_job_runs_and_succeeds(tiny):
    job = wait(tiny, submit(tiny, "quick-1"))
    assert (job.state, job.progress, job.error) == ("succeeded", 1.0, None)
    assert notes(tiny) == ["quick-1 begin", "quick-1 end"]
    assert tiny.run("quick-1").state == "succeeded"
    assert "succeeded" in jobs.log_tail(tiny, job.id)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("refuse-1", "^episodes is 0; choose at least 1$"),
        ("full-1", "^the disk is full .*; free some space and start again$"),
        ("mistake-1", "^unexpected KeyError: .*; trace.txt in the job's folder shows where$"),
    ],
)
def test_a_failure_is_a_sentence(tiny, name, sentence):
    job = wait(tiny, submit(tiny, name))
    assert job.state == "failed"
    assert re.search(sentence, job.error)
    assert "Traceback" not in jobs.log_tail(tiny, job.id)
    assert "stand_in.py" in (tiny.job_folder(job.id) / "trace.txt").read_text()
    assert tiny.run(name).message == job.error


def test_what_does_not_fit_is_refused_and_nothing_is_queued(tiny):
    with pytest.raises(NotFound, match="did you mean tiny"):
        jobs.submit(tiny, train_job("run", dataset="tinny"), BACKEND)
    with pytest.raises(ValueError, match="context_length is 100 but CartPole-v1 episodes end at 60 steps"):
        jobs.submit(tiny, train_job("run", model={"context_length": 100}), BACKEND)
    tiny.add_run(train_job("untrained").spec, tiny.dataset("tiny").facts)
    with pytest.raises(ValueError, match="untrained has no checkpoint yet"):
        jobs.submit(tiny, ReturnSweepJob(spec=sweep_spec(runs=("untrained",))), BACKEND)
    with pytest.raises(NotFound, match="no sweep named sweep"):
        jobs.submit(tiny, RenderJob(spec=RenderSpec(sweep="sweep", episode_id=0)), BACKEND)
    assert tiny.jobs() == []
    with pytest.raises(NotFound):
        tiny.sweep("sweep")


def test_a_killed_worker_is_failed_with_the_end_of_its_log(tiny):
    job = wait(tiny, submit(tiny, "crash-1"))
    assert job.state == "failed"
    assert job.error == "its process was killed or crashed; the end of its log shows how far it was"
    assert "just before the end" in jobs.log_tail(tiny, job.id)


def test_a_killed_worker_is_found_by_whoever_looks_next(tiny):
    job_id = begin(tiny, "nap-1")
    later = submit(tiny, "quick-2")
    os.kill(tiny.job(job_id).pid, signal.SIGKILL)
    looker = Store(tiny.home)
    until(lambda: jobs.reconcile(looker, BACKEND) or looker.job(job_id).state == "failed", timeout_s=20)
    assert wait(tiny, later).state == "succeeded"


def test_cancel_lets_the_job_save(tiny):
    job_id = begin(tiny, "nap-1")
    job = jobs.cancel(tiny, job_id, wait=True, backend=BACKEND)
    assert (job.state, job.error) == ("cancelled", None)
    assert notes(tiny)[-1] == "nap-1 saved"
    with pytest.raises(ValueError, match="has cancelled already; there is nothing to cancel"):
        jobs.cancel(tiny, job_id, backend=BACKEND)


def test_a_worker_lets_the_dashboard_go_first(tiny):
    pid = tiny.job(begin(tiny, "nap-1")).pid
    assert psutil.Process(pid).nice() == max(10, os.nice(0))
    with suppress(FileNotFoundError):  # where sessions are groups of their own, only this counts between them
        assert Path(f"/proc/{pid}/autogroup").read_text().endswith("nice 10\n")


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="sessions are no groups here")
@pytest.mark.parametrize(("own", "niceness"), [(True, 10), (False, 0)])
def test_a_worker_slows_no_session_down_that_has_others_in_it(own, niceness):
    yields = "from seqrl.worker.__main__ import yield_to_others; yield_to_others()"
    tell = f"{yields}; print(open('/proc/self/autogroup').read())"
    program = [sys.executable, "-c", tell]
    command = program if own else ["sh", "-c", f"{shlex.join(program)}; true"]
    told = subprocess.run(command, capture_output=True, text=True, start_new_session=True, check=True, timeout=60)
    assert told.stdout.endswith(f"nice {niceness}\n\n")


def test_a_worker_is_known_before_its_environment_is_there(tiny, monkeypatch):
    job_id = begin(tiny, "nap-1")
    environment, seen = psutil.Process.environ, []

    def late(process):
        seen.append(process.pid)
        return environment(process) if len(seen) > 2 else {}  # as between two steps of the kernel that start a program

    monkeypatch.setattr(psutil.Process, "environ", late)
    assert is_worker(tiny.job(job_id))
    assert seen == [tiny.job(job_id).pid] * 3


def test_a_job_that_just_starts_can_be_cancelled(tiny):
    job = jobs.cancel(tiny, submit(tiny, "nap-1"), wait=True, backend=BACKEND)
    assert job.state == "cancelled"


def test_a_waiting_job_is_cancelled_at_once(tiny):
    first = begin(tiny, "nap-1")
    second = submit(tiny, "quick-2")
    assert jobs.cancel(tiny, second, backend=BACKEND).state == "cancelled"
    jobs.cancel(tiny, first, wait=True, backend=BACKEND)
    assert "quick-2 begin" not in notes(tiny)


@pytest.mark.parametrize("canceller", ["waits", "goes on", "dies"])
def test_a_job_that_does_not_listen_is_ended_with_all_its_children(tiny, canceller, monkeypatch):
    job_id = begin(tiny, "stubborn-1")
    children = [int(line.split()[-1]) for line in notes(tiny) if "child" in line]
    everybody = [tiny.job(job_id).pid, *children]
    assert len(everybody) == 6 and all(psutil.pid_exists(pid) for pid in everybody)
    if canceller == "dies":  # and whoever looks after the grace sees to it
        tiny.set_job(job_id, 1, cancel_requested=tiny.now() - jobs.GRACE_S - 1)
        jobs.reconcile(tiny, BACKEND)
    else:
        jobs.cancel(tiny, job_id, grace_s=0.2, wait=canceller == "waits", backend=BACKEND)
    until(lambda: not any(ProcessIdentity.of(pid) for pid in everybody), timeout_s=30)
    job = wait(tiny, job_id)
    assert (job.state, job.error) == ("cancelled", "it did not stop by itself and was ended by force")


def test_a_longer_grace_holds_for_whoever_looks(tiny):
    job_id = begin(tiny, "stubborn-1")
    jobs.cancel(tiny, job_id, grace_s=600, backend=BACKEND)
    tiny.set_job(job_id, 1, cancel_requested=tiny.now() - jobs.GRACE_S - 1)
    jobs.reconcile(tiny, BACKEND)
    assert psutil.pid_exists(tiny.job(job_id).pid)
    tiny.set_job(job_id, 1, cancel_requested=tiny.now() - 601)
    assert wait(tiny, job_id).state == "cancelled"


@pytest.mark.parametrize("grace_s", [-1.0, float("nan"), float("inf")])
def test_a_grace_is_a_finite_time(tiny, grace_s):
    job_id = begin(tiny, "nap-1")
    with pytest.raises(ValueError, match=f"grace is {grace_s}; choose a finite number of seconds"):
        jobs.cancel(tiny, job_id, grace_s=grace_s, backend=BACKEND)
    assert tiny.job(job_id).cancel_requested is None


def test_children_of_a_killed_worker_are_ended_too(tiny):
    job_id = begin(tiny, "stubborn-1")
    children = [int(line.split()[-1]) for line in notes(tiny) if "child" in line]
    os.kill(tiny.job(job_id).pid, signal.SIGKILL)
    assert wait(tiny, job_id).state == "failed"
    until(lambda: not any(ProcessIdentity.of(pid) for pid in children))


def test_a_process_that_is_not_the_worker_is_never_signalled(tiny):
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        identity = ProcessIdentity.of(innocent.pid)
        job_id = tiny.add_job(train_job("forged"), "forged")
        tiny.add_run(train_job("forged").spec, tiny.dataset("tiny").facts, job_id)
        tiny.claim(job_id, 9, "token")
        forged = {"pid": innocent.pid, "process_started": identity.started, "boot_id": identity.boot_id}
        tiny.set_job(job_id, 1, **forged)
        assert not is_worker(tiny.job(job_id))
        jobs.cancel(tiny, job_id, grace_s=0.0, wait=True, backend=BACKEND)
        assert tiny.job(job_id).state == "cancelled"
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("wrong", ["pid", "process_started", "boot_id", "token"])
def test_every_part_of_the_identity_counts(tiny, wrong):
    job_id = begin(tiny, "nap-1")
    until(lambda: is_worker(tiny.job(job_id)))
    tiny.set_job(job_id, 1, **{wrong: 1 if wrong == "pid" else "other"})
    assert not is_worker(tiny.job(job_id))
    assert not BACKEND.ask_to_stop(tiny.job(job_id))
    assert jobs.cancel(tiny, job_id, wait=True, backend=BACKEND).state == "cancelled"  # it notices by itself


def test_a_job_whose_launcher_died_keeps_its_place_and_runs(tiny):
    job_id = tiny.add_job(train_job("quick-1"), "quick-1")
    assert tiny.claim(job_id, 9, "token").state == "running"
    jobs.reconcile(tiny, BACKEND)
    job = wait(tiny, job_id)
    assert (job.state, job.attempt) == ("succeeded", 2)


def test_the_last_sentence_survives_where_the_database_cannot_be_written(tiny):
    job_id = tiny.add_job(train_job("lost"), "lost")
    tiny.claim(job_id, 9, "token")
    tiny.set_job(job_id, 1, pid=1, process_started="never", boot_id="never")
    tiny.job_folder(job_id).mkdir()
    (tiny.job_folder(job_id) / "outcome").write_bytes(b"the disk is full; free some space" + b" " * 100)
    jobs.reconcile(tiny, BACKEND)
    assert (tiny.job(job_id).state, tiny.job(job_id).error) == ("failed", "the disk is full; free some space")


def test_a_worker_killed_after_its_dataset_was_whole_has_succeeded(tiny):
    facts = tiny.dataset("tiny").facts
    for name, declared in (("whole", facts), ("partial", None)):
        job_id = tiny.add_job(DatasetJob(spec=dataset_spec(name)), name)
        tiny.add_dataset(name, source={}, facts=declared, job_id=job_id)
        tiny.claim(job_id, 9, "token")
        tiny.set_job(job_id, 1, pid=1, process_started="never", boot_id="never")
    jobs.reconcile(tiny, BACKEND)
    assert [job.state for job in tiny.jobs()] == ["failed", "succeeded"]
    assert "partial" not in [row.name for row in tiny.datasets()]


def test_jobs_go_on_when_the_server_is_killed(tiny):
    server = script(
        """
        store = Store({home!r})
        begin(store, "nap-1"), submit(store, "quick-2")
        print("begun", flush=True)
        threading.Event().wait()
        """,
        home=str(tiny.home),
    )
    assert server.stdout.readline() == "begun\n"
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    job, waiting = tiny.jobs()[::-1]
    assert is_worker(job)
    jobs.reconcile(tiny, BACKEND)
    assert (tiny.job(job.id).state, tiny.job(waiting.id).state) == ("running", "queued")
    jobs.cancel(tiny, job.id, wait=True, backend=BACKEND)
    assert wait(tiny, waiting.id).state == "succeeded"


def test_the_end_of_a_worker_moves_the_queue_with_nobody_looking(tiny):
    submitter = script(
        "store = Store({home!r}); [submit(store, f'hold-{{i}}') for i in range(3)]; os._exit(0)", home=str(tiny.home)
    )
    submitter.wait()
    until(lambda: [job.state for job in tiny.jobs()] == ["succeeded"] * 3)


BROKEN = jobs.LocalBackend(("/nowhere/python",))
"""It can start no process, as while Python is being installed anew."""


@pytest.fixture
def restless(monkeypatch):
    monkeypatch.setattr(backend, "_LONGEST_REST_S", 0.0)


def test_where_no_process_can_be_started_all_jobs_wait_in_their_places(tiny, restless):
    ids = [jobs.submit(tiny, train_job(f"quick-{number}"), BROKEN).id for number in range(3)]
    first, *others = map(tiny.job, ids)
    assert (first.state, jobs.was_put_back(first), first.finished) == ("queued", True, None)
    assert "the worker process could not be started: No such file or directory" in first.message
    assert [(job.state, job.attempt) for job in others] == [("queued", 0)] * 2
    assert [wait(tiny, job_id).state for job_id in ids] == ["succeeded"] * 3
    assert [line for line in notes(tiny) if "begin" in line] == [f"quick-{number} begin" for number in range(3)]


def test_a_job_that_was_put_back_rests_however_many_look(tiny, monkeypatch):
    job_id = jobs.submit(tiny, train_job("quick-1"), BROKEN).id
    for _ in range(20):
        jobs.reconcile(tiny, BROKEN)
    assert tiny.job(job_id).attempt == 1
    monkeypatch.setattr(Store, "now", staticmethod(lambda: time.time() + 3))
    jobs.reconcile(tiny, BROKEN)
    assert tiny.job(job_id).attempt == 2


def test_what_can_never_be_started_costs_one_job_after_the_other(tiny, restless):
    first, second = (jobs.submit(tiny, train_job(f"quick-{number}"), BROKEN).id for number in range(2))
    job = jobs.wait(tiny, first, backend=BROKEN, poll_s=0)
    assert (job.state, job.attempt) == ("failed", backend.MOST_LAUNCHES)
    assert job.error == "the worker process could not be started: No such file or directory"
    assert tiny.job(second).state == "queued"


def test_a_job_that_was_stopped_while_it_was_started_in_vain_does_not_wait_again(tiny):
    job_id = tiny.add_job(train_job("quick-1"), "quick-1")
    job = tiny.claim(job_id, 1, token="token")
    tiny.set_job(job_id, job.attempt, cancel_requested=tiny.now())
    backend.put_back(tiny, job, "nothing can be started")
    assert tiny.job(job_id).state == "cancelled"


READERS = [
    ("train", {"dataset": "tiny"}),
    ("open_loop", {"dataset": "tiny"}),
    ("export", {"name": "tiny"}),
    ("derive", {"sources": ["other", "tiny"]}),
]


@pytest.mark.parametrize("kind, spec", READERS)
def test_columns_that_a_killed_job_had_begun_to_make_again_are_removed(tiny, kind, spec):
    """Those that another one makes just now stay."""
    left = tiny.columns_folder("tiny").with_name(".tiny.partial-0123abcd")
    left.mkdir()
    row = replace(tiny.job(tiny.add_job(train_job("run"), "run")), kind=kind, spec={"kind": kind, "spec": spec})
    with atomic_folder(tiny.columns_folder("tiny")) as partial:
        shutil.copytree(tiny.columns_folder("tiny"), partial, dirs_exist_ok=True)
        jobs.clean_up(tiny, row)
        assert partial.is_dir() and not left.exists()


@pytest.mark.parametrize("spec", [None, [], {}, {"sources": 5}, {"sources": [5, "../x"]}, {"sources": "led-out"}])
def test_what_is_no_dataset_is_left_alone(tiny, spec):
    (tiny.home / "columns" / "led-out").symlink_to("/")
    row = tiny.job(tiny.add_job(train_job("run"), "run"))
    jobs.clean_up(tiny, replace(row, kind="derive", spec={"kind": "derive", "spec": spec}))


def test_a_checkpoint_that_a_killed_import_had_begun_is_removed(tiny):
    left = tiny.run_folder("foreign") / ".checkpoint.partial-0123abcd"
    left.mkdir(parents=True)
    jobs.clean_up(tiny, replace(tiny.job(tiny.add_job(train_job("foreign"), "foreign")), kind="import_run"))
    assert not left.exists()


def test_files_of_an_archived_dataset_that_was_not_finished_are_removed(tiny):
    job = DatasetJob(spec=dataset_spec("half"))
    job_id = tiny.add_job(job, "half")
    tiny.add_dataset("half", source=job.spec.model_dump(mode="json"), job_id=job_id)
    tiny.columns_folder("half").mkdir()
    tiny.archive_dataset("half")
    jobs.clean_up(tiny, tiny.job(job_id))
    assert not tiny.columns_folder("half").exists()


def test_the_environment_does_not_grow_from_job_to_job():
    first = python_path({"PYTHONPATH": "elsewhere"})
    assert first.split(os.pathsep)[1:] == ["elsewhere"]
    assert python_path({"PYTHONPATH": first}) == first
    assert python_path({"PYTHONPATH": python_path({})}) == python_path({})


@pytest.mark.parametrize("limit", [1, 2])
def test_the_queue_holds_its_limit_and_its_order(tiny, limit):
    """Two submitters at once: never more than the limit, none lost, none twice, first in first out."""
    tiny.set_setting("job_limit", str(limit))
    text = "store = Store({home!r}); [submit(store, f'hold-{who}-{{i}}') for i in range(5)]; os._exit(0)"
    submitters = [script(text, home=str(tiny.home), who=who) for who in "ab"]
    for submitter in submitters:
        submitter.wait()
    until(lambda: {job.state for job in tiny.jobs()} == {"succeeded"} and len(tiny.jobs()) == 10)
    running, most, begun = set(), 0, []
    for line in notes(tiny):
        name, what = line.split()
        if what == "begin":
            begun.append(name)
            running.add(name)
        else:
            running.remove(name)
        most = max(most, len(running))
    assert most <= limit
    assert sorted(begun) == sorted(job.name for job in tiny.jobs())
    if limit == 1:
        assert begun == [job.name for job in tiny.jobs()[::-1]]
    assert all(job.attempt == 1 for job in tiny.jobs())


def test_only_stopped_trainings_and_sweeps_are_resumed(tiny):
    job_id = begin(tiny, "nap-1")
    with pytest.raises(ValueError, match="is running; only a stopped job can be resumed"):
        jobs.resume(tiny, job_id, BACKEND)
    jobs.cancel(tiny, job_id, wait=True, backend=BACKEND)
    assert not jobs.can_resume(tiny, tiny.job(job_id))  # it has saved nothing that a training could go on from
    video = tiny.add_job(RenderJob(spec=RenderSpec(sweep="s", episode_id=0)), "s/0")
    tiny.transition(video, ["queued"], "failed")
    with pytest.raises(ValueError, match="is a render job, which cannot be resumed"):
        jobs.resume(tiny, video, BACKEND)


def test_a_resumed_job_runs_again(tiny):
    job_id = begin(tiny, "nap-1")
    jobs.cancel(tiny, job_id, wait=True, backend=BACKEND)
    jobs.resume(tiny, job_id, BACKEND)
    until(lambda: notes(tiny).count("nap-1 begin") == 2)
    assert tiny.job(job_id).attempt == 2
    assert tiny.run("nap-1").state == "running"


def test_the_limit_leaves_a_processor_free(store):
    assert jobs.job_limit(store) == max(1, processors() - 1)
    store.set_setting("job_limit", "7")
    assert jobs.job_limit(store) == 7


def test_the_memory_of_processes_that_a_job_has_started_counts():
    before = largest_resident_bytes()
    assert before > 1e6
    size = before + 100_000_000
    subprocess.run([sys.executable, "-c", f"text = b'x' * {size}"], check=True)
    assert size <= largest_resident_bytes() < size + 200_000_000
