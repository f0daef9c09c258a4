import numpy as np
import pytest

from seqrl.config import BehaviourSpec
from seqrl.environments import make_vector, space_facts
from seqrl.environments.behaviours import Behaviour, random_actions
from seqrl.environments.spaces import action_facts
from tests.tiny_environments import ACTIONS

CARTPOLE = space_facts("CartPole-v1")
PENDULUM = space_facts("Pendulum-v1")


def returns(environment, behaviour, seeds):
    vector = make_vector(environment)
    observations = vector.reset(seeds)
    behaviour.reset(seeds)
    rows, total = np.arange(len(seeds)), np.zeros(len(seeds))
    while len(rows):
        step = vector.step(behaviour.act(observations))
        total[rows] += step.rewards
        running = ~(step.terminated | step.truncated)
        vector.keep(running)
        behaviour.keep(running)
        rows, observations = rows[running], step.observations[running]
    vector.close()
    return total


@pytest.mark.parametrize(
    ("environment", "at_least", "episodes"),
    [
        ("CartPole-v1", 499, 20),
        ("Acrobot-v1", -95, 12),
        ("MountainCar-v0", -120, 30),
        ("MountainCarContinuous-v0", 88, 6),
        ("Pendulum-v1", -220, 12),
    ],
)
def test_heuristics_solve_their_environment(environment, at_least, episodes):
    behaviour = Behaviour(BehaviourSpec(policy="heuristic"), space_facts(environment))
    assert returns(environment, behaviour, range(episodes)).mean() >= at_least


def test_epsilon_is_the_share_of_random_actions():
    observations = np.tile([0, 0, 1.0, 0], (4000, 1)).astype(np.float32)  # the heuristic pushes right
    behaviour = Behaviour(BehaviourSpec(policy="heuristic", epsilon=0.4), CARTPOLE)
    behaviour.reset(range(4000))
    left = np.mean([np.mean(behaviour.act(observations) == 0) for _ in range(5)])
    assert left == pytest.approx(0.2, abs=0.01)


def test_gaussian_noise_is_in_half_action_ranges_and_clipped():
    observations = np.tile([1.0, 0, 0], (5000, 1)).astype(np.float32)  # at rest on top: the controller gives 0
    behaviour = Behaviour(BehaviourSpec(policy="heuristic", noise_std=0.25), PENDULUM)
    behaviour.reset(range(5000))
    actions = behaviour.act(observations)
    assert actions.dtype == np.float32 and actions.shape == (5000, 1)
    assert actions.std() == pytest.approx(0.5, rel=0.05)
    wild = Behaviour(BehaviourSpec(policy="heuristic", noise_std=5), PENDULUM)
    wild.reset(range(100))
    assert np.abs(wild.act(observations[:100])).max() == 2.0


def test_gaussian_noise_does_not_depend_on_who_acts_at_random():
    observations = np.tile([1.0, 0, 0], (20_000, 1)).astype(np.float32)
    behaviour = Behaviour(BehaviourSpec(policy="heuristic", epsilon=15 / 16, noise_std=1e-5), PENDULUM)
    behaviour.reset(range(20_000))
    actions = behaviour.act(observations)
    noise = actions[np.abs(actions) < 1e-4]  # the others are random
    assert len(noise) == pytest.approx(1250, rel=0.1)
    assert noise.std() == pytest.approx(2e-5, rel=0.1)


def test_what_an_episode_does_is_independent_of_its_batch():
    spec = BehaviourSpec(policy="heuristic", epsilon=0.5, noise_std=0.3)
    seeds = [11, 12, 13]
    together, alone = Behaviour(spec, PENDULUM), Behaviour(spec, PENDULUM)
    together.reset(seeds)
    alone.reset([13])
    observations = np.random.default_rng(0).normal(size=(100, 3, 3)).astype(np.float32)
    for t in range(100):
        if t == 30:
            together.keep(np.array([False, True, True]))
            observations = observations[:, 1:]
        np.testing.assert_array_equal(together.act(observations[t])[-1:], alone.act(observations[t][-1:]))


@pytest.mark.parametrize("name", ACTIONS)
def test_random_actions_are_distributed_as_gymnasium_samples(name):
    space, rng = ACTIONS[name], np.random.default_rng(0)
    facts = action_facts(space)
    drawn = random_actions(facts, rng.random((20_000, facts.size)), rng.standard_normal((20_000, facts.size)))
    drawn = drawn.reshape(len(drawn), -1).astype(float)
    space.seed(0)
    start = np.asarray(getattr(space, "start", 0)).ravel()
    sampled = np.stack([np.ravel(space.sample()) for _ in range(20_000)]).astype(float) - start
    np.testing.assert_allclose(drawn.mean(axis=0), sampled.mean(axis=0), atol=0.04)
    np.testing.assert_allclose(drawn.std(axis=0), sampled.std(axis=0), atol=0.04)


def test_a_policy_that_does_not_exist_names_those_that_do():
    with pytest.raises(ValueError, match="no policy 'run:x' for CartPole-v1; choose from random, heuristic"):
        Behaviour(BehaviourSpec(policy="run:x"), CARTPOLE)
    with pytest.raises(ValueError, match="noise_std of the tier expert is 0.5 but CartPole-v1 has discrete actions"):
        Behaviour(BehaviourSpec(noise_std=0.5), CARTPOLE)


def test_a_policy_of_the_caller_acts_under_its_name():
    class Left:
        def __init__(self, facts):
            self.facts = facts

        def reset(self, seeds):
            self.count = len(seeds)

        def act(self, observations):
            return np.zeros(self.count, dtype=np.int64)

        def keep(self, running):
            self.count = int(running.sum())

    behaviour = Behaviour(BehaviourSpec(policy="run:left"), CARTPOLE, {"run:left": Left})
    assert returns("CartPole-v1", behaviour, [1, 2, 3]).max() < 12
