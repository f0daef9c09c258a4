"""Sweeps in the store, and the episodes that they measured."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from seqrl.config import DatasetFacts, Spec
from seqrl.config.sweeps import DATASET_PREFIX, Precision
from seqrl.files import atomic_write_text, read_capped
from seqrl.store.columns import Columns, ColumnsMissing
from seqrl.store.episodes import EPISODE_COLUMNS, append_part, merge_parts, read_episodes, read_field, read_steps
from seqrl.store.records import EpisodeRecord
from seqrl.store.rows import NotFound, SweepRow, reading_stored, spec_of_sweep
from seqrl.store.runs import RunTable

if TYPE_CHECKING:
    import pandas as pd

_SELECT = (
    "SELECT s.*, j.state, j.progress, j.message, j.error, j.finished FROM sweeps s LEFT JOIN jobs j ON j.id = s.job_id"
)

_PRECISIONS_NAME = "precisions.json"
_MOST_PRECISIONS_BYTES = 2**20
_PRECISIONS: TypeAdapter[dict[str, Precision]] = TypeAdapter(dict[str, Precision])


class SweepTable(RunTable):
    """What the store knows of sweeps."""

    def add_sweep(self, spec: Any, kind: str = "sweep_rtg", job_id: int | None = None) -> None:
        """Take a name for a sweep.

        Args:
            spec: its spec.
            kind: the kind of its job.
            job_id: the job that measures it.

        Raises:
            ValueError: if the name is taken, malformed or read-only, or its folder holds an older sweep's episodes.
        """
        self.check_writable(spec.name)
        values = (spec.name, kind, spec.to_json(), self.now(), job_id)
        try:
            with self.database.transaction() as connection:
                connection.execute(
                    "INSERT INTO sweeps (name, kind, spec, created, job_id) VALUES (?, ?, ?, ?, ?)", values
                )
                self.refuse_results("sweeps", spec.name)
        except sqlite3.IntegrityError:
            raise ValueError(f"a sweep named {spec.name} exists already; choose another name") from None
        folder = self.sweep_folder(spec.name)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(folder / "spec.json", spec.model_dump_json(indent=2))

    def sweep(self, name: str) -> SweepRow:
        """A sweep, archived or not.

        Raises:
            NotFound: with the nearest names.
        """
        if self.bundled(name) and name in self.bundle.sweeps:
            return self.bundle.sweeps[name]
        row = self.database.row(f"{_SELECT} WHERE s.name = ?", (name,))
        if row is None:
            raise NotFound("sweep", name, [sweep.name for sweep in self.sweeps()])
        return self.read_one(row, _sweep_row)

    def sweeps(self, archived: bool = False) -> list[SweepRow]:
        """The sweeps, bundled ones first, then the newest first; or the archived ones."""
        rows = self.database.rows(f"{_SELECT} WHERE s.archived = ? ORDER BY s.created DESC", (int(archived),))
        bundled = [] if archived else list(self.bundle.sweeps.values())
        return bundled + self.read_all(rows, _sweep_row)

    def archive_sweep(self, name: str) -> None:
        """Hide a sweep; nothing of it is destroyed, and its name stays taken."""
        self._set_sweep_archived(name, True)

    def restore_sweep(self, name: str) -> None:
        """Show an archived sweep again."""
        self._set_sweep_archived(name, False)

    def append_episodes(self, sweep: str, records: Sequence[EpisodeRecord]) -> None:
        """Add measured episodes, all or none of them; readers see them at once. One process at a time."""
        self.check_writable(sweep)
        append_part(self.sweep_folder(sweep), records)

    def keep_precisions(self, sweep: str, precisions: Mapping[str, Precision]) -> None:
        """Keep the number format that each run of a sweep acts in."""
        self.check_writable(sweep)
        atomic_write_text(self.sweep_folder(sweep) / _PRECISIONS_NAME, json.dumps(dict(precisions), sort_keys=True))

    def precisions(self, sweep: str) -> dict[str, Precision]:
        """The number format that each run of a sweep acts in; empty before it begins, and where no one kept it."""
        path = self.sweep_folder(sweep) / _PRECISIONS_NAME
        if not path.is_file():
            return {}
        with _reading(sweep):
            return _PRECISIONS.validate_json(read_capped(path, _MOST_PRECISIONS_BYTES))

    def finish_sweep(self, sweep: str) -> None:
        """Merge what was appended into one table and one array per field. May be repeated after an interruption."""
        self.check_writable(sweep)
        merge_parts(self.sweep_folder(sweep))

    def sweep_episodes(self, sweep: str) -> pd.DataFrame:
        """The episodes measured so far, one row each, see `seqrl.store.episodes.read_episodes`.

        Raises:
            NotFound: if there is no such sweep.
        """
        self.sweep(sweep)
        with _reading(sweep):
            return read_episodes(self.sweep_folder(sweep))

    def episode_steps(self, sweep: str, episode_id: int) -> dict[str, np.ndarray]:
        """The per-step arrays of an episode: actions, rewards, returns_to_go, action_probabilities, ...

        Raises:
            NotFound: if there is no such sweep or episode.
        """
        self.sweep(sweep)
        with _reading(sweep):
            return read_steps(self.sweep_folder(sweep), episode_id)

    def sweep_field(self, sweep: str, field: str) -> dict[int, np.ndarray]:
        """One per-step array of all episodes of a finished sweep: episode → (T, ...).

        Raises:
            NotFound: if there is no such sweep.
        """
        self.sweep(sweep)
        with _reading(sweep):
            return read_field(self.sweep_folder(sweep), field)

    def episode_record(self, sweep: str, episode_id: int) -> EpisodeRecord:
        """An episode as it was recorded.

        Args:
            sweep: that measured it, or ``dataset:NAME`` of the dataset that it is part of.
            episode_id: row of the episode table.

        Raises:
            NotFound: if there is no such sweep or episode.
            ValueError: if a dataset's steps are not on this machine, or an episode of it cannot be started again.
        """
        if sweep.startswith(DATASET_PREFIX):
            return recorded_in(self._columns(sweep), sweep.removeprefix(DATASET_PREFIX), episode_id)
        steps = self.episode_steps(sweep, episode_id)
        row = self._episode_row(sweep, episode_id)
        known = ("actions", "rewards", "returns_to_go", "action_probabilities")
        return EpisodeRecord(
            run=str(row["run"]),
            decoding=str(row["decoding"]),
            target=float(row["target"]) if row["target"] == row["target"] else None,
            episode=int(row["episode"]),
            seed=int(row["seed"]),
            terminated=bool(row["terminated"]),
            truncated=bool(row["truncated"]),
            actions=steps["actions"],
            rewards=steps["rewards"],
            returns_to_go=steps["returns_to_go"],
            action_probabilities=steps.get("action_probabilities"),
            cell={str(name): row[name] for name in row.index if name not in EPISODE_COLUMNS},
            extra={name: array for name, array in steps.items() if name not in known},
        )

    def episode_facts(self, sweep: str, record: EpisodeRecord) -> DatasetFacts:
        """What names the environment of a record; arguments as `episode_record` takes and returns them."""
        return self._columns(sweep).facts if sweep.startswith(DATASET_PREFIX) else self.run(record.run).facts

    def media_path(self, sweep: str, episode_id: int, format: str = "mp4") -> Path:
        """Where the video of an episode is, or will be once it is rendered.

        The file name is a hash of what the video shows (environment, seed, actions), so it can never be out of date.

        Args:
            sweep: as `episode_record` takes it.
            episode_id: row of the episode table.
            format: mp4 or gif.

        Raises:
            NotFound: as `episode_record`.
            ValueError: as `episode_record`.
        """
        record = self.episode_record(sweep, episode_id)
        facts, actions = self.episode_facts(sweep, record), record.actions
        shown = [facts.environment, facts.environment_kwargs, facts.max_episode_steps, record.seed]
        digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode())
        digest.update(f"{actions.dtype.str} {actions.shape}".encode())
        digest.update(actions.tobytes())
        name = f"{digest.hexdigest()[:32]}.{format}"
        bundled = self.bundle.root / "media" / name if self.bundle.root else None
        return bundled if bundled and bundled.is_file() else self.home / "media" / name

    def _columns(self, source: str) -> Columns:
        name = source.removeprefix(DATASET_PREFIX)
        try:
            return Columns.open(self.columns_folder(name))
        except ColumnsMissing:
            raise ValueError(f"the steps of a dataset {name} are not on this machine; collect or import it") from None

    def _episode_row(self, sweep: str, episode_id: int) -> pd.Series:
        episodes = self.sweep_episodes(sweep)
        rows = episodes[episodes["episode_id"] == episode_id]
        if not len(rows):
            raise NotFound(f"episode of the sweep {sweep}", episode_id, ())
        row: pd.Series = rows.iloc[0]
        return row

    def _set_sweep_archived(self, name: str, archived: bool) -> None:
        self.check_writable(name)
        with self.database.transaction() as connection:
            cursor = connection.execute("UPDATE sweeps SET archived = ? WHERE name = ?", (int(archived), name))
        if not cursor.rowcount:
            raise NotFound("sweep", name, [sweep.name for sweep in self.sweeps()])


def recorded_in(columns: Columns, name: str, index: int) -> EpisodeRecord:
    """An episode of a dataset; nobody was asked for a return.

    Raises:
        NotFound: if there is no such episode.
        ValueError: if the seed of its start was not recorded.
    """
    if not 0 <= index < len(columns.spans):
        raise NotFound(f"episode of the dataset {name}", index, ())
    row = columns.episodes.iloc[index]
    if row.get("seed") is None or not row["seed"] >= 0:  # columns say -1
        raise ValueError(f"the seed of episode {index} of {name} was not recorded, so it cannot be played again")
    steps = columns.episode(index)
    return EpisodeRecord(
        run=name,
        decoding="recorded",
        target=None,
        episode=index,
        seed=int(row["seed"]),
        terminated=bool(row["terminated"]),
        truncated=bool(row["truncated"]),
        actions=np.array(steps.actions),
        rewards=np.array(steps.rewards),
        returns_to_go=np.full(len(steps.rewards), np.nan),
    )


def _reading(sweep: str) -> AbstractContextManager[None]:
    return reading_stored(f"what the sweep {sweep} measured", "measure it again under another name")


def _sweep_row(row: sqlite3.Row) -> SweepRow:
    spec: Spec = spec_of_sweep(row["kind"], json.loads(row["spec"]))
    return SweepRow(
        name=row["name"],
        kind=row["kind"],
        spec=spec,
        state=row["state"] or "succeeded",
        progress=1.0 if row["progress"] is None else row["progress"],
        message=row["error"] or row["message"] or "",
        created=row["created"],
        finished=row["finished"],
        job_id=row["job_id"],
        archived=bool(row["archived"]),
    )
