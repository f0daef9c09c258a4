"""The queue's table. Every change of state is one compare-and-set under the write lock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter

from seqrl.config import JobSpec
from seqrl.store.base import StoreBase, reason
from seqrl.store.rows import ACTIVE_STATES, WATCHED_KINDS, JobRow, JobState, NotFound

_COLUMNS = tuple(field.name for field in fields(JobRow))
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"  # noqa: S608 - column names of a dataclass
_ROWS = TypeAdapter(JobRow)
_NEXT_TICKET = "(SELECT coalesce(max(ticket), 0) + 1 FROM jobs)"
_KINDS = ", ".join(f"'{kind}'" for kind in WATCHED_KINDS)
_WATCHED = f"(kind IN ({_KINDS}))"
_SAME_QUEUE = f"(other.kind IN ({_KINDS})) = (jobs.kind IN ({_KINDS}))"


class JobTable(StoreBase):
    """What the store knows of jobs. `seqrl.jobs` decides; this keeps."""

    def add_job(self, job: JobSpec, name: str) -> int:
        """Queue a job behind all others and return its id."""
        with self.database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO jobs (kind, name, spec, state, ticket, created) "  # noqa: S608 - a constant
                f"VALUES (?, ?, ?, 'queued', {_NEXT_TICKET}, ?)",
                (job.kind, name, job.to_json(), self.now()),
            )
        if cursor.lastrowid is None:
            raise RuntimeError("the database gave a new job no id")
        return cursor.lastrowid

    def job(self, job_id: int) -> JobRow:
        """A job.

        Raises:
            NotFound: if there is none of that id.
            ValueError: if its row is damaged.
        """
        row = self.database.row(f"{_SELECT} WHERE id = ?", (job_id,))
        if row is None:
            raise NotFound("job", job_id, [str(job.id) for job in self.jobs()])
        try:
            return _job_row(row)
        except ValueError as error:
            raise ValueError(f"what is stored of job {job_id} is damaged ({reason(error)}); start it again") from error

    def fail_damaged_jobs(self) -> None:
        """End the jobs that wait or run in rows which nobody can read; they would hold up the queue for ever.

        Whether the settings are understood is left to the process that carries them out: this one may be older.
        """
        for row in self.database.rows(f"{_SELECT} WHERE state IN ('queued', 'running')"):
            try:
                job = _job_row(row)
                if job.spec.get("kind") != job.kind:
                    raise ValueError(f"it is of kind {str(job.spec.get('kind'))[:40]} but listed as {job.kind[:40]}")
                if not isinstance(job.spec.get("spec"), Mapping):
                    raise ValueError("it has no settings")
            except ValueError as error:
                why = f"what is stored of it is damaged ({reason(error)}); start it again"
                self.transition(row["id"], ACTIVE_STATES, "failed", error=why)

    def jobs(self, states: Sequence[JobState] = (), limit: int = 200) -> list[JobRow]:
        """The newest jobs first, of some states or of all; damaged rows are left out and kept in ``unreadable``."""
        where = f"WHERE state IN ({','.join('?' * len(states))})" if states else ""
        return self._readable(self.database.rows(f"{_SELECT} {where} ORDER BY id DESC LIMIT ?", (*states, limit)))

    def _readable(self, rows: Iterable[sqlite3.Row]) -> list[JobRow]:
        readable = []
        for row in rows:
            try:
                readable.append(_job_row(row))
            except ValueError as error:
                self.unreadable[f"job {row['id']}"] = reason(error)
        return readable

    def last_job(self, kind: str, name: str) -> JobRow | None:
        """The newest job of a kind that makes what is called so, however long ago; None without a readable one."""
        rows = self.database.rows(f"{_SELECT} WHERE kind = ? AND name = ? ORDER BY id DESC", (kind, name))
        return next(iter(self._readable(rows)), None)

    def next_queued(self, *, watched: bool = False) -> JobRow | None:
        """The job whose turn it is in one of the two queues, or None."""
        row = self.database.row(
            f"{_SELECT} WHERE state = 'queued' AND {_WATCHED} = ? ORDER BY ticket LIMIT 1", (watched,)
        )
        return None if row is None else _job_row(row)

    def claim(self, job_id: int, limit: int, token: str) -> JobRow | None:
        """Start a queued job if it is first in its queue and fewer than ``limit`` of that queue run; else None."""
        with self.database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE jobs SET state = 'running', attempt = attempt + 1, started = ?, heartbeat = ?, "  # noqa: S608 - constants
                "finished = NULL, error = NULL, message = 'starting', cancel_requested = NULL, pid = NULL, "
                "process_started = NULL, boot_id = NULL, token = ? WHERE id = ? "
                f"AND id = (SELECT id FROM jobs AS other WHERE other.state = 'queued' AND {_SAME_QUEUE} "
                "ORDER BY ticket LIMIT 1) "
                f"AND (SELECT count(*) FROM jobs AS other WHERE other.state = 'running' AND {_SAME_QUEUE}) < ?",
                (self.now(), self.now(), token, job_id, limit),
            )
            return self.job(job_id) if cursor.rowcount else None

    def transition(
        self,
        job_id: int,
        source: Sequence[JobState],
        target: JobState,
        *,
        attempt: int | None = None,
        **values: Any,
    ) -> bool:
        """Change a job's state if it is still in one of ``source`` (and in this attempt); otherwise change nothing.

        A dataset that will not be finished gives its name back in the same transaction.

        Args:
            job_id: which job.
            source: the states that it may be in.
            target: the state that it gets.
            attempt: the attempt that the caller speaks for; None speaks for any.
            **values: further columns to set; a job that is queued again goes to the end unless a ticket is given.

        Returns:
            Whether it was changed.
        """
        ends = target not in ("queued", "running")
        values |= {"state": target}
        if ends:
            values.setdefault("finished", self.now())
        assignments = ", ".join(f"{column} = ?" for column in values)
        if target == "queued":
            assignments += ", cancel_requested = NULL, finished = NULL, error = NULL"
            assignments += "" if "ticket" in values else f", ticket = {_NEXT_TICKET}"
        where = f"id = ? AND state IN ({','.join('?' * len(source))})"
        arguments: list[Any] = [*values.values(), job_id, *source]
        if attempt is not None:
            where += " AND attempt = ?"
            arguments.append(attempt)
        with self.database.transaction() as connection:
            cursor = connection.execute(
                f"UPDATE jobs SET {assignments} WHERE {where}",  # noqa: S608 - columns are keywords, values are bound
                arguments,
            )
            if cursor.rowcount and ends and target != "succeeded":
                connection.execute("DELETE FROM datasets WHERE job_id = ? AND facts IS NULL", (job_id,))
        return bool(cursor.rowcount)

    def set_job(self, job_id: int, attempt: int, **values: Any) -> bool:
        """Write columns of a running job, if this attempt still runs: progress, message, heartbeat, its process."""
        assignments = ", ".join(f"{column} = ?" for column in values)
        with self.database.transaction() as connection:
            cursor = connection.execute(
                f"UPDATE jobs SET {assignments} WHERE id = ? AND attempt = ? AND state = 'running'",  # noqa: S608
                (*values.values(), job_id, attempt),
            )
        return bool(cursor.rowcount)


def _job_row(row: sqlite3.Row) -> JobRow:
    """A row as it can be relied on.

    Raises:
        ValueError: if a value is not what this column may hold.
    """
    values = dict(row)
    try:
        values["spec"] = json.loads(values["spec"])
    except (TypeError, RecursionError) as error:
        raise ValueError(f"its spec is no JSON: {error}") from error
    return _ROWS.validate_python(values)
