"""``delete`` and ``restore``, which datasets, runs and sweeps have alike: hidden, not destroyed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from seqrl.cli.session import AsJson, session, show
from seqrl.store import Store

Archived = Annotated[bool, typer.Option(help="Those that were deleted.")]


def add_archive(
    app: typer.Typer,
    noun: str,
    archive: Callable[[Store, str], None],
    restore: Callable[[Store, str], None],
    values: Callable[[Store, str], dict[str, Any]],
) -> None:
    """Give a group of commands the two.

    Args:
        app: the group.
        noun: what it is about, in words and as the group is called.
        archive: puts one away.
        restore: brings one back.
        values: one as plain values.
    """

    @app.command("delete", help=f"Put a {noun} into the archive; nothing is destroyed.")
    def _delete(context: typer.Context, name: str, as_json: AsJson = False) -> None:
        store = session(context).store
        archive(store, name)
        show(values(store, name), as_json, f"{name} is in the archive; bring it back with {noun} restore {name}")

    @app.command("restore", help=f"Bring a {noun} back from the archive.")
    def _restore(context: typer.Context, name: str, as_json: AsJson = False) -> None:
        store = session(context).store
        restore(store, name)
        show(values(store, name), as_json, f"{name} is back")
