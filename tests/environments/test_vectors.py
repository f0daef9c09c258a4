import gymnasium
import numpy as np
import pytest

from seqrl.environments import GymnasiumVector, make_vector
from seqrl.environments.classic_control import AcrobotVector, CartPoleVector, ClassicVector
from seqrl.registry import environment_row, resolve


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
    assert_same("CartPole-v1", CartPoleVector(500), seeds, actions)


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


@pytest.mark.parametrize(
    ("environment", "largest", "steps"),
    [
        ("Pendulum-v1", 2.5, 200),
        ("Acrobot-v1", None, 300),
        ("MountainCar-v0", None, 200),
        ("MountainCarContinuous-v0", 1.0, 400),
        ("MountainCarContinuous-v0", 1.3, 400),
    ],
)
@pytest.mark.parametrize("held", [1, 12])
def test_classic_control_is_bit_exact(environment, largest, steps, held):
    """Actions at random, and held for a while, which swings far enough to reach walls, speed limits and goals."""
    rng = np.random.default_rng(held)
    episodes, choices = 12, -(-steps // held)
    if largest:
        actions = rng.uniform(-largest, largest, (episodes, choices, 1)).astype(np.float32)
        actions = np.where(rng.random(actions.shape) < 0.2, np.sign(actions) * largest, actions).astype(np.float32)
    else:
        actions = rng.integers(0, 3, (episodes, choices))
    actions = np.repeat(actions, held, axis=1)[:, :steps]
    vector = make_vector(environment, max_episode_steps=steps)
    assert isinstance(vector, ClassicVector)
    assert_same(environment, vector, rng.integers(0, 2**31, episodes), actions, max_episode_steps=steps)


@pytest.mark.parametrize("environment", ["Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"])
def test_classic_control_is_bit_exact_up_to_the_goal(environment):
    row = environment_row(environment)
    vector, act = make_vector(environment), resolve(row.heuristic)
    observations = vector.reset(range(10))
    taken, goals = [], np.zeros(10, dtype=bool)
    for _ in range(row.max_episode_steps):
        taken.append(act(observations))
        step = vector.step(taken[-1])  # goes on after the goal: only the way there is compared
        observations, goals = step.observations, goals | step.terminated
        if goals.all():
            break
    assert goals.all()
    assert_same(environment, make_vector(environment), range(10), np.stack(taken, axis=1))


def test_other_environments_are_stepped_one_by_one():
    vector = make_vector("LunarLander-v3", max_episode_steps=50)
    assert isinstance(vector, GymnasiumVector)
    actions = np.random.default_rng(1).integers(0, 4, (3, 60))
    assert_same("LunarLander-v3", vector, range(3), actions, max_episode_steps=50)


@pytest.mark.parametrize("vector_class", [GymnasiumVector, AcrobotVector])
def test_a_vector_can_be_reset_to_any_number_of_episodes(vector_class):
    vector = vector_class("Acrobot-v1") if vector_class is GymnasiumVector else vector_class(500)
    first = vector.reset([1, 2, 3])
    vector.keep(np.array([True, False, True]))
    again = vector.reset([1, 2, 3, 4, 5])
    np.testing.assert_array_equal(again[:3], first)
    assert again.shape == (5, 6) and again.dtype == np.float32
