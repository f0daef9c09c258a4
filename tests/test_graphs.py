"""The graph behind walks against the graph that made them, and breadth-first search against its definition."""

import doctest

import numpy as np
import pytest

import seqrl.graphs
from seqrl.environments.graph_walk import make_graph
from seqrl.graphs import layout, shortest, shortest_way, walked_graph


def random_steps(graph, count, seed=0):
    """Steps from random nodes by random exits."""
    rng = np.random.default_rng(seed)
    nodes = rng.integers(len(graph.exits), size=count)
    actions = rng.integers(graph.exits.shape[1], size=count)
    return nodes, actions, graph.exits[nodes, actions]


def test_the_examples_hold():
    assert doctest.testmod(seqrl.graphs).failed == 0


@pytest.mark.parametrize("seed", range(3))
def test_enough_walks_show_the_graph_and_its_distances(seed):
    graph = make_graph(seed=seed)
    found = walked_graph(*random_steps(graph, 2000), graph.goal, len(graph.exits))
    assert np.array_equal(found.leads, graph.exits)
    assert np.array_equal(found.distances, graph.distances)


def test_an_edge_that_nobody_walked_is_not_used():
    graph = make_graph()
    nodes, actions, following = random_steps(graph, 2000)
    kept = following != graph.goal
    found = walked_graph(nodes[kept], actions[kept], following[kept], graph.goal, len(graph.exits))
    assert np.isinf(np.delete(found.distances, graph.goal)).all()
    assert shortest_way(found, int(nodes[0])) == []


def test_a_shortest_way_is_walked_along_edges_and_as_long_as_its_distance():
    graph = make_graph()
    found = walked_graph(*random_steps(graph, 2000), graph.goal, len(graph.exits))
    for start in range(len(graph.exits)):
        way = shortest_way(found, start)
        assert way[0] == start
        assert way[-1] == graph.goal
        assert len(way) - 1 == graph.distances[start]
        assert all(b in graph.exits[a] for a, b in zip(way[:-1], way[1:], strict=True))


def test_without_a_goal_nothing_is_near():
    assert np.isinf(shortest(np.array([[1], [0]]), -1)).all()


def test_the_picture_is_always_the_same_and_keeps_neighbours_near():
    graph = make_graph()
    places = layout(graph.exits)
    assert np.array_equal(places, layout(graph.exits))
    assert np.linalg.norm(places, axis=1).max() == pytest.approx(1)
    between = np.linalg.norm(places[:, None] - places[None], axis=2)
    neighbours = np.array([between[a, b] for a, exits in enumerate(graph.exits) for b in exits])
    assert neighbours.mean() < 0.6 * between[np.triu_indices(len(places), 1)].mean()


def test_a_path_is_laid_out_straight():
    places = layout(np.array([[1, 1], [0, 2], [1, 3], [2, 4], [3, 3]]))
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert steps == pytest.approx(np.full(4, 0.5), abs=0.01)
