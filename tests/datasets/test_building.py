import hashlib
import json
import os

import minari
import numpy as np
import pytest

import tests.tiny_environments  # noqa: F401
from seqrl.config import BehaviourSpec, DatasetSpec
from seqrl.datasets import BuildStopped, build, collect, compile_columns, ensure_columns, minari_id
from seqrl.environments.spaces import decode_actions, decode_observations
from seqrl.registry import environment_row
from seqrl.store import Store
from seqrl.store.columns import Columns
from tests.tiny_environments import ACTIONS, OBSERVATIONS

KINDS = [(name, "Discrete") for name in OBSERVATIONS] + [("Box", name) for name in ACTIONS]


def spec_for(environment="CartPole-v1", name="d", **values):
    row = environment_row(environment)
    return DatasetSpec(name=name, environment=environment, behaviours=row.behaviours(row.default_mix), **values)


def assert_tree_equal(actual, expected):
    if isinstance(expected, dict | tuple):
        pairs = expected.items() if isinstance(expected, dict) else enumerate(expected)
        for key, value in pairs:
            assert_tree_equal(actual[key], value)
    else:
        np.testing.assert_array_equal(actual, expected)
        assert actual.dtype == expected.dtype


@pytest.mark.parametrize(("observation", "action"), KINDS)
def test_episodes_minari_and_columns_hold_the_same(tmp_path, monkeypatch, observation, action):
    environment = f"tiny/{observation}{action}-v0"
    spec = spec_for(environment, episodes=5, seed=4)
    facts = build(spec, tmp_path / "columns", tmp_path / "minari")
    episodes = [episode for piece in collect(spec) for episode in piece.episodes]
    columns = Columns.open(tmp_path / "columns")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    dataset = minari.load_dataset(minari_id("d"))
    assert dataset.total_episodes == len(columns.episodes) == 5
    assert dataset.total_steps == columns.steps == facts.steps == sum(len(e.rewards) for e in episodes)
    for index, episode in enumerate(episodes):
        stored = dataset[index]
        assert_tree_equal(stored.observations, decode_observations(OBSERVATIONS[observation], episode.observations))
        assert_tree_equal(stored.actions, decode_actions(ACTIONS[action], episode.actions))
        np.testing.assert_array_equal(stored.rewards, episode.rewards)
        assert (stored.terminations[-1], stored.truncations[-1]) == (episode.terminated, episode.truncated)
        assert not stored.terminations[:-1].any() and not stored.truncations[:-1].any()
        played = (episode.observations, episode.actions, episode.rewards)
        for mine, theirs in zip(columns.episode(index), played, strict=True):
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
    compiled = compile_columns(tmp_path / "minari" / minari_id("d"), tmp_path / "again")
    assert compiled == facts


def test_what_is_stored_about_an_episode(tmp_path, monkeypatch):
    behaviours = (
        BehaviourSpec(tier="good", share=0.5, epsilon=0.25),
        BehaviourSpec(tier="bad", share=0.5, policy="random"),
    )
    spec = DatasetSpec(name="d", episodes=4, behaviours=behaviours)
    facts = build(spec, tmp_path / "columns", tmp_path / "minari")
    table = Columns.open(tmp_path / "columns").episodes
    assert table["tier"].tolist() == ["good", "good", "bad", "bad"]
    assert table["policy"].tolist() == ["heuristic", "heuristic", "random", "random"]
    assert table["epsilon"].tolist() == [0.25, 0.25, 0, 0]
    assert (table["end"] - table["start"] == table["length"]).all() and table["seed"].is_unique
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    storage = minari.load_dataset("seqrl/d-v0").storage
    (about,) = storage.get_episode_metadata([1])
    assert (about["tier"], about["policy"], about["epsilon"], about["noise_std"]) == ("good", "heuristic", 0.25, 0.0)
    assert about["seed"] == table["seed"][1]
    assert DatasetSpec.model_validate(json.loads(storage.metadata["seqrl"])) == spec
    assert "seqrl/d-v0" in minari.list_local_datasets()
    assert list(facts.returns_by_tier) == ["good", "bad"]


def test_facts_are_those_of_the_episodes(tmp_path):
    facts = build(spec_for("Pendulum-v1", episodes=6, max_episode_steps=30), tmp_path / "columns")
    columns = Columns.open(tmp_path / "columns")
    assert columns.facts == facts
    observations = np.array(columns.observations[: columns.steps], dtype=np.float64)
    np.testing.assert_allclose(facts.observation_mean, observations.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(facts.observation_std, observations.std(axis=0), rtol=1e-12)
    returns = np.add.reduceat(columns.rewards[: columns.steps], columns.episodes["start"].to_numpy())
    assert facts.returns.mean == pytest.approx(returns.mean()) and facts.returns.std == pytest.approx(returns.std())
    assert facts.returns.percentiles[25] == pytest.approx(np.percentile(returns, 25))
    assert facts.reward_minimum == columns.rewards[: columns.steps].min()
    assert (facts.truncated_episodes, facts.terminated_episodes) == (6, 0)
    assert facts.max_length == facts.max_episode_steps == 30


def test_a_dimension_that_never_changes_can_be_divided_by(tmp_path):
    facts = build(spec_for("tiny/DiscreteDiscrete-v0", episodes=1, max_episode_steps=1), tmp_path / "columns")
    assert set(facts.observation_std) == {1.0}


def test_images_are_measured_by_channel(tmp_path):
    facts = build(spec_for("tiny/ImageDiscrete-v0", episodes=3), tmp_path / "columns")
    columns = Columns.open(tmp_path / "columns")
    pixels = columns.observations[: columns.steps].reshape(-1, 3).astype(float)
    np.testing.assert_allclose(facts.observation_mean, pixels.mean(axis=0))
    np.testing.assert_allclose(facts.observation_std, pixels.std(axis=0))


def test_the_hash_is_that_of_the_content(tmp_path):
    one = build(spec_for(episodes=3, name="one"), tmp_path / "one").content_hash
    assert build(spec_for(episodes=3, name="two"), tmp_path / "two").content_hash == one
    assert build(spec_for(episodes=3, seed=1), tmp_path / "three").content_hash != one
    columns = Columns.open(tmp_path / "one")
    parts = [columns.observations[: columns.steps], columns.actions[: columns.steps]]
    parts += [columns.rewards[: columns.steps], columns.final_observations]
    digests = [hashlib.sha256(np.ascontiguousarray(part).tobytes()).digest() for part in parts]
    ends = columns.episodes["end"].to_numpy().astype("<i8").tobytes()
    assert one == hashlib.sha256(ends + b"".join(digests)).hexdigest()


def test_a_stopped_build_leaves_nothing(tmp_path):
    answers = iter([False, False, True])
    with pytest.raises(BuildStopped):
        build(spec_for(episodes=50), tmp_path / "c" / "d", tmp_path / "m", should_stop=lambda: next(answers))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert os.listdir(tmp_path / "c") == []


def test_an_impossible_build_leaves_nothing(tmp_path):
    spec = DatasetSpec(name="d", behaviours=(BehaviourSpec(noise_std=1.0),))
    with pytest.raises(ValueError, match="discrete actions"):
        build(spec, tmp_path / "c" / "d", tmp_path / "m")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_environment_that_cannot_be_written_down_is_left_out_of_the_file(tmp_path):
    facts = build(spec_for("tiny/Callable-v0", episodes=2), tmp_path / "columns", tmp_path / "minari")
    again = compile_columns(tmp_path / "minari" / minari_id("d"), tmp_path / "again")
    assert (facts.environment, again.environment) == ("tiny/Callable-v0", None)
    assert again.content_hash == facts.content_hash


def test_progress_is_reported_up_to_one(tmp_path):
    seen = []
    build(spec_for(episodes=10), tmp_path / "d", on_progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_missing_columns_are_compiled_from_minari_or_collected_again(tmp_path):
    store = Store(tmp_path / "home")
    spec = spec_for(episodes=5, name="mine.1")
    store.add_dataset(spec.name, source=spec.model_dump(mode="json"))
    folder = store.columns_folder(spec.name)
    facts = build(spec, folder, store.minari_folder())
    store.set_dataset_facts(spec.name, facts)
    assert ensure_columns(store, spec.name).facts == facts
    for remove in (False, True):
        for file in folder.iterdir():
            file.unlink()
        if remove:
            (store.minari_folder() / minari_id(spec.name)).rename(tmp_path / "elsewhere")
        assert ensure_columns(store, spec.name).facts == facts


def test_an_import_whose_files_are_gone_says_so(tmp_path):
    store = Store(tmp_path / "home")
    store.add_dataset("imported", source={"file": "x.hdf5"})
    with pytest.raises(ValueError, match="the files of the dataset imported are gone; import it again"):
        ensure_columns(store, "imported")
