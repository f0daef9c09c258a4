"""Grids in the store: what they vary, and which runs are theirs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from seqrl.config import GridSpec
from seqrl.store.rows import GridRow, NotFound, RunRow
from seqrl.store.runs import RunTable


class GridTable(RunTable):
    """What the store knows of grids."""

    def put_grid(self, spec: GridSpec, runs: Sequence[str]) -> None:
        """Keep a grid, in place of an older one of its name, and note which runs are part of it.

        Raises:
            ValueError: if the name is malformed or read-only.
        """
        self.check_writable(spec.name)
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO grids (name, spec, created) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET spec = excluded.spec",
                (spec.name, spec.to_json(), self.now()),
            )
            connection.executemany("UPDATE runs SET grid = ? WHERE name = ?", [(spec.name, run) for run in runs])

    def grid(self, name: str) -> GridRow:
        """A grid.

        Raises:
            NotFound: with the nearest names.
        """
        row = self.database.row("SELECT * FROM grids WHERE name = ?", (name,))
        if row is None:
            raise NotFound("grid", name, [grid.name for grid in self.grids()])
        return self.read_one(row, _grid_row)

    def has_grid(self, name: str) -> bool:
        """Whether a name is taken by a grid."""
        return self.database.row("SELECT 1 FROM grids WHERE name = ?", (name,)) is not None

    def grids(self) -> list[GridRow]:
        """The grids that have runs outside of the archive, the newest first."""
        rows = self.database.rows(
            "SELECT * FROM grids WHERE name IN (SELECT grid FROM runs WHERE NOT archived) ORDER BY created DESC"
        )
        return self.read_all(rows, _grid_row)

    def grid_runs(self, name: str) -> list[RunRow]:
        """The runs of a grid that are not archived, in the order in which they were queued."""
        return self._select_runs("r.grid = ? AND NOT r.archived ORDER BY r.created, r.name", (name,))

    def grids_of_jobs(self) -> dict[int, str]:
        """Which grid a job trains a run of: job → grid."""
        rows = self.database.rows("SELECT job_id, grid FROM runs WHERE grid IS NOT NULL AND job_id IS NOT NULL")
        return {row["job_id"]: row["grid"] for row in rows}


def _grid_row(row: sqlite3.Row) -> GridRow:
    return GridRow(name=row["name"], spec=GridSpec.model_validate_json(row["spec"]), created=row["created"])
