"""A home's own Ray cluster: where it listens, who may use it, and that nothing else is ever taken for it."""

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile

import psutil
import pytest

from seqrl.jobs import ray_cluster
from seqrl.jobs.choice import ADDRESS_VARIABLE
from seqrl.jobs.process import TOKEN_VARIABLE, ProcessIdentity, kill_all
from tests.specs import train_job
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("ray")

LEADER = """
import sys, time, pathlib
pathlib.Path(sys.argv[1], "address").write_text("127.0.0.1:1")
time.sleep(600)
"""


@pytest.fixture
def leader(tmp_path, monkeypatch):
    """A home whose cluster is one process without Ray; call it to say what that process does."""

    def does(source):
        monkeypatch.setattr(ray_cluster, "_LEADER_COMMAND", (sys.executable, "-c", source))

    monkeypatch.setattr(ray_cluster, "check_installed", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    does(LEADER)
    yield does
    ray_cluster.stop_cluster(tmp_path)


def test_it_outlives_the_job_that_started_it(leader, tmp_path, store, monkeypatch):
    job = store.claim(store.add_job(train_job("first"), "first"), 1, token="first's")
    monkeypatch.setenv(TOKEN_VARIABLE, job.token)  # as in its worker
    started = ray_cluster.start_cluster(tmp_path)
    kill_all(job)
    assert ray_cluster.running_cluster(tmp_path) == started


SLOW = "import time; time.sleep(600)"


def noted(home):
    return ray_cluster.noted_cluster(home)


def leftovers(home):
    """What is left of clusters: their folders, and what they noted."""
    return [path.name for path in home.iterdir() if path.name.startswith("seqrl-ray-")], noted(home)


def starting(home):
    """A process that is killed while it waits for the cluster that it starts; the process that leads that one."""
    source = "import sys, tempfile; from pathlib import Path; from seqrl.jobs import ray_cluster\n"
    source += f"ray_cluster._LEADER_COMMAND = (sys.executable, '-c', {SLOW!r}); tempfile.tempdir = sys.argv[1]\n"
    source += "ray_cluster.check_installed = lambda: None; ray_cluster.start_cluster(Path(sys.argv[1]))"
    starter = subprocess.Popen([sys.executable, "-c", source, str(home)])
    begun = until(lambda: noted(home))
    starter.kill()
    starter.wait()
    return psutil.Process(begun.process.pid)


def test_one_whose_starter_was_killed_is_ended_by_the_next(leader, tmp_path):
    left = starting(tmp_path)
    assert left.is_running() and ray_cluster.running_cluster(tmp_path) is None
    started = ray_cluster.start_cluster(tmp_path)
    assert not left.is_running()
    assert leftovers(tmp_path) == ([started.folder], started)


def test_one_whose_starter_was_killed_can_be_stopped(leader, tmp_path):
    left = starting(tmp_path)
    assert ray_cluster.stop_cluster(tmp_path)
    assert not left.is_running() and leftovers(tmp_path) == ([], None)


def test_nothing_is_left_where_its_start_is_broken_off(leader, tmp_path, monkeypatch):
    leader(SLOW)
    begun = []

    def broken_off(process, sockets):
        begun.append(noted(tmp_path).process)
        raise KeyboardInterrupt

    monkeypatch.setattr(ray_cluster, "_wait_for_address", broken_off)
    with pytest.raises(KeyboardInterrupt):
        ray_cluster.start_cluster(tmp_path)
    assert ProcessIdentity.of(begun[0].pid) is None and leftovers(tmp_path) == ([], None)


def test_a_full_disk_is_a_sentence_and_leaves_no_cluster(leader, tmp_path, monkeypatch):
    begun = []

    def full(path, text):
        begun.append(json.loads(text)["process"]["pid"])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ray_cluster, "atomic_write_text", full)
    with pytest.raises(ValueError, match="could not be started on this machine .No space left on device.; mend"):
        ray_cluster.start_cluster(tmp_path)
    assert ProcessIdentity.of(begun[0]) is None and leftovers(tmp_path) == ([], None)


def test_a_token_is_whole_or_not_there(leader, tmp_path):
    (tmp_path / "ray").mkdir()
    token = tmp_path / "ray" / "token"
    token.touch()  # as an older version left it on a full disk
    ray_cluster.start_cluster(tmp_path)
    assert len(token.read_text()) == 64 and token.stat().st_mode & 0o077 == 0
    ray_cluster.stop_cluster(tmp_path)
    kept = token.read_text()
    ray_cluster.start_cluster(tmp_path)
    assert token.read_text() == kept


def test_it_listens_on_loopback_only(cluster):
    leader = psutil.Process(cluster[0].process.pid)
    heard = {
        connection.laddr.ip
        for process in (leader, *leader.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert heard and heard <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert cluster[0].address.startswith("127.0.0.1:")


def test_its_token_and_folder_are_for_this_user_only(cluster):
    home = cluster[1]
    assert (home / "ray" / "token").stat().st_mode & 0o077 == 0
    assert (home / "ray").stat().st_mode & 0o077 == 0
    assert psutil.Process(cluster[0].process.pid).environ()["RAY_USAGE_STATS_ENABLED"] == "0"


def test_who_starts_it_again_finds_it(cluster):
    assert ray_cluster.start_cluster(cluster[1], workers=1) == cluster[0]
    assert ray_cluster.running_cluster(cluster[1]) == cluster[0]


def test_connecting_leaves_the_handling_of_sigterm_alone(connected):
    assert connected.is_initialized()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_who_only_submits_is_not_connected_afterwards(cluster, connected):
    source = "import sys; from pathlib import Path; from seqrl.jobs.ray_cluster import borrowed\n"
    source += "with borrowed(Path(sys.argv[1])) as ray: assert ray.is_initialized()\n"
    source += "assert not ray.is_initialized()"
    subprocess.run([sys.executable, "-c", source, str(cluster[1])], check=True, timeout=60)
    with ray_cluster.borrowed(cluster[1]) as ray:
        assert ray.is_initialized()
    assert ray.is_initialized()  # who was connected before stays so


def test_another_name_of_the_same_place_is_connected_to_once(connected, cluster, monkeypatch):
    port = cluster[0].address.rpartition(":")[2]
    monkeypatch.setenv(ADDRESS_VARIABLE, f"localhost:{port}")
    drivers = {ray_cluster.connect(cluster[1]).get_runtime_context().get_job_id() for _ in range(2)}
    assert len(drivers) == 1


@pytest.mark.parametrize("wrong", ["pid", "started", "boot_id", "environment"])
def test_a_process_that_is_not_the_cluster_is_never_taken_for_it(tmp_path, wrong):
    identity = vars(ProcessIdentity.of(os.getpid()))  # alive, but no cluster
    noted = identity | ({wrong: 1} if wrong in identity else {})
    (tmp_path / "ray").mkdir()
    about = {"address": "127.0.0.1:1", "folder": "seqrl-ray-abc", **noted}
    (tmp_path / "ray" / "cluster.json").write_text(json.dumps(about))
    assert ray_cluster.running_cluster(tmp_path) is None
    assert not ray_cluster.stop_cluster(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}'])
def test_a_note_that_says_nothing_is_no_cluster(tmp_path, text):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "cluster.json").write_text(text)
    assert ray_cluster.running_cluster(tmp_path) is None


@pytest.mark.parametrize("folder", ["", "/", "..", "seqrl-ray-a/../../b", "home"])
def test_a_note_names_no_folder_but_a_clusters_own(tmp_path, folder):
    (tmp_path / "ray").mkdir()
    about = {"address": "127.0.0.1:1", "folder": folder, **vars(ProcessIdentity.of(os.getpid()))}
    (tmp_path / "ray" / "cluster.json").write_text(json.dumps(about))
    assert ray_cluster.noted_cluster(tmp_path) is None


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_an_address_where_nothing_answers_is_a_sentence_at_once(tmp_path, monkeypatch, address):
    monkeypatch.setattr(ray_cluster, "check_installed", lambda: None)  # nothing of Ray is reached
    monkeypatch.setenv(ADDRESS_VARIABLE, address)
    with pytest.raises(ValueError, match=f"no Ray cluster answers at {address} .*; start it, or choose another"):
        ray_cluster.connect(tmp_path)


def test_ray_that_is_not_installed_is_a_sentence(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="Ray is not installed; pip install -r requirements-ray.txt"):
        ray_cluster.check_installed()


@pytest.mark.parametrize(
    "arguments, code, said",
    [(["status"], 0, "no cluster runs for this home"), (["stop"], 0, "no cluster runs"), (["begin"], 2, "usage: ")],
)
def test_its_commands(home, capsys, arguments, code, said):
    assert ray_cluster.main(arguments) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
