"""``env``: what episodes can be played in."""

from __future__ import annotations

import typer

from seqrl.cli.session import AsJson, show_table
from seqrl.registry import ENVIRONMENTS

app = typer.Typer(help="Environments.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the environments that seqrl knows well; any other registered Gymnasium id works with random behaviour."""
    rows = [
        {
            "id": row.id,
            "title": row.title,
            "family": row.family,
            "max_episode_steps": row.max_episode_steps,
            "tiers": ["random", *row.tiers],
            "default_mix": dict(row.default_mix),
            "package": row.package,
        }
        for row in ENVIRONMENTS.values()
    ]
    show_table(rows, as_json, ("id", "title", "family", "max_episode_steps", "tiers"), empty="no environments")
