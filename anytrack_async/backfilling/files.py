"""Files as streams of bytes or text: compression and encoding are found in their first bytes."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from glob import glob, has_magic
from importlib import import_module
from os import PathLike, fspath, fstat
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, TypeAlias, cast

import attrs

from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError

PathSource: TypeAlias = str | PathLike[str]
"""A path, a pattern such as ``"orders-*.csv"``, or ``"-"`` for standard input."""

STDIN = "-"
_SAMPLE = 256 * 1024  # bytes
_HEAD = 64 * 1024  # bytes
_HASHED_AT_ONCE = 1 << 20  # bytes
_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"

_WORKBOOK = "an Excel workbook: save its sheet as CSV UTF-8, and name that file"
_ARCHIVE = "an archive: unpack it, and name the files in it"
_OTHER_FORMATS = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": _WORKBOOK,
    b"PK\x03\x04": _ARCHIVE,
    b"7z\xbc\xaf\x27\x1c": _ARCHIVE,
    b"Rar!\x1a\x07": _ARCHIVE,
    b"%PDF-": "a PDF document: export the data as CSV",
    b"\x89PNG": "a picture: export the data as CSV",
    b"\xff\xd8\xff": "a picture: export the data as CSV",
    b"SQLite format 3\x00": "a database: name it with --database, and its rows with --sql",
}
"""First bytes → what the file is, and what to do. """


def expand(source: PathSource | Sequence[PathSource]) -> list[str]:
    """Return the paths in *source*, and the files that its patterns match, sorted by name; blocks.

    Raises:
        ConfigurationError: a pattern matches no file, or nothing is named.
        TypeError: *source* is neither a path nor a list of paths.
    """
    if isinstance(source, str | PathLike):
        source = [source]
    paths: list[str] = []
    for item in source:
        path = fspath(item)
        if path != STDIN and has_magic(path) and not Path(path).exists():
            matches = sorted(glob(path, recursive=True))  # noqa: PTH207 - the pattern may be absolute
            if not matches:
                raise ConfigurationError(f"no file matches {shown(path)}")
            paths += matches
        else:
            paths.append(path)
    if not paths:
        raise ConfigurationError("name at least one file to read")
    return paths


class EmptyFileError(ConfigurationError):
    """A file has neither a header nor a record. Among several files, it has no rows."""


@attrs.frozen(kw_only=True)
class Fingerprint:
    """Hashes that identify the part of a file that was read.

    Attributes:
        size: of the file, bytes.
        head: hash of its first 64 KiB.
        read: bytes that `content` covers.
        content: hash of its first `read` bytes.
    """

    size: int
    head: str
    read: int
    content: str


class HashedFile(io.RawIOBase):
    """A file that hashes the bytes read from it, so that a checkpoint is bound to its content."""

    def __init__(self, file: BinaryIO, size: int | None) -> None:
        super().__init__()
        self._file = file
        self._head = hashlib.sha256()
        self._content = hashlib.sha256()
        self.size = size
        self.read_bytes = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read bytes into *buffer* and hash them."""
        count = self._file.readinto(buffer)  # type: ignore[attr-defined]
        if count:
            part = memoryview(buffer)[:count]
            if self.read_bytes < _HEAD:
                self._head.update(part[: _HEAD - self.read_bytes])
            self._content.update(part)
            self.read_bytes += count
        return int(count)

    def fingerprint(self) -> Fingerprint | None:
        """Return the fingerprint of the bytes read so far; None for a stream without a size."""
        if self.size is None:
            return None
        return Fingerprint(
            size=self.size,
            head=self._head.hexdigest(),
            read=self.read_bytes,
            content=self._content.hexdigest(),
        )

    @property
    def fraction(self) -> float | None:
        """The part of the file that was read, 0 to 1; None if its size is unknown."""
        return min(1.0, self.read_bytes / self.size) if self.size else None


def whole_fingerprint(path: str) -> Fingerprint:
    """Return the fingerprint of all of the file, however much of it was read; blocks."""
    with Path(path).open("rb", buffering=0) as file:
        hashed = HashedFile(file, fstat(file.fileno()).st_size)
        buffer = bytearray(_HASHED_AT_ONCE)
        while hashed.readinto(buffer):
            pass
        return cast("Fingerprint", hashed.fingerprint())  # a file has a size


def has_content(path: str, fingerprint: Fingerprint) -> bool:
    """Return whether the file still has the size and content of *fingerprint*; blocks."""
    with Path(path).open("rb", buffering=0) as file:
        if fstat(file.fileno()).st_size != fingerprint.size:
            return False
        digest = hashlib.sha256()
        remaining = fingerprint.read
        while remaining and (part := file.read(min(remaining, _HASHED_AT_ONCE))):
            digest.update(part)
            remaining -= len(part)
        return not remaining and digest.hexdigest() == fingerprint.content


class _Rejoined(io.RawIOBase):
    """A stream, put together again with the first bytes that were read from it as a sample."""

    def __init__(self, sample: bytes, stream: io.BufferedIOBase) -> None:
        super().__init__()
        self._sample = memoryview(sample)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._sample:
            return self._stream.readinto(buffer)
        part = self._sample[: len(buffer)]
        buffer[: len(part)] = part
        self._sample = self._sample[len(part) :]
        return len(part)


@attrs.define(kw_only=True)
class OpenFile:
    """An open file, decompressed.

    Attributes:
        path: as it was named; ``"-"`` for standard input.
        name: the file's name.
        stream: its bytes, from the start.
        sample: its first bytes.
        raw: counts and hashes the bytes on disk.
        compressed: whether it is compressed.
    """

    path: str
    name: str
    stream: io.BufferedReader
    sample: bytes
    raw: HashedFile
    compressed: bool


@contextmanager
def open_file(path: str) -> Iterator[OpenFile]:
    """Open the file *path* and decompress it; blocks.

    Raises:
        ConfigurationError: it is compressed with Zstandard and pyarrow is not installed; or it is
            no text, such as an Excel workbook.
        OSError: it cannot be opened or read.
    """
    with ExitStack() as stack:
        if path == STDIN:
            file, size, name = cast("BinaryIO", sys.stdin.buffer), None, "<stdin>"
        else:
            file = stack.enter_context(Path(path).open("rb", buffering=0))
            size, name = fstat(file.fileno()).st_size, Path(path).name
        raw = HashedFile(file, size)
        stream: io.BufferedReader = io.BufferedReader(raw, _SAMPLE)
        sample = stream.peek(16)[:16]
        compressed = False
        if opener := _decompressor(sample):
            stream, compressed = io.BufferedReader(_Checked(opener(stream), name), _SAMPLE), True
        sample = stream.read(_SAMPLE)
        if kind := _other_format(sample):
            raise ConfigurationError(f"{name} is {kind}")
        stream = io.BufferedReader(_Rejoined(sample, stream), _SAMPLE)
        yield OpenFile(
            path=path, name=name, stream=stream, sample=sample, raw=raw, compressed=compressed
        )


def _decompressor(sample: bytes) -> Callable[[io.BufferedReader], io.RawIOBase] | None:
    if sample.startswith(_GZIP):
        return lambda stream: cast("io.RawIOBase", gzip.GzipFile(fileobj=stream))
    if sample.startswith(_BZIP2) and sample[4:10] == b"1AY&SY":  # a text may begin with BZh
        return lambda stream: cast("io.RawIOBase", import_module("bz2").BZ2File(stream))
    if sample.startswith(_XZ):
        return lambda stream: cast("io.RawIOBase", import_module("lzma").LZMAFile(stream))
    if sample.startswith(_ZSTANDARD):
        arrow = arrow_module("a file compressed with Zstandard")
        return lambda stream: _ArrowStream(arrow.CompressedInputStream(stream, "zstd"))
    return None


def _other_format(sample: bytes) -> str | None:
    for mark, kind in _OTHER_FORMATS.items():
        if sample.startswith(mark):
            return _WORKBOOK if b"xl/" in sample or b"[Content_Types].xml" in sample else kind
    return "a web page, perhaps of a log-in: export the data again" if _is_html(sample) else None


def _is_html(sample: bytes) -> bool:
    return sample[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


class _Checked(io.RawIOBase):
    """A decompressed stream that turns errors of decompression into an `OSError` with the file."""

    def __init__(self, stream: io.RawIOBase, name: str) -> None:
        super().__init__()
        self._stream = stream
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            return self._stream.readinto(buffer) or 0
        except Exception as exc:  # EOFError, OSError, zlib.error, LZMAError, pyarrow's ValueError
            raise OSError(f"{self._name} is damaged, or was not copied to its end: {exc}") from exc


class _ArrowStream(io.RawIOBase):
    """A stream of pyarrow with the interface of Python's."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def arrow_module(purpose: str) -> ModuleType:
    """Return the module pyarrow.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        return import_module("pyarrow")
    except ImportError:
        raise ConfigurationError(
            f"reading {purpose} needs pyarrow: pip install 'anytrack_async[parquet]'"
        ) from None


# Encodings

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # which begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def guess_encoding(sample: bytes) -> str:
    """Return the encoding of the text that begins with *sample*.

    A byte order mark decides; then zeros at every second place (UTF-16); then whether it is valid
    UTF-8, or mostly: the rows with other bytes are rejected where they stand. Other text is
    Windows-1252, which every Western European system of the last thirty years has written at some
    time; bytes that it does not define stay visible as control characters.
    """
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    first, second = sample[::2].count(0), sample[1::2].count(0)
    if len(sample) >= 4 and abs(first - second) > len(sample) // 4:
        return "utf-16-be" if first > second else "utf-16-le"
    try:
        # Not final: the sample may end inside a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=False)
    except UnicodeDecodeError:
        return "utf-8" if _is_mostly_utf8(sample) else "cp1252"
    return "utf-8"


def _is_mostly_utf8(sample: bytes) -> bool:
    # In Windows-1252, "é" is followed by a letter, so that hardly any two bytes look like UTF-8.
    characters = sample.decode(errors="ignore")
    correct = len(characters) - len(characters.encode("ascii", errors="ignore"))
    return correct > sample.decode(errors="replace").count("\ufffd")


UNDECODED = "\udc80-\udcff"
"""Range of the characters by which Python replaces bytes that the encoding does not allow."""


class _UndecodedBytes:
    """Counts the places, in all files of the process, that their encoding does not allow.

    A reader compares the count before and after: it looks for such characters only if there are
    any.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: UnicodeError) -> tuple[str | bytes, int]:
        self.count += 1
        return codecs.lookup_error("surrogateescape")(error)


undecoded_bytes = _UndecodedBytes()
codecs.register_error("anytrack-undecoded", undecoded_bytes)


def text_stream(file: OpenFile, encoding: str) -> io.TextIOWrapper:
    """Return the text of *file*; bytes that *encoding* does not allow become `UNDECODED`."""
    errors = "replace" if encoding.startswith(("utf-16", "utf-32")) else "anytrack-undecoded"
    return io.TextIOWrapper(file.stream, encoding=encoding, errors=errors, newline="")
