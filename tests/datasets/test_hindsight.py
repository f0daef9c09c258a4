"""Goals in hindsight: every stretch ends where it first reaches what it wished for, and says so in each observation."""

import numpy as np
import pytest
from pydantic import ValidationError

from seqrl.config import BehaviourSpec, DatasetSpec, DeriveSpec, GoalFacts, Hindsight
from seqrl.datasets import build
from seqrl.datasets.deriving import derive
from seqrl.datasets.hindsight import stretches
from seqrl.store.columns import Columns, Episode

GOAL = GoalFacts(achieved=(0, 1), desired=(2, 3))


def walk(places):
    """An episode over points of the plane, whose own goal is far away."""
    places = np.array(places, dtype=np.float32)
    observations = np.concatenate([places, np.full_like(places, 99.0)], axis=1)
    return Episode(observations, np.arange(len(places) - 1), np.zeros(len(places) - 1))


def test_a_stretch_is_a_piece_of_the_walk_with_another_goal():
    episode = walk([(0, 0), (1, 0), (2, 0), (2, 1), (1, 0), (0, 5)])
    made = list(stretches(episode, GOAL, Hindsight(stretches=200, mean_steps=3), 0))
    assert len(made) > 100
    for piece in made:
        start = int(piece.actions[0])
        length = len(piece.rewards)
        np.testing.assert_array_equal(piece.actions, np.arange(start, start + length))
        np.testing.assert_array_equal(piece.observations[:, :2], episode.observations[start : start + length + 1, :2])
        wished = piece.observations[0, 2:]
        assert (piece.observations[:, 2:] == wished).all()
        there = (piece.observations[:, :2] == wished).all(axis=1)
        assert there[-1] and not there[:-1].any()  # it ends where the goal is reached first
        assert (piece.rewards == -1).all()
    assert {tuple(piece.observations[0, 2:]) for piece in made} == {(1, 0), (2, 0), (2, 1), (0, 5)}


def test_near_enough_is_there():
    episode = walk([(float(i), 0) for i in range(10)])
    for piece in stretches(episode, GOAL, Hindsight(stretches=100, mean_steps=5, tolerance=1.5), 0):
        away = np.abs(piece.observations[:, 0] - piece.observations[:, 2])
        assert away[-1] <= 1.5 and (away[:-1] > 1.5).all()


def test_the_seed_and_the_number_of_the_episode_decide_what_is_cut_out():
    episode = walk([(i, i % 3) for i in range(30)])

    def cuts(seed, number):
        return [(int(p.actions[0]), len(p.rewards)) for p in stretches(episode, GOAL, Hindsight(seed=seed), number)]

    assert cuts(0, 0) == cuts(0, 0) != cuts(1, 0)
    assert cuts(0, 0) != cuts(0, 1)


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """Random walks on the graph with goals."""
    folder = tmp_path_factory.mktemp("hindsight") / "walks"
    behaviours = (BehaviourSpec(tier="random", policy="random"),)
    build(DatasetSpec(name="walks", environment="seqrl/GraphGoals-v0", episodes=20, behaviours=behaviours), folder)
    return Columns.open(folder)


def test_a_dataset_of_stretches_is_of_the_same_environment(walks, tmp_path):
    spec = DeriveSpec(name="seen", sources=("walks",), hindsight=Hindsight(stretches=3))
    facts = derive(spec, [walks], tmp_path / "seen")
    columns = Columns.open(tmp_path / "seen")
    assert 20 < facts.episodes <= 60 and facts.terminated_episodes == facts.episodes
    assert (facts.environment, facts.observation) == ("seqrl/GraphGoals-v0", walks.facts.observation)
    assert facts.returns.maximum == -1.0 and (columns.episodes["seed"] == -1).all()
    goal = facts.observation.goal
    for number in range(facts.episodes):
        observations = columns.episode(number).observations
        np.testing.assert_array_equal(observations[-1, goal.achieved], observations[-1, goal.desired])


def test_observations_without_a_goal_are_refused(tmp_path):
    behaviours = (BehaviourSpec(tier="random", policy="random"),)
    build(DatasetSpec(name="w", environment="seqrl/GraphWalk-v0", episodes=2, behaviours=behaviours), tmp_path / "w")
    spec = DeriveSpec(name="seen", sources=("w",), hindsight=Hindsight())
    with pytest.raises(ValueError, match="hindsight needs observations that name their goal, but those of w do not"):
        derive(spec, [Columns.open(tmp_path / "w")], tmp_path / "seen")
    with pytest.raises(ValidationError, match="leave observation_dimensions empty"):
        DeriveSpec(name="seen", sources=("w",), hindsight=Hindsight(), observation_dimensions=(0,))
