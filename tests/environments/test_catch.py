"""Catch: what its pictures show, and what is paid."""

import numpy as np
import pytest

from seqrl.config import BehaviourSpec, DatasetSpec
from seqrl.datasets import build
from seqrl.datasets.minari_files import read_episodes
from seqrl.environments import EnvironmentUnavailable, make_environment, space_facts
from seqrl.store.base import minari_id
from seqrl.store.columns import Columns

CATCH = "seqrl/Catch-v0"


def built(tmp_path, policy, episodes=40):
    behaviours = (BehaviourSpec(tier="t", policy=policy),)
    spec = DatasetSpec(name="balls", environment=CATCH, episodes=episodes, behaviours=behaviours)
    build(spec, tmp_path / "balls", tmp_path / "minari")
    return Columns.open(tmp_path / "balls")


def test_one_ball_and_one_paddle_are_seen():
    env = make_environment(CATCH)
    seen, _ = env.reset(seed=3)
    rewards = []
    while True:
        assert seen.dtype == np.uint8 and seen.shape == (10, 10, 1)
        assert sorted(seen[seen > 0].tolist()) in ([128, 255], [255])
        seen, reward, ended, cut, _ = env.step(env.action_space.sample())
        rewards.append(reward)
        if ended:
            break
    assert len(rewards) == 72 and not cut
    assert [i for i, reward in enumerate(rewards) if reward] == [i for i in range(8, 72, 9) if rewards[i]]


def test_the_heuristic_catches_every_ball_and_chance_a_tenth(tmp_path):
    assert built(tmp_path / "a", "heuristic").facts.returns.minimum == 8.0
    assert 0.3 < built(tmp_path / "b", "random", 100).facts.returns.mean < 2.0


def test_pictures_are_stored_as_bytes(tmp_path):
    columns = built(tmp_path, "random", 5)
    assert columns.observations.dtype == np.uint8 and columns.final_observations.dtype == np.uint8
    assert columns.facts.observation.kind == "image" and len(columns.facts.observation_mean) == 1
    for number, (data, _) in enumerate(read_episodes(tmp_path / "minari" / minari_id("balls"))):
        assert data["observations"].dtype == np.uint8
        np.testing.assert_array_equal(data["observations"], columns.episode(number).observations)
    assert (tmp_path / "balls" / "observations.npy").stat().st_size < (columns.steps + 1024) * 100 + 1000


def test_impossible_settings_are_refused_with_a_sentence():
    with pytest.raises(EnvironmentUnavailable, match="choose a size of 4 to 96"):
        make_environment(CATCH, {"size": 2})
    assert space_facts(CATCH, {"size": 6}).observation.shape == (6, 6, 1)
