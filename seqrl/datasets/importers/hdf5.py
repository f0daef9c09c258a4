"""Reading HDF5 that somebody else wrote: links that leave the file and arrays that claim too much are refused first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5z

from seqrl.datasets.importers.checks import (
    MOST_EPISODES,
    ImportRefused,
    check_expansion,
    check_file,
    check_shape,
    refuse,
)
from seqrl.datasets.importers.sources import reading

_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_LZF, h5z.FILTER_SCALEOFFSET}
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CACHE_BYTES = 64 * 2**20
_MOST_CHUNK_BYTES = 256 * 2**20


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    with open(path, "rb") as file:
        return file.read(8) == _SIGNATURE


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; faults of its structure become one sentence.

    Raises:
        ImportRefused: if it is not HDF5, is cut short, or is inconsistent.
    """
    check_file(path)
    if not is_hdf5(path):
        raise ImportRefused(f"{path.name} is not HDF5; choose the format that it has")
    with reading(path):
        file = h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES, locking=False)
    with file:
        yield file


def members(group: h5py.Group, what: str) -> list[str]:
    """Names in a group, none of which is a link that leaves it.

    Raises:
        ImportRefused: if one is a soft or external link, or there are too many.
    """
    if len(group) > MOST_EPISODES:
        raise ImportRefused(f"{what} has {len(group):,} entries; at most {MOST_EPISODES:,} are read")
    names = list(group)
    for name in names:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            raise ImportRefused(f"{what} has {name!r} as {kind}; give a file that holds its data itself")
    return names


def group_of(parent: h5py.Group, name: str, episode: int | None = None) -> h5py.Group:
    """A group, its links looked at.

    Raises:
        ImportRefused: if it is missing, something else, or holds links.
    """
    item = _item(parent, name, episode)
    if not isinstance(item, h5py.Group):
        raise refuse(episode, name, "is an array; a group is needed")
    members(item, name if episode is None else f"episode {episode}: {name}")
    return item


def dataset_of(parent: h5py.Group, name: str, episode: int | None = None) -> h5py.Dataset:
    """An array of numbers that lies in the file itself; nothing of it is read.

    Raises:
        ImportRefused: if it is missing, lies elsewhere, has another type, or claims too much.
    """
    item = _item(parent, name, episode)
    if not isinstance(item, h5py.Dataset):
        raise refuse(episode, name, "is a group; an array is needed")
    if item.is_virtual or item.external:
        raise refuse(episode, name, "lies in another file; give a file that holds its data itself")
    _check_filters(item, name, episode)
    if item.shape is None:
        raise refuse(episode, name, "is empty; give numbers")
    if item.dtype.kind not in "biuf" and h5py.check_vlen_dtype(item.dtype) != np.uint8:
        raise refuse(episode, name, f"has values of type {item.dtype}; give numbers")
    check_shape(name, item.shape, item.dtype.itemsize)
    if h5py.check_vlen_dtype(item.dtype) is None:
        check_expansion(name, int(item.id.get_storage_size()), int(item.size) * item.dtype.itemsize)
    return item


def text_attribute(group: h5py.Group, name: str, limit: int = 2**20) -> str | None:
    """A text attribute of at most ``limit`` characters, or None."""
    value = _attribute(group, name)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) and len(value) <= limit else None


def number_attribute(group: h5py.Group, name: str) -> float | int | None:
    """A numeric scalar attribute, or None."""
    value = _attribute(group, name)
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) else None


class Hdf5Column:
    """Rows of an array, read one after the other."""

    def __init__(self, dataset: h5py.Dataset, name: str) -> None:
        self.name = name
        self.shape = tuple(int(size) for size in dataset.shape)
        self.dtype = dataset.dtype
        self._dataset = dataset
        self._position = 0

    def take(self, count: int) -> np.ndarray:
        """The next ``count`` rows."""
        start, self._position = self._position, self._position + count
        return np.asarray(self._dataset[start : self._position])


def _item(parent: h5py.Group, name: str, episode: int | None) -> object:
    link = parent.get(name, getlink=True) if name in parent else None
    if link is None:
        raise refuse(episode, name, "is missing; give a file that has it")
    if not isinstance(link, h5py.HardLink):
        raise refuse(episode, name, "is a link; give a file that holds its data itself")
    return parent[name]


def _attribute(group: h5py.Group, name: str) -> object:
    if name not in group.attrs:
        return None
    identity = group.attrs.get_id(name)
    if identity.shape != () or identity.get_storage_size() > 2**20:
        return None
    return group.attrs[name]


def _check_filters(dataset: h5py.Dataset, name: str, episode: int | None) -> None:
    # other filters are loaded as plugins, and could expand without bound
    properties = dataset.id.get_create_plist()
    for i in range(properties.get_nfilters()):
        code = properties.get_filter(i)[0]
        if code not in _FILTERS:
            raise refuse(episode, name, f"is compressed with filter {code}; seqrl reads gzip and lzf")
    if properties.get_layout() == h5d.CHUNKED:
        chunk = int(np.prod(properties.get_chunk(), dtype=object)) * dataset.dtype.itemsize
        if chunk > _MOST_CHUNK_BYTES:
            raise refuse(episode, name, f"is stored in pieces of {chunk:,} bytes; that is more than is read at once")
