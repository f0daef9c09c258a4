import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl.config import DatasetFacts, ReturnSummary, SpaceFacts
from seqrl.store.columns import TAIL_ROWS, Columns, ColumnsMissing, ColumnsWriter, chunks, write_facts

ABOUT = {
    "terminated": True,
    "truncated": False,
    "tier": "t",
    "policy": "p",
    "epsilon": 0.0,
    "noise_std": 0.0,
    "seed": 1,
}


def facts(steps=1, episodes=1):
    summary = ReturnSummary(mean=0, std=0, minimum=0, maximum=0)
    return DatasetFacts(
        environment=None,
        observation=SpaceFacts(kind="box", size=2, shape=(2,), names=("x", "y")),
        action=SpaceFacts(kind="discrete", size=1, shape=(), names=("action",), categories=(3,)),
        episodes=episodes,
        steps=steps,
        max_length=steps,
        max_episode_steps=None,
        returns=summary,
        terminated_episodes=0,
        truncated_episodes=0,
        reward_minimum=0,
        reward_maximum=0,
        observation_mean=(0, 0),
        observation_std=(1, 1),
        content_hash="",
    )


def write(folder, lengths, observation_shape=(2,), dtype=np.float32, close=True):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    episodes = []
    writer = ColumnsWriter(
        folder, observation_shape=observation_shape, observation_dtype=dtype, action_shape=(), action_dtype=np.int64
    )
    with writer:
        for length in lengths:
            observations = rng.integers(0, 200, (length + 1, *observation_shape)).astype(dtype)
            episodes.append((observations, rng.integers(0, 3, length), rng.normal(size=length)))
            writer.append(*episodes[-1], ABOUT)
        if close:
            writer.close()
            write_facts(folder, facts(sum(lengths), len(lengths)))
    return episodes


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_what_is_written_is_read(tmp_path_factory, lengths):
    folder = tmp_path_factory.mktemp("columns")
    episodes = write(folder, lengths)
    columns = Columns.open(folder)
    assert columns.steps == sum(lengths)
    assert columns.episodes["end"].tolist() == np.cumsum(lengths).tolist()
    for index, episode in enumerate(episodes):
        for stored, given_array in zip(columns.episode(index), episode, strict=True):
            np.testing.assert_array_equal(stored, given_array)
        assert columns.episodes["achieved_return"][index] == pytest.approx(episode[2].sum())
    for name in ("observations", "actions", "rewards"):
        column = getattr(columns, name)
        assert len(column) == columns.steps + TAIL_ROWS and not column[columns.steps :].any()


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_returns_are_discounted_from_the_start_of_each_episode(tmp_path, discount):
    episodes = write(tmp_path / "columns", [3, 1, 5])
    rewards = [episode[2] for episode in episodes]
    expected = [sum(reward * discount**t for t, reward in enumerate(own)) for own in rewards]
    assert Columns.open(tmp_path / "columns").returns(discount).tolist() == pytest.approx(expected)


def test_images_stay_bytes(tmp_path):
    ((observations, _, _),) = write(tmp_path / "c", [4], (5, 3, 3), np.uint8)
    columns = Columns.open(tmp_path / "c")
    assert columns.observations.dtype == np.uint8
    np.testing.assert_array_equal(columns.episode(0).observations, observations)


def test_columns_are_mapped_not_read(tmp_path):
    write(tmp_path / "c", [3])
    assert isinstance(Columns.open(tmp_path / "c").observations, np.memmap)


@pytest.mark.parametrize("steps", [0, 1, 9, 10, 11, 25])
def test_chunks_cover_the_steps_and_leave_the_tail(steps):
    array = np.arange(steps + TAIL_ROWS)
    pieces = list(chunks(array, steps, rows=10))
    np.testing.assert_array_equal(np.concatenate([[], *pieces]), array[:steps])
    assert all(len(piece) <= 10 for piece in pieces)


def test_an_empty_folder_and_an_unfinished_one_have_no_columns(tmp_path):
    with pytest.raises(ColumnsMissing, match="holds no columns"):
        Columns.open(tmp_path)
    write(tmp_path / "c", [3], close=False)
    with pytest.raises(ColumnsMissing, match="holds no columns"):
        Columns.open(tmp_path / "c")


def test_columns_of_another_version_are_missing(tmp_path):
    write(tmp_path / "c", [3])
    header = json.loads((tmp_path / "c" / "columns.json").read_text())
    (tmp_path / "c" / "columns.json").write_text(json.dumps(header | {"version": 0}))
    with pytest.raises(ColumnsMissing, match="version 0"):
        Columns.open(tmp_path / "c")


@pytest.mark.parametrize(("observations", "actions", "rewards"), [(3, 3, 3), (4, 2, 3), (1, 0, 0)])
def test_an_episode_whose_lengths_do_not_fit_is_refused(tmp_path, observations, actions, rewards):
    shapes = {"observation_shape": (2,), "observation_dtype": np.float32, "action_shape": (), "action_dtype": np.int64}
    with (
        ColumnsWriter(tmp_path, **shapes) as writer,
        pytest.raises(ValueError, match=f"episode 0 has {observations} observations, {actions} actions"),
    ):
        writer.append(np.zeros((observations, 2)), np.zeros(actions, dtype=int), np.zeros(rewards), ABOUT)


def test_no_episode_is_no_dataset(tmp_path):
    with pytest.raises(ValueError, match="there is no episode to write"):
        write(tmp_path, [])


def test_an_episode_that_does_not_exist_is_refused(tmp_path):
    write(tmp_path / "c", [3, 2])
    with pytest.raises(IndexError, match="episode is 2 but there are 2"):
        Columns.open(tmp_path / "c").episode(2)
