"""Folders that come as a ZIP archive: unpacked inside one folder, within limits, or refused."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from seqrl.datasets.importers.checks import MOST_EXPANSION, SMALL_BYTES, ImportRefused, check_file
from seqrl.datasets.importers.sources import reading
from seqrl.files import free_bytes, inside

_MOST_FILES = 20_000
_KEEP_FREE_BYTES = 512 * 2**20
_DEEPEST = 8


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a ZIP archive into an existing empty folder, without what the Finder of macOS adds.

    Returns:
        The folder, or the only folder in it, and so on: Minari wraps a dataset in its namespace.

    Raises:
        ImportRefused: if a member would leave the folder, is a link, or the whole expands out of proportion.
    """
    check_file(archive)
    with reading(archive), zipfile.ZipFile(archive) as file:
        members = [(info, _target(info, folder)) for info in _checked(archive, file) if not _is_of_finder(info)]
        for info, target in members:
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open(info) as packed, open(target, "xb") as plain:
                _copy(packed, plain, info.file_size)
    return _only_folder(folder)


def _is_of_finder(info: zipfile.ZipInfo) -> bool:
    """Whether a member only tells how a folder looked on macOS."""
    parts = info.filename.split("/")
    return parts[0] == "__MACOSX" or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _only_folder(folder: Path) -> Path:
    """The first folder on the way down that holds anything but one other folder."""
    for _ in range(_DEEPEST):
        entries = list(folder.iterdir())
        if len(entries) != 1 or not entries[0].is_dir():
            break
        folder = entries[0]
    return folder


def _checked(archive: Path, file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    infos = file.infolist()
    total = sum(info.file_size for info in infos)
    if len(infos) > _MOST_FILES:
        raise ImportRefused(f"{archive.name} has {len(infos):,} files; at most {_MOST_FILES:,} are unpacked")
    if total > SMALL_BYTES and total > MOST_EXPANSION * archive.stat().st_size:
        raise ImportRefused(
            f"{archive.name} would expand to {total:,} bytes; at most {MOST_EXPANSION} times its size is unpacked"
        )
    return infos


def _target(info: zipfile.ZipInfo, folder: Path) -> Path:
    shown = info.filename[:80]
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ImportRefused(f"the archive has the link {shown!r}; give one with plain files")
    if info.flag_bits & 1:
        raise ImportRefused(f"the archive has {shown!r} encrypted; give one without a password")
    parts = info.filename.replace("\\", "/").split("/")
    if info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise ImportRefused(f"the archive has {shown!r}, which would leave its folder; give one with plain names")
    try:
        target = inside(folder, *filter(None, parts))
    except ValueError as error:
        raise ImportRefused(f"the archive has {shown!r}, which would leave its folder") from error
    if free_bytes(folder) - info.file_size < _KEEP_FREE_BYTES:
        raise ImportRefused(f"the archive has {shown!r} of {info.file_size:,} bytes; free some disk space first")
    return target


def _copy(packed: object, plain: object, size: int) -> None:
    """Copy at most the size that the archive's directory claims."""
    left = size
    while left >= 0:
        data = packed.read(min(1 << 20, left + 1))  # type: ignore[attr-defined]
        if not data:
            return
        left -= len(data)
        if left < 0:
            raise ImportRefused("the archive holds more than it claims; it is damaged or made to harm")
        plain.write(data)  # type: ignore[attr-defined]
