"""What every command shares: the store, waiting for a job, and printing for people or for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from seqrl import jobs
from seqrl.config import JobSpec
from seqrl.store import JobRow, RunRow, Store

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the job goes on in the background.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]


class Failure(Exception):
    """A command that did not succeed, with the sentence to say and the exit code."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Session:
    """One call of the command line.

    Args:
        home: the store's home folder; None takes the default.
        backend: where jobs run; what was chosen for the home by default.
    """

    def __init__(self, home: Path | None, backend: jobs.Backend | None = None) -> None:
        self.home = home
        self._backend = backend

    @cached_property
    def backend(self) -> jobs.Backend:
        """Where jobs run."""
        return self._backend or jobs.chosen_backend(self.store)

    @cached_property
    def store(self) -> Store:
        """The store, opened when the first command needs it."""
        return Store(self.home)

    def run(
        self, job: JobSpec, *, as_json: bool, detach: bool, on_success: Callable[[JobRow], None] | None = None
    ) -> None:
        """Submit a job and wait for it, or not.

        Args:
            job: what to do.
            as_json: print JSON; the job itself if nothing else is printed.
            detach: return at once, printing the job.
            on_success: prints the result.

        Raises:
            Failure: if the job did not succeed.
        """
        row = jobs.submit(self.store, job, self.backend)
        self.follow(row, as_json=as_json, detach=detach, on_success=on_success)

    def follow(
        self, row: JobRow, *, as_json: bool, detach: bool, on_success: Callable[[JobRow], None] | None = None
    ) -> None:
        """Wait for a job that was submitted, or not, see `run`."""
        if detach:
            show(job_values(row), as_json, f"job {row.id}: {row.kind} {row.name} is {row.state}")
            return
        row = self._wait(row)
        if row.state != "succeeded":
            reason = f": {row.error}" if row.error else ""
            raise Failure(
                f"job {row.id} ({row.kind} {row.name}) {_ENDINGS[row.state]}{reason} "
                f"(its log: python -m seqrl jobs log {row.id})"
            )
        if on_success is not None:
            on_success(row)
        else:
            show(job_values(row), as_json, f"job {row.id}: {row.kind} {row.name} succeeded")

    def _wait(self, row: JobRow) -> JobRow:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.fields[title]}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.description}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("", total=1.0, title=f"{row.kind} {row.name}")

            def draw(job: JobRow) -> None:
                words = (
                    "waiting for other jobs" if job.state == "queued" and not jobs.was_put_back(job) else job.message
                )
                progress.update(task, completed=job.progress, description=words)

            return jobs.wait(self.store, row.id, draw, backend=self.backend)


_ENDINGS = {"failed": "failed", "cancelled": "was cancelled", "interrupted": "was interrupted"}


def session(context: typer.Context) -> Session:
    """The session of a command."""
    found = context.find_object(Session)
    if found is None:
        raise RuntimeError("the command was called outside of seqrl.cli.main")
    return found


def show(values: Any, as_json: bool, text: str) -> None:
    """Print plain values as JSON, or a line for people."""
    typer.echo(json.dumps(values, indent=2) if as_json else text)


def show_table(values: Sequence[Mapping[str, Any]], as_json: bool, columns: Iterable[str], *, empty: str) -> None:
    """Print mappings as a JSON list, or some of their columns as a table."""
    if as_json:
        typer.echo(json.dumps(list(values), indent=2))
        return
    if not values:
        typer.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = isinstance(values[0].get(column), int | float) and not isinstance(values[0].get(column), bool)
        table.add_column(column.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in values:
        table.add_row(*(Text(cell_text(row.get(column))) for column in columns))  # a foreign [name] is no markup
    width = None if sys.stdout.isatty() else 200
    Console(width=width).print(table)


def cell_text(value: Any) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def job_values(job: JobRow) -> dict[str, Any]:
    """A job as plain values."""
    fields = ("id", "kind", "name", "state", "progress", "message", "error")
    times = ("created", "started", "finished", "heartbeat")
    return {field: getattr(job, field) for field in (*fields, *times)} | {"spec": job.spec.get("spec")}


def run_values(run: RunRow) -> dict[str, Any]:
    """A run as plain values."""
    fields = ("name", "grid", "state", "archived", "step", "steps", "best_value", "message", "job_id")
    times = ("created", "started", "finished")
    return {field: getattr(run, field) for field in (*fields, *times)} | {"spec": run.spec.model_dump(mode="json")}
