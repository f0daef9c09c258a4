"""Changes of state are compare-and-set."""

import threading

import pytest

from seqrl.config import RenderJob, RenderSpec
from seqrl.store import NotFound, Store
from tests.specs import dataset_spec, train_job


@pytest.fixture
def queued(store):
    return [store.add_job(train_job(f"run-{i}"), f"run-{i}") for i in range(3)]


def test_only_the_first_may_be_claimed_and_only_below_the_limit(store, queued):
    first, second, _ = queued
    assert store.claim(second, 5, "t") is None
    assert store.claim(first, 0, "t") is None
    claimed = store.claim(first, 1, "t")
    assert (claimed.state, claimed.attempt, claimed.token) == ("running", 1, "t")
    assert store.claim(second, 1, "t") is None
    assert store.claim(second, 2, "t").state == "running"
    assert store.next_queued().id == queued[2]


def test_a_video_waits_only_for_videos(store, queued):
    videos = [store.add_job(RenderJob(spec=RenderSpec(sweep="s", episode_id=i)), f"s/{i}") for i in range(2)]
    assert store.claim(queued[0], 1, "t")
    assert store.claim(videos[1], 1, "t") is None
    assert store.next_queued(watched=True).id == videos[0]
    assert store.claim(videos[0], 1, "t").watched
    assert store.claim(videos[1], 1, "t") is None
    assert store.next_queued().id == queued[1]
    assert store.claim(queued[1], 1, "t") is None


def test_of_many_at_once_one_wins(store, queued):
    won = []

    def claim():
        if Store(store.home).claim(queued[0], 9, "t"):
            won.append(1)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_transition_happens_from_its_source_only(store, queued):
    job_id = queued[0]
    assert not store.transition(job_id, ["running"], "succeeded")
    store.claim(job_id, 1, "t")
    assert not store.transition(job_id, ["running"], "succeeded", attempt=2)
    assert store.transition(job_id, ["running"], "failed", attempt=1, error="why")
    assert not store.transition(job_id, ["running"], "succeeded", attempt=1)
    job = store.job(job_id)
    assert (job.state, job.error, job.ended) == ("failed", "why", True)
    assert job.finished >= job.started


def test_a_job_that_is_queued_again_waits_behind_the_others(store, queued):
    store.claim(queued[0], 1, "t")
    store.transition(queued[0], ["running"], "interrupted")
    assert store.transition(queued[0], ["interrupted"], "queued")
    assert store.next_queued().id == queued[1]
    assert store.job(queued[0]).finished is None


def test_the_last_job_of_a_name_is_found_behind_any_number_of_others(store, queued):
    again = store.add_job(train_job("run-0"), "run-0")
    for episode in range(201):
        store.add_job(RenderJob(spec=RenderSpec(sweep="s", episode_id=episode)), f"s/{episode}")
    assert again not in [job.id for job in store.jobs()]
    assert store.last_job("train", "run-0").id == again
    assert store.last_job("train", "run-1").id == queued[1]
    assert store.last_job("render", "run-1") is None


def test_an_older_attempt_writes_nothing(store, queued):
    store.claim(queued[0], 1, "t")
    assert store.set_job(queued[0], 1, progress=0.5)
    assert not store.set_job(queued[0], 2, progress=0.7)
    store.transition(queued[0], ["running"], "cancelled")
    assert not store.set_job(queued[0], 1, progress=0.9)
    assert store.job(queued[0]).progress == 0.5


@pytest.mark.parametrize("end", ["failed", "cancelled", "succeeded"])
def test_a_dataset_that_is_not_finished_gives_its_name_back(store, end):
    from seqrl.config import DatasetJob

    job_id = store.add_job(DatasetJob(spec=dataset_spec()), "tiny")
    store.add_dataset("tiny", source={}, job_id=job_id)
    assert store.dataset("tiny").state == "building"
    store.claim(job_id, 1, "t")
    store.transition(job_id, ["running"], end)
    names = [row.name for row in store.datasets()]
    assert ("tiny" in names) == (end == "succeeded")


def test_jobs_are_listed_newest_first(store, queued):
    store.claim(queued[0], 1, "t")
    assert [job.id for job in store.jobs()] == queued[::-1]
    assert [job.id for job in store.jobs(["queued"])] == queued[:0:-1]
    assert store.job(queued[1]).job == train_job("run-1")
    with pytest.raises(NotFound, match="no job named 99"):
        store.job(99)
