"""Grids in the store: beside the runs, not in their specs."""

import pytest

from seqrl.config import GridSpec
from seqrl.store import NotFound, Store, schema
from tests.specs import run_spec


def grid(values=(1, 5)):
    return GridSpec.of(run_spec("ctx"), {"model.context_length": values}, (0,))


def keep(store, spec):
    facts = store.dataset("tiny").facts
    for cell in spec.cells():
        store.add_run(cell, facts)
    store.put_grid(spec, [cell.name for cell in spec.cells()])


def test_runs_know_their_grid_and_their_specs_do_not(tiny):
    keep(tiny, grid())
    row = tiny.run("ctx-cl1-seed0")
    assert row.grid == "ctx" and row.spec == grid().cells()[0]
    assert "grid" not in (tiny.run_folder(row.name) / "spec.json").read_text()
    assert [run.name for run in tiny.grid_runs("ctx")] == ["ctx-cl1-seed0", "ctx-cl5-seed0"]
    assert Store(tiny.home).grid("ctx").spec == grid()
    assert all(run.grid is None for run in tiny.runs() if tiny.bundled(run.name))


def test_a_grid_whose_runs_are_all_archived_is_not_listed(tiny):
    keep(tiny, grid())
    tiny.archive_run("ctx-cl1-seed0")
    assert [row.name for row in tiny.grids()] == ["ctx"] and len(tiny.grid_runs("ctx")) == 1
    tiny.archive_run("ctx-cl5-seed0")
    assert tiny.grids() == [] and tiny.has_grid("ctx")
    assert tiny.free_name("grids", "ctx") == "ctx-1"


def test_what_is_not_there_is_named_and_the_demo_is_read_only(tiny):
    keep(tiny, grid())
    with pytest.raises(NotFound, match="there is no grid named cty; did you mean ctx"):
        tiny.grid("cty")
    with pytest.raises(ValueError, match="read-only"):
        tiny.put_grid(grid().model_copy(update={"name": "demo/ctx"}), [])


def test_a_store_without_grids_gets_them_and_keeps_its_runs(tiny):
    """As the version before them wrote it: without the table and the column."""
    tiny.add_run(run_spec("older"), tiny.dataset("tiny").facts)
    connection = tiny.database.connection
    for statement in ("DROP INDEX runs_by_grid", "ALTER TABLE runs DROP COLUMN grid", "DROP TABLE grids"):
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    newer = Store(tiny.home)
    assert schema.schema_version(newer.database.connection) == schema.SCHEMA_VERSION
    assert newer.run("older").grid is None and newer.grids() == []
    keep(newer, grid())
    assert len(newer.grid_runs("ctx")) == 2
