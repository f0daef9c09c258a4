import os

import h5py
import minari
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from minari.data_collector import EpisodeBuffer

from seqrl.config import DatasetSpec
from seqrl.datasets import build
from seqrl.datasets.hdf5_writer import Hdf5Writer

DTYPES = [np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.uint16, np.bool_]
NAMES = st.text(st.characters(exclude_characters="/\0.", exclude_categories=("Cs",)), min_size=1, max_size=12)
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
)
TREES = st.recursive(ARRAYS, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=8)
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8"))
)


def write(path, groups, attributes=None):
    writer = Hdf5Writer(path)
    for name, parts in groups.items():
        writer.add_group(name, parts, attributes or {})
    writer.close()


def assert_same(stored, expected):
    if isinstance(expected, dict):
        assert isinstance(stored, h5py.Group) and set(stored) == set(expected)
        for name, part in expected.items():
            assert_same(stored[name], part)
    else:
        np.testing.assert_array_equal(stored[()], expected)
        assert stored.dtype == expected.dtype and stored.shape == expected.shape


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, TREES, max_size=5), max_size=6))
def test_the_library_reads_any_tree(tmp_path_factory, groups):
    path = tmp_path_factory.mktemp("hdf5") / "file.hdf5"
    write(path, groups)
    with h5py.File(path) as file:
        assert_same(file, groups)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("abcdefghijklmnop_/", min_size=1, max_size=20), VALUES, max_size=8))
def test_the_library_reads_any_attributes(tmp_path_factory, attributes):
    attributes = {name: "" if value == "\0" else value for name, value in attributes.items()}
    path = tmp_path_factory.mktemp("hdf5") / "file.hdf5"
    write(path, {"g": {}}, attributes)
    with h5py.File(path) as file:
        stored = dict(file["g"].attrs)
    assert {
        name: value.split("\0")[0] if isinstance(value, str) else value for name, value in attributes.items()
    } == stored
    assert all(isinstance(stored[name], str) == isinstance(value, str) for name, value in attributes.items())


# a leaf holds 8 names, a node 32 children: the sizes around which the tree grows another level
@pytest.mark.parametrize("count", [0, 1, 8, 9, 255, 256, 257, 8192, 8193])
def test_every_group_is_found_however_many(tmp_path, count):
    write(tmp_path / "f", {f"episode_{i}": {} for i in range(count)}, {"id": 1})
    with h5py.File(tmp_path / "f") as file:
        assert len(file) == count
        assert sorted(file) == sorted(f"episode_{i}" for i in range(count))
        for i in range(0, count, max(1, count // 300)):
            assert f"episode_{i}" in file
        assert f"episode_{count}" not in file and "episode_" not in file


def test_a_name_may_be_used_once(tmp_path):
    writer = Hdf5Writer(tmp_path / "f")
    writer.add_group("a", {}, {})
    with pytest.raises(ValueError, match="the group 'a' exists already"):
        writer.add_group("a", {}, {})
    writer.abandon()
    with pytest.raises(OSError, match="(?i)file signature not found|truncated"):
        h5py.File(tmp_path / "f")


def test_the_library_can_change_the_file(tmp_path):
    numbers = {f"episode_{i}": {"x": np.full(3, i)} for i in range(40)}
    write(tmp_path / "f", numbers, {"tier": "poor"})
    with h5py.File(tmp_path / "f", "a") as file:
        for i in range(40, 120):
            file.create_group(f"episode_{i}")["x"] = np.full(3, i)
        del file["episode_7"]
        file["episode_8"].attrs["tier"] = "good"
        file["episode_9"]["more"] = np.ones(2)
    with h5py.File(tmp_path / "f") as file:
        assert len(file) == 119 and "episode_7" not in file
        assert all(file[f"episode_{i}/x"][0] == i for i in range(120) if i != 7)
        assert [file[f"episode_{i}"].attrs["tier"] for i in (6, 8, 9)] == ["poor", "good", "poor"]
        assert list(file["episode_9/more"]) == [1, 1]


def test_minari_can_add_episodes_and_metadata(tmp_path, monkeypatch):
    build(DatasetSpec(name="d", episodes=12), tmp_path / "columns", tmp_path / "minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", os.fspath(tmp_path / "minari"))
    dataset = minari.load_dataset("seqrl/d-v0")
    first, steps = dataset[0], dataset.total_steps
    buffer = EpisodeBuffer(
        seed=5,
        observations=first.observations,
        actions=first.actions,
        rewards=first.rewards,
        terminations=first.terminations,
        truncations=first.truncations,
    )
    dataset.update_dataset_from_buffer([buffer] * 30)
    dataset.storage.update_episode_metadata([{"judged": 1.0}], [3])
    again = minari.load_dataset("seqrl/d-v0")
    assert again.total_episodes == 42 and again.total_steps == steps + 30 * len(first)
    np.testing.assert_array_equal(again[41].observations, first.observations)
    (metadata,) = again.storage.get_episode_metadata([3])
    assert metadata["judged"] == 1.0 and metadata["tier"] == "expert"
