"""Stores that earlier versions wrote open, are read whole and go on; see also tests/store/test_database.py.

``old_stores/`` keeps homes of versions that were handed out: a dataset, a DT, a BC and a TT on it, a sweep of
targets and one of beams. When the stored form changes, add one of the version before.
"""

import hashlib
import zipfile
from pathlib import Path

import pytest

from seqrl import jobs
from seqrl.checkpoints import load_model, load_training_state
from seqrl.config import ReturnSweepJob
from seqrl.store import Store, schema
from seqrl.store.columns import Columns
from tests.in_process import InProcess, do
from tests.reliability.drawing import draw, sentences
from tests.specs import run_spec, sweep_spec

STORES = sorted(Path(__file__).with_name("old_stores").glob("*.zip"))
RELEASED = ("8c04b41202fc0002", "cc7f2875203c5eaa")
"""Checksums of the migrations that stores in the world have been through: they are never changed."""


@pytest.fixture(params=STORES, ids=[path.stem for path in STORES])
def old(request, home):
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(home)
    return Store(home)


def own(store, rows):
    return sorted(row.name for row in rows if not store.bundled(row.name))


def test_it_is_read_whole(old):
    assert schema.schema_version(old.database.connection) == schema.SCHEMA_VERSION
    assert old.database.fault() is None
    assert own(old, old.datasets()) == ["old-data"]
    assert own(old, old.runs()) == ["old-bc", "old-dt", "old-tt"]
    assert own(old, old.sweeps()) == ["old-beam", "old-rtg"]
    assert [job.job.kind for job in old.jobs()] == ["sweep_beam", "sweep_rtg", *["train"] * 3, "dataset"]
    assert old.unreadable == {}
    columns = Columns.open(old.columns_folder("old-data"))
    assert columns.facts == old.dataset("old-data").facts and columns.episodes["length"].sum() == columns.steps
    for run in ("old-bc", "old-dt", "old-tt"):
        assert load_model(old.run_folder(run))[1] == old.run(run).spec
        assert [row.step for row in old.metric_rows(run)] == [5, 10]
    assert load_training_state(old.run_folder("old-dt")).step == 10
    assert len(old.histograms("old-dt")) > 0
    for sweep, episodes in (("old-rtg", 8), ("old-beam", 4)):
        assert len(old.sweep_episodes(sweep)) == episodes
        assert all(old.episode_record(sweep, i).length > 0 for i in range(episodes))


def test_its_pages_are_drawn(old):
    for page, query in (
        ("datasets", {"dataset": "old-data"}),
        ("runs", {"runs": "old-dt"}),
        ("rtg_sweep", {"sweep": "old-rtg"}),
        ("beam_planning", {"sweep": "old-beam"}),
    ):
        app = draw(page, **query)
        assert sentences(app) == [] and len(app.title) == 1, page


def test_its_runs_act_as_they_did_and_go_on(old):
    """The same sweep again plays the same episodes; a training goes on from the old checkpoint."""
    do(old, ReturnSweepJob(spec=sweep_spec("again", runs=("old-dt",))))
    measured = ["target", "decoding", "episode", "seed", "achieved_return", "length", "terminated"]
    before, after = (
        old.sweep_episodes(name)[measured].sort_values(measured[:3], ignore_index=True) for name in ("old-rtg", "again")
    )
    assert after.equals(before)
    spec = run_spec("old-dt", dataset="old-data", steps=15)
    job = next(job for job in old.jobs() if job.name == "old-dt")
    old.database.connection.execute("UPDATE runs SET spec = ? WHERE name = 'old-dt'", (spec.to_json(),))
    values = job.job.model_copy(update={"spec": spec}).to_json()
    old.database.connection.execute("UPDATE jobs SET state = 'interrupted', spec = ? WHERE id = ?", (values, job.id))
    about = old.run_folder("old-dt") / "checkpoint" / "spec.json"
    about.write_text(about.read_text().replace('"steps": 10', '"steps": 15'))
    row = jobs.resume(old, job.id, InProcess())
    assert row.state == "succeeded", row.error
    assert [row.step for row in old.metric_rows("old-dt")] == [5, 10, 15]


def test_released_migrations_are_what_they_were():
    found = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in schema.MIGRATIONS]
    assert tuple(found[: len(RELEASED)]) == RELEASED
