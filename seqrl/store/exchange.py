"""What comes in and goes out: uploads, exports, and open-loop evaluations."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from seqrl.files import atomic_write_text, check_name, free_bytes, inside, move_whole, read_capped, remove_partials
from seqrl.store.base import StoreBase
from seqrl.store.rows import NotFound

_MOST_EVALUATION_BYTES = 64 * 2**20
_KEEP_FREE_BYTES = 512 * 2**20
_FORGOTTEN_AFTER_S = 24 * 3600.0


class ExchangeTable(StoreBase):
    """What the store knows of files that cross its border."""

    def keep_upload(self, file_name: str, chunks: Iterable[bytes], limit: int) -> Path:
        """Keep what somebody uploads until a job has read it; uploads that no job waits for are removed after a day.

        Args:
            file_name: as the browser says; only its ending is kept.
            chunks: the content.
            limit: most bytes that are taken.

        Returns:
            The file, for the ``path`` of an `ImportSpec` or `RunImportSpec` with ``remove_after``.

        Raises:
            ValueError: if it is larger than the limit, or the disk is too full for it.
        """
        folder = self.uploads_folder()
        self._forget_uploads()
        ending = re.sub(r"[^a-z0-9.]", "", Path(file_name).suffix.lower())[:12]
        path = folder / f"{secrets.token_hex(8)}{ending}"
        size = 0
        try:
            with open(path, "xb") as file:
                os.chmod(path, 0o600)
                for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise ValueError(f"the upload is larger than {limit:,} bytes; use the command line for it")
                    if free_bytes(folder) < _KEEP_FREE_BYTES + len(chunk):
                        raise ValueError("the disk is too full for the upload; free some space")
                    file.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def remove_upload(self, path: Path) -> None:
        """Remove an upload that was read; anything else than an upload is left alone."""
        folder = self.uploads_folder().resolve()
        if Path(path).resolve().parent == folder:
            Path(path).unlink(missing_ok=True)

    def uploads_folder(self) -> Path:
        """Where uploads wait for their job."""
        folder = self.home / "uploads"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _forget_uploads(self) -> None:
        """Remove old uploads that nobody came for; a job may wait in the queue for longer."""
        jobs = self.database.rows(
            "SELECT spec FROM jobs WHERE kind IN ('import', 'import_run') AND state IN ('queued', 'running')"
        )
        specs = [str(row["spec"]) for row in jobs]
        for path in self.uploads_folder().iterdir():
            old = path.is_file() and time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S
            if old and not any(path.name in spec for spec in specs):  # the name is random
                path.unlink(missing_ok=True)

    def export_path(self, name: str, format: Literal["minari", "parquet"]) -> Path:
        """The file that an export job writes for a dataset."""
        return self._export_file(name, "parquet" if format == "parquet" else "minari.zip")

    def run_export_path(self, name: str, format: Literal["zip", "hf"]) -> Path:
        """The file that an export job writes for a run."""
        return self._export_file(name, "run.zip" if format == "zip" else "huggingface.zip")

    def keep_export(self, written: Path, path: Path, job_id: int) -> None:
        """Move what an export job wrote to its place; its scratch folder may be on another disk."""
        move_whole(written, path, f"job-{job_id}")

    def remove_partial_exports(self, job_id: int) -> None:
        """Remove what a job left that was ended while it moved its export."""
        remove_partials(self.home / "exports", f"job-{job_id}")

    def _export_file(self, name: str, ending: str) -> Path:
        folder = self.home / "exports"
        folder.mkdir(exist_ok=True)
        return inside(folder, f"{check_name(name).replace('/', '--')}.{ending}")

    # --- open-loop evaluations -----------------------------------------------------------------

    def set_evaluation(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep the result of an open-loop evaluation; see `seqrl.open_loop` for what it holds."""
        self.check_writable(name)
        path = self._evaluation_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps(values, sort_keys=True))

    def evaluation(self, name: str) -> dict[str, Any]:
        """The result of an open-loop evaluation.

        Raises:
            NotFound: if there is none of that name.
        """
        path = self._evaluation_path(name)
        if not path.is_file():
            raise NotFound("evaluation", name, self.evaluations())
        values: dict[str, Any] = json.loads(read_capped(path, _MOST_EVALUATION_BYTES))
        return values

    def evaluations(self) -> list[str]:
        """Names of the open-loop evaluations, the newest first."""
        files = sorted((self.home / "evaluations").rglob("*.json"), key=lambda path: -path.stat().st_mtime)
        return [str(path.relative_to(self.home / "evaluations"))[: -len(".json")] for path in files]

    def _evaluation_path(self, name: str) -> Path:
        return inside(self.home / "evaluations", f"{check_name(name)}.json")
