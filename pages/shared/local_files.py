"""Files of the machine that the app runs on: which of them a page may read."""

from __future__ import annotations

import os
from pathlib import Path

from seqrl.files import inside

ROOT_VARIABLE = "SEQRL_IMPORT_ROOT"
_MINARI_VARIABLE = "MINARI_DATASETS_PATH"
_MOST_LISTED = 1000


def import_root() -> Path:
    """The folder below which a page may read files: ``SEQRL_IMPORT_ROOT``, or the home of who runs the app."""
    return Path(os.environ.get(ROOT_VARIABLE) or Path.home()).expanduser()


def minari_root() -> Path:
    """Where Minari keeps the datasets of this machine."""
    return Path(os.environ.get(_MINARI_VARIABLE) or Path.home() / ".minari" / "datasets").expanduser()


def readable_path(text: str, *, root: Path | None = None) -> Path:
    """What somebody typed as a path, if a page may read it.

    Args:
        text: absolute, relative to the folder that pages may read, or with ``~``.
        root: that folder; `import_root` if not given.

    Raises:
        ValueError: if it lies outside, also through ``..`` or a symbolic link, or does not exist.
    """
    root = (root or import_root()).resolve()
    try:
        path = inside(root, str(Path(text.strip()).expanduser()))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{text.strip()!r} is not inside {root}, the folder that this page may read; move it there, set "
            f"{ROOT_VARIABLE} before the app starts, or use the command line"
        ) from error
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a file or folder of this machine")
    return path


def local_minari() -> dict[str, Path]:
    """Minari datasets of this machine: id and folder, in alphabetical order."""
    root = minari_root()
    found: dict[str, Path] = {}
    if not root.is_dir():
        return found
    for folder, inner, _ in os.walk(root):
        if "data" in inner and (Path(folder) / "data" / "metadata.json").is_file():
            found[str(Path(folder).relative_to(root))] = Path(folder)
            inner.clear()
        if len(found) >= _MOST_LISTED:
            break
    return dict(sorted(found.items()))
