"""``policy`` on the command line."""

import pytest

from seqrl.config import PolicySpec, SnapshotFacts
from seqrl.environments.snapshots import save_snapshot
from tests.environments.test_snapshots import snapshot
from tests.in_process import as_json


@pytest.fixture
def swinging(store):
    """A store with a policy of three snapshots."""
    store.add_policy(PolicySpec(name="swing", environment="Pendulum-v1"))
    for step, value in ((0, -1200.0), (50, -900.0), (100, -300.0)):
        save_snapshot(store.snapshot_path("swing", step), snapshot(seed=step))
        store.add_snapshot("swing", SnapshotFacts(step=step, mean_return=value))
    return store


def test_snapshots_are_tiers_of_a_dataset(swinging, run):
    code, _, err = run(
        "dataset", "build", "--env", "Pendulum-v1", "--policy", "swing", "--episodes", 4, "--name", "data",
        "--mix", "medium=0.5,step-100=0.25,random=0.25",
    )  # fmt: skip
    assert code == 0, err
    tiers = swinging.dataset("data").facts.returns_by_tier
    assert set(tiers) == {"medium", "step-100", "random"}


def test_a_policy_of_another_environment_is_refused(swinging, run):
    code, _, err = run("dataset", "build", "--env", "CartPole-v1", "--policy", "swing")
    assert (code, err) == (1, "error: the policy swing was trained in Pendulum-v1, not in CartPole-v1\n")


def test_policies_are_listed_and_shown(swinging, run):
    (row,) = as_json(run("policy", "list", "--json"))
    assert (row["name"], row["best_return"], row["tiers"]) == ("swing", -300.0, ["medium", "expert", "replay"])
    code, out, _ = run("policy", "info", "swing")
    assert "step       100: mean return -300.0  expert" in out
    assert "step        50: mean return -900.0  medium" in out


def test_a_bundle_is_the_medium_and_the_expert_snapshot(swinging, run, tmp_path):
    code, _, err = run("policy", "bundle", "swing", "--folder", tmp_path / "out")
    assert code == 0, err
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert kept == {
        "Pendulum-v1-medium.safetensors": swinging.snapshot_path("swing", 50).read_bytes(),
        "Pendulum-v1-expert.safetensors": swinging.snapshot_path("swing", 100).read_bytes(),
    }


def test_a_wrong_algorithm_is_a_sentence(swinging, run):
    code, _, err = run("policy", "train", "--env", "Pendulum-v1", "--algorithm", "dqn")
    assert code == 2
    assert "dqn" in err
