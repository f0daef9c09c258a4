"""NPZ archives of numpy: one array a field, one row a step. Nothing is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from seqrl.datasets.importers.checks import SMALL_BYTES, ImportRefused, check_expansion, check_file, refuse
from seqrl.datasets.importers.flat import Column, FlatSteps, find_names
from seqrl.datasets.importers.sources import Expected, Source, reading

_MOST_MEMBERS = 1000


@contextmanager
def open_npz(path: Path, expected: Expected) -> Iterator[Source]:
    """Open an archive with observations, actions, rewards and what says where episodes end.

    Raises:
        ImportRefused: naming the field.
    """
    check_file(path)
    with reading(path):
        archive = zipfile.ZipFile(path)
    with archive:
        with reading(path):
            members = _members(archive)

            @contextmanager
            def open_column(name: str) -> Iterator[Column]:
                with archive.open(members[name]) as stream:
                    yield NpyColumn(stream, name, members[name].file_size)

            available = list(members)
            flat = FlatSteps(find_names(available), open_column, expected.max_episode_steps, available=available)
        yield Source("npz", flat.episodes, flat.steps, expected.observation, expected.action, flat.read)


class NpyColumn:
    """Rows of an array in numpy's own format, read from a stream that cannot go back.

    Raises:
        ImportRefused: if it holds objects, lies in Fortran order, or is not as long as it claims.
    """

    def __init__(self, stream: IO[bytes], name: str, size: int) -> None:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise refuse(None, name, f"is in version {version[0]}.{version[1]} of numpy's format; save it again")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        if dtype.hasobject or dtype.kind not in "biuf":
            raise refuse(None, name, f"has values of type {dtype}; give numbers")
        self.name, self.shape, self.dtype = name, shape, dtype
        self._row_bytes = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
        claimed = self._row_bytes * (shape[0] if shape else 1)
        if size - stream.tell() != claimed:
            raise refuse(None, name, f"claims shape {shape}, {claimed:,} bytes, but holds {size - stream.tell():,}")
        self._stream, self._whole = stream, None
        if fortran and len(shape) > 1:
            if claimed > SMALL_BYTES:
                raise refuse(None, name, "lies in Fortran order; save np.ascontiguousarray of it")
            flat = np.frombuffer(self._read(claimed), dtype=dtype)
            self._whole = np.ascontiguousarray(flat.reshape(shape, order="F"))
        self._position = 0

    def take(self, count: int) -> np.ndarray:
        """The next ``count`` rows."""
        start, self._position = self._position, self._position + count
        if self._whole is not None:
            return self._whole[start : self._position]
        data = self._read(count * self._row_bytes)
        return np.frombuffer(data, dtype=self.dtype).reshape(count, *self.shape[1:])

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise refuse(None, self.name, f"ends {size - len(data):,} bytes too early; the file is cut short")
        return data


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS:
        raise ImportRefused(f"the archive has {len(infos):,} files; at most {_MOST_MEMBERS:,} are read")
    members = {}
    for info in infos:
        if info.filename.endswith(".npy"):
            check_expansion(info.filename, info.compress_size, info.file_size)
            members[info.filename.removesuffix(".npy")] = info
    if not members:
        raise ImportRefused("the archive holds no arrays; save one with numpy.savez")
    return members
