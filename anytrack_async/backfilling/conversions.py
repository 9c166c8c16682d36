"""`read_conversions`: the conversions of files, as an async iterator."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.reading import RowJob
from anytrack_async.backfilling.report import Reject, RowCounts, SourceInfo, add_counts
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import Source
from anytrack_async.backfilling.thread import ReadAhead
from anytrack_async.models.conversion import Conversion


class ConversionReader:
    """The conversions of files, for ``async for``; see `read_conversions`.

    Attributes:
        counts: rows read so far; `accepted` is the number of conversions.
        sources: format, columns and preset of each source opened so far.
    """

    def __init__(
        self,
        source: Source,
        *,
        preset: str | None = None,
        mapping: FileMapping | None = None,
        settings: BackfillSettings | None = None,
    ) -> None:
        self.counts = RowCounts()
        self.sources: list[SourceInfo] = []
        self._source = source
        self._settings = settings or BackfillSettings()
        self._preset = preset
        self._mapping = mapping

    async def __aiter__(self) -> AsyncGenerator[Conversion | Reject]:
        job = RowJob(
            self._source,
            self._settings,
            preset=self._preset,
            mapping=self._mapping,
            on_open=self.sources.append,
        )
        async with aclosing(ReadAhead(job.blocks).items()) as blocks:
            async for block in blocks:
                add_counts(self.counts, block.counts)
                self.counts.rejected += len(block.rejects)
                self.counts.accepted += len(block.conversions)
                for reject in block.rejects:
                    yield reject
                for conversion in block.conversions:
                    yield conversion


def read_conversions(
    source: Source,
    *,
    preset: str | None = None,
    mapping: FileMapping | None = None,
    settings: BackfillSettings | None = None,
) -> ConversionReader:
    """Read the conversions of files, for a loop of your own.

        async for row in read_conversions("orders_export.csv"):
            if isinstance(row, Reject):
                print(row)
            else:
                await client.submit(row)

    Memory stays flat, and nothing blocks the event loop. Rows that are left out on purpose, such as
    unpaid orders, are only counted.

    Args:
        source: a path, a pattern such as ``"orders-*.csv"``, ``"-"`` for standard input, an
            `SqlQuery`, or several of these.
        preset: name of the preset; default: recognised by the columns.
        mapping: replaces the preset.
        settings: zone, decimal sign, currency and so on.

    Returns:
        An async iterable of `Conversion` and `Reject`.

    Raises:
        ConfigurationError: while reading, if a file cannot be used or no preset fits.
        OSError: while reading, if a file cannot be read.
    """
    return ConversionReader(source, preset=preset, mapping=mapping, settings=settings)
