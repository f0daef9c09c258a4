"""The database's schema, and how older ones become the newest: forward migrations, in order, in this one file."""

from __future__ import annotations

import sqlite3

# Entry i brings a store from version i to version i + 1. An entry that was ever released is never changed.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        spec TEXT NOT NULL,                 -- JSON of the job spec
        state TEXT NOT NULL CHECK (state IN
            ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted')),
        ticket INTEGER NOT NULL,            -- place in the queue: lowest first
        attempt INTEGER NOT NULL DEFAULT 0, -- how often it was started
        progress REAL NOT NULL DEFAULT 0,   -- 0 to 1
        message TEXT NOT NULL DEFAULT '',
        error TEXT,
        created REAL NOT NULL,              -- times: seconds since the epoch
        started REAL,
        finished REAL,
        heartbeat REAL,
        cancel_requested REAL,
        pid INTEGER,
        process_started TEXT,
        boot_id TEXT,
        token TEXT                          -- marks the worker's descendants in their environment
    );
    CREATE INDEX jobs_by_state ON jobs (state, ticket);

    CREATE TABLE datasets (
        name TEXT PRIMARY KEY,
        source TEXT NOT NULL,
        facts TEXT,
        created REAL NOT NULL,
        archived INTEGER NOT NULL DEFAULT 0,
        size_bytes INTEGER,
        job_id INTEGER REFERENCES jobs (id),
        episodes BLOB                       -- the episode table as parquet: columns may be deleted
    );

    CREATE TABLE runs (
        name TEXT PRIMARY KEY,
        spec TEXT NOT NULL,
        facts TEXT NOT NULL,
        created REAL NOT NULL,
        archived INTEGER NOT NULL DEFAULT 0,
        step INTEGER NOT NULL DEFAULT 0,
        best_value REAL,
        note TEXT NOT NULL DEFAULT '',
        tags TEXT NOT NULL DEFAULT '[]',
        job_id INTEGER REFERENCES jobs (id)
    );

    CREATE TABLE metrics (
        run TEXT NOT NULL REFERENCES runs (name),
        step INTEGER NOT NULL,
        time_s REAL NOT NULL,               -- of computation since the run began
        data TEXT NOT NULL,                 -- JSON: metric -> value
        PRIMARY KEY (run, step)
    ) WITHOUT ROWID;

    CREATE TABLE histograms (
        run TEXT NOT NULL REFERENCES runs (name),
        step INTEGER NOT NULL,
        name TEXT NOT NULL,
        edges TEXT NOT NULL,
        counts TEXT NOT NULL,
        PRIMARY KEY (run, step, name)
    ) WITHOUT ROWID;

    CREATE TABLE sweeps (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        spec TEXT NOT NULL,
        created REAL NOT NULL,
        archived INTEGER NOT NULL DEFAULT 0,
        job_id INTEGER REFERENCES jobs (id)
    );
    """,
    """
    CREATE TABLE grids (
        name TEXT PRIMARY KEY,
        spec TEXT NOT NULL,
        created REAL NOT NULL
    );
    ALTER TABLE runs ADD COLUMN grid TEXT REFERENCES grids (name);  -- beside the spec: it changes no bits
    CREATE INDEX runs_by_grid ON runs (grid);
    """,
)

SCHEMA_VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to the newest schema, each step in a transaction of its own.

    Raises:
        ValueError: if a newer seqrl wrote it, with what to do.
    """
    version = schema_version(connection)
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"this store has schema {version} but this seqrl knows schemas up to {SCHEMA_VERSION}; "
            "upgrade seqrl, or choose another SEQRL_HOME"
        )
    while version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = schema_version(connection)  # another process may have been faster
            if version < SCHEMA_VERSION:
                for statement in _statements(MIGRATIONS[version]):
                    connection.execute(statement)
                version += 1
                connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def schema_version(connection: sqlite3.Connection) -> int:
    """The version that a database says it has; 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit the transaction that surrounds it."""
    statements: list[str] = []
    pending = ""
    for piece in script.split(";")[:-1]:
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
