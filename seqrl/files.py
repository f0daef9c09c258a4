"""Files that are either whole or absent, names that stay inside their folder, reads with a limit."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = re.compile(r"(demo/)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PARTIAL = ".partial-"
_PREVIOUS = ".previous-"
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DATABASE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
_DISK_FULL_TEXTS = ("no space left", "file too large", "errno = 28", "errno = 27", "quota exceeded")  # HDF5, Arrow


def expanded(path: Path | str, remedy: str = "write an absolute path") -> Path:
    """An absolute path, ``~`` written out.

    Raises:
        ValueError: if it begins with the home of a user who has none; ends with the remedy.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{path} begins with the home of a user who has none; {remedy}") from None


def check_name(name: str) -> str:
    """Return a name that may become part of a path.

    The rule is that of `seqrl.config.NAME_PATTERN`.

    Raises:
        ValueError: if the name could be anything but one plain folder (below ``demo`` at most).

    >>> check_name("cartpole-dt-1")
    'cartpole-dt-1'
    """
    if not is_name(name):
        shown = repr(name) if len(repr(name)) <= 80 else repr(name)[:77] + "..."
        raise ValueError(
            f"the name is {shown}; use 1 to 64 letters, digits, dots, dashes or underscores, first a letter or digit"
        )
    return name


def is_name(name: object) -> bool:
    """Whether `check_name` accepts it."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def inside(root: Path, *parts: str) -> Path:
    """The resolved path of ``parts`` below ``root``; it need not exist.

    Raises:
        ValueError: if it would lie outside, through ``..``, an absolute part or a symbolic link.
    """
    base = Path(root).resolve()
    try:
        path = base.joinpath(*parts).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{'/'.join(parts)!r} is no usable path: {error}") from error
    if path != base and base not in path.parents:
        raise ValueError(f"{'/'.join(parts)!r} leaves {base}; choose a name inside it")
    return path


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write on the disk that holds ``path`` or its nearest existing parent."""
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the system, of SQLite or of a library says that nothing more can be written."""
    if getattr(error, "sqlite_errorname", "") in _DATABASE_FULL:
        return True
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    return isinstance(error, OSError | RuntimeError) and any(part in str(error).lower() for part in _DISK_FULL_TEXTS)


def read_capped(path: Path, limit: int) -> bytes:
    """The content of a file of at most ``limit`` bytes; nothing is read of a larger one.

    Raises:
        ValueError: if the file is larger, or is not a regular file.
    """
    with open(path, "rb", opener=_open_without_blocking) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is not a regular file; give a plain file")
        data = file.read(min(found.st_size, limit) + 1)  # as much as is read is also allocated
    if len(data) > limit:
        raise ValueError(f"{path} is larger than {limit:,} bytes; it is not read")
    return data


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, also across a crash of the machine.

    Raises:
        OSError: if the disk is full, among others; the previous content is then untouched.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}{_PARTIAL}{secrets.token_hex(4)}")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def atomic_write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, see `atomic_write_bytes`."""
    atomic_write_bytes(path, text.encode())


def move_whole(source: Path, path: Path, owner: str) -> None:
    """Move a file, from another disk too, so that it appears whole or not at all, in place of an older one.

    Args:
        source: the file.
        path: its new name.
        owner: whose work it is, for `remove_partials`.

    Raises:
        OSError: if the disk is full, among others; the previous content is then untouched.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}{_PARTIAL}{owner}")
    try:
        shutil.move(source, partial)
        _sync_file(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that appears whole or not at all, replacing an older one of the same name.

    Yields a temporary sibling. On success its files are flushed to disk and it takes the name ``path`` (exchanged
    in one step with an older folder where the system can do that); on any failure it is removed. While it is filled it
    is locked, so that `remove_partials_of` can tell it from one that was left.

    Raises:
        OSError: if the disk is full, among others; an older folder is then untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, held = _locked_partial(path)
    try:
        yield partial
        for folder, _, files in os.walk(partial):
            for file in files:
                _sync_file(Path(folder) / file)
            _sync_folder(Path(folder))
        _take_name(partial, path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(held)


def _locked_partial(path: Path) -> tuple[Path, int]:
    """A new temporary sibling of a folder and the descriptor that holds its lock."""
    while True:
        partial = path.with_name(f".{path.name}{_PARTIAL}{secrets.token_hex(4)}")
        partial.mkdir()
        with suppress(FileNotFoundError):  # removed between the two by somebody who took it for a left one
            held = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
            with suppress(OSError):  # a disk without locks; nobody else gets one either
                fcntl.flock(held, fcntl.LOCK_EX)
            if partial.exists():
                return partial, held
            os.close(held)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Write a file that appears whole or not at all, where there was none.

    Yields an empty temporary sibling. On success it takes the name ``path``, on any failure it is removed.

    Raises:
        FileExistsError: if the file exists.
        OSError: if it cannot be written there.
    """
    path = Path(path)
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{_PARTIAL}{secrets.token_hex(4)}")
    try:
        partial.touch()
        yield partial
        _sync_file(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that appears whole or not at all, where there was none or an empty one.

    Yields a temporary sibling. On success it takes the name ``path``, on any failure it is removed.

    Raises:
        FileExistsError: if the folder exists and is not empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{_PARTIAL}{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        yield partial
        _sync_folder(partial)
        os.rename(partial, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(f"{path} exists; choose another path or move it away") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sync_folder(path.parent)


def refuse_existing(path: Path) -> None:
    """Say that what is handed out does not replace anything.

    Raises:
        FileExistsError: if the file or folder exists.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists; choose another path or move it away")


def remove_partials(folder: Path, owner: str = "*") -> None:
    """Remove what interrupted atomic writes left anywhere in ``folder``; call it only when nothing writes there.

    A folder that was put aside, and whose successor did not come to take its name, is put back.

    Args:
        folder: where to look.
        owner: only what moves of this owner left, see `move_whole`.
    """
    for aside in sorted(Path(folder).rglob(f".*{_PREVIOUS}*")):
        path = aside.with_name(aside.name[1:].rpartition(_PREVIOUS)[0])
        if path.exists():
            _remove(aside)
        else:
            os.rename(aside, path)
    for path in sorted(Path(folder).rglob(f".*{_PARTIAL}{owner}")):
        _remove(path)


def remove_partials_of(path: Path) -> None:
    """Remove the folders that interrupted atomic writes of ``path`` itself left; those that are filled now stay."""
    left = [found for kind in (_PARTIAL, _PREVIOUS) for found in Path(path).parent.glob(f".{Path(path).name}{kind}*")]
    for folder in left:
        with suppress(OSError):  # gone, no folder, or locked
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _open_without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _take_name(partial: Path, path: Path) -> None:
    if not path.exists():
        os.rename(partial, path)
    elif not _exchange(partial, path):
        aside = path.with_name(f".{path.name}{_PREVIOUS}{secrets.token_hex(4)}")
        os.rename(path, aside)
        try:
            os.rename(partial, path)
        except BaseException:
            os.rename(aside, path)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step (Linux ``renameat2``); False where that does not exist."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EXDEV):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    _sync_file(path)
