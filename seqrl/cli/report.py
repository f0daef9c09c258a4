"""``report``: a sweep as one HTML file that opens anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqrl.cli.session import AsJson, session, show
from seqrl.config import RenderJob, RenderSpec
from seqrl.files import atomic_write_text


def report_command(
    context: typer.Context,
    sweep: Annotated[str, typer.Argument(help="The sweep.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; SWEEP.html if missing.")] = None,
    videos: Annotated[bool, typer.Option(help="Render the episodes that it shows, where they are not yet.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write charts, tables, videos and specs of a sweep into one HTML file."""
    from seqrl.report import report, report_episodes  # plotly, which no other command needs to wait for

    here = session(context)
    path = out or Path(f"{sweep.replace('/', '-')}.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out is {path}; choose a name that ends with .html")
    if not path.parent.is_dir():
        raise ValueError(f"--out is {path} but there is no folder {path.parent}; make it first, or choose another")
    episodes = report_episodes(here.store, sweep)
    for episode in episodes:
        if videos and not here.store.media_path(sweep, episode).is_file():
            spec = RenderSpec(sweep=sweep, episode_id=episode)
            here.run(RenderJob(spec=spec), as_json=False, detach=False, on_success=lambda row: None)
    text = report(here.store, sweep)
    atomic_write_text(path, text)
    size = path.stat().st_size
    show({"path": str(path), "size_bytes": size, "episodes": episodes}, as_json, f"{path}: {size / 1e6:.1f} MB")
