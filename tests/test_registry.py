import pytest

from seqrl import registry
from seqrl.config import RunSpec, TrainingSpec


@pytest.mark.parametrize("row", registry.ENVIRONMENTS.values(), ids=lambda row: row.id)
def test_the_default_mixture_names_tiers_that_exist(row):
    behaviours = row.behaviours(row.default_mix)
    assert sum(behaviour.share for behaviour in behaviours) == pytest.approx(1)


def test_an_unknown_tier_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="CartPole-v1 has no tier 'great'; choose from random, poor, medium, expert"):
        registry.environment_row("CartPole-v1").behaviours({"great": 1.0})


def test_an_unlisted_environment_knows_random_behaviour():
    row = registry.environment_row("Elsewhere-v3")
    assert [behaviour.policy for behaviour in row.behaviours(row.default_mix)] == ["random"]


@pytest.mark.parametrize("row", registry.MODELS.values(), ids=lambda row: row.kind)
def test_every_preset_is_a_valid_run(row):
    for preset in row.presets.values():
        spec = RunSpec(
            name="run",
            dataset="data",
            model={"kind": row.kind, **preset.model},
            training=TrainingSpec(**preset.training),
        )
        assert isinstance(spec.model, row.spec)


def test_every_implementation_resolves():
    for environment in registry.ENVIRONMENTS.values():
        for reference in filter(None, (environment.heuristic, environment.vector)):
            assert callable(registry.resolve(reference))
    for model in registry.MODELS.values():
        assert callable(registry.resolve(model.model).build)
