"""Migrations, transactions, threads and processes."""

import os
import sqlite3
import stat
import threading

import pytest

from seqrl.store import Store, schema
from seqrl.store.database import Database
from tests.specs import run_spec, sweep_spec, train_job


def test_a_new_home_is_for_its_user_only(home):
    Store(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_an_unusable_home_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="choose another SEQRL_HOME"):
        Store(tmp_path / "file" / "home")


def test_a_new_database_has_the_newest_schema(store):
    assert schema.schema_version(store.database.connection) == schema.SCHEMA_VERSION


@pytest.mark.parametrize("version", range(schema.SCHEMA_VERSION))
def test_an_older_database_opens_and_keeps_its_rows(home, monkeypatch, version):
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        older.setattr(schema, "SCHEMA_VERSION", version)
        home.mkdir()
        database = Database(home / "seqrl.db")
        assert schema.schema_version(database.connection) == version
        if version:
            database.connection.execute("INSERT INTO settings VALUES ('kept', 'yes')")
    store = Store(home)
    assert schema.schema_version(store.database.connection) == schema.SCHEMA_VERSION
    assert store.setting("kept") == ("yes" if version else None)
    assert store.jobs() == []


def test_a_migration_that_fails_changes_nothing(home, monkeypatch):
    Store(home)
    broken = (*schema.MIGRATIONS, "CREATE TABLE extra (x); INSERT INTO nowhere VALUES (1);")
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", broken)
        newer.setattr(schema, "SCHEMA_VERSION", len(broken))
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            Store(home)
    assert Store(home).database.row("SELECT name FROM sqlite_master WHERE name = 'extra'") is None


def test_a_newer_database_says_what_to_do(home):
    older = Store(home)
    older.database.connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    with pytest.raises(ValueError, match="upgrade seqrl, or choose another SEQRL_HOME"):
        Store(home)


def test_a_file_that_is_no_database_says_what_to_do(home):
    home.mkdir()
    (home / "seqrl.db").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(ValueError, match="restore it from a copy or move it away"):
        Store(home)


def test_what_another_version_stored_is_left_out_and_named(tiny):
    job_id = tiny.add_job(train_job("future"), "future")
    tiny.add_run(run_spec("future"), tiny.dataset("tiny").facts, job_id)
    tiny.add_sweep(sweep_spec("later"), "sweep_rtg")
    spec = run_spec("future").model_dump_json().replace('"preset"', '"presett"')
    connection = tiny.database.connection
    connection.execute("UPDATE runs SET spec = ?", (spec,))
    connection.execute("UPDATE datasets SET facts = '{}'")
    connection.execute("UPDATE sweeps SET spec = '{}'")
    mine = [row for rows in (tiny.datasets(), tiny.runs(), tiny.sweeps()) for row in rows if "demo/" not in row.name]
    assert mine == []
    assert tiny.unreadable.keys() == {"tiny", "future", "later"}
    assert "presett" in tiny.unreadable["future"]
    for door in (lambda: tiny.run("future"), lambda: tiny.dataset("tiny"), lambda: tiny.sweep("later")):
        with pytest.raises(ValueError, match="was stored by another version of seqrl"):
            door()


def test_a_new_database_has_no_fault(store):
    assert store.database.fault() is None


def test_a_transaction_that_fails_leaves_nothing(store):
    with pytest.raises(KeyError), store.database.transaction():
        store.set_setting("a", "1")
        raise KeyError
    assert store.setting("a") is None
    store.set_setting("a", "2")
    assert store.setting("a") == "2"


def test_threads_write_at_once(store):
    def write(number):
        for i in range(20):
            store.set_setting(f"{number}-{i}", "x")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.database.row("SELECT count(*) FROM settings")[0] == 80


def test_a_forked_child_gets_a_connection_of_its_own(store):
    mine = store.database.connection
    child = os.fork()
    if child == 0:
        store.set_setting("from", "child")
        os._exit(0 if store.database.connection is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.setting("from") == "child"


def test_connections_close_with_their_thread(store):
    before = len(os.listdir("/dev/fd"))
    for _ in range(10):
        thread = threading.Thread(target=store.jobs)
        thread.start()
        thread.join()
    assert len(os.listdir("/dev/fd")) <= before + 2
