"""Environments: one, many in lock step, and who acts in them."""

from seqrl.environments.goals import goal_distances
from seqrl.environments.making import (
    EnvironmentFacts,
    EnvironmentUnavailable,
    facts_of,
    make_environment,
    space_facts,
)
from seqrl.environments.noise import EpisodeNoise
from seqrl.environments.registration import register_environments
from seqrl.environments.vectors import EnvironmentVector, GymnasiumVector, Steps, make_vector

__all__ = [
    "EnvironmentFacts",
    "EnvironmentUnavailable",
    "EnvironmentVector",
    "EpisodeNoise",
    "GymnasiumVector",
    "Steps",
    "facts_of",
    "goal_distances",
    "make_environment",
    "make_vector",
    "space_facts",
]

register_environments()
