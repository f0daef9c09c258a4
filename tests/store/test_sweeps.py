"""Episode records: all or nothing, readable at any moment, the same before and after they are merged."""

import shutil

import numpy as np
import pytest

from seqrl.store import EpisodeRecord, NotFound
from seqrl.store import episodes as episodes_module
from tests.specs import run_spec, sweep_spec


def record(episode, length, *, target=50.0, probabilities=True, **extra):
    rng = np.random.default_rng(episode)
    return EpisodeRecord(
        run="one",
        decoding="sampled",
        target=target,
        episode=episode,
        seed=100 + episode,
        terminated=bool(episode % 2),
        truncated=not episode % 2,
        actions=rng.integers(0, 2, length),
        rewards=rng.normal(size=length),
        returns_to_go=rng.normal(size=length),
        action_probabilities=rng.random((length, 2)).astype(np.float32) if probabilities else None,
        cell={"width": np.int64(4), "seconds_per_decision": 0.25},
        extra=extra,
    )


RECORDS = [
    record(0, 3),
    record(1, 5, probabilities=False, value=np.arange(10.0).reshape(5, 2)),
    record(2, 1, target=None),
    record(3, 7, value=np.arange(21.0).reshape(7, 3)),
    record(4, 2, value=np.ones((2, 2))),
]


@pytest.fixture
def with_sweep(tiny):
    tiny.add_run(run_spec("one"), tiny.dataset("tiny").facts)
    tiny.add_sweep(sweep_spec("ask", runs=("one",)))
    return tiny


def test_a_table_without_episodes_has_the_types_of_one_with_episodes(with_sweep):
    empty = with_sweep.sweep_episodes("ask")
    with_sweep.append_episodes("ask", RECORDS[:1])
    some = with_sweep.sweep_episodes("ask")
    assert empty.dtypes.equals(some[empty.columns].dtypes)
    assert len(empty) == 0 and len(some) == 1


def assert_same(store, records):
    table = store.sweep_episodes("ask")
    assert table["episode_id"].tolist() == list(range(len(records)))
    for episode_id, expected in enumerate(records):
        found = store.episode_record("ask", episode_id)
        assert (found.run, found.target, found.episode, found.seed) == (
            "one",
            expected.target,
            episode_id,
            100 + episode_id,
        )
        assert (found.terminated, found.truncated) == (expected.terminated, expected.truncated)
        assert found.cell == {"width": 4, "seconds_per_decision": 0.25}
        assert found.achieved_return == expected.achieved_return == table["achieved_return"][episode_id]
        steps = expected.step_arrays()
        assert found.step_arrays().keys() == steps.keys()
        for name, array in found.step_arrays().items():
            np.testing.assert_array_equal(array, steps[name])
            assert array.dtype == steps[name].dtype


def test_records_are_the_same_while_it_runs_and_afterwards(with_sweep):
    with_sweep.append_episodes("ask", RECORDS[:2])
    assert_same(with_sweep, RECORDS[:2])
    with_sweep.append_episodes("ask", RECORDS[2:])
    assert_same(with_sweep, RECORDS)
    with_sweep.finish_sweep("ask")
    assert_same(with_sweep, RECORDS)
    assert not (with_sweep.sweep_folder("ask") / "parts").exists()
    with_sweep.finish_sweep("ask")
    assert_same(with_sweep, RECORDS)


def test_an_empty_sweep_has_an_empty_table(with_sweep):
    for _ in range(2):
        table = with_sweep.sweep_episodes("ask")
        assert len(table) == 0 and "achieved_return" in table
        with_sweep.finish_sweep("ask")


def test_a_failed_append_leaves_nothing(with_sweep, monkeypatch):
    with_sweep.append_episodes("ask", RECORDS[:1])

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(episodes_module, "atomic_write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            with_sweep.append_episodes("ask", RECORDS[1:])
    assert_same(with_sweep, RECORDS[:1])
    with_sweep.append_episodes("ask", RECORDS[1:])
    assert_same(with_sweep, RECORDS)


@pytest.mark.parametrize("interrupted", ["atomic_write_bytes", "shutil"])
def test_a_merge_that_was_interrupted_is_done_again(with_sweep, monkeypatch, interrupted):
    with_sweep.append_episodes("ask", RECORDS)

    class Killed(BaseException):
        pass

    class Cut:
        def __call__(self, *arguments):
            raise Killed

        def rmtree(self, *arguments, **options):
            raise Killed

    with monkeypatch.context() as context:
        context.setattr(episodes_module, interrupted, Cut())
        with pytest.raises(Killed):
            with_sweep.finish_sweep("ask")
    assert_same(with_sweep, RECORDS)
    with_sweep.finish_sweep("ask")
    assert_same(with_sweep, RECORDS)


def test_a_missing_episode_is_named(with_sweep):
    with_sweep.append_episodes("ask", RECORDS)
    for _ in range(2):
        with pytest.raises(NotFound, match="no episode"):
            with_sweep.episode_steps("ask", 99)
        with pytest.raises(NotFound):
            with_sweep.media_path("ask", 99)
        with_sweep.finish_sweep("ask")


def test_a_video_is_named_by_what_it_shows(with_sweep):
    with_sweep.append_episodes("ask", RECORDS)
    before = [with_sweep.media_path("ask", i) for i in range(5)]
    assert len(set(before)) == 5
    assert {path.parent for path in before} == {with_sweep.home / "media"}
    with_sweep.finish_sweep("ask")
    assert [with_sweep.media_path("ask", i) for i in range(5)] == before
    with_sweep.add_sweep(sweep_spec("again", runs=("one",)))
    with_sweep.append_episodes("again", RECORDS[::-1])
    assert with_sweep.media_path("again", 4) == before[0]
    assert with_sweep.media_path("ask", 0, "gif").suffix == ".gif"


def test_what_a_caller_does_with_a_table_changes_no_other(with_sweep):
    with_sweep.append_episodes("ask", RECORDS)
    with_sweep.finish_sweep("ask")
    table = with_sweep.sweep_episodes("ask")
    table["seed"] = 0
    table.loc[0, "achieved_return"] = np.nan
    with_sweep.episode_steps("ask", 0)["rewards"][:] = np.nan
    assert_same(with_sweep, RECORDS)


def test_files_that_were_written_anew_are_read_anew(with_sweep):
    with_sweep.append_episodes("ask", RECORDS)
    with_sweep.finish_sweep("ask")
    assert_same(with_sweep, RECORDS)
    shutil.rmtree(with_sweep.sweep_folder("ask"))
    with_sweep.append_episodes("ask", RECORDS[:3])
    with_sweep.finish_sweep("ask")
    assert_same(with_sweep, RECORDS[:3])


@pytest.mark.parametrize("left", ["parts/00000000-00000001.npz", "steps/index.parquet", "episodes.parquet"])
def test_episodes_without_a_row_are_not_taken_over(tiny, left):
    path = tiny.sweep_folder("ask-1") / left
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(ValueError, match="^sweeps/ask-1 in SEQRL_HOME holds results of a sweep that the database does"):
        tiny.add_sweep(sweep_spec("ask-1"))
    assert tiny.free_name("sweeps", "ask") == "ask-2" and not tiny.sweeps(archived=True)
    tiny.add_sweep(sweep_spec("ask-2"))
