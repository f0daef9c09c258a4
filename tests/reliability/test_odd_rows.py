"""Rows of the database that hold what no seqrl writes: they end as failed, and everything around them goes on."""

import json
import sqlite3

import pytest

from seqrl import jobs
from seqrl.config import DatasetJob
from seqrl.store import ACTIVE_STATES, Store
from tests.reliability.conftest import SOAK
from tests.reliability.drawing import PAGES, draw, sentences
from tests.reliability.forked import NoBackend
from tests.specs import dataset_spec

DEEP = "[" * 10_000 + "]" * 10_000
DAMAGED = {
    "pid": [-1, 0, 2**62, "abc", 1.5],
    "attempt": ["x", None, 0.5],
    "ticket": ["x", None],
    "progress": [float("inf"), "x"],
    "created": ["x", -1.0],
    "started": [1e300, "x"],
    "heartbeat": [float("inf"), b"x"],
    "cancel_requested": [1e300, "x"],
    "kind": ["nothing", "", "train", "dataset'; DROP TABLE jobs; --"],
    "spec": [
        "",
        "{",
        "[]",
        "{}",
        "null",
        DEEP,
        '{"kind": "dataset"}',
        '{"kind": "dataset", "spec": []}',
    ],
    "name": ["x" * 1_000_000, b"\xff\xfe"],
    "token": [b"\xff"],
}
STRANGE = {
    "a setting of tomorrow": (
        "dataset",
        json.loads(DatasetJob(spec=dataset_spec("odd")).to_json())["spec"] | {"new": 1},
    ),
    "a number of nobody": ("dataset", {"episodes": float("inf")}),
    "a kind of tomorrow": ("divine", {"name": "odd"}),
}
"""Kind and settings that a row may well hold, and this version does not understand."""
CASES = [(column, value) for column, values in DAMAGED.items() for value in values]


def damaged(store, column, value, state="running"):
    """A job whose row holds this value; None if the database itself refuses it."""
    number = len(store.database.rows("SELECT id FROM jobs"))
    spec = dataset_spec(f"odd-{number}")
    job_id = store.add_job(DatasetJob(spec=spec), spec.name)
    forged = {"state": state, "token": "token", "process_started": "1", "boot_id": "boot"} | {column: value}
    assignments = ", ".join(f"{name} = ?" for name in forged)
    try:
        store.database.connection.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*forged.values(), job_id))
    except sqlite3.IntegrityError:
        store.database.connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        return None
    return job_id


def test_there_are_enough_of_them():
    assert len(CASES) >= 30


@pytest.mark.parametrize("state", ["queued", "running"])
def test_damaged_rows_fail_and_the_queue_goes_on(store, state):
    job_ids = [job_id for column, value in CASES if (job_id := damaged(store, column, value, state)) is not None]
    assert len(job_ids) >= 25
    sound = store.add_job(DatasetJob(spec=dataset_spec("sound")), "sound")
    jobs.reconcile(store, NoBackend())
    assert [job.id for job in store.jobs(ACTIVE_STATES)] == [sound]
    assert store.next_queued().id == sound
    shown = [job.id for job in store.jobs()]
    for job_id in job_ids:
        row = store.database.row("SELECT state, error FROM jobs WHERE id = ?", (job_id,))
        assert row["state"] == "failed", dict(row)
        assert row["error"].startswith("what is stored of it is damaged (")
        assert row["error"].endswith("; start it again") and "\n" not in row["error"] and len(row["error"]) < 400
        assert job_id in shown or f"job {job_id}" in store.unreadable


def strange(store, kind, settings, name="odd"):
    """Such a job waits for its turn."""
    job_id = store.add_job(DatasetJob(spec=dataset_spec(name)), name)
    spec = json.dumps({"kind": kind, "spec": settings})
    store.database.connection.execute("UPDATE jobs SET kind = ?, spec = ? WHERE id = ?", (kind, spec, job_id))
    return job_id


@pytest.mark.parametrize("what", STRANGE)
def test_what_an_older_process_does_not_understand_it_leaves_to_others(store, what):
    job_id = strange(store, *STRANGE[what])
    jobs.reconcile(store, NoBackend())
    assert store.job(job_id).state == "queued"
    assert not store.job(job_id).is_for(DatasetJob(spec=dataset_spec("odd")))
    store.claim(job_id, 1, token="token")
    store.fail_damaged_jobs()
    assert store.job(job_id).state == "running"


@pytest.mark.parametrize("what", STRANGE)
def test_what_no_worker_understands_fails_with_a_sentence(store, what):
    row = jobs.wait(store, strange(store, *STRANGE[what]))
    assert row.state == "failed" and row.attempt == 1
    assert not row.error.startswith("unexpected") and "\n" not in row.error


@pytest.mark.parametrize("setting", ["", "many", "-1", "9" * 30, "\0"])
def test_a_damaged_limit_is_that_of_the_machine(store, setting):
    usual = jobs.job_limit(store)
    store.set_setting("job_limit", setting)
    assert jobs.job_limit(store) == usual
    assert "job_limit" in store.unreadable


def test_a_job_that_was_stopped_before_the_clock_was_set_back_is_ended(store, monkeypatch):
    job_id = store.add_job(DatasetJob(spec=dataset_spec("later")), "later")
    store.claim(job_id, 1, token="token")
    killed = []

    class Reachable(NoBackend):
        def kill(self, job):
            killed.append(job.id)

    store.set_job(job_id, 1, cancel_requested=store.now() + 3600, pid=2**22, process_started="1", boot_id="x")
    jobs.reconcile(store, Reachable())
    assert job_id in killed
    assert store.job(job_id).state == "cancelled"


@pytest.mark.parametrize("name", PAGES if SOAK else ["home", "datasets", "runs", "rtg_sweep"])
def test_pages_stay_up_over_damaged_rows(home, name):
    store = Store(home)
    for column, value in CASES:
        damaged(store, column, value)
    for number, case in enumerate(STRANGE.values()):
        for state in ("running", "failed"):
            job_id = strange(store, *case, name=f"strange-{number}")
            store.database.connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, job_id))
    for table, column in (("datasets", "source"), ("runs", "tags"), ("sweeps", "spec")):
        values = {
            "name": f"odd-{table}",
            "source": "{}",
            "spec": "{}",
            "facts": "{}",
            "kind": "sweep_rtg",
            "created": 0,
        }
        known = [row["name"] for row in store.database.rows(f"PRAGMA table_info({table})")]
        given = {key: value for key, value in values.items() if key in known} | {column: DEEP}
        marks = ", ".join("?" * len(given))
        store.database.connection.execute(
            f"INSERT INTO {table} ({', '.join(given)}) VALUES ({marks})", [*given.values()]
        )
    app = draw(name)
    assert sentences(app) == [] and len(app.title) == 1
    assert json.loads(json.dumps(store.unreadable)) == store.unreadable
