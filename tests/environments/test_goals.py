"""Environments whose observations name a goal, and how far away it is."""

import numpy as np
import pytest
from gymnasium import spaces

from seqrl.config import BehaviourSpec, DatasetSpec, GoalFacts
from seqrl.datasets.collection import collect
from seqrl.environments import goal_distances, make_environment, make_vector, space_facts
from seqrl.environments.graph_walk import make_graph
from seqrl.environments.spaces import observation_facts

GRAPH = "seqrl/GraphGoals-v0"


def test_the_columns_of_a_goal_are_found_wherever_they_stand():
    parts = {"achieved_goal": spaces.Box(0, 1, (2,)), "desired_goal": spaces.Box(0, 1, (2,))}
    inner = spaces.Dict({"observation": spaces.Discrete(3), **parts})
    found = observation_facts(inner)
    rows = spaces.flatten(inner, {"observation": 1, "achieved_goal": [0.25, 0.5], "desired_goal": [0.75, 1.0]})
    np.testing.assert_array_equal(np.array(rows)[list(found.goal.achieved)], [0.25, 0.5])
    np.testing.assert_array_equal(np.array(rows)[list(found.goal.desired)], [0.75, 1.0])
    assert (found.kind, found.categories) == ("mixed", ())
    assert observation_facts(spaces.Dict({"achieved_goal": spaces.Discrete(2)})).goal is None
    assert observation_facts(parts["desired_goal"]).goal is None


def test_a_dictionary_of_categories_is_one_hot_groups():
    facts = space_facts(GRAPH).observation
    assert (facts.kind, facts.categories, facts.size) == ("multi_discrete", (20, 20, 20), 60)
    assert facts.goal == GoalFacts(achieved=tuple(range(20)), desired=tuple(range(20, 40)))


def test_the_heuristic_takes_a_shortest_way_to_any_goal():
    behaviours = (BehaviourSpec(tier="expert", policy="heuristic"),)
    spec = DatasetSpec(name="ways", environment=GRAPH, episodes=150, behaviours=behaviours)
    goals = set()
    for piece in collect(spec):
        for episode in piece.episodes:
            start, goal = (int(episode.observations[0, group].argmax()) for group in (slice(0, 20), slice(20, 40)))
            assert len(episode.rewards) == make_graph().steps[start, goal] and episode.terminated
            assert episode.rewards.sum() == -len(episode.rewards)
            goals.add(goal)
    assert len(goals) > 15


def test_the_distance_is_the_rows_own_or_the_straight_line():
    vector = make_vector(GRAPH)
    observations = vector.reset(range(50))
    vector.close()
    facts = space_facts(GRAPH)

    class Facts:
        environment, environment_kwargs, observation = GRAPH, {}, facts.observation

    away = goal_distances(Facts, observations)
    nodes, goals = observations[:, :20].argmax(axis=1), observations[:, 20:40].argmax(axis=1)
    np.testing.assert_array_equal(away, make_graph().steps[nodes, goals])
    Facts.environment = "Elsewhere-v0"
    assert goal_distances(Facts, observations) == pytest.approx(np.full(50, np.sqrt(2)))
    Facts.observation = facts.observation.model_copy(update={"goal": None})
    assert goal_distances(Facts, observations) is None


def test_the_picture_shows_the_episodes_own_goal():
    env = make_environment(GRAPH, render_mode="rgb_array")
    pictures = []
    for seed in range(2):
        env.reset(seed=seed)
        pictures.append(env.render())
    env.close()
    assert (pictures[0] != pictures[1]).any()
