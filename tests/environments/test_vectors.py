import gymnasium
import numpy as np
import pytest

from seqrl.environments import GymnasiumVector, make_vector
from seqrl.environments.cartpole import CartPoleVector


def single_episode(environment, seed, actions, **options):
    """Step a plain Gymnasium environment until it ends or the actions do."""
    env = gymnasium.make(environment, **options)
    observations, rewards, ends = [env.reset(seed=seed)[0]], [], []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        ends.append((terminated, truncated))
        if terminated or truncated:
            break
    env.close()
    return np.stack(observations), np.array(rewards), np.array(ends)


def vector_episodes(vector, seeds, actions):
    """Play all seeds at once, dropping finished episodes; actions (n, T, ...)."""
    rows = np.arange(len(seeds))
    observations = [[row] for row in vector.reset(seeds)]
    rewards, ends = [[] for _ in seeds], [[] for _ in seeds]
    for t in range(actions.shape[1]):
        step = vector.step(actions[rows, t])
        for i, row in enumerate(rows):
            observations[row].append(step.observations[i])
            rewards[row].append(step.rewards[i])
            ends[row].append((step.terminated[i], step.truncated[i]))
        running = ~(step.terminated | step.truncated)
        vector.keep(running)
        rows = rows[running]
        if not len(rows):
            break
    vector.close()
    return [(np.stack(o), np.array(r), np.array(e)) for o, r, e in zip(observations, rewards, ends, strict=True)]


def assert_same(environment, vector, seeds, actions, **options):
    episodes = vector_episodes(vector, seeds, actions)
    for seed, taken, (observations, rewards, ends) in zip(seeds, actions, episodes, strict=True):
        expected = single_episode(environment, int(seed), list(taken), **options)
        np.testing.assert_array_equal(observations, expected[0])
        np.testing.assert_array_equal(rewards, expected[1])
        np.testing.assert_array_equal(ends, expected[2])


def test_cartpole_is_bit_exact_over_many_episodes():
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, 2**31, 200)
    actions = rng.integers(0, 2, (200, 200))
    assert_same("CartPole-v1", CartPoleVector(), seeds, actions)


def test_cartpole_is_bit_exact_up_to_the_time_limit():
    # alternating pushes hold the pole for a while; the short limit cuts some episodes and not others
    actions = np.tile([0, 1], (30, 20))
    vector = make_vector("CartPole-v1", max_episode_steps=37)
    assert isinstance(vector, CartPoleVector)
    assert_same("CartPole-v1", vector, np.arange(30), actions, max_episode_steps=37)


def test_an_episode_may_terminate_on_the_step_of_its_time_limit():
    falls = len(single_episode("CartPole-v1", 5, [1] * 500)[1])
    both = vector_episodes(CartPoleVector(falls), [5], np.ones((1, 500), dtype=int))[0][2][-1]
    expected = single_episode("CartPole-v1", 5, [1] * 500, max_episode_steps=falls)[2][-1]
    assert tuple(both) == tuple(expected) == (True, True)


def test_settings_of_the_environment_are_not_ignored_by_the_fast_vector():
    vector = make_vector("CartPole-v1", {"sutton_barto_reward": True})
    actions = np.ones((2, 30), dtype=int)
    assert_same("CartPole-v1", vector, [1, 2], actions, sutton_barto_reward=True)


@pytest.mark.parametrize("environment", ["Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"])
def test_every_vector_equals_the_single_environment(environment):
    rng = np.random.default_rng(1)
    space = gymnasium.make(environment).action_space
    shape = (6, 60, *space.shape)
    actions = rng.uniform(-1.2, 1.2, shape).astype(np.float32) if space.shape else rng.integers(0, space.n, shape)
    assert_same(environment, make_vector(environment, max_episode_steps=50), range(6), actions, max_episode_steps=50)


def test_a_vector_can_be_reset_to_any_number_of_episodes():
    vector = GymnasiumVector("Acrobot-v1")
    first = vector.reset([1, 2, 3])
    vector.keep(np.array([True, False, True]))
    again = vector.reset([1, 2, 3, 4, 5])
    np.testing.assert_array_equal(again[:3], first)
    assert again.shape == (5, 6) and again.dtype == np.float32
