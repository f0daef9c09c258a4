"""Arrays that are larger than memory should hold: mapped files whose pages are given back."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeGuard

import numpy as np

LARGEST_HELD_BYTES = 512 * 2**20
"""Larger arrays of `zeros` live in a file."""

_SHARED_BYTES = 4 * 2**20
_MOST_READERS = 4


class Resident:
    """Bounds how much of some memory-mapped columns counts as this process's memory.

    Pages of a mapped file stay resident once they were read. They are given back here every so often; the kernel still
    has them in its cache, so that reading them again costs no disk access while there is memory to spare. Columns
    that are small, or not mapped at all, are left alone.

    Args:
        columns: mapped arrays, as `Columns.open` makes them, or parts of them.
    """

    LIMIT_BYTES = 256 * 2**20

    def __init__(self, *columns: np.ndarray) -> None:
        mapped = [column for column in columns if getattr(column, "_mmap", None) is not None]
        self._maps: list[mmap.mmap] = [column._mmap for column in mapped]  # type: ignore[attr-defined]
        self._row_bytes = sum(int(np.prod(column.shape[1:])) * column.itemsize for column in mapped)
        self._bounded = sum(column.nbytes for column in mapped) > self.LIMIT_BYTES
        self._touched = 0

    def touch(self, rows: int) -> None:
        """Say that so many rows are about to be read."""
        if not self._bounded:
            return
        # a row may begin and end inside of pages that it shares
        self._touched += rows * (self._row_bytes + mmap.PAGESIZE * len(self._maps))
        if self._touched > self.LIMIT_BYTES:
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


class FileWindows:
    """Windows of consecutive rows of a mapped column, read from its file: ``windows[starts]`` is (B, length, ...).

    Reading copies from the kernel's cache straight into the result. Through the mapping the same bytes would cost a
    page fault every few kilobytes, and would stay resident. The kernel copies page by page, which takes longer than a
    copy of memory; where a batch is large, cores share the work (nothing else runs while a batch is waited for), and
    a disk has several reads to put in order.

    Args:
        column: as ``numpy.load(..., mmap_mode="r")`` gives it.
        length: rows of a window.
    """

    def __init__(self, column: np.memmap, length: int) -> None:
        self._shape, self._dtype = (length, *column.shape[1:]), column.dtype
        self._row_bytes = int(np.prod(column.shape[1:], dtype=np.int64)) * column.itemsize
        self._offset, self._last = int(column.offset), len(column) - length
        self._file = os.open(str(column.filename), os.O_RDONLY | os.O_CLOEXEC)
        self._readers = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_READERS), "windows")
        weakref.finalize(self, os.close, self._file)

    def __getitem__(self, starts: np.ndarray) -> np.ndarray:
        """Copies of the windows that begin at these rows."""
        result = np.empty((len(starts), *self._shape), self._dtype)
        if not len(starts):
            return result
        if starts.min() < 0 or starts.max() > self._last:
            raise IndexError(f"a window begins at row {starts.max()}, the last one that fits at {self._last}")
        rows = result.reshape(len(starts), -1).view(np.uint8)
        if result.nbytes < _SHARED_BYTES:
            self._fill(rows, starts)
        else:
            parts = min(len(starts), _MOST_READERS)
            list(self._readers.map(self._fill, np.array_split(rows, parts), np.array_split(starts, parts)))
        return result

    def _fill(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Read windows into (B, bytes of a window)."""
        for row, start in zip(rows, starts.tolist(), strict=True):
            if os.preadv(self._file, [row.data], self._offset + start * self._row_bytes) != len(row):
                raise OSError(f"the column ends within the window that begins at row {start}; import the dataset again")


def copied_rows(column: np.ndarray, rows: np.ndarray, at_once: int = 1024) -> Iterator[np.ndarray]:
    """Copies of some rows, so many at once; those of a large mapped column are read from its file.

    Args:
        column: (N, ...).
        rows: (R,) which ones, at least one.
        at_once: rows of a piece.
    """
    windows = FileWindows(column, 1) if is_large(column) else None
    for start in range(0, len(rows), at_once):
        piece = rows[start : start + at_once]
        yield column[piece] if windows is None else windows[piece][:, 0]


def is_large(column: np.ndarray) -> TypeGuard[np.memmap]:
    """Whether a column is a mapped file that should not become resident."""
    return isinstance(column, np.memmap) and column.filename is not None and column.nbytes > Resident.LIMIT_BYTES


def zeros(shape: tuple[int, ...], dtype: np.typing.DTypeLike, folder: Path | None) -> np.ndarray:
    """An array of zeros: in memory if it is small, else in a file without a name that goes when the array goes.

    Args:
        shape: of the array.
        dtype: of its elements.
        folder: where the file lies; None keeps everything in memory.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if folder is None or size <= LARGEST_HELD_BYTES:
        return np.zeros(shape, dtype)
    with TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype, "w+", shape=shape)
