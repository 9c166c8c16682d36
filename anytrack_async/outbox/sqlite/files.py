"""The files of an outbox: private to their owner, and no links.

SQLite keeps three files: ``outbox.db``, the write-ahead log ``outbox.db-wal`` and its index
``outbox.db-shm``. All contain customers' data or are needed to read it.

Nothing here opens a database that this process may have open: closing a second descriptor of a file
releases all locks that the process has on it.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from anytrack_async.errors import ConfigurationError, OutboxError

APPLICATION_ID = b"ATXB"
"""What an outbox has in the header of its file, for ``PRAGMA application_id``."""

_APPLICATION_ID_AT = slice(68, 72)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO

RESERVE_BYTES = 9 * 2**20
"""Size of the reserve: a write-ahead log of 6 MiB, and half as much for a large transaction."""

_MIN_FREE = 2**18
"""Bytes that SQLite needs at least to go on: a few pages, and the index of the log."""

SUFFIXES = ("", "-wal", "-shm")
"""What SQLite appends to the path for its files."""


def file_path(path: str | os.PathLike[str]) -> Path:
    """Return *path* with the user's home in place of ``~``.

    Raises:
        ConfigurationError: it is ``":memory:"``, it is blank, has whitespace around it or a line
            break in it, or the home is not known.
    """
    if path == ":memory:":
        raise ConfigurationError(
            "a SQLiteOutbox is a file; for an outbox in memory, use MemoryOutbox()"
        )
    text = os.fspath(path)
    # A secret store or a file may add a line end, and each such path would be an outbox of its own.
    if not text.strip() or text != text.strip() or not {*text}.isdisjoint("\r\n\0"):
        raise ConfigurationError(
            f"the path of the outbox, {text!r}, must not be blank, nor have whitespace around it "
            "or a line break in it"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            "the path of the outbox starts with ~, and its home directory is not known: write the "
            "whole path"
        ) from None


def make_private(path: Path) -> None:
    """Create the file if it is missing; of an outbox or empty file, make the owner its only user.

    Raises:
        OutboxError: it is a folder, or it, or a file beside it, is a link or has several names.
        OSError: it cannot be created or read.
    """
    if path.is_dir():
        raise OutboxError(f"the outbox {path} is a folder: add the name of a file to the path")
    with suppress(FileExistsError):
        # With O_EXCL, a link is not followed, even if nothing is at its target.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    files = _existing(path)
    for file in files:
        _refuse_links(file)
    exposed = [file for file in files if _is_open_to_others(file)]
    # This opens files, but no outbox of this process has them open: it would have done so before.
    if exposed and _is_outbox_or_empty(path):
        for file in exposed:
            _restrict(file)


def check_private(path: Path) -> None:
    """Raise `OutboxError` if others can read or write a file of the outbox."""
    for file in _existing(path):
        if _is_open_to_others(file):
            raise OutboxError(
                f"other users can read or write {file}, which contains customers' data: run "
                "chmod 600 as its owner, or choose another path"
            )


def _existing(path: Path) -> list[Path]:
    files = [Path(f"{path}{suffix}") for suffix in SUFFIXES]
    return [file for file in files if os.path.lexists(file)]


def _refuse_links(file: Path) -> None:
    info = os.lstat(file)
    if stat.S_ISLNK(info.st_mode):
        raise OutboxError(f"{file} is a symbolic link: give the path of the outbox file itself")
    if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
        raise OutboxError(
            f"{file} has {info.st_nlink} names (hard links), and an outbox must have only one: "
            "remove the others"
        )


def _is_open_to_others(file: Path) -> bool:
    mode = os.lstat(file).st_mode
    return os.name == "posix" and stat.S_ISREG(mode) and bool(mode & _FOR_OTHERS)


def _is_outbox_or_empty(path: Path) -> bool:
    with open(path, "rb", opener=_open_no_link) as file:
        header = file.read(_APPLICATION_ID_AT.stop)
    return not header or header[_APPLICATION_ID_AT] == APPLICATION_ID


def _restrict(path: Path) -> None:
    # By its descriptor: the name may belong to another file by now.
    with suppress(PermissionError), open(path, "rb", opener=_open_no_link) as file:
        os.fchmod(file.fileno(), 0o600)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


class FileIdentities:
    """Notices that a file of an open outbox was removed or replaced.

    SQLite then goes on writing to a file without a name, which is gone once it is closed.

    Args:
        path: the outbox file.
    """

    def __init__(self, path: Path) -> None:
        self._files = [f"{path.absolute()}{suffix}" for suffix in SUFFIXES]
        self._identities: Mapping[str, tuple[int, int]] = {}

    def check(self) -> None:
        """Raise `OutboxError` if a file is no longer the one that was there at the first check.

        Three system calls, a few microseconds.
        """
        identities = {}
        for file in self._files:
            try:
                info = os.lstat(file)
            except OSError:
                continue
            identities[file] = (info.st_dev, info.st_ino)
        if identities == self._identities:  # nearly always
            return
        if not self._identities:
            self._identities = identities
        for file, identity in self._identities.items():
            if identities.get(file) != identity:
                raise OutboxError(
                    f"{file} was {'replaced' if file in identities else 'removed'} while the "
                    "outbox was open, so nothing was accepted: put the file back, or close the "
                    "client and open it again to start with the file that has this name now"
                )


class Reserve:
    """Space on the disk for the lanes, which have to write when the disk is full.

    It is a file beside the outbox. While it has its size, conversions are accepted. When claiming
    or settling finds the disk full, the file is cut, so that lanes can go on; nothing more is
    accepted until there is space for it again. It is enough for a write-ahead log and for as much
    growth of the database as a checkpoint of that log may need.

    Attributes:
        file: its path.
    """

    def __init__(self, path: Path) -> None:
        self.file = f"{path}-reserve"

    def restore(self) -> bool:
        """Give the file its size; return whether it has it, or cannot be created here at all."""
        try:
            self._allocate()
        except OSError as exc:
            self.release()
            return exc.errno not in _FULL  # without a reserve where files cannot be created
        return True

    def _allocate(self) -> None:
        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self.file, flags, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            else:
                os.write(descriptor, bytes(RESERVE_BYTES))
        finally:
            os.close(descriptor)

    def disk_is_full(self) -> bool:
        """Return whether the disk has no space for a little more, or a quota is used up."""
        try:
            if hasattr(os, "statvfs"):  # not on Windows
                info = os.statvfs(os.path.dirname(self.file))  # noqa: PTH120
                if info.f_bavail * info.f_frsize < _MIN_FREE:
                    return True
            with tempfile.TemporaryFile(dir=os.path.dirname(self.file)) as probe:  # noqa: PTH120
                probe.write(bytes(_MIN_FREE))
        except OSError as exc:
            return exc.errno in _FULL
        return False

    def is_allocated(self) -> bool:
        """Return whether the file has its size."""
        try:
            return os.lstat(self.file).st_size >= RESERVE_BYTES
        except OSError:
            return False

    def is_unused(self) -> bool:
        """Return whether the lanes do not need the space: there is more on the disk.

        The file is missing until the first conversion is accepted, so in a process that only
        delivers.
        """
        try:
            return os.lstat(self.file).st_size >= RESERVE_BYTES
        except FileNotFoundError:
            return not self.disk_is_full()
        except OSError:
            return False

    def release(self) -> bool:
        """Free the space; return whether there was any."""
        try:
            had_any = os.stat(self.file).st_size > 0  # noqa: PTH116
            os.truncate(self.file, 0)
        except OSError:
            return False
        return had_any

    def delete(self) -> None:
        """Delete the file, when the outbox is closed."""
        with suppress(OSError):
            os.unlink(self.file)  # noqa: PTH108
