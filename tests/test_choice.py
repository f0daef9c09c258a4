"""Where jobs run: the environment first, then the home's own setting."""

import importlib.util
import socket

import pytest

from seqrl import jobs
from seqrl.jobs import LocalBackend
from seqrl.jobs.choice import (
    ADDRESS_VARIABLE,
    BACKEND_SETTING,
    BACKEND_VARIABLE,
    WORKERS_VARIABLE,
    Choice,
    choice,
    cluster_address,
    fans_out,
)


@pytest.fixture
def store(store, monkeypatch):
    for name in (BACKEND_VARIABLE, ADDRESS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return store


@pytest.fixture
def listening():
    """The address of something that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def installed(monkeypatch):
    """Ray counts as installed; nothing of it is imported to choose it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_jobs_run_on_this_machine_if_nobody_says_otherwise(store):
    assert choice(store) == Choice("local") and not fans_out(store)
    assert type(jobs.chosen_backend(store)) is LocalBackend


def test_a_cluster_is_chosen_kept_and_left_again(store, installed, listening):
    jobs.choose(store, "ray", listening)
    assert choice(store) == Choice("ray", listening) and fans_out(store)
    assert type(jobs.chosen_backend(store)).__name__ == "RayBackend"
    jobs.choose(store, "ray")
    assert choice(store) == Choice("ray")
    jobs.choose(store, "local", listening)
    assert choice(store) == Choice("local") and cluster_address(store) is None


@pytest.mark.parametrize(
    "address, said",
    [
        ("127.0.0.1:1", "^no Ray cluster answers at 127.0.0.1:1 .*; start it, or choose another address$"),
        ("nonsense", "^no Ray cluster answers at nonsense"),
        (
            "ray://127.0.0.1:10001",
            "is ray://127.0.0.1:10001; give HOST:PORT of a cluster that this machine is a node of",
        ),
    ],
)
def test_an_address_that_does_not_answer_is_not_chosen(store, installed, address, said):
    with pytest.raises(ValueError, match=said):
        jobs.choose(store, "ray", address)
    assert choice(store) == Choice("local")


def test_a_cluster_is_not_chosen_where_ray_is_not_installed(store, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="Ray is not installed; pip install -r requirements-ray.txt, or choose local"):
        jobs.choose(store, "ray")
    assert choice(store) == Choice("local")


def test_the_environment_comes_first_and_cannot_be_changed_here(store, installed, listening, monkeypatch):
    jobs.choose(store, "ray", listening)
    monkeypatch.setenv(BACKEND_VARIABLE, "local")
    assert choice(store) == Choice("local", fixed=True)
    monkeypatch.setenv(BACKEND_VARIABLE, "ray")
    assert choice(store) == Choice("ray", fixed=True)  # a cluster of this machine: the address belongs to the setting
    monkeypatch.setenv(ADDRESS_VARIABLE, "10.0.0.1:6379")
    assert choice(store) == Choice("ray", "10.0.0.1:6379", fixed=True)
    with pytest.raises(ValueError, match="^SEQRL_BACKEND is set where this server was started; unset it there"):
        jobs.choose(store, "local")
    monkeypatch.delenv(BACKEND_VARIABLE)
    assert choice(store) == Choice("ray", "10.0.0.1:6379")


def test_a_setting_that_was_damaged_counts_as_none_and_is_told(store):
    store.set_setting(BACKEND_SETTING, "slurm")
    assert choice(store) == Choice("local")
    assert "slurm" in store.unreadable[BACKEND_SETTING]


def test_as_many_jobs_run_on_a_cluster_as_it_is_said_to_have_workers(store, installed, monkeypatch):
    here = jobs.job_limit(store)
    monkeypatch.setenv(WORKERS_VARIABLE, "17")
    assert jobs.job_limit(store) == here
    jobs.choose(store, "ray")
    assert jobs.job_limit(store) == 17
    store.set_setting("job_limit", "3")
    assert jobs.job_limit(store) == 3
    store.set_setting("job_limit", None)
    monkeypatch.setenv(WORKERS_VARIABLE, "all")  # whoever needs the number says what is wrong
    assert jobs.job_limit(store) == here
