"""Data as an ensemble of trajectories: weights ``exp(return / temperature)``, and what imitating them then does.

In the path-integral view of control (Kappen 2005; Levine 2018, section 2) a trajectory τ of the data gets the
probability ``p_T(τ) ∝ p(τ) exp(G(τ) / T)``. A high temperature T leaves the data as it is, a low one keeps only the
best trajectory. Asking for a return is the other way to choose from the same ensemble: ``p(τ | G(τ) = target)``.
Both choose *trajectories*, and with them the luck that was in them.
"""

from __future__ import annotations

import numpy as np


def path_weights(returns: np.ndarray, temperature: float) -> np.ndarray:
    """Weight of every trajectory, ``exp(G / T)`` divided by its sum.

    Args:
        returns: (E,) return of every trajectory, reward units.
        temperature: T, reward units, above 0; infinite leaves the data as it is.

    Returns:
        (E,) float64, summing to 1.

    Raises:
        ValueError: if there are no trajectories, or the temperature is not positive.

    >>> path_weights(np.array([0.0, 0.0, np.log(2.0)]), 1.0).tolist()
    [0.25, 0.25, 0.5]
    """
    returns = np.asarray(returns, dtype=np.float64)
    if not len(returns):
        raise ValueError("there are no trajectories to weigh; give at least one return")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; choose more than 0")
    weights = np.exp((returns - returns.max()) / temperature)
    return np.asarray(weights / weights.sum())


def asked_weights(returns: np.ndarray, target: float, width: float) -> np.ndarray:
    """Weight of every trajectory when a return is asked for: equal among those near the target, else 0.

    Args:
        returns: (E,) reward units.
        target: the return asked for, reward units.
        width: how far from the target a trajectory still counts, reward units; where none lies so near, the nearest
            ones count.

    Returns:
        (E,) float64, summing to 1.

    >>> asked_weights(np.array([1.0, 2.0, 2.0, 9.0]), 2.0, 0.5).tolist()
    [0.0, 0.5, 0.5, 0.0]
    >>> asked_weights(np.array([1.0, 2.0]), 50.0, 0.5).tolist()
    [0.0, 1.0]
    """
    returns = np.asarray(returns, dtype=np.float64)
    if not len(returns):
        raise ValueError("there are no trajectories to weigh; give at least one return")
    distance = np.abs(returns - target)
    near = distance <= max(width, float(distance.min()))
    return np.asarray(near / near.sum())


def effective_sample_size(weights: np.ndarray) -> float:
    """How many equally weighted trajectories say as much: ``1 / Σ w²`` (Kish 1965).

    Args:
        weights: (E,) summing to 1.

    Returns:
        From 1 (one trajectory has all the weight) to E (all weigh alike).

    >>> effective_sample_size(np.array([0.5, 0.5, 0.0]))
    2.0
    """
    return float(1.0 / np.sum(np.square(np.asarray(weights, dtype=np.float64))))


def sample_sizes(returns: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Effective sample size at every temperature.

    Args:
        returns: (E,) reward units.
        temperatures: (K,) reward units.

    Returns:
        (K,) float64, not falling with the temperature.

    >>> sample_sizes(np.array([0.0, 0.0, 0.0, 0.0]), np.array([0.1, 10.0])).tolist()
    [4.0, 4.0]
    """
    return np.array([effective_sample_size(path_weights(returns, float(t))) for t in temperatures])


def imitated(situations: np.ndarray, actions: np.ndarray, weights: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """What imitating the weighted trajectories does in every situation: ``π(a | x) ∝ Σ w`` over the steps with x and a.

    Args:
        situations: (N,) int, the situation x of every step, from 0.
        actions: (N,) int, from 0.
        weights: (N,) weight of the trajectory that a step belongs to.
        shape: numbers of situations and of actions.

    Returns:
        (situations, actions) float64, rows sum to 1; NaN in situations that no weighted trajectory visits.

    >>> imitated(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.75, 0.25, 0.25]), (2, 2)).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    cells = np.asarray(situations) * shape[1] + np.asarray(actions)
    sums = np.bincount(cells, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
    totals = sums.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(totals > 0, sums / totals, np.nan))


def delivered_return(policy: np.ndarray, mean_rewards: np.ndarray) -> float:
    """Return of a policy where no action changes what comes next: ``Σ_x Σ_a π(a | x) r(x, a)``.

    Args:
        policy: (situations, actions), each situation visited once an episode; NaN rows were never visited and count
            as the uniform choice.
        mean_rewards: (situations, actions) mean reward, reward units.

    Returns:
        Expected return, reward units.

    >>> delivered_return(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[1.0, -0.2], [1.0, -0.2]]))
    1.4
    """
    policy = np.where(np.isnan(policy), 1.0 / policy.shape[1], policy)
    return float(np.sum(policy * mean_rewards))
