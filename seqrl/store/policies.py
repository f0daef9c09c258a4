"""Trained behaviour policies in the store: a folder each, with its spec and a file for every snapshot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from seqrl.config import PolicySpec, SnapshotFacts, parse_policy_reference, snapshot_tiers
from seqrl.files import atomic_write_text, check_name, inside, is_name, new_folder
from seqrl.store.base import StoreBase, reason
from seqrl.store.rows import NotFound

_SPEC_NAME = "spec.json"
_SNAPSHOTS_NAME = "snapshots.json"
_SNAPSHOTS = TypeAdapter(tuple[SnapshotFacts, ...])


@dataclass(frozen=True)
class PolicyRow:
    """A trained policy.

    Attributes:
        name: how it is called.
        spec: how it was trained.
        snapshots: those kept so far, oldest first.
        created: seconds since the epoch.
    """

    name: str
    spec: PolicySpec
    snapshots: tuple[SnapshotFacts, ...]
    created: float

    @property
    def tiers(self) -> dict[str, tuple[int, ...]]:
        """Tier → steps of its snapshots."""
        return snapshot_tiers(self.snapshots)


class PolicyTable(StoreBase):
    """What the store knows of trained policies."""

    def policy_folder(self, name: str) -> Path:
        """Where a policy's snapshots are."""
        return inside(self.home / "policies", check_name(name))

    def snapshot_path(self, name: str, step: int) -> Path:
        """The file of a snapshot."""
        return self.policy_folder(name) / f"{int(step)}.safetensors"

    def add_policy(self, spec: PolicySpec) -> None:
        """Take a name for a policy.

        Raises:
            ValueError: if the name is taken, malformed or read-only.
        """
        folder = self.policy_folder(self.check_writable(spec.name))
        try:
            with new_folder(folder) as partial:
                atomic_write_text(partial / _SPEC_NAME, spec.model_dump_json(indent=2))
        except FileExistsError:
            raise ValueError(f"a policy named {spec.name} exists already; choose another name") from None

    def add_snapshot(self, name: str, facts: SnapshotFacts) -> None:
        """Note a snapshot whose file is complete; one of the same step takes the place of the older."""
        kept = {snapshot.step: snapshot for snapshot in (*self.policy(name).snapshots, facts)}
        values = [kept[step].model_dump() for step in sorted(kept)]
        atomic_write_text(self.policy_folder(name) / _SNAPSHOTS_NAME, json.dumps(values, indent=1))

    def policy(self, name: str) -> PolicyRow:
        """A policy.

        Raises:
            NotFound: with the nearest names.
            ValueError: if its files cannot be read.
        """
        folder = self.policy_folder(name) if is_name(name) else None
        if folder is None or not (folder / _SPEC_NAME).is_file():
            raise NotFound("policy", name, [path.name for path in self._policy_folders()])
        try:
            spec = PolicySpec.model_validate_json((folder / _SPEC_NAME).read_bytes())
            listed = folder / _SNAPSHOTS_NAME
            snapshots = _SNAPSHOTS.validate_json(listed.read_bytes()) if listed.is_file() else ()
        except (ValidationError, OSError) as error:
            raise ValueError(
                f"the policy {name} cannot be read ({reason(error)}); train one under another name"
            ) from error
        return PolicyRow(name, spec, snapshots, (folder / _SPEC_NAME).stat().st_mtime)

    def policies(self) -> list[PolicyRow]:
        """The policies, newest first; unreadable ones are left out and kept in ``unreadable``."""
        rows = []
        for folder in self._policy_folders():
            try:
                rows.append(self.policy(folder.name))
            except NotFound:
                self.unreadable[f"policy {folder.name}"] = f"{_SPEC_NAME} is missing"
            except ValueError as error:
                self.unreadable[f"policy {folder.name}"] = str(error)
        return sorted(rows, key=lambda row: row.created, reverse=True)

    def policy_snapshots(self, reference: str) -> list[Path]:
        """The snapshot files that a behaviour's ``policy:NAME@TIER`` means.

        Raises:
            NotFound: if there is no such policy.
            ValueError: if it has no such tier, naming those that it has.
        """
        name, tier = parse_policy_reference(reference)
        row = self.policy(name)
        if tier not in row.tiers:
            known = ", ".join(row.tiers) or "none yet, its training has just begun"
            raise ValueError(f"the policy {name} has no tier {tier!r}; choose from {known}")
        return [self.snapshot_path(name, step) for step in row.tiers[tier]]

    def _policy_folders(self) -> list[Path]:
        root = self.home / "policies"
        return sorted(folder for folder in root.iterdir() if is_name(folder.name)) if root.is_dir() else []
