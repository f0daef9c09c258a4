import gymnasium
import pytest

from seqrl import registry
from seqrl.environments import EnvironmentUnavailable, make_environment, making, space_facts


def test_facts_of_cartpole():
    facts = space_facts("CartPole-v1")
    assert facts.observation.names[2] == "pole angle" and facts.observation.low[1] is None
    assert facts.action.labels == ("push left", "push right") and facts.action.categories == (2,)
    assert facts.max_episode_steps == 500
    assert space_facts("CartPole-v1", max_episode_steps=20).max_episode_steps == 20


def test_an_unknown_id_names_its_neighbours():
    with pytest.raises(EnvironmentUnavailable, match="there is no environment 'CartPole-v7'; did you mean CartPole-v1"):
        make_environment("CartPole-v7")
    with pytest.raises(EnvironmentUnavailable, match="env list"):
        make_environment("Qqqqqqqqqqqq")


def test_an_id_that_would_import_a_module_is_refused():
    with pytest.raises(EnvironmentUnavailable, match="without a module"):
        make_environment("os:CartPole-v1")


def test_a_refused_setting_is_one_sentence():
    with pytest.raises(EnvironmentUnavailable, match="CartPole-v1 refuses its settings {'gravity': 3}"):
        make_environment("CartPole-v1", {"gravity": 3})


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    row = registry.EnvironmentRow(
        id="Maze-v0", title="Maze", family="Mazes", max_episode_steps=1, package="mazes", module="no_such_module"
    )
    monkeypatch.setitem(registry.ENVIRONMENTS, row.id, row)
    with pytest.raises(EnvironmentUnavailable, match="Maze-v0 needs mazes; install it with pip install mazes"):
        make_environment("Maze-v0")


def test_a_package_missing_inside_gymnasium_is_one_sentence(monkeypatch):
    def fail(*arguments, **keywords):
        raise gymnasium.error.DependencyNotInstalled("box2d is not installed")

    monkeypatch.setattr(making.gymnasium, "make", fail)
    with pytest.raises(EnvironmentUnavailable, match="CartPole-v1 needs a package that is missing: box2d"):
        make_environment("CartPole-v1")


@pytest.mark.parametrize("row", registry.ENVIRONMENTS.values(), ids=lambda row: row.id)
def test_the_registry_agrees_with_the_environment(row):
    try:
        facts = space_facts(row.id)
    except EnvironmentUnavailable:
        pytest.skip(f"{row.package} is not installed")
    assert facts.max_episode_steps == row.max_episode_steps
    if row.observation_names:
        assert facts.observation.names == row.observation_names
    if row.action_names:
        assert row.action_names in (facts.action.labels, facts.action.names)
