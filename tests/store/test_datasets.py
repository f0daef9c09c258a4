"""Datasets in the store."""

import pytest

from seqrl.store import NotFound
from tests.specs import dataset_spec


def test_a_name_is_taken_once(tiny):
    with pytest.raises(ValueError, match="a dataset named tiny exists already; choose another name"):
        tiny.add_dataset("tiny", source={})


def test_a_deleted_dataset_is_kept_and_comes_back(tiny):
    before = tiny.dataset("tiny")
    tiny.archive_dataset("tiny")
    assert [row.name for row in tiny.datasets()] == [row.name for row in tiny.bundle.datasets.values()]
    assert [row.name for row in tiny.datasets(archived=True)] == ["tiny"]
    assert tiny.columns_folder("tiny").is_dir()
    with pytest.raises(ValueError, match="in the archive; choose another name, or restore it"):
        tiny.add_dataset("tiny", source={})
    tiny.restore_dataset("tiny")
    assert tiny.dataset("tiny") == before


def test_a_missing_name_names_its_neighbours(tiny):
    with pytest.raises(NotFound, match="no dataset named tiney; did you mean tiny"):
        tiny.dataset("tiney")


def test_facts_and_source_come_back_as_they_were(tiny):
    row = tiny.dataset("tiny")
    assert row.state == "ready"
    assert row.source == dataset_spec().model_dump(mode="json")
    assert row.facts.episodes == 24
    assert row.size_bytes > 10_000


def test_the_episode_table_outlives_the_columns(tiny):
    import shutil

    shutil.rmtree(tiny.columns_folder("tiny"))
    episodes = tiny.dataset_episodes("tiny")
    assert len(episodes) == 24
    assert episodes["length"].sum() == tiny.dataset("tiny").facts.steps


def test_what_is_not_built_has_no_episodes(store):
    store.add_dataset("empty", source={})
    assert store.dataset("empty").state == "failed"  # no job builds it
    with pytest.raises(ValueError, match="empty"):
        store.dataset_episodes("empty")


def test_bundled_names_are_refused(store):
    with pytest.raises(ValueError, match="demo/x belongs to the bundled demo, which is read-only"):
        store.add_dataset("demo/x", source={})


def test_free_names_count_on(tiny):
    assert tiny.free_name("datasets", "tiny") == "tiny-1"
    tiny.add_dataset("tiny-1", source={})
    tiny.archive_dataset("tiny-1")
    assert tiny.free_name("datasets", "tiny") == "tiny-2"
