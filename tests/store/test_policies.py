import errno

import pytest

from seqrl.config import PolicySpec, SnapshotFacts
from seqrl.store import Store, policies

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


@pytest.mark.parametrize(
    "file, text, why",
    [
        ("spec.json", None, "spec.json is missing"),
        ("spec.json", "{}", "the policy broken cannot be read"),
        ("snapshots.json", "[{", "invalid JSON"),
        ("snapshots.json", "3", "the policy broken cannot be read"),
        ("snapshots.json", "\udcff", "the policy broken cannot be read"),
    ],
)
def test_an_unreadable_policy_does_not_hide_the_others(store, file, text, why):
    store.add_policy(SPEC)
    store.add_policy(SPEC.model_copy(update={"name": "broken"}))
    path = store.policy_folder("broken") / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text, errors="surrogateescape")
    assert [row.name for row in store.policies()] == ["pendulum"]
    assert why in store.unreadable["policy broken"]
    with pytest.raises(ValueError, match="policy broken cannot be read|no policy named broken"):
        store.policy("broken")


def test_a_policy_appears_with_its_spec_or_not_at_all(store, monkeypatch):
    def full(path, text):
        assert store.policies() == [] and store.unreadable == {}
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(policies, "atomic_write_text", full)
        with pytest.raises(OSError, match="No space left"):
            store.add_policy(SPEC)
    assert list((store.home / "policies").iterdir()) == []
    store.policy_folder("pendulum").mkdir()  # as an older version left it
    store.add_policy(SPEC)
    assert store.policy("pendulum").spec == SPEC


def test_a_folder_that_is_no_policy_is_said_to_be_unreadable(store):
    store.add_policy(SPEC)
    (store.policy_folder("pendulum") / "spec.json").write_text("{}")
    with pytest.raises(ValueError, match="the policy pendulum cannot be read"):
        store.policy("pendulum")
