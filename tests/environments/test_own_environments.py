import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from seqrl.config import BehaviourSpec, DatasetSpec
from seqrl.datasets import collect
from seqrl.environments import EnvironmentUnavailable, make_environment
from seqrl.environments.graph_walk import make_graph

OWN = ["seqrl/GraphWalk-v0", "seqrl/KeyToDoor-v0", "seqrl/Gamble-v0"]
UP, RIGHT, DOWN, LEFT = range(4)


def returns(environment, policy, episodes, **kwargs):
    spec = DatasetSpec(
        name="d",
        environment=environment,
        environment_kwargs=kwargs,
        episodes=episodes,
        behaviours=(BehaviourSpec(policy=policy),),
    )
    return np.array([episode.rewards.sum() for piece in collect(spec) for episode in piece.episodes])


@pytest.mark.parametrize("environment", OWN)
def test_they_keep_gymnasiums_rules(environment):
    check_env(make_environment(environment, render_mode="rgb_array").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("environment", OWN)
def test_frames_show_what_happened(environment):
    env = make_environment(environment, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(1)
    after = env.render()
    assert before.shape == after.shape and before.dtype == np.uint8 and before.shape[2] == 3
    assert not np.array_equal(before, after)
    assert all(size % 2 == 0 for size in before.shape[:2])  # video codecs want even sizes


@pytest.mark.parametrize(("nodes", "exits", "seed"), [(20, 3, 0), (20, 3, 5), (8, 2, 1), (40, 4, 2)])
def test_distances_of_the_graph_are_shortest_ways(nodes, exits, seed):
    graph = make_graph(nodes, exits, seed)
    for start in range(nodes):
        reached, steps = {start}, 0
        while graph.goal not in reached:
            reached = {int(other) for node in reached for other in graph.exits[node]}
            steps += 1
            assert steps <= nodes
        assert steps == graph.distances[start]
    assert all(len(set(row)) == exits and node not in row for node, row in enumerate(graph.exits.tolist()))


def test_the_shortest_way_takes_as_many_steps_as_the_distance():
    env = make_environment("seqrl/GraphWalk-v0")
    graph = env.unwrapped.graph
    starts = [env.reset(seed=seed)[0] for seed in range(300)]
    assert set(starts) == set(range(20)) - {graph.goal}
    by_heuristic = returns("seqrl/GraphWalk-v0", "heuristic", 100)
    assert by_heuristic.min() >= -graph.distances.max() and by_heuristic.max() == -1
    assert returns("seqrl/GraphWalk-v0", "random", 100).mean() < 3 * by_heuristic.mean()
    assert returns("seqrl/GraphWalk-v0", "heuristic", 50, nodes=40, graph_seed=3).min() > -50


def play_rooms(start, moves):
    env = make_environment("seqrl/KeyToDoor-v0")
    seed = next(s for s in range(1000) if tuple(env.reset(seed=s)[0][1:3]) == start)
    env.reset(seed=seed)
    return [env.step(move) for move in moves]


def test_the_door_pays_only_with_the_key():
    wait = [UP] * 9  # four steps of the first room, five of the second
    fetch, leave = [RIGHT] * 3 + [DOWN] * 3, [LEFT] * 6
    open_door = [LEFT, LEFT, UP, UP]
    with_key = play_rooms((0, 0), fetch + wait + open_door)
    assert [step[1] for step in with_key] == [0.0] * 18 + [1.0]
    assert with_key[-1][2] and not with_key[-2][2]
    without = play_rooms((0, 0), leave + wait + open_door)
    assert without[-1][2] and sum(step[1] for step in without) == 0.0
    assert len(with_key) == len(without) == 19


def test_nothing_after_the_first_room_tells_who_has_the_key():
    wait = [UP] * 21
    fetch, leave = [RIGHT] * 3 + [DOWN] * 3, [LEFT] * 6
    with_key, without = (play_rooms((0, 0), first + wait) for first in (fetch, leave))
    for number, (one, other) in enumerate(zip(with_key, without, strict=True)):
        if number >= 9:  # the tenth step leads into the empty room
            np.testing.assert_array_equal(one[0], other[0])
    assert with_key[5][0][3] == 0 and without[5][0][3] == 1
    assert with_key[-1][3] and not with_key[-1][2]  # out of time is a truncation


def test_random_walks_rarely_open_the_door_and_the_heuristic_always_does():
    assert returns("seqrl/KeyToDoor-v0", "heuristic", 60).min() == 1.0
    assert returns("seqrl/KeyToDoor-v0", "heuristic", 20, size=3).min() == 1.0
    assert 0.025 < returns("seqrl/KeyToDoor-v0", "random", 4000).mean() < 0.037  # 0.031 in the paper


def test_betting_loses_on_average_although_the_best_returns_are_bets():
    data = returns("seqrl/Gamble-v0", "random", 2000)
    assert data.max() > 13 and returns("seqrl/Gamble-v0", "heuristic", 20).tolist() == [5.0] * 20
    env = make_environment("seqrl/Gamble-v0")
    totals = []
    for seed in range(800):
        env.reset(seed=seed)
        totals.append(sum(env.step(1)[1] for _ in range(5)))
    assert np.mean(totals) == pytest.approx(-1.0, abs=0.6)


@pytest.mark.parametrize(
    ("environment", "kwargs"),
    [("seqrl/GraphWalk-v0", {"exits": 1}), ("seqrl/KeyToDoor-v0", {"size": 1}), ("seqrl/Gamble-v0", {"chance": 2.0})],
)
def test_impossible_settings_are_refused_with_a_sentence(environment, kwargs):
    with pytest.raises(EnvironmentUnavailable, match="choose"):
        make_environment(environment, kwargs)
