"""The bundled demo: what a home holds, as plain files, read-only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from seqrl.config import DatasetFacts, RunSpec
from seqrl.files import inside
from seqrl.store.rows import DatasetRow, NotFound, RunRow, SweepRow, spec_of_sweep

BUNDLE_PREFIX = "demo/"
INDEX_NAME = "index.json"


class Bundle:
    """Rows and folders of a bundle; an absent one is empty.

    Args:
        root: folder with ``index.json``, ``datasets``, ``runs``, ``sweeps`` and ``media``, or None.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root

    @cached_property
    def index(self) -> Mapping[str, Any]:
        """What ``index.json`` says."""
        if self.root is None or not (self.root / INDEX_NAME).is_file():
            return {"datasets": [], "runs": [], "sweeps": []}
        index: dict[str, Any] = json.loads((self.root / INDEX_NAME).read_text())
        return index

    @cached_property
    def datasets(self) -> dict[str, DatasetRow]:
        """Name → dataset."""
        return {
            row["name"]: DatasetRow(
                name=row["name"],
                source=row["source"],
                facts=DatasetFacts.model_validate(row["facts"]),
                created=row["created"],
                archived=False,
                size_bytes=row["size_bytes"],
                state="ready",
                job_id=None,
            )
            for row in self.index["datasets"]
        }

    @cached_property
    def runs(self) -> dict[str, RunRow]:
        """Name → run."""
        return {row["name"]: _run_row(row) for row in self.index["runs"]}

    @cached_property
    def sweeps(self) -> dict[str, SweepRow]:
        """Name → sweep."""
        return {
            row["name"]: SweepRow(
                name=row["name"],
                kind=row["kind"],
                spec=spec_of_sweep(row["kind"], row["spec"]),
                state="succeeded",
                progress=1.0,
                message="",
                created=row["created"],
                finished=row["created"],
                job_id=None,
                archived=False,
            )
            for row in self.index["sweeps"]
        }

    def folder(self, kind: str, name: str) -> Path:
        """The folder of a bundled dataset, run or sweep.

        Raises:
            NotFound: if there is no bundle.
        """
        if self.root is None:
            raise NotFound(kind.removesuffix("s"), name, ())
        return inside(self.root / kind, name.removeprefix(BUNDLE_PREFIX))


def _run_row(row: Mapping[str, Any]) -> RunRow:
    spec = RunSpec.model_validate(row["spec"])
    return RunRow(
        name=row["name"],
        spec=spec,
        facts=DatasetFacts.model_validate(row["facts"]),
        state="succeeded",
        step=row["step"],
        steps=spec.training.steps,
        best_value=row["best_value"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        heartbeat=row["finished"],
        message="",
        note=row["note"],
        tags=tuple(row["tags"]),
        job_id=None,
        archived=False,
    )
