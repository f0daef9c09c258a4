"""One SQLite file, used by many processes and threads at once."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqrl.files import is_disk_full
from seqrl.store.schema import migrate

_BUSY_TIMEOUT_S = 30.0
DISK_FULL = (
    "the disk that holds SEQRL_HOME is full, so nothing can be noted down; nothing stored is lost: free some space and "
    "try again"
)


class Database:
    """Connections by thread and process, and transactions that take the write lock at their start.

    Args:
        path: the database file; created and migrated when needed.

    Raises:
        ValueError: if the file is no database, or one of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._local = threading.local()
        self._file: tuple[int, int] | None = None
        try:
            migrate(self.connection)
            self._file = _file_at(self.path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} is no seqrl database ({error}); restore it from a copy or move it away") from None

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection. A connection must never cross a fork, so a child process opens its own.

        Raises:
            ValueError: if the file was removed or replaced since it was opened: what is written to an open but removed
                file is lost.
        """
        if self._file is not None and _file_at(self.path) != self._file:
            raise ValueError(f"{self.path} was removed or replaced while seqrl used it; start seqrl again")
        held: _Held | None = getattr(self._local, "held", None)
        if held is None or held.pid != os.getpid():
            held = self._local.held = _Held(self.path)
        return held.connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction; a nested one joins the outer one."""
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found: sqlite3.Row | None = self.connection.execute(sql, values).fetchone()
        return found

    def fault(self) -> str | None:
        """What SQLite's own check finds wrong, or None."""
        found = self.rows("PRAGMA integrity_check(1)")[0][0]
        return None if found == "ok" else str(found)


def describe(error: sqlite3.Error) -> str:
    """What went wrong with the database, and what to do, in a sentence."""
    if is_disk_full(error):
        return DISK_FULL
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "another program keeps the database in SEQRL_HOME locked; close it, or wait, and try again"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return (
            f"SEQRL_HOME cannot be written to ({error}); make it writable for this user, or choose another SEQRL_HOME"
        )
    return (
        f"the store in SEQRL_HOME cannot be read ({error}); restore seqrl.db from a copy, or set SEQRL_HOME to an "
        "empty folder to start afresh: runs and datasets in their folders are untouched"
    )


def _file_at(path: Path) -> tuple[int, int] | None:
    """Device and number of the file that a path means now."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Held:
    """A connection that is closed when its thread ends, which is when its thread-local value is dropped."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self.connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")

    def __del__(self) -> None:
        if self.pid == os.getpid() and hasattr(self, "connection"):
            self.connection.close()
