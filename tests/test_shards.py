"""Collecting in several processes: the same dataset, byte for byte, however many play and whoever is stopped."""

import doctest
import itertools

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl.config import BehaviourSpec, DatasetJob, DatasetSpec
from seqrl.datasets import collect, collection
from seqrl.environments import space_facts
from seqrl.jobs.backend import PROCESSES_LOG_NAME
from seqrl.jobs.choice import BACKEND_VARIABLE
from seqrl.processors import idle_processors, processors
from seqrl.store.base import minari_id
from seqrl.worker import shards
from seqrl.worker.context import JobContext
from seqrl.worker.dataset import run_policies
from tests.datasets.test_collection import assert_same_episodes, spec_for
from tests.in_process import do
from tests.specs import train_job


def collected(pieces):
    return list(itertools.chain.from_iterable(piece.episodes for piece in pieces))


@pytest.fixture
def eager(monkeypatch):
    """Every collection of more than a piece is worth two helpers."""
    monkeypatch.setattr(shards, "WORTH_S", 0.0)
    monkeypatch.setattr(shards, "PLAYING_SHARE", 0.0)
    monkeypatch.setattr(shards, "idle_processors", lambda: 2)
    monkeypatch.setattr(shards, "_SMALLEST", 3)


@pytest.fixture
def context(tiny):
    """A job that is being carried out."""
    job_id = tiny.add_job(DatasetJob(spec=spec_for(episodes=1)), "d")
    tiny.job_folder(job_id).mkdir(parents=True)
    return JobContext(tiny, tiny.claim(job_id, 1, token="here"))


def playing(context, spec, **options):
    facts = space_facts(spec.environment, spec.environment_kwargs, spec.max_episode_steps)
    return shards.play(context, spec, facts=facts, policies=run_policies(context.store, spec), **options)


def helpers_of_this_process():
    return [child for child in psutil.Process().children() if "seqrl.worker.shard" in child.cmdline()]


def files_of(store, name):
    """Content of every file of a dataset, Minari's and the columns, but for its name."""
    folders = (store.columns_folder(name), store.minari_folder() / minari_id(name))
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.name: path.read_bytes().replace(name.encode(), b"NAME") for path in files}


def mixed_spec(name):
    """Three behaviours, a trained run among them."""
    behaviours = (
        BehaviourSpec(tier="a", share=0.5, policy="heuristic", epsilon=0.3),
        BehaviourSpec(tier="b", share=0.3, policy="random"),
        BehaviourSpec(tier="c", share=0.2, policy="run:dt"),
    )
    return DatasetSpec(name=name, episodes=40, behaviours=behaviours, max_episode_steps=60)


def test_helpers_make_the_same_files(tiny, eager, monkeypatch):
    do(tiny, train_job("dt", steps=10))
    shared = do(tiny, DatasetJob(spec=mixed_spec("two")))
    assert (tiny.job_folder(shared.id) / PROCESSES_LOG_NAME).is_file()
    monkeypatch.setattr(shards, "WORTH_S", 1e9)
    alone = do(tiny, DatasetJob(spec=mixed_spec("one")))
    assert not (tiny.job_folder(alone.id) / PROCESSES_LOG_NAME).exists()
    assert tiny.dataset("one").facts == tiny.dataset("two").facts
    one, two = files_of(tiny, "one"), files_of(tiny, "two")
    assert len(one) >= 6 and one == two


@pytest.mark.xdist_group("ray")
def test_workers_of_a_cluster_make_the_same_dataset(tiny, eager, connected, monkeypatch):
    spec = spec_for(episodes=60, max_episode_steps=60)
    alone = do(tiny, DatasetJob(spec=spec.model_copy(update={"name": "one"})))
    monkeypatch.setenv(BACKEND_VARIABLE, "ray")
    shared = do(tiny, DatasetJob(spec=spec.model_copy(update={"name": "two"})))
    assert (alone.state, shared.state) == ("succeeded", "succeeded")
    assert files_of(tiny, "one") == files_of(tiny, "two")


def test_progress_goes_up_and_a_helper_that_dies_is_a_sentence(context, eager):
    spec = spec_for(episodes=90, max_episode_steps=60)
    news = playing(context, spec, helpers=2)
    seen = [next(news)]
    helpers = helpers_of_this_process()
    assert len(helpers) == 2
    for helper in helpers:
        helper.kill()
    with pytest.raises(
        ValueError, match="a process that helped was killed or crashed; processes.txt in the job's folder"
    ):
        seen.extend(news)
    assert [piece.progress for piece in seen] == sorted(piece.progress for piece in seen)


def test_whoever_stops_leaves_no_helper(context, eager):
    news = playing(context, spec_for(episodes=90, max_episode_steps=60), helpers=2)
    next(news)
    helpers = helpers_of_this_process()
    news.close()
    assert len(helpers) == 2 and not any(helper.is_running() for helper in helpers)


def test_a_short_collection_has_no_helpers(context, monkeypatch):
    monkeypatch.setattr(shards, "idle_processors", lambda: 2)
    spec = spec_for(episodes=30, max_episode_steps=20)
    assert_same_episodes(collected(playing(context, spec)), collected(collect(spec)))
    assert not (context.store.job_folder(context.job.id) / PROCESSES_LOG_NAME).exists()


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 20), st.integers(0, 24))
def test_pieces_in_any_cut_and_order_are_the_episodes_of_the_dataset(largest, first):
    spec = spec_for(episodes=25, max_episode_steps=30)
    pieces = collection.pieces(spec, largest, first)
    assert sum(piece.count for piece in pieces) == 25 - first
    collector = collection.Collector(spec)
    played = {piece.first: shards.played(collector, piece.model_dump_json()) for piece in reversed(pieces)}
    found = [shards.decode_episodes(played[piece.first], spec, piece) for piece in pieces]
    assert_same_episodes([episode for episodes in found for episode in episodes], collected(collect(spec))[first:])


@pytest.mark.parametrize("environment", ["Pendulum-v1", "seqrl/KeyToDoor-v0", "seqrl/Catch-v0"])
def test_episodes_of_every_kind_travel(environment):
    spec = DatasetSpec(
        name="d",
        environment=environment,
        episodes=3,
        behaviours=(BehaviourSpec(policy="random"),),
        max_episode_steps=20,
    )
    (piece,) = collection.pieces(spec, 10)
    sent = collected(collect(spec))
    found = shards.decode_episodes(shards.encode_episodes(sent), spec, piece)
    assert_same_episodes(sent, found)
    assert found[0].observations.dtype == sent[0].observations.dtype
    with pytest.raises(ValueError, match="3 episodes were asked for but 2 came"):
        shards.decode_episodes(shards.encode_episodes(sent[:2]), spec, piece)


def test_the_small_parts():
    assert doctest.testmod(collection).failed == 0
    assert 1 <= idle_processors() <= processors()
    assert spec_for(episodes=1).portable and not mixed_spec("d").portable
