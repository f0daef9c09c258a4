"""Datasets in the store."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.store.base import StoreBase
from seqrl.store.columns import Columns, ColumnsMissing
from seqrl.store.rows import ACTIVE_STATES, DatasetRow, NotFound
from seqrl.store.samples import MOST_STEPS, SAMPLE_NAME, Sample, evenly, read_sample, sample_of

if TYPE_CHECKING:
    import pandas as pd

_SELECT = (
    "SELECT d.name, d.source, d.facts, d.created, d.archived, d.size_bytes, d.job_id, j.state AS job_state "
    "FROM datasets d LEFT JOIN jobs j ON j.id = d.job_id"
)


class DatasetTable(StoreBase):
    """What the store knows of datasets."""

    def add_dataset(
        self, name: str, *, source: Mapping[str, Any], facts: DatasetFacts | None = None, job_id: int | None = None
    ) -> None:
        """Take a name for a dataset.

        Args:
            name: how it will be called.
            source: dump of its `DatasetSpec`, or where an import comes from.
            facts: None while it is being built.
            job_id: the job that builds it; if that job fails or is cancelled, the name is free again.

        Raises:
            ValueError: if the name is taken, malformed or read-only.
        """
        self.check_writable(name)
        values = (name, json.dumps(source), facts.to_json() if facts else None, self.now(), job_id)
        try:
            with self.database.transaction() as connection:
                connection.execute(
                    "INSERT INTO datasets (name, source, facts, created, job_id) VALUES (?, ?, ?, ?, ?)", values
                )
        except sqlite3.IntegrityError:
            archived = self.dataset(name).archived
            remedy = ", or restore it" if archived else ""
            kept = "in the archive" if archived else "already"
            raise ValueError(f"a dataset named {name} exists {kept}; choose another name{remedy}") from None

    def set_dataset_facts(self, name: str, facts: DatasetFacts, episodes: pd.DataFrame | None = None) -> None:
        """Declare a dataset built, and keep its episode table, which outlives its columns."""
        self.check_writable(name)
        packed = None if episodes is None else episodes.to_parquet(index=False)
        size = _folder_bytes(self.columns_folder(name)) + _folder_bytes(self.minari_dataset_folder(name))
        with self.database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE datasets SET facts = ?, size_bytes = ?, episodes = coalesce(?, episodes) WHERE name = ?",
                (facts.to_json(), size, packed, name),
            )
        if not cursor.rowcount:
            raise self._no_dataset(name)

    def dataset(self, name: str) -> DatasetRow:
        """A dataset, archived or not.

        Raises:
            NotFound: with the nearest names.
        """
        if self.bundled(name) and name in self.bundle.datasets:
            return self.bundle.datasets[name]
        row = self.database.row(f"{_SELECT} WHERE d.name = ?", (name,))
        if row is None:
            raise self._no_dataset(name)
        return self.read_one(row, _dataset_row)

    def datasets(self, archived: bool = False) -> list[DatasetRow]:
        """The datasets, bundled ones first, then the newest first; or the archived ones."""
        rows = self.database.rows(f"{_SELECT} WHERE d.archived = ? ORDER BY d.created DESC", (int(archived),))
        bundled = [] if archived else list(self.bundle.datasets.values())
        return bundled + self.read_all(rows, _dataset_row)

    def archive_dataset(self, name: str) -> None:
        """Hide a dataset; nothing of it is destroyed, and its name stays taken."""
        self._set_dataset_archived(name, True)

    def restore_dataset(self, name: str) -> None:
        """Show an archived dataset again."""
        self._set_dataset_archived(name, False)

    def dataset_episodes(self, name: str) -> pd.DataFrame:
        """The episode table of a dataset, with or without its columns.

        Returns:
            One row an episode: episode, start, end, length, achieved_return, terminated, truncated, tier, policy,
            epsilon, seed.

        Raises:
            NotFound: if there is no such dataset, or it is not built yet.
        """
        import pandas as pd

        if self.bundled(name) and name in self.bundle.datasets:
            return pd.read_parquet(self.bundle.folder("datasets", name) / "episodes.parquet")
        self.dataset(name)
        row = self.database.row("SELECT episodes FROM datasets WHERE name = ?", (name,))
        if row is None or row["episodes"] is None:
            raise NotFound("episode table of the dataset", name, ())
        return pd.read_parquet(io.BytesIO(row["episodes"]))

    def dataset_returns(self, name: str, discount: float = 1.0) -> np.ndarray:
        """The returns of a dataset's episodes, (E,) reward units.

        Raises:
            NotFound: if there is no such dataset, or, with a discount below 1, its steps are not on this machine.
        """
        if discount == 1:
            return np.asarray(self.dataset_episodes(name)["achieved_return"], dtype=np.float64)
        try:
            return Columns.open(self.columns_folder(name)).returns(discount)
        except ColumnsMissing:
            raise NotFound("steps of the dataset", name, ()) from None

    def dataset_sample(self, name: str, most_steps: int = MOST_STEPS) -> Sample:
        """The steps of some episodes: those that the bundle keeps, else some of the columns, evenly spaced.

        Raises:
            NotFound: if there is no such dataset, or nothing of its steps is on this machine.
        """
        row = self.dataset(name)
        if self.bundled(name) and row.facts is not None:
            path = self.bundle.folder("datasets", name) / SAMPLE_NAME
            if path.is_file():
                return read_sample(path, row.facts)
        try:
            columns = Columns.open(self.columns_folder(name))
        except ColumnsMissing:
            raise NotFound("steps of the dataset", name, ()) from None
        return sample_of(columns, evenly(columns.episodes, most_steps=most_steps))

    def _set_dataset_archived(self, name: str, archived: bool) -> None:
        self.check_writable(name)
        with self.database.transaction() as connection:
            cursor = connection.execute("UPDATE datasets SET archived = ? WHERE name = ?", (int(archived), name))
        if not cursor.rowcount:
            raise self._no_dataset(name)

    def _no_dataset(self, name: str) -> NotFound:
        return NotFound("dataset", name, [row.name for row in self.datasets()])


def _dataset_row(row: sqlite3.Row) -> DatasetRow:
    state: Literal["building", "ready", "failed"] = "ready"
    if row["facts"] is None:
        state = "building" if row["job_state"] in ACTIVE_STATES else "failed"
    return DatasetRow(
        name=row["name"],
        source=json.loads(row["source"]),
        facts=DatasetFacts.model_validate_json(row["facts"]) if row["facts"] else None,
        created=row["created"],
        archived=bool(row["archived"]),
        size_bytes=row["size_bytes"],
        state=state,
        job_id=row["job_id"],
    )


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
