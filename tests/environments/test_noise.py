import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl.environments import EpisodeNoise

SEEDS = st.lists(st.integers(0, 2**63), min_size=1, max_size=8, unique=True)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(0, 500), st.data())
def test_numbers_belong_to_the_episode_not_to_its_batch(seeds, t, data):
    running = np.array(data.draw(st.lists(st.booleans(), min_size=len(seeds), max_size=len(seeds))))
    together = EpisodeNoise(seeds, 3)
    together.at(data.draw(st.integers(0, t)))
    together.keep(running)
    alone = [EpisodeNoise([seed], 3).at(t)[0] for seed, stays in zip(seeds, running, strict=True) if stays]
    np.testing.assert_array_equal(together.at(t), np.array(alone).reshape(-1, 3))


def test_seeds_streams_and_timesteps_are_independent():
    timesteps = range(400)
    columns = [
        np.array([EpisodeNoise([seed], 1, stream).at(t)[0, 0] for t in timesteps])
        for seed, stream in [(0, "a"), (1, "a"), (0, "b")]
    ]
    correlations = np.corrcoef([*columns, np.roll(columns[0], 64)])
    assert np.abs(correlations - np.eye(4)).max() < 0.2
    assert len(np.unique(np.concatenate(columns))) == 1200


def test_uniform_and_normal_numbers_have_their_moments():
    uniform = np.concatenate([EpisodeNoise(range(500), 4).at(t).ravel() for t in (0, 63, 64)])
    normal = np.concatenate([EpisodeNoise(range(500), 4, normal=True).at(t).ravel() for t in (0, 63, 64)])
    assert 0 <= uniform.min() and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.02 and abs(uniform.std() - 12**-0.5) < 0.02
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05
