"""The graph behind recorded walks: which node leads to which, the shortest paths, and where to draw the nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class WalkedGraph:
    """What recorded walks say about a graph.

    Attributes:
        leads: (N, A) int, the node that an action leads to; -1 where the action was never tried there.
        goal: the node that ends a walk, -1 if no walk ended by itself.
        distances: (N,) float64, steps of the shortest path to the goal along edges that were walked; infinite where
            there is none.
    """

    leads: np.ndarray
    goal: int
    distances: np.ndarray


def walked_graph(nodes: np.ndarray, actions: np.ndarray, following: np.ndarray, goal: int, size: int) -> WalkedGraph:
    """Put the edges of many walks together and search them backwards from the goal, breadth first.

    Args:
        nodes: (S,) int, where each step began.
        actions: (S,) int, from 0.
        following: (S,) int, where each step ended.
        goal: the node that all ways lead to, or -1.
        size: number of nodes.

    >>> walked_graph(np.array([0, 1]), np.array([0, 0]), np.array([1, 2]), 2, 3).distances.tolist()
    [2.0, 1.0, 0.0]
    """
    leads = np.full((size, int(actions.max(initial=0)) + 1), -1)
    leads[nodes, actions] = following
    return WalkedGraph(leads, goal, shortest(leads, goal))


def shortest(leads: np.ndarray, goal: int) -> np.ndarray:
    """(N,) steps of the shortest path to a node; infinite where there is none.

    >>> shortest(np.array([[1], [0], [1]]), 0).tolist()
    [0.0, 1.0, 2.0]
    """
    distances = np.full(len(leads), np.inf)
    if goal < 0:
        return distances
    distances[goal] = 0.0
    for _ in range(len(leads)):
        reached = np.where(leads >= 0, distances[leads], np.inf).min(axis=1)
        better = np.minimum(distances, 1.0 + reached)
        if np.array_equal(better, distances):
            break
        distances = better
    return distances


def shortest_way(graph: WalkedGraph, start: int) -> list[int]:
    """The nodes of a shortest path from a node to the goal, both included; empty when there is none.

    >>> graph = walked_graph(np.array([0, 1]), np.array([0, 0]), np.array([1, 2]), 2, 3)
    >>> shortest_way(graph, 0)
    [0, 1, 2]
    """
    if not np.isfinite(graph.distances[start]):
        return []
    way = [start]
    while way[-1] != graph.goal:
        exits = graph.leads[way[-1]]
        exits = exits[exits >= 0]
        way.append(int(exits[graph.distances[exits].argmin()]))
    return way


def layout(leads: np.ndarray, rounds: int = 300) -> np.ndarray:
    """Places for the nodes so that their distance in the picture is like their number of steps apart.

    Stress majorisation (Gansner et al. 2005) from classical scaling; the same graph always gets the same picture.

    Args:
        leads: (N, A) int as in `WalkedGraph`.
        rounds: of the majorisation.

    Returns:
        (N, 2) float64, centred, the farthest node at distance 1.
    """
    size = len(leads)
    if size < 2:
        return np.zeros((size, 2))
    both = _undirected_distances(leads)
    wanted = np.where(np.isfinite(both), both, both[np.isfinite(both)].max() + 1.0)
    # Nodes with the same neighbours would start, and stay, at one place; a tiny turn of each tells them apart.
    turns = 2.399963 * np.arange(size)
    places = _classical_scaling(wanted) + 0.05 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    weights = 1.0 / np.square(wanted + np.eye(size))
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    inverse = np.linalg.pinv(laplacian)
    for _ in range(rounds):
        between = np.linalg.norm(places[:, None] - places[None], axis=2)
        ratio = np.where(between > 1e-9, weights * wanted / np.maximum(between, 1e-9), 0.0)
        places = inverse @ ((np.diag(ratio.sum(axis=1)) - ratio) @ places)
    places = places - places.mean(axis=0)
    return np.asarray(places / max(float(np.linalg.norm(places, axis=1).max()), 1e-9))


def _undirected_distances(leads: np.ndarray) -> np.ndarray:
    size = len(leads)
    distances = np.full((size, size), np.inf)
    np.fill_diagonal(distances, 0.0)
    for node, exits in enumerate(leads):
        for other in exits[exits >= 0]:
            if other != node:
                distances[node, other] = distances[other, node] = 1.0
    for middle in range(size):  # Floyd and Warshall
        distances = np.minimum(distances, distances[:, middle : middle + 1] + distances[middle : middle + 1])
    return distances


def _classical_scaling(distances: np.ndarray) -> np.ndarray:
    size = len(distances)
    centre = np.eye(size) - 1.0 / size
    values, vectors = np.linalg.eigh(-0.5 * centre @ np.square(distances) @ centre)
    largest = np.argsort(values)[::-1][:2]
    flipped = vectors[:, largest] * np.where(vectors[0, largest] < 0, -1.0, 1.0)  # an eigenvector's sign is arbitrary
    return np.asarray(flipped * np.sqrt(np.maximum(values[largest], 1e-9)))
