import itertools

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.tiny_environments  # noqa: F401
from seqrl.config import BehaviourSpec, DatasetSpec
from seqrl.datasets import collect
from seqrl.environments.spaces import action_decoder, observation_encoder
from seqrl.registry import environment_row


def spec_for(environment="CartPole-v1", mix=None, **values):
    row = environment_row(environment)
    return DatasetSpec(name="d", environment=environment, behaviours=row.behaviours(mix or row.default_mix), **values)


def episodes_of(spec, **options):
    return list(itertools.chain.from_iterable(piece.episodes for piece in collect(spec, **options)))


def assert_same_episodes(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.observations, b.observations)
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.rewards, b.rewards)
        assert a.about() == b.about()


def test_the_tiers_of_cartpole_come_out_as_in_the_reference_notebook():
    episodes = episodes_of(spec_for(episodes=900))
    means = {
        tier: np.mean([e.rewards.sum() for e in episodes if e.behaviour.tier == tier])
        for tier in ("poor", "medium", "expert")
    }
    assert means["poor"] == pytest.approx(94.8, abs=12)
    assert means["medium"] == pytest.approx(377.4, abs=18)
    assert means["expert"] == pytest.approx(489.3, abs=8)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 60))
def test_equal_specs_give_equal_episodes_whatever_the_chunk(chunk):
    spec = spec_for(episodes=25, max_episode_steps=120)
    assert_same_episodes(episodes_of(spec), episodes_of(spec, chunk_episodes=chunk))


@pytest.mark.parametrize("environment", ["Pendulum-v1", "tiny/DictMultiDiscrete-v0"])
def test_chunks_do_not_matter_where_environments_are_stepped_one_by_one(environment):
    mix = [BehaviourSpec(tier="a", share=0.5, policy="random"), BehaviourSpec(tier="b", share=0.5, policy="random")]
    spec = DatasetSpec(name="d", environment=environment, episodes=7, behaviours=mix, max_episode_steps=30)
    assert_same_episodes(episodes_of(spec, chunk_episodes=2), episodes_of(spec, chunk_episodes=7))


def test_another_seed_gives_other_episodes():
    one, other = (episodes_of(spec_for(episodes=3, seed=seed))[0] for seed in (0, 1))
    assert one.seed != other.seed
    assert not np.array_equal(one.observations[0], other.observations[0])


@pytest.mark.parametrize("environment", ["CartPole-v1", "MountainCarContinuous-v0", "tiny/TupleBox-v0"])
def test_replaying_the_actions_in_a_single_environment_gives_the_episode(environment):
    spec = spec_for(environment, {"random": 1.0}, episodes=4, max_episode_steps=40)
    env = gymnasium.make(environment, max_episode_steps=40)
    encode, decode = observation_encoder(env.observation_space), action_decoder(env.action_space)
    for episode in episodes_of(spec):
        observations = [encode(env.reset(seed=episode.seed)[0])]
        for action, reward in zip(episode.actions, episode.rewards, strict=True):
            observation, given_reward, terminated, truncated, _ = env.step(decode(action))
            observations.append(encode(observation))
            assert given_reward == reward
        assert (terminated, truncated) == (episode.terminated, episode.truncated)
        np.testing.assert_array_equal(observations, episode.observations)


def test_termination_and_truncation_stay_apart():
    episodes = episodes_of(spec_for(episodes=60, max_episode_steps=50))
    ends = {(e.terminated, e.truncated) for e in episodes}
    assert {(True, False), (False, True)} <= ends
    for episode in episodes:
        assert len(episode.observations) == len(episode.actions) + 1 == len(episode.rewards) + 1
        assert (len(episode.rewards) == 50) == episode.truncated
        assert episode.terminated or episode.truncated


def test_progress_rises_to_one_and_the_collection_can_be_left():
    spec = spec_for("Pendulum-v1", {"random": 0.5, "poor": 0.5}, episodes=6)
    progress = [piece.progress for piece in collect(spec, chunk_episodes=2)]
    assert progress == sorted(progress) and progress[-1] == 1.0 and len(progress) > 20
    generator = collect(spec)
    next(generator)
    generator.close()


def test_an_environment_without_time_limit_needs_one():
    spec = spec_for("tiny/Endless-v0", episodes=2)
    with pytest.raises(ValueError, match="tiny/Endless-v0 has no time limit.*set max_episode_steps"):
        next(collect(spec))
    assert len(episodes_of(spec.model_copy(update={"max_episode_steps": 5}))) == 2
