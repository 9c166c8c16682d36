"""Opening a source: its format is found by its first bytes, not by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeAlias

import attrs

from anytrack_async.backfilling.advice import Advice
from anytrack_async.backfilling.arrow import ArrowReader, is_arrow
from anytrack_async.backfilling.blocks import Block, RowReader
from anytrack_async.backfilling.delimited import DelimitedReader
from anytrack_async.backfilling.files import (
    EmptyFileError,
    Fingerprint,
    HashedFile,
    OpenFile,
    PathSource,
    expand,
    open_file,
    whole_fingerprint,
)
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.query import QueryReader, SqlQuery
from anytrack_async.backfilling.records import JsonReader, check_json, raise_if_empty
from anytrack_async.backfilling.report import SourceInfo
from anytrack_async.backfilling.settings import BackfillSettings

Source: TypeAlias = PathSource | SqlQuery | Sequence[PathSource | SqlQuery]
"""Paths, patterns such as ``"orders-*.csv"``, ``"-"`` for standard input, and queries."""


def expand_sources(source: Source) -> list[str | SqlQuery]:
    """Return single files and queries, in order; blocks while it looks for files.

    Raises:
        ConfigurationError: a pattern matches no file, or nothing is named.
    """
    if isinstance(source, SqlQuery):
        return [source]
    if isinstance(source, Sequence) and not isinstance(source, str):
        return [part for item in source for part in expand_sources(item)] or list(expand([]))
    return list(expand(source))


@attrs.define(kw_only=True)
class OpenSource:
    """An open source.

    Attributes:
        reader: reads its rows.
        raw: the file's bytes; None for a query.
        path: the file's path, if it is read from several places, as Parquet is; else None.
    """

    reader: RowReader
    raw: HashedFile | None = None
    path: str | None = None
    _whole: Fingerprint | None = attrs.field(default=None, init=False)

    def fingerprint(self) -> Fingerprint | None:
        """Return the fingerprint of the part read so far; None for queries and standard input.

        A file that is read from several places has a fingerprint of its whole content.
        """
        if self.path is None:
            return self.raw.fingerprint() if self.raw else None
        if self._whole is None:
            self._whole = whole_fingerprint(self.path)
        return self._whole

    @property
    def fraction(self) -> float | None:
        """The part of the source that was read, 0 to 1; None if unknown."""
        if isinstance(self.reader, ArrowReader) and self.reader.fraction is not None:
            return self.reader.fraction
        return self.raw.fraction if self.raw else None


class _NoRows:
    """Reads an empty file."""

    def __init__(self, name: str) -> None:
        self.info = SourceInfo(name=name, format="empty", size=0)
        self.parameters: dict[str, str] = {}

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        return iter(())


@contextmanager
def open_source(
    source: str | SqlQuery,
    settings: BackfillSettings,
    mapping: FileMapping | None,
    *,
    may_be_empty: bool = False,
) -> Iterator[OpenSource]:
    """Open a file or run a query; blocks.

    Args:
        source: an item of `expand_sources`.
        settings: may state encoding and delimiter.
        mapping: may state delimiter and header.
        may_be_empty: whether a file without a header or record is a source without rows.

    Raises:
        EmptyFileError: it is empty, and must not be.
        ConfigurationError: it has no header, or a library is missing.
        OSError: it cannot be opened or read.
    """
    if isinstance(source, SqlQuery):
        with closing(QueryReader(source)) as query_reader:
            yield OpenSource(reader=query_reader)
        return
    with open_file(source) as file:
        if is_arrow(file.sample):
            with closing(ArrowReader(file)) as arrow_reader:
                path = file.path if arrow_reader.is_random else None
                yield OpenSource(reader=arrow_reader, raw=file.raw, path=path)
            return
        try:
            reader = _text_reader(file, settings, mapping)
        except EmptyFileError:
            if not may_be_empty:
                raise
            reader = _NoRows(file.name)
        yield OpenSource(reader=reader, raw=file.raw)


def _text_reader(
    file: OpenFile, settings: BackfillSettings, mapping: FileMapping | None
) -> RowReader:
    if check_json(file.sample, settings.encoding):
        reader = JsonReader(file, encoding=settings.encoding)
        raise_if_empty(reader)
        return reader
    return DelimitedReader(
        file,
        encoding=settings.encoding,
        delimiter=settings.delimiter or (mapping.delimiter if mapping else None),
        header=mapping.header if mapping else (),
        advice=Advice(command=settings.advice == "command"),
    )
