"""A Ray cluster of two workers on loopback for the tests of a process: started for them, stopped by its process."""

import importlib.util
from contextlib import suppress

import psutil
import pytest

from seqrl.jobs import ray_cluster
from seqrl.jobs.choice import ADDRESS_VARIABLE


class Hold:
    """An actor that keeps the processors that it was given."""

    def ready(self):
        return True


def doing(cluster, what):
    """Processes of a cluster that Ray has given the title ``ray::WHAT``."""
    found = []
    for process in psutil.Process(cluster[0].process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it ends just now
            if process.cmdline()[:1] == [f"ray::{what}"]:
                found.append(process)
    return found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The cluster, and the home that it was started for."""
    if importlib.util.find_spec("ray") is None:  # not imported: it reads its environment when it is
        pytest.skip("Ray is not installed; pip install -r requirements-ray.txt")
    home = tmp_path_factory.mktemp("ray")
    started = ray_cluster.start_cluster(home, workers=2)
    yield started, home
    import ray

    ray.shutdown()
    leader = psutil.Process(started.process.pid)
    everybody = [leader, *leader.children(recursive=True)]
    assert ray_cluster.stop_cluster(home)
    assert not [process for process in everybody if process.is_running()]


@pytest.fixture
def connected(cluster, monkeypatch):
    """``ray``, connected to that cluster, as are jobs of whatever home."""
    started, home = cluster
    for name, value in (ray_cluster.variables(home) | {ADDRESS_VARIABLE: started.address}).items():
        monkeypatch.setenv(name, value)
    return ray_cluster.connect(home)
