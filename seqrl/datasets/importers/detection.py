"""Which format a file or folder has, and how it is opened."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from seqrl.datasets.importers.checks import ImportRefused, check_file
from seqrl.datasets.importers.d4rl import open_d4rl
from seqrl.datasets.importers.hdf5 import is_hdf5, open_hdf5
from seqrl.datasets.importers.huggingface import is_huggingface, open_huggingface
from seqrl.datasets.importers.minari import is_minari, is_minari_folder, open_minari
from seqrl.datasets.importers.npz import open_npz
from seqrl.datasets.importers.parquet import is_parquet, open_parquet
from seqrl.datasets.importers.sources import Expected, Source, reading

_OPEN: dict[str, Callable[[Path, Expected], AbstractContextManager[Source]]] = {
    "minari": open_minari,
    "d4rl": open_d4rl,
    "npz": open_npz,
    "parquet": open_parquet,
    "hf": open_huggingface,
}

_ZIP = b"PK\x03\x04"


def detect(path: Path) -> str:
    """The format of a file or folder, by its content; never by its name.

    Raises:
        ImportRefused: if it is none that seqrl reads.
    """
    if path.is_dir():
        if is_huggingface(path):
            return "hf"
        if is_minari_folder(path):
            return "minari"
        raise ImportRefused(f"{path.name} is no dataset folder; give one of Minari or of Hugging Face datasets")
    check_file(path)
    with reading(path):
        if is_hdf5(path):
            with open_hdf5(path) as file:
                return "minari" if is_minari(file) else "d4rl"
        if is_parquet(path):
            return "parquet"
        if zipfile.is_zipfile(path):
            return "npz"
        with open(path, "rb") as file:
            if file.read(4) == _ZIP:
                raise ImportRefused(f"{path.name} is an archive that is cut short; copy or download it again")
    raise ImportRefused(f"{path.name} is none of HDF5, NPZ and Parquet; give one of these, or a folder")


def open_source(path: Path, format: str, expected: Expected) -> AbstractContextManager[Source]:
    """Open a dataset of a known format, or of the format that it turns out to have ("auto").

    Raises:
        ImportRefused: if it is missing, malformed or of another format.
    """
    if not path.exists():
        raise ImportRefused(f"{path} does not exist; give a file or folder of this machine")
    chosen = detect(path) if format == "auto" else format
    if path.is_dir() and chosen not in ("hf", "minari"):
        raise ImportRefused(f"{path.name} is a folder; choose the format minari or hf")
    if chosen == "hf" and not path.is_dir():
        raise ImportRefused(f"{path.name} is a file; give the folder that datasets.save_to_disk wrote")
    return _OPEN[chosen](path, expected)
