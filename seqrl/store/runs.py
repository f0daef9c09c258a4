"""Runs in the store: their specs, curves and histograms."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqrl.config import DatasetFacts, RunSpec
from seqrl.files import atomic_write_text
from seqrl.store.base import StoreBase
from seqrl.store.rows import Histogram, MetricRow, NotFound, RunRow

if TYPE_CHECKING:
    import pandas as pd

_SELECT = (
    "SELECT r.*, j.state, j.started, j.finished, j.heartbeat, j.message, j.error "
    "FROM runs r LEFT JOIN jobs j ON j.id = r.job_id"
)
CHECKPOINT = "checkpoint"
METRICS_NAME = "metrics.json"
HISTOGRAMS_NAME = "histograms.json"


class RunTable(StoreBase):
    """What the store knows of runs."""

    def add_run(self, spec: RunSpec, facts: DatasetFacts, job_id: int | None = None) -> None:
        """Take a name for a run.

        Raises:
            ValueError: if the name is taken, malformed or read-only, or its folder holds an older run's checkpoint.
        """
        self.check_writable(spec.name)
        values = (spec.name, spec.to_json(), facts.to_json(), self.now(), job_id)
        try:
            with self.database.transaction() as connection:
                connection.execute(
                    "INSERT INTO runs (name, spec, facts, created, job_id) VALUES (?, ?, ?, ?, ?)", values
                )
                self.refuse_results("runs", spec.name)
        except sqlite3.IntegrityError:
            raise ValueError(f"a run named {spec.name} exists already; choose another name") from None
        folder = self.run_folder(spec.name)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(folder / "spec.json", spec.model_dump_json(indent=2))

    def run(self, name: str) -> RunRow:
        """A run, archived or not.

        Raises:
            NotFound: with the nearest names.
        """
        if self.bundled(name) and name in self.bundle.runs:
            return self.bundle.runs[name]
        row = self.database.row(f"{_SELECT} WHERE r.name = ?", (name,))
        if row is None:
            raise NotFound("run", name, [run.name for run in self.runs()])
        return self.read_one(row, _run_row)

    def has_run(self, name: str) -> bool:
        """Whether a name is taken by a run, archived or not."""
        if self.bundled(name):
            return name in self.bundle.runs
        return self.database.row("SELECT 1 FROM runs WHERE name = ?", (name,)) is not None

    def runs(self, archived: bool = False) -> list[RunRow]:
        """The runs, bundled ones first, then the newest first; or the archived ones."""
        bundled = [] if archived else list(self.bundle.runs.values())
        return bundled + self._select_runs("r.archived = ? ORDER BY r.created DESC", (int(archived),))

    def has_checkpoint(self, name: str) -> bool:
        """Whether a run has weights that can act; none are looked for behind a link that leaves the home."""
        try:
            folder = self.run_folder(name)
        except ValueError:
            return False
        return (folder / CHECKPOINT / "model.safetensors").is_file()

    def archive_run(self, name: str) -> None:
        """Hide a run; nothing of it is destroyed, and its name stays taken."""
        self._update_run(name, archived=1)

    def restore_run(self, name: str) -> None:
        """Show an archived run again."""
        self._update_run(name, archived=0)

    def set_run_note(self, name: str, note: str) -> None:
        """Keep a free text with a run."""
        self._update_run(name, note=note)

    def set_run_tags(self, name: str, tags: Sequence[str]) -> None:
        """Replace a run's tags."""
        self._update_run(name, tags=json.dumps(list(dict.fromkeys(tags))))

    def set_run_progress(self, name: str, step: int, best_value: float | None) -> None:
        """Keep how far a run is and the best validation loss it had."""
        self._update_run(name, step=step, best_value=best_value)

    # --- curves --------------------------------------------------------------------------------

    def add_metrics(self, run: str, rows: Sequence[MetricRow]) -> None:
        """Append to a run's curves; values of a step that exists already are added to it.

        A value that is not finite is kept as missing.
        """
        self.check_writable(run)
        with self.database.transaction() as connection:
            connection.executemany(
                "INSERT INTO metrics (run, step, time_s, data) VALUES (?, ?, ?, ?) ON CONFLICT (run, step) "
                "DO UPDATE SET time_s = excluded.time_s, data = json_patch(data, excluded.data)",
                [(run, row.step, row.time_s, _finite_json(row.values)) for row in rows],
            )
            if rows:
                step = max(row.step for row in rows)
                connection.execute("UPDATE runs SET step = max(step, ?) WHERE name = ?", (step, run))

    def truncate_metrics(self, run: str, after_step: int) -> None:
        """Forget what a run measured after a step: on resuming, what its checkpoint does not know."""
        self.check_writable(run)
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM metrics WHERE run = ? AND step > ?", (run, after_step))
            connection.execute("DELETE FROM histograms WHERE run = ? AND step > ?", (run, after_step))
            connection.execute("UPDATE runs SET step = min(step, ?) WHERE name = ?", (after_step, run))

    def metrics(self, run: str, after_step: int = -1) -> pd.DataFrame:
        """A run's curves.

        Returns:
            Sorted by ``step``, with ``time_s`` and one column a metric; NaN where a step has not measured it.
        """
        import pandas as pd

        rows = self.metric_rows(run, after_step)
        frame = pd.DataFrame([{"step": row.step, "time_s": row.time_s, **row.values} for row in rows])
        return frame if len(frame.columns) else pd.DataFrame({"step": [], "time_s": []})

    def metric_rows(self, run: str, after_step: int = -1) -> list[MetricRow]:
        """A run's curves as rows, by step."""
        if self.bundled(run):
            path = self.run_folder(run) / METRICS_NAME
            rows = json.loads(path.read_text()) if path.is_file() else []
            return [MetricRow(*row) for row in rows if row[0] > after_step]
        found = self.database.rows(
            "SELECT step, time_s, data FROM metrics WHERE run = ? AND step > ? ORDER BY step", (run, after_step)
        )
        return [MetricRow(row["step"], row["time_s"], json.loads(row["data"])) for row in found]

    def metric_series(self, runs: Sequence[str], metric: str) -> dict[str, tuple[list[int], list[float]]]:
        """One metric of many runs in one query, for small curves in a table: run → (steps, values)."""
        series: dict[str, tuple[list[int], list[float]]] = {run: ([], []) for run in runs}
        marks = ",".join("?" * len(runs))
        path = f"$.{json.dumps(metric)}"
        rows = self.database.rows(
            f"SELECT run, step, json_extract(data, ?) AS value FROM metrics "  # noqa: S608 - only question marks
            f"WHERE run IN ({marks}) AND value IS NOT NULL ORDER BY run, step",
            (path, *runs),
        )
        found = [(row["run"], row["step"], row["value"]) for row in rows]
        for run in filter(self.bundled, runs):
            found += [(run, row.step, row.values[metric]) for row in self.metric_rows(run) if metric in row.values]
        for run, step, value in found:
            series[run][0].append(step)
            series[run][1].append(value)
        return series

    def add_histogram(self, run: str, step: int, name: str, edges: Sequence[float], counts: Sequence[float]) -> None:
        """Keep a histogram of weights or gradients: ``len(edges) == len(counts) + 1``.

        Raises:
            ValueError: if the lengths do not fit.
        """
        self.check_writable(run)
        if len(edges) != len(counts) + 1:
            raise ValueError(
                f"the histogram {name} has {len(edges)} edges and {len(counts)} counts; give one edge more"
            )
        packed = (json.dumps([float(edge) for edge in edges]), json.dumps([float(count) for count in counts]))
        with self.database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO histograms VALUES (?, ?, ?, ?, ?)", (run, step, name, *packed))

    def histogram_names(self, run: str) -> list[str]:
        """What a run keeps histograms of."""
        if self.bundled(run):
            return list(dict.fromkeys(histogram.name for histogram in self.histograms(run)))
        rows = self.database.rows("SELECT DISTINCT name FROM histograms WHERE run = ? ORDER BY name", (run,))
        return [row["name"] for row in rows]

    def histograms(self, run: str, name: str | None = None) -> list[Histogram]:
        """A run's histograms, by name and step; those of one name, or all."""
        if self.bundled(run):
            path = self.run_folder(run) / HISTOGRAMS_NAME
            values = json.loads(path.read_text()) if path.is_file() else []
            kept = [v for v in values if name in (None, v["name"])]
            return [Histogram(v["step"], v["name"], tuple(v["edges"]), tuple(v["counts"])) for v in kept]
        rows = self.database.rows(
            "SELECT * FROM histograms WHERE run = ? AND name = ifnull(?, name) ORDER BY name, step", (run, name)
        )
        return [
            Histogram(row["step"], row["name"], tuple(json.loads(row["edges"])), tuple(json.loads(row["counts"])))
            for row in rows
        ]

    def _select_runs(self, where: str, values: Sequence[Any]) -> list[RunRow]:
        return self.read_all(self.database.rows(f"{_SELECT} WHERE {where}", values), _run_row)

    def _update_run(self, name: str, **values: Any) -> None:
        self.check_writable(name)
        assignments = ", ".join(f"{column} = ?" for column in values)
        with self.database.transaction() as connection:
            cursor = connection.execute(
                f"UPDATE runs SET {assignments} WHERE name = ?",  # noqa: S608 - columns are keywords of this module
                (*values.values(), name),
            )
        if not cursor.rowcount:
            raise NotFound("run", name, [run.name for run in self.runs()])


def _run_row(row: sqlite3.Row) -> RunRow:
    spec = RunSpec.model_validate_json(row["spec"])
    return RunRow(
        name=row["name"],
        spec=spec,
        facts=DatasetFacts.model_validate_json(row["facts"]),
        state=row["state"] or "succeeded",
        step=row["step"],
        steps=spec.training.steps,
        best_value=row["best_value"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        heartbeat=row["heartbeat"],
        message=row["error"] or row["message"] or "",
        note=row["note"],
        tags=tuple(json.loads(row["tags"])),
        job_id=row["job_id"],
        archived=bool(row["archived"]),
        grid=row["grid"],
    )


def _finite_json(values: Mapping[str, float]) -> str:
    return json.dumps({name: float(value) for name, value in values.items() if math.isfinite(value)})
