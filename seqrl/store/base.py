"""What the parts of the store share: the home folder, the database, the bundle, and who may write where."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from seqrl.config import explain
from seqrl.files import check_name, expanded, inside
from seqrl.store.bundle import BUNDLE_PREFIX, Bundle
from seqrl.store.database import Database

Row = TypeVar("Row")
DATABASE_NAME = "seqrl.db"
_FOLDERS = ("minari", "columns", "runs", "sweeps", "media", "jobs")
_RESULTS = {"runs": ("checkpoint",), "sweeps": ("parts", "steps", "episodes.parquet", "precisions.json")}
"""Folder → what lies in a run's or sweep's own folder that its job goes on from."""
PACKAGED_BUNDLE = Path(__file__).parents[1] / "demo"
_REMEDY = "choose another SEQRL_HOME"


def default_home() -> Path:
    """``$SEQRL_HOME``, else ``~/.seqrl``.

    Raises:
        ValueError: if that is in the home of a user who has none.
    """
    return expanded(os.environ.get("SEQRL_HOME") or "~/.seqrl", _REMEDY)


def minari_id(name: str) -> str:
    """Id of a dataset among Minari datasets. Minari knows no dots; a checksum keeps such names apart.

    >>> minari_id("cartpole")
    'seqrl/cartpole-v0'
    >>> minari_id("cartpole.2")
    'seqrl/cartpole_2-886cd4b6-v0'
    """
    plain = name.replace(".", "_").replace("/", "_")
    return f"seqrl/{plain}-v0" if plain == name else f"seqrl/{plain}-{zlib.crc32(name.encode()):08x}-v0"


def reason(error: Exception) -> str:
    """Why a row was not understood."""
    return explain(error) if isinstance(error, ValidationError) else str(error)


class StoreBase:
    """A home folder with its database.

    Args:
        home: where everything is kept; `default_home` by default. Created for this user only.
        bundle: the read-only demo; the one in the package by default.

    Attributes:
        unreadable: name → reason of rows that were met and not understood.

    Raises:
        ValueError: if the home cannot be used, with the reason.
    """

    def __init__(self, home: Path | None = None, *, bundle: Path | None = None) -> None:
        self.home = expanded(home or default_home(), _REMEDY)
        self.unreadable: dict[str, str] = {}
        if any(
            "\ud800" <= letter <= "\udfff" for letter in str(self.home)
        ):  # Arrow, HDF5 and JSON would all trip over it
            raise ValueError(f"{os.fsencode(self.home)!r} is not text in UTF-8; {_REMEDY}")
        try:
            if not self.home.is_dir():
                self.home.mkdir(mode=0o700, parents=True)
            for folder in _FOLDERS:
                (self.home / folder).mkdir(exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.home} cannot be used ({error.strerror}); {_REMEDY}") from error
        self.database = Database(self.home / DATABASE_NAME)
        self.bundle = Bundle(None if self.authoring else bundle or PACKAGED_BUNDLE)

    @property
    def authoring(self) -> bool:
        """Whether this home is where the bundle itself is made, so that ``demo/...`` may be written."""
        return self.setting("authoring") == "1"

    def read_all(self, rows: Iterable[sqlite3.Row], parse: Callable[[sqlite3.Row], Row]) -> list[Row]:
        """The rows that this version understands; why it does not understand the others is kept in ``unreadable``."""
        parsed = []
        for row in rows:
            try:
                parsed.append(parse(row))
            except (ValueError, RecursionError) as error:
                self.unreadable[row["name"]] = reason(error)
        return parsed

    def read_one(self, row: sqlite3.Row, parse: Callable[[sqlite3.Row], Row]) -> Row:
        """A row.

        Raises:
            ValueError: if this version does not understand it, with the reason.
        """
        try:
            return parse(row)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{row['name']} was stored by another version of seqrl, which this one cannot read "
                f"({reason(error)}); use that version, or make it again under another name"
            ) from error

    def setting(self, key: str) -> str | None:
        """A setting of this home, or None."""
        row = self.database.row("SELECT value FROM settings WHERE key = ?", (key,))
        return None if row is None else str(row["value"])

    def set_setting(self, key: str, value: str | None) -> None:
        """Keep a setting of this home; None removes it."""
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM settings WHERE key = ?", (key,))
            if value is not None:
                connection.execute("INSERT INTO settings VALUES (?, ?)", (key, value))

    def bundled(self, name: str) -> bool:
        """Whether a name belongs to the read-only bundle."""
        return name.startswith(BUNDLE_PREFIX) and not self.authoring

    def check_writable(self, name: str) -> str:
        """The name, if something may be written under it.

        Raises:
            ValueError: if it is malformed, or belongs to the bundle.
        """
        check_name(name)
        if self.bundled(name):
            raise ValueError(f"{name} belongs to the bundled demo, which is read-only; choose another name")
        return name

    def minari_folder(self) -> Path:
        """The folder that ``MINARI_DATASETS_PATH`` should point to."""
        return self.home / "minari"

    def columns_folder(self, name: str) -> Path:
        """Where a dataset's columns are; rebuilt when missing, the bundled ones too."""
        return inside(self.home / "columns", check_name(name))

    def minari_dataset_folder(self, name: str) -> Path:
        """Where a dataset is in Minari's format."""
        return inside(self.minari_folder(), minari_id(check_name(name)))

    def run_folder(self, name: str) -> Path:
        """Where a run's checkpoints and log are."""
        return self._folder("runs", name)

    def sweep_folder(self, name: str) -> Path:
        """Where a sweep's records are."""
        return self._folder("sweeps", name)

    def job_folder(self, job_id: int) -> Path:
        """Where a job's lock, log and spec are."""
        return self.home / "jobs" / str(int(job_id))

    def free_name(self, table: Literal["datasets", "runs", "sweeps", "grids"], base: str) -> str:
        """The first free name of ``BASE-1``, ``BASE-2``, ...; archived ones and those with results are taken too."""
        taken = {row["name"] for row in self.database.rows(f"SELECT name FROM {table}")}  # noqa: S608 - a literal
        names = (name for i in itertools.count(1) if (name := f"{base[:56]}-{i}") not in taken)
        return next(name for name in names if not self._leads_to_results(table, name))

    def has_results(self, kind: Literal["runs", "sweeps"], name: str) -> bool:
        """Whether something lies in the folder of a run or sweep that its job would go on from, row or no row."""
        return any(os.path.lexists(self.home / kind / name / part) for part in _RESULTS[kind])

    def refuse_results(self, kind: Literal["runs", "sweeps"], name: str) -> None:
        """Refuse a name for a new run or sweep whose folder holds what an older one of that name has left.

        Raises:
            ValueError: if the folder holds results.
        """
        if self.has_results(kind, name):
            raise ValueError(
                f"{kind}/{name} in SEQRL_HOME holds results of a {kind[:-1]} that the database does not know; "
                "choose another name or move that folder away"
            )

    def _leads_to_results(self, table: Literal["datasets", "runs", "sweeps", "grids"], name: str) -> bool:
        if table == "grids":  # its runs are named after it
            runs = (folder.name for folder in (self.home / "runs").glob("*"))
            return any(run.startswith(f"{name}-") and self.has_results("runs", run) for run in runs)
        return table != "datasets" and self.has_results(table, name)

    def _folder(self, kind: str, name: str) -> Path:
        check_name(name)
        if self.bundled(name):
            return self.bundle.folder(kind, name)
        return inside(self.home / kind, name)

    @staticmethod
    def now() -> float:
        """Seconds since the epoch, as stored in every row."""
        return time.time()
