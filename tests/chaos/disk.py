"""What SQLite writes to a disk, in order: a layer between SQLite and its files.

SQLite reaches its files through a table of functions, a "VFS" (https://sqlite.org/vfs.html). Within
`watching`, new connections get a copy of the usual table in which a `Disk` sees each write,
truncation, sync and deletion, and can refuse it. The index of the write-ahead log is not seen: it
is shared memory, which SQLite rebuilds after a power failure.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Protocol

SQLITE_OK, SQLITE_IOERR, SQLITE_FULL = 0, 10, 13


class Disk(Protocol):
    """Sees what is done to files, by their names, and returns SQLite's code: 0 to go on."""

    def write(self, file: str, offset: int, data: bytes) -> int: ...
    def truncate(self, file: str, size: int) -> int: ...
    def sync(self, file: str) -> int: ...
    def delete(self, file: str) -> int: ...


_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
# Paths are passed on as pointers: SQLite keeps them as long as the file is open.
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)


class _Methods(Structure):
    """``sqlite3_io_methods`` up to version 3."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", _Write),
        ("truncate", _Truncate),
        ("sync", _Sync),
        ("others", c_void_p * 13),
    )


class _File(Structure):
    """``sqlite3_file``."""

    _fields_ = (("methods", POINTER(_Methods)),)


class _VFS(Structure):
    """``sqlite3_vfs`` up to version 3."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("max_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _Open),
        ("delete", _Delete),
        ("others", c_void_p * 14),
    )


# SQLite may call these as long as a connection is open, so they are never freed.
_in_use: list[object] = []


@contextmanager
def watching(folder: Path, disk: Disk) -> Iterator[None]:
    """Let *disk* see what connections opened from now on do to files in *folder*.

    Raises:
        OSError: this Python's SQLite does not export its functions.
    """
    sqlite = _library()
    usual = sqlite.sqlite3_vfs_find(None)
    vfs = _VFS.from_buffer_copy(usual.contents)
    vfs.name = f"watching-{len(_in_use)}".encode()
    vfs.open, vfs.delete = _open(usual, folder, disk), _delete(usual, folder, disk)
    _in_use.append(vfs)
    sqlite.sqlite3_vfs_register(ctypes.byref(vfs), 1)
    try:
        yield
    finally:
        sqlite.sqlite3_vfs_unregister(ctypes.byref(vfs))
        sqlite.sqlite3_vfs_register(usual, 1)


def _library() -> Any:
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    try:
        library.sqlite3_vfs_find.restype = POINTER(_VFS)
    except AttributeError as exc:
        raise OSError("this Python's SQLite does not export its functions") from exc
    return library


def _open(usual: Any, folder: Path, disk: Disk) -> Any:
    def open_(_: int, path: int | None, file: int, flags: int, out_flags: int) -> int:
        code: int = usual.contents.open(usual, path, file, flags, out_flags)
        target = _path(path)
        if code == SQLITE_OK and target.parent == folder:
            _watch(ctypes.cast(file, POINTER(_File)).contents, target.name, disk)
        return code

    return _Open(open_)


def _delete(usual: Any, folder: Path, disk: Disk) -> Any:
    def delete(_: int, path: int, sync_folder: int) -> int:
        code: int = usual.contents.delete(usual, path, sync_folder)
        file = _path(path)
        is_seen = code == SQLITE_OK and file.parent == folder
        return _ask(disk.delete, file.name) if is_seen else code

    return _Delete(delete)


def _path(pointer: int | None) -> Path:
    return Path(os.fsdecode(ctypes.string_at(pointer))) if pointer else Path()


def _watch(file: Any, name: str, disk: Disk) -> None:
    """Put functions that ask *disk* first in front of those of an open file."""
    usual = file.methods.contents

    def write(self: int, data: int, amount: int, offset: int) -> int:
        code = _ask(disk.write, name, offset, ctypes.string_at(data, amount))
        return code or usual.write(self, data, amount, offset)

    def truncate(self: int, size: int) -> int:
        return _ask(disk.truncate, name, size) or usual.truncate(self, size)

    def sync(self: int, flags: int) -> int:
        # Seen when it is over: until then, nothing is promised.
        return usual.sync(self, flags) or _ask(disk.sync, name)

    methods = _Methods.from_buffer_copy(usual)
    methods.write, methods.truncate, methods.sync = _Write(write), _Truncate(truncate), _Sync(sync)
    _in_use.append(methods)
    file.methods = ctypes.pointer(methods)


def _ask(method: Callable[..., int], *arguments: Any) -> int:
    try:
        return method(*arguments)
    except Exception:  # an exception cannot pass through SQLite
        return SQLITE_IOERR
