"""Opening a source: its format is found by its first bytes, not by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeAlias

import attrs

from anytrack_async.backfilling.arrow import ArrowReader, is_arrow
from anytrack_async.backfilling.blocks import RowReader
from anytrack_async.backfilling.delimited import DelimitedReader
from anytrack_async.backfilling.files import Fingerprint, HashedFile, PathSource, expand, open_file
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.query import QueryReader, SqlQuery
from anytrack_async.backfilling.records import JsonReader, check_json, raise_if_empty
from anytrack_async.backfilling.settings import BackfillSettings

Source: TypeAlias = PathSource | SqlQuery | Sequence[PathSource | SqlQuery]
"""What a back-fill reads: paths, patterns, ``"-"`` for standard input, queries."""


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
    """

    reader: RowReader
    raw: HashedFile | None = None

    def fingerprint(self) -> Fingerprint | None:
        """What identifies the part read so far; None for queries and standard input."""
        return self.raw.fingerprint() if self.raw else None

    @property
    def fraction(self) -> float | None:
        """The part of the source that was read, 0 to 1; None if unknown."""
        return self.raw.fraction if self.raw else None


@contextmanager
def open_source(
    source: str | SqlQuery, settings: BackfillSettings, mapping: FileMapping | None
) -> Iterator[OpenSource]:
    """Open a file or run a query; blocks.

    Args:
        source: an item of `expand_sources`.
        settings: may state encoding and delimiter.
        mapping: may state delimiter and header.

    Raises:
        ConfigurationError: it has no header, or a library is missing.
        OSError: it cannot be opened or read.
    """
    if isinstance(source, SqlQuery):
        with closing(QueryReader(source)) as query_reader:
            yield OpenSource(reader=query_reader)
        return
    with open_file(source) as file:
        reader: RowReader
        if is_arrow(file.sample):
            with closing(ArrowReader(file)) as arrow_reader:
                yield OpenSource(reader=arrow_reader, raw=file.raw)
            return
        if check_json(file.sample, settings.encoding):
            reader = JsonReader(file, encoding=settings.encoding)
            raise_if_empty(reader)
        else:
            reader = DelimitedReader(
                file,
                encoding=settings.encoding,
                delimiter=settings.delimiter or (mapping.delimiter if mapping else None),
                header=mapping.header if mapping else (),
            )
        yield OpenSource(reader=reader, raw=file.raw)
