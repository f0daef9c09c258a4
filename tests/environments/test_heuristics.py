import gymnasium
import numpy as np
import pytest
from gymnasium.envs.box2d.bipedal_walker import BipedalWalkerHeuristics
from gymnasium.envs.box2d.lunar_lander import heuristic as gymnasium_lander

from seqrl.environments import heuristics, make_environment, space_facts
from seqrl.environments.tabular import TablePolicy, best_actions


@pytest.mark.parametrize("environment", ["LunarLander-v3", "LunarLanderContinuous-v3"])
def test_the_landers_heuristic_is_gymnasiums(environment):
    env = gymnasium.make(environment)
    continuous = environment.startswith("LunarLanderC")
    ours = heuristics.lunar_lander_continuous if continuous else heuristics.lunar_lander
    observations = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    observations[:, 6:] = observations[:, 6:] > 1.0
    expected = np.stack([gymnasium_lander(env, row) for row in observations])
    np.testing.assert_allclose(ours(observations), expected, atol=1e-5)
    assert len(np.unique(expected)) > 3
    env.close()


def test_the_walkers_heuristic_is_gymnasiums_for_each_walker_alone():
    facts = space_facts("BipedalWalker-v3")
    ours = heuristics.BipedalWalk(facts)
    ours.reset([0, 1, 2])
    alone = [BipedalWalkerHeuristics() for _ in range(3)]
    envs = [gymnasium.make("BipedalWalker-v3") for _ in range(3)]
    observations = [env.reset(seed=seed)[0] for seed, env in enumerate(envs)]
    rng = np.random.default_rng(0)
    for t in range(250):
        expected = np.stack([one.step_heuristic(row) for one, row in zip(alone, observations, strict=True)])
        np.testing.assert_allclose(ours.act(np.stack(observations)), expected, atol=1e-5)
        if t == 120:
            ours.keep(np.array([True, False, True]))
            alone, envs, observations, expected = alone[::2], envs[::2], observations[::2], expected[::2]
        noise = rng.normal(0, 0.02, expected.shape)
        moves = zip(envs, np.clip(expected + noise, -1, 1).astype(np.float32), strict=True)
        observations = [env.step(action)[0] for env, action in moves]
    assert ours._moving.tolist() == [one.moving_leg for one in alone]


def test_value_iteration_finds_the_only_good_way():
    # from state 0, action 1 leads on for -1 and then 10; action 0 ends at once with 5
    table = {
        0: {0: [(1.0, 2, 5.0, True)], 1: [(1.0, 1, -1.0, False)]},
        1: {0: [(0.5, 0, 0.0, False), (0.5, 2, 0.0, True)], 1: [(1.0, 2, 10.0, True)]},
        2: {0: [(1.0, 2, 0.0, True)], 1: [(1.0, 2, 0.0, True)]},
    }
    assert best_actions(table)[:2].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("environment", "at_least"), [("seqrl/FrozenLakeNotSlippery-v1", 1.0), ("Taxi-v4", 3.0), ("FrozenLake-v1", 0.6)]
)
def test_the_table_policy_is_good(environment, at_least):
    policy = TablePolicy(space_facts(environment))
    env = make_environment(environment)
    returns = []
    for seed in range(60):
        observation, _ = env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            action = policy.act(np.eye(env.observation_space.n)[[observation]])[0]
            observation, reward, terminated, truncated, _ = env.step(int(action))
            total, ended = total + reward, terminated or truncated
        returns.append(total)
    assert np.mean(returns) >= at_least
