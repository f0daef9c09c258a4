"""What holds for every test: few threads, and homes with something in them."""

import os

# Tests run side by side, one process a core: more threads only wait for each other (measured: 16 times slower).
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # as in the workers; read when torch is first imported

import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from seqrl import jobs
from seqrl.cli import main
from seqrl.cli.session import Session
from seqrl.store import Store
from tests.in_process import InProcess
from tests.ray_clusters import cluster, connected  # noqa: F401 - fixtures
from tests.serving import serving
from tests.specs import dataset_spec

CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).is_file()), None)


WAITED = ["TimeoutError", "Locator expected", "Page expected", "strict mode violation"]
"""How a journey fails that met a page while it was drawn anew: something is late, or there twice for a moment."""


def pytest_collection_modifyitems(items):
    """Journeys that fail so are tried once more; the summary tells which."""
    for item in items:
        if "browser" in item.keywords:
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=WAITED))


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium; one for all tests of a process, because Playwright takes no second one beside it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium; install the Debian package chromium")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Address and home of one running app; what it says is in ``server.log`` beside the home."""
    home = tmp_path_factory.mktemp("home")
    with serving(home, home.parent / "server.log") as (address, _):
        yield address, home


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, also for the processes that a test starts."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SEQRL_HOME", str(folder))
    return folder


@pytest.fixture
def store(home):
    """An empty store; whatever runs in it is ended with the test."""
    opened = Store(home)
    yield opened
    end_all_jobs(opened)


@pytest.fixture
def run(home, capsys, monkeypatch):
    """Run a command in this process, jobs included: (exit code, stdout, stderr)."""
    original = Session.__init__
    monkeypatch.setattr(Session, "__init__", lambda self, home: original(self, home, InProcess()))

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def built_home(tmp_path_factory):
    """A home with the dataset ``tiny``, built once."""
    from seqrl.datasets import build
    from seqrl.store.columns import Columns

    built = Store(tmp_path_factory.mktemp("built") / "home")
    spec = dataset_spec()
    built.add_dataset(spec.name, source=spec.model_dump(mode="json"))
    facts = build(spec, built.columns_folder(spec.name), built.minari_folder())
    built.set_dataset_facts(spec.name, facts, Columns.open(built.columns_folder(spec.name)).episodes)
    built.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return built.home


@pytest.fixture
def tiny(built_home, home):
    """A store of its own with the dataset ``tiny``: 24 CartPole episodes."""
    shutil.copytree(built_home, home)
    opened = Store(home)
    yield opened
    end_all_jobs(opened)


def end_all_jobs(store):
    """Cancel what waits, kill what runs, and wait for the threads that look after it."""
    for row in store.jobs(["queued"]):
        store.transition(row.id, ["queued"], "cancelled")
    for row in store.jobs(["running"]):
        with suppress(ValueError):  # it ended meanwhile
            jobs.cancel(store, row.id, grace_s=0, wait=True)
    for thread in threading.enumerate():
        if thread.name.startswith("job "):
            thread.join(timeout=10)
