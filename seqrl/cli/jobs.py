"""``jobs``: what runs, what waits, what ended and why."""

from __future__ import annotations

from typing import Annotated

import typer

from seqrl import jobs
from seqrl.cli.session import AsJson, Detach, Failure, job_values, session, show, show_table

app = typer.Typer(help="Background jobs.", no_args_is_help=True)

JobId = Annotated[int, typer.Argument(help="Number of the job.", metavar="JOB", min=1, max=2**63 - 1)]
_MOST_LINES = 1_000_000


@app.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="At most so many, the newest first.", min=1, max=_MOST_LINES)] = 30,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs."""
    store = session(context).store
    jobs.reconcile(store)
    rows = [job_values(row) for row in store.jobs(limit=limit)]
    show_table(rows, as_json, ("id", "kind", "name", "state", "progress", "message", "error"), empty="no jobs yet")


@app.command("show")
def show_(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job."""
    store = session(context).store
    jobs.reconcile(store)
    row = store.job(job_id)
    text = (
        f"job {row.id}: {row.kind} {row.name} is {row.state} ({row.progress:.0%}) {row.error or row.message}".rstrip()
    )
    show(job_values(row), as_json, text)


@app.command("log")
def log(
    context: typer.Context,
    job_id: JobId,
    lines: Annotated[int, typer.Option(help="How many lines from the end.", min=1, max=_MOST_LINES)] = 40,
    as_json: AsJson = False,
) -> None:
    """Print the end of a job's log."""
    store = session(context).store
    store.job(job_id)
    text = jobs.log_tail(store, job_id, lines)
    show({"id": job_id, "lines": text.splitlines()}, as_json, text)


@app.command("cancel")
def cancel(
    context: typer.Context,
    job_id: JobId,
    grace: Annotated[
        float, typer.Option(help="Seconds it has for saving before it is ended by force.", min=0)
    ] = jobs.GRACE_S,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Stop a job after it has saved."""
    store = session(context).store
    row = jobs.cancel(store, job_id, grace_s=grace, wait=not detach)
    if not detach and row.state != "cancelled":
        raise Failure(f"job {job_id} had {row.state} before it could be cancelled")
    show(job_values(row), as_json, f"job {row.id}: {row.kind} {row.name} is {row.state}")


@app.command("resume")
def resume(context: typer.Context, job_id: JobId, detach: Detach = False, as_json: AsJson = False) -> None:
    """Go on with a stopped training or sweep."""
    here = session(context)
    here.follow(jobs.resume(here.store, job_id), as_json=as_json, detach=detach)
