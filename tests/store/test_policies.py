import pytest

from seqrl.config import PolicySpec, SnapshotFacts
from seqrl.store import Store

SPEC = PolicySpec(name="pendulum", environment="Pendulum-v1", steps=100)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def test_a_policy_comes_back_with_its_snapshots_in_order(store):
    store.add_policy(SPEC)
    assert store.policy("pendulum").snapshots == ()
    for step, value in ((50, -800.0), (0, -1200.0), (50, -700.0)):
        store.add_snapshot("pendulum", SnapshotFacts(step=step, mean_return=value))
    row = Store(store.home).policy("pendulum")
    assert row.spec == SPEC
    assert [(s.step, s.mean_return) for s in row.snapshots] == [(0, -1200.0), (50, -700.0)]
    assert [row.name for row in store.policies()] == ["pendulum"]
    assert store.policy_snapshots("policy:pendulum") == [store.snapshot_path("pendulum", 50)]
    assert store.policy_snapshots("policy:pendulum@step-0") == [store.snapshot_path("pendulum", 0)]


def test_a_name_is_taken_once(store):
    store.add_policy(SPEC)
    with pytest.raises(ValueError, match="a policy named pendulum exists already; choose another name"):
        store.add_policy(SPEC)


def test_what_does_not_exist_is_named(store):
    store.add_policy(SPEC)
    with pytest.raises(ValueError, match="there is no policy named pendulam; did you mean pendulum"):
        store.policy("pendulam")
    with pytest.raises(ValueError, match="there is no policy named ../jobs"):
        store.policy_snapshots("policy:../jobs")
    with pytest.raises(ValueError, match="no tier 'expert'; choose from none yet"):
        store.policy_snapshots("policy:pendulum")
    with pytest.raises(ValueError, match="read-only"):
        store.add_policy(SPEC.model_copy(update={"name": "demo/x"}))


def test_a_folder_that_is_no_policy_is_said_to_be_unreadable(store):
    store.add_policy(SPEC)
    (store.policy_folder("pendulum") / "spec.json").write_text("{}")
    with pytest.raises(ValueError, match="the policy pendulum cannot be read"):
        store.policy("pendulum")
