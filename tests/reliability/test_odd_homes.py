"""Homes that are odd, broken or taken: one clear sentence, nothing acknowledged that is lost, and the page stays up."""

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from seqrl import jobs
from seqrl.cli import main
from seqrl.config import DatasetJob
from seqrl.store import Store
from seqrl.store.database import describe
from tests.reliability.conftest import SOAK
from tests.reliability.drawing import ROOT, draw, sentences
from tests.reliability.forked import NoBackend
from tests.reliability.test_full_disk import NAMESPACE, may_mount
from tests.specs import dataset_spec, run_spec

ODD_NAMES = ("with space/ünï/cødé 数据", "quo'te\"s; -- per%cent?#&", "-dash\nnew line", "x" * 200)


def complaint(capsys, *command):
    """The one line that a command ends with."""
    assert main(command) != 0
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1, printed.err
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize("name", ODD_NAMES if SOAK else ODD_NAMES[:2])
def test_a_home_may_be_called_anything(tmp_path, monkeypatch, name):
    """A real worker builds there, and a page is drawn."""
    home = tmp_path / name
    monkeypatch.setenv("SEQRL_HOME", str(home))
    store = Store(home)
    row = jobs.wait(store, jobs.submit(store, DatasetJob(spec=dataset_spec("odd", episodes=2))).id)
    assert row.state == "succeeded", row.error
    assert store.dataset("odd").state == "ready"


@pytest.mark.parametrize(
    "what", ["a file", "a loop", "a dangling link", "a file for a folder", "too long", "no UTF-8", "/dev/null"]
)
def test_a_home_that_cannot_be_one_is_a_sentence(tmp_path, capsys, what):
    home = tmp_path / "home"
    if what == "a file":
        home.write_text("")
    elif what == "a loop":
        home.symlink_to(home)
    elif what == "a dangling link":
        home.mkdir()
        (home / "runs").symlink_to(tmp_path / "nowhere")
    elif what == "a file for a folder":
        home.mkdir()
        (home / "columns").write_text("")
    odd = {"too long": tmp_path / ("x" * 300), "no UTF-8": tmp_path / "\udcff", "/dev/null": Path("/dev/null")}
    home = odd.get(what, home)
    with pytest.raises(ValueError, match="(cannot be used .*|is not text in UTF-8); choose another SEQRL_HOME"):
        Store(home)
    assert "choose another SEQRL_HOME" in complaint(capsys, "--home", str(home), "dataset", "list")


def test_a_home_may_be_told_from_the_users_own(tmp_path, monkeypatch):
    """No shell expands what stands in the unit file of a service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("SEQRL_HOME", "~/seqrl")
    assert main(["dataset", "list"]) == 0
    assert Store().home == tmp_path / "user" / "seqrl" and not (tmp_path / "~").exists()


def test_a_user_without_a_home_chooses_one(capsys, monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("SEQRL_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert "~/.seqrl begins with the home of a user who has none; choose another" in complaint(
        capsys, "dataset", "list"
    )


READ_ONLY = """
import sys
from seqrl.cli import main
from tests.reliability.drawing import draw, sentences
print(sentences(draw("home")))
sys.exit(main(["dataset", "list"]))
"""


@pytest.mark.skipif(not may_mount(), reason="this machine gives no mount namespaces")
def test_a_home_that_is_read_only_is_a_sentence(home):
    Store(home)
    mount = f'mount --bind "{home}" "{home}" && mount -o remount,ro,bind "{home}" && exec "$0" -c "$1"'
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", mount, sys.executable, READ_ONLY],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"SEQRL_HOME": str(home), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1, done.stderr[-2000:]
    for said in (done.stdout, done.stderr.splitlines()[-1]):
        assert "SEQRL_HOME cannot be written to" in said and "make it writable" in said, said


def test_a_database_that_another_program_holds_is_a_sentence(store, monkeypatch, capsys):
    monkeypatch.setattr("seqrl.store.database._BUSY_TIMEOUT_S", 0.1)
    other = sqlite3.connect(store.home / "seqrl.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    mine = Store(store.home)
    assert mine.datasets() == store.datasets()  # what is there can still be read
    with pytest.raises(sqlite3.OperationalError) as caught:
        jobs.submit(mine, DatasetJob(spec=dataset_spec("late")), NoBackend())
    assert describe(caught.value).startswith("another program keeps the database in SEQRL_HOME locked")
    assert "another program keeps" in complaint(capsys, "dataset", "build", "--name", "late")
    other.execute("ROLLBACK")
    assert jobs.submit(mine, DatasetJob(spec=dataset_spec("late")), NoBackend()).state == "queued"


HARM = {
    "random pages": lambda data: data[:4096] + os.urandom(len(data) - 4096),
    "cut short": lambda data: data[:5000],
    "another file": lambda data: b"this is not a database" * 1000,
    "the header alone": lambda data: data[:100],
}


@pytest.mark.parametrize("how", HARM)
def test_a_broken_database_is_a_sentence(home, capsys, how):
    store = Store(home)
    for number in range(500):
        store.set_setting(f"key-{number}", "x" * 500)
    store.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.database.connection.close()
    path = store.home / "seqrl.db"
    path.write_bytes(HARM[how](path.read_bytes()))
    assert "from a copy" in complaint(capsys, "dataset", "list")
    said = sentences(draw("home"))
    assert len(said) == 1 and "from a copy" in said[0], said


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_nothing_is_acknowledged_that_would_go_into_a_removed_file(home, how):
    store = Store(home)
    if how == "removed":
        shutil.rmtree(home)
    else:
        Store(home.with_name("other"))
        os.replace(home.with_name("other") / "seqrl.db", home / "seqrl.db")
    for door in (
        lambda: store.set_setting("key", "value"),
        lambda: jobs.submit(store, DatasetJob(spec=dataset_spec("lost")), NoBackend()),
        lambda: jobs.reconcile(store, NoBackend()),
    ):
        with pytest.raises(ValueError, match=r"was removed or replaced while seqrl used it; start seqrl again"):
            door()
    assert Store(home).jobs() == []


def test_a_link_out_of_the_home_is_not_followed_and_hides_nothing_else(tiny, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    for name in ("linked", "plain"):
        tiny.add_run(run_spec(name), tiny.dataset("tiny").facts)
    shutil.rmtree(tiny.run_folder("linked"))
    (tiny.home / "runs" / "linked").symlink_to(outside)
    with pytest.raises(ValueError, match="leaves"):
        tiny.run_folder("linked")
    for page in ("runs", "rtg_sweep", "open_loop"):
        app = draw(page)
        assert sentences(app) == [] and len(app.title) == 1, page
    assert [path.name for path in outside.iterdir()] == ["canary"]


def test_a_home_of_links_to_a_larger_disk_works(tmp_path, monkeypatch):
    """Whoever owns the home may spread it: the folders themselves may be links."""
    home, larger = tmp_path / "home", tmp_path / "larger"
    home.mkdir()
    for name in ("columns", "minari", "runs", "jobs"):
        (larger / name).mkdir(parents=True)
        (home / name).symlink_to(larger / name)
    monkeypatch.setenv("SEQRL_HOME", str(home))
    store = Store(home)
    row = jobs.wait(store, jobs.submit(store, DatasetJob(spec=dataset_spec("spread", episodes=2))).id)
    assert row.state == "succeeded", row.error
    assert (larger / "columns" / "spread").is_dir()


def test_parts_that_draw_themselves_anew_keep_their_faults_to_a_sentence():
    """A fragment is drawn without the page around it, which would else turn a fault into a sentence."""
    unguarded = []
    for path in [*ROOT.glob("pages/*.py"), *ROOT.glob("pages/shared/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                marks = [ast.unparse(mark) for mark in node.decorator_list]
                if any(mark.startswith("st.fragment") for mark in marks) and "problems()" not in marks:
                    unguarded.append(f"{path.name}: {node.name}")
    assert unguarded == []
