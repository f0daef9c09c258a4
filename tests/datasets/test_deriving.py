"""Combining, filtering and splitting take whole episodes, each exactly where it belongs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl.config import BehaviourSpec, DatasetSpec, DeriveSpec, EpisodePart, ImportSpec
from seqrl.datasets import build
from seqrl.datasets.deriving import choose, derive
from seqrl.datasets.importing import import_dataset
from seqrl.environments.replay import Replay
from seqrl.store.columns import Columns
from seqrl.store.sweeps import recorded_in
from tests.foreign_files import steps, write_npz


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve short episodes of CartPole in two tiers."""
    folder = tmp_path_factory.mktemp("derive") / "source"
    behaviours = (BehaviourSpec(tier="poor", share=0.5, epsilon=0.9), BehaviourSpec(tier="good", share=0.5))
    build(DatasetSpec(name="source", episodes=12, behaviours=behaviours, max_episode_steps=40), folder)
    return Columns.open(folder)


def made(spec, sources, tmp_path):
    derive(spec, sources, tmp_path / spec.name)
    return Columns.open(tmp_path / spec.name)


def check_episodes(columns, expected):
    """The episodes are exactly these: (columns, index) pairs in order."""
    assert len(columns.episodes) == len(expected)
    for index, (origin, episode) in enumerate(expected):
        ours, theirs = columns.episode(index), origin.episode(episode)
        for part, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(part, other)
        about = ["length", "achieved_return", "terminated", "truncated", "tier", "policy", "epsilon", "seed"]
        assert columns.episodes[about].iloc[index].equals(origin.episodes[about].iloc[episode])


def test_a_filter_keeps_what_lies_within_its_bounds(source, tmp_path):
    table = source.episodes
    low, high = float(np.sort(table["achieved_return"])[3]), float(np.sort(table["achieved_return"])[9])
    spec = DeriveSpec(name="f", sources=("source",), minimum_return=low, maximum_return=high)
    inside = np.flatnonzero((table["achieved_return"] >= low) & (table["achieved_return"] <= high))
    assert 0 < len(inside) < len(table)
    check_episodes(made(spec, [source], tmp_path), [(source, int(i)) for i in inside])


def test_a_filter_by_tier_and_length(source, tmp_path):
    limit = int(source.episodes["length"].median())
    columns = made(DeriveSpec(name="t", sources=("source",), tiers=("poor",), maximum_length=limit), [source], tmp_path)
    wanted = source.episodes[(source.episodes["tier"] == "poor") & (source.episodes["length"] <= limit)]
    check_episodes(columns, [(source, int(i)) for i in wanted.index])
    assert list(columns.facts.returns_by_tier) == ["poor"]


def test_combining_the_sides_of_a_split_gives_every_episode_once(source, tmp_path):
    sides = []
    for side in ("first", "second"):
        part = EpisodePart(fraction=0.7, side=side, seed=3)
        sides.append(made(DeriveSpec(name=side, sources=("source",), part=part), [source], tmp_path))
    assert [len(columns.episodes) for columns in sides] == [8, 4]
    both = made(DeriveSpec(name="both", sources=("first", "second")), sides, tmp_path)
    assert sorted(both.episodes["seed"]) == sorted(source.episodes["seed"])
    assert both.facts.steps == source.facts.steps
    check_episodes(both, [(side, i) for side in sides for i in range(len(side.episodes))])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_combined_episodes_of_two_time_limits_keep_the_longer_one_and_can_be_played_again(source, tmp_path, order):
    build(DatasetSpec(name="longer", episodes=2, max_episode_steps=60), tmp_path / "longer")
    both = [(source, Columns.open(tmp_path / "longer"))[place] for place in order]
    columns = made(DeriveSpec(name="both", sources=("a", "b")), both, tmp_path)
    assert columns.facts.max_episode_steps == 60
    cut = columns.episodes[(columns.episodes["length"] == 40) & columns.episodes["truncated"]].index
    assert len(cut)
    record = recorded_in(columns, "both", int(cut[0]))
    assert len(Replay(record, columns.facts, render_mode=None).observations()) == 41


@given(st.floats(0.01, 0.99), st.integers(0, 5), st.integers(1, 30))
def test_a_split_divides_any_number_of_episodes(fraction, seed, count):
    import pandas as pd

    table = pd.DataFrame({"achieved_return": np.arange(count), "length": 1, "tier": "data"})
    sides = []
    for side in ("first", "second"):
        spec = DeriveSpec(name="n", sources=("s",), part=EpisodePart(fraction=fraction, side=side, seed=seed))
        try:
            sides.append(choose(spec, [table])[0])
        except ValueError:
            sides.append(np.zeros(0, dtype=int))  # one episode cannot be on both sides
    assert sorted(np.concatenate(sides)) == list(range(count))
    assert count < 2 or min(map(len, sides)) >= 1


def test_what_does_not_fit_together_is_refused(source, tmp_path):
    path = write_npz(tmp_path / "a.npz", steps(states=4, discrete=True))
    import_dataset(ImportSpec(name="other", path=str(path)), tmp_path / "other", tmp_path)
    with pytest.raises(ValueError, match="source has the environment CartPole-v1 but other has None"):
        derive(
            DeriveSpec(name="n", sources=("source", "other")),
            [source, Columns.open(tmp_path / "other")],
            tmp_path / "n",
        )
    with pytest.raises(ValueError, match="none of the 12 episodes is left"):
        derive(DeriveSpec(name="n", sources=("source",), minimum_return=1e9), [source], tmp_path / "n")
    with pytest.raises(ValueError, match="'expert', which no episode has; choose from good, poor"):
        derive(DeriveSpec(name="n", sources=("source",), tiers=("expert",)), [source], tmp_path / "n")
    assert not (tmp_path / "n").exists()


def test_datasets_without_environment_may_count_different_numbers_of_actions(tmp_path):
    sources = []
    for name, most in (("a", 1), ("b", 4)):
        fields = steps(discrete=True)
        fields["actions"] = np.minimum(fields["actions"] * 2, most)
        path = write_npz(tmp_path / f"{name}.npz", fields)
        import_dataset(ImportSpec(name=name, path=str(path)), tmp_path / name, tmp_path)
        sources.append(Columns.open(tmp_path / name))
    both = made(DeriveSpec(name="both", sources=("a", "b")), sources, tmp_path)
    assert both.facts.action.categories == (5,)


def test_some_dimensions_make_a_dataset_without_environment(source, tmp_path):
    spec = DeriveSpec(name="two", sources=("source",), observation_dimensions=(2, 0))
    two = made(spec, [source], tmp_path)
    np.testing.assert_array_equal(two.observations[: two.steps], source.observations[: source.steps][:, [2, 0]])
    np.testing.assert_array_equal(two.final_observations, source.final_observations[:, [2, 0]])
    assert two.facts.environment is None
    assert two.facts.observation.names == ("pole angle", "cart position")
    assert two.facts.observation_mean == pytest.approx([source.facts.observation_mean[i] for i in (2, 0)])
    with pytest.raises(ValueError, match="holds 4 but observations have the dimensions 0 to 3"):
        made(DeriveSpec(name="n", sources=("source",), observation_dimensions=(4,)), [source], tmp_path)
    with pytest.raises(ValueError, match="the actions are of kind discrete"):
        made(DeriveSpec(name="n", sources=("source",), action_dimensions=(0,)), [source], tmp_path)
    with pytest.raises(ValueError, match="twice or below 0"):
        DeriveSpec(name="n", sources=("source",), observation_dimensions=(1, 1))
