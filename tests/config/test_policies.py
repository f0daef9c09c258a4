import pytest
from pydantic import ValidationError

from seqrl.config import PolicySpec, SnapshotFacts, explain, parse_policy_reference, policy_reference, snapshot_tiers


def snapshots(**returns):
    return tuple(SnapshotFacts(step=int(step[1:]), mean_return=value) for step, value in returns.items())


def test_tiers_are_those_of_d4rl():
    tiers = snapshot_tiers(snapshots(s0=-10, s10=20, s20=35, s30=110, s40=90))
    assert tiers["expert"] == (30,)
    assert tiers["medium"] == (20,)  # a third of the way from -10 to 110 is 30
    assert tiers["replay"] == (0, 10, 20)
    assert tiers["step-40"] == (40,)


def test_a_policy_that_got_worse_has_its_medium_before_its_best():
    tiers = snapshot_tiers(snapshots(s0=0, s10=100, s20=33))
    assert tiers["medium"] == (0,)
    assert snapshot_tiers(()) == {}


def test_a_reference_names_a_policy_and_a_tier():
    assert parse_policy_reference(policy_reference("a.b-c", "step-10")) == ("a.b-c", "step-10")
    assert parse_policy_reference("policy:name") == ("name", "expert")


def test_an_algorithm_has_its_own_settings():
    spec = PolicySpec(name="p", environment="Hopper-v5", trainer={"kind": "sac"})
    assert (spec.trainer.batch_size, spec.trainer.buffer_steps) == (256, 300_000)
    with pytest.raises(ValidationError) as fault:
        PolicySpec(name="p", environment="Hopper-v5", trainer={"kind": "sac", "epochs": 3})
    assert explain(fault.value) == "trainer.epochs is 3; this setting does not exist; remove it"
