"""``policy`` on the command line."""

import json

import pytest

from seqrl.cli import main
from seqrl.cli.session import Session
from seqrl.config import PolicySpec, SnapshotFacts
from seqrl.environments.snapshots import save_snapshot
from seqrl.store import Store
from tests.environments.test_snapshots import snapshot
from tests.in_process import InProcess


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a policy of two snapshots."""
    original = Session.__init__
    monkeypatch.setattr(Session, "__init__", lambda self, home: original(self, home, InProcess()))
    monkeypatch.setenv("SEQRL_HOME", str(tmp_path / "home"))
    store = Store(tmp_path / "home")
    store.add_policy(PolicySpec(name="swing", environment="Pendulum-v1"))
    for step, value in ((0, -1200.0), (50, -900.0), (100, -300.0)):
        save_snapshot(store.snapshot_path("swing", step), snapshot(seed=step))
        store.add_snapshot("swing", SnapshotFacts(step=step, mean_return=value))
    return store


def said(capsys, *arguments):
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_snapshots_are_tiers_of_a_dataset(home, capsys):
    code, _, err = said(
        capsys, "dataset", "build", "--env", "Pendulum-v1", "--policy", "swing", "--episodes", 4, "--name", "data",
        "--mix", "medium=0.5,step-100=0.25,random=0.25",
    )  # fmt: skip
    assert code == 0, err
    tiers = home.dataset("data").facts.returns_by_tier
    assert set(tiers) == {"medium", "step-100", "random"}


def test_a_policy_of_another_environment_is_refused(home, capsys):
    code, _, err = said(capsys, "dataset", "build", "--env", "CartPole-v1", "--policy", "swing")
    assert (code, err) == (1, "error: the policy swing was trained in Pendulum-v1, not in CartPole-v1\n")


def test_policies_are_listed_and_shown(home, capsys):
    code, out, _ = said(capsys, "policy", "list", "--json")
    (row,) = json.loads(out)
    assert (row["name"], row["best_return"], row["tiers"]) == ("swing", -300.0, ["medium", "expert", "replay"])
    code, out, _ = said(capsys, "policy", "info", "swing")
    assert "step       100: mean return -300.0  expert" in out
    assert "step        50: mean return -900.0  medium" in out


def test_a_bundle_is_the_medium_and_the_expert_snapshot(home, capsys, tmp_path):
    code, _, err = said(capsys, "policy", "bundle", "swing", "--folder", tmp_path / "out")
    assert code == 0, err
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert kept == {
        "Pendulum-v1-medium.safetensors": home.snapshot_path("swing", 50).read_bytes(),
        "Pendulum-v1-expert.safetensors": home.snapshot_path("swing", 100).read_bytes(),
    }


def test_a_wrong_algorithm_is_a_sentence(home, capsys):
    code, _, err = said(capsys, "policy", "train", "--env", "Pendulum-v1", "--algorithm", "dqn")
    assert code == 2
    assert "dqn" in err
