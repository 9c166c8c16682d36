"""`read_conversions`: the conversions of files, as an async iterator.

Opening, decompressing, parsing and mapping happen in one thread, a few blocks ahead of the reader.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import attrs

from anytrack_async.backfilling.blocks import BLOCK_ROWS, Block, Breather
from anytrack_async.backfilling.compiled import REFUND_EVENT, REFUND_FOUND, RowMapper, Skip
from anytrack_async.backfilling.files import Fingerprint
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.presets.registry import choose, find_preset
from anytrack_async.backfilling.report import Reject, RowCounts, SourceInfo
from anytrack_async.backfilling.seen import SeenKeys
from anytrack_async.backfilling.settings import BackfillSettings, to_zone
from anytrack_async.backfilling.sources import OpenSource, Source, expand_sources, open_source
from anytrack_async.backfilling.spreadsheet import REJECT_COLUMNS, TEXT_COLUMN, without_escape
from anytrack_async.backfilling.thread import ReadAhead
from anytrack_async.errors import DecodeError, InvalidConversionError
from anytrack_async.models.conversion import Conversion

_PIECE = 25  # rows between two looks at the clock
BLANK = "blank row"
NOT_FIRST = "not the customer's first"


@attrs.frozen
class Position:
    """Where reading stands: before the row number *rows* of the source number *source*, from 0."""

    source: int = 0
    rows: int = 0


Group = tuple[int, Sequence[Any], Sequence[Sequence[Any]]]
"""The line of an order, its first row, and its further rows."""

_SEPARATOR = "\x1e\x1f"


class Origin(NamedTuple):
    """The rows of a conversion, for the file of rejected rows.

    A row of CSV is kept as a single text: 79 texts of their own would push whatever is needed next
    out of the processor's cache, which doubles the time of reading.
    """

    line: int
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any] | str]

    @classmethod
    def of(cls, group: Group, columns: tuple[str, ...], *, packed: bool) -> Origin:
        """Return where the conversion of *group* comes from."""
        line, row, others = group
        if not packed:
            return cls(line, columns, (row, *others))
        if not others:
            return cls(line, columns, (_SEPARATOR.join(row),))
        return cls(line, columns, [_SEPARATOR.join(cells) for cells in (row, *others)])

    def unpacked(self) -> list[Sequence[Any]]:
        """Return the rows as they were read."""
        return [row.split(_SEPARATOR) if isinstance(row, str) else row for row in self.rows]


@attrs.define(kw_only=True)
class MappedBlock:
    """What became of some hundred rows.

    Attributes:
        info: what was found about the source.
        conversions: the conversions.
        origins: the rows of each conversion.
        rejects: rows that could not be read.
        counts: rows, folded rows, skipped rows and refunds of the block.
        position: where reading goes on behind the block.
        fingerprint: identifies the part of the file that was read; None if reading cannot go on
            behind the block.
        fraction: the part of the source that was read; None if unknown.
        repeats: for each conversion, if repeats are looked for: None if its event id is new to the
            run, else whether type, amount and currency were the same before.
    """

    info: SourceInfo
    conversions: list[Conversion] = attrs.field(factory=list, repr=False)
    origins: list[Origin] = attrs.field(factory=list, repr=False)
    rejects: list[Reject] = attrs.field(factory=list)
    counts: RowCounts = attrs.field(factory=RowCounts)
    position: Position = attrs.field(factory=Position)
    fingerprint: Fingerprint | None = None
    fraction: float | None = None
    repeats: Sequence[bool | None] = ()

    def reject(self, origin: Origin, column: str, reason: str, event_id: str = "") -> Reject:
        """Return a reject of the rows of *origin*."""
        return Reject(
            source=self.info.name,
            line=origin.line,
            column=column,
            reason=reason,
            columns=origin.columns,
            rows=origin.unpacked(),
            event_id=event_id,
        )


class RowJob:
    """Reads sources and maps their rows; every method blocks.

    Args:
        source: what to read.
        settings: how.
        preset: name of the preset; None to recognise it.
        mapping: replaces the preset.
        start: where to begin.
        on_open: called with what was found about each source, in the reading thread.
        find_repeats: whether to look for event ids that occur again, for `MappedBlock.repeats`.
    """

    def __init__(
        self,
        source: Source,
        settings: BackfillSettings,
        *,
        preset: str | None = None,
        mapping: FileMapping | None = None,
        start: Position | None = None,
        on_open: Callable[[SourceInfo], None] = lambda _: None,
        find_repeats: bool = False,
    ) -> None:
        self._source = source
        self._settings = settings
        self._preset = preset
        self._mapping = mapping
        self._hint = mapping or (find_preset(preset) if preset else None)
        self._start = start or Position()
        self._on_open = on_open
        self._remaining = settings.limit if settings.limit is not None else -1
        self._customers = SeenKeys() if settings.only_first else None
        self._event_ids = SeenKeys() if find_repeats else None
        self._breather = Breather()

    def blocks(self) -> Generator[MappedBlock]:
        """Yield what became of each block of rows.

        Raises:
            ConfigurationError: a source cannot be used; the message says why.
            OSError: a file cannot be read.
        """
        try:
            for index, source in enumerate(expand_sources(self._source)):
                if index < self._start.source or not self._remaining:
                    continue
                with open_source(source, self._settings, self._hint) as opened:
                    yield from self._read(index, opened)
        finally:
            for keys in (self._customers, self._event_ids):
                if keys is not None:
                    keys.close()

    def describe(self) -> list[SourceInfo]:
        """Return what is found about each source, without reading its rows."""
        infos = []
        for source in expand_sources(self._source):
            with open_source(source, self._settings, self._hint) as opened:
                infos.append(self._recognised(opened.reader.info)[0])
        return infos

    def _recognised(self, info: SourceInfo) -> tuple[SourceInfo, FileMapping]:
        mapping, recognised = choose(
            info.columns, preset=self._preset, mapping=self._mapping, name=info.name
        )
        info = attrs.evolve(info, preset=mapping.name, title=mapping.title, recognised=recognised)
        return info, mapping

    def _read(self, index: int, opened: OpenSource) -> Iterator[MappedBlock]:
        info, mapping = self._recognised(opened.reader.info)
        self._on_open(info)
        mappers = _Mappers(mapping, self._settings, opened.reader.parameters)
        mappers.find(tuple(info.columns))  # a mapping that does not fit is an error at once
        skip = self._start.rows if index == self._start.source else 0
        pending: list[Group] = []
        consumed = skip
        columns = tuple(info.columns)
        mapped = MappedBlock(info=info)
        has_rejects = set(info.columns).issuperset(REJECT_COLUMNS)
        escaped = info.format == "csv" and (has_rejects or mapping.escaped)
        for block in opened.reader.blocks(skip):
            if escaped:
                block = _without_escapes(block)
            consumed, columns = block.consumed, block.columns
            mapper = mappers.find(columns)
            groups, pending = _grouped(block, mapper, pending)
            self._add_bad(mapped, block)
            self._map(mapped, groups, columns, mapper)
            if mapped.counts.rows >= BLOCK_ROWS or not self._remaining:
                yield self._finished(mapped, opened, Position(index, consumed - _size(pending)))
                mapped = MappedBlock(info=info)
            if not self._remaining:
                return
        self._map(mapped, pending, columns, mappers.find(columns))
        if mapped.counts.rows:
            yield self._finished(mapped, opened, Position(index, consumed))

    def _finished(self, mapped: MappedBlock, opened: OpenSource, position: Position) -> MappedBlock:
        mapped.position = position
        mapped.fraction = opened.fraction
        # With the limit reached, the position may be in the middle of what was read.
        mapped.fingerprint = opened.fingerprint() if self._remaining else None
        if self._event_ids is not None:
            mapped.repeats = self._event_ids.add(map(_identity, mapped.conversions))
        return mapped

    def _add_bad(self, mapped: MappedBlock, block: Block) -> None:
        is_csv = mapped.info.format == "csv"
        for bad in block.bad:
            if self._take(mapped):
                columns = block.columns if is_csv else (TEXT_COLUMN,)
                origin = Origin(bad.line, columns, (bad.cells,))
                mapped.rejects.append(mapped.reject(origin, "", bad.problem))

    def _map(
        self,
        mapped: MappedBlock,
        groups: Sequence[Group],
        columns: tuple[str, ...],
        mapper: RowMapper,
    ) -> None:
        for number, group in enumerate(groups):
            if not number % _PIECE:
                self._breather.breathe()
            if not self._take(mapped, len(group[2])):
                return
            self._map_group(mapped, group, columns, mapper)

    def _take(self, mapped: MappedBlock, folded: int = 0) -> bool:
        """Count a row, unless the limit is reached."""
        if not self._remaining:
            return False
        self._remaining -= 1
        mapped.counts.rows += 1
        mapped.counts.folded += folded
        return True

    def _map_group(
        self, mapped: MappedBlock, group: Group, columns: tuple[str, ...], mapper: RowMapper
    ) -> None:
        _, row, others = group
        counts = mapped.counts
        if not any(row):
            counts.skip(BLANK)
            return
        try:
            result = mapper(row, others)
        except (InvalidConversionError, DecodeError) as exc:
            column = mapper.column_of(exc.name) if isinstance(exc, InvalidConversionError) else ""
            origin = Origin.of(group, columns, packed=False)
            mapped.rejects.append(mapped.reject(origin, column, str(exc)))
            return
        if isinstance(result, Skip):
            counts.refunds += result is REFUND_FOUND
            counts.skip(str(result))
            return
        counts.refunds += result.event_name == REFUND_EVENT
        if reason := self._excluded(result, row, mapper):
            counts.skip(reason)
            return
        mapped.conversions.append(result)
        mapped.origins.append(Origin.of(group, columns, packed=mapped.info.format == "csv"))

    def _excluded(self, conversion: Conversion, row: Sequence[Any], mapper: RowMapper) -> str:
        """Return why the settings leave out *conversion*; empty if they do not."""
        since, until = self._settings.since, self._settings.until
        if since is not None and conversion.timestamp < since:
            return f"before {_shown(since)}"
        if until is not None and conversion.timestamp >= until:
            return f"not before {_shown(until)}"
        if self._customers is not None and (key := mapper.customer_key(row)):
            (known,) = self._customers.add([(key, "")])
            if known is not None:
                return NOT_FIRST
        return ""


class _Mappers:
    """A mapping, compiled for each header: JSON may have further keys in later blocks."""

    def __init__(
        self, mapping: FileMapping, settings: BackfillSettings, parameters: dict[str, str]
    ) -> None:
        self._mapping = mapping
        self._settings = settings
        self._zone: tzinfo | None = None
        if name := parameters.get("timezone"):
            self._zone = to_zone(name)
        self._mappers: dict[tuple[str, ...], RowMapper] = {}

    def find(self, columns: tuple[str, ...]) -> RowMapper:
        mapper = self._mappers.get(columns)
        if mapper is None:
            mapper = RowMapper(self._mapping, columns, self._settings, zone=self._zone)
            self._mappers[columns] = mapper
        return mapper


def _identity(conversion: Conversion) -> tuple[str, tuple[Any, ...]]:
    """Return the event id, and what is equal for two conversions unless they contradict."""
    revenue = conversion.revenue  # 49.9 and 49.90 are equal, and have equal hashes
    currency = conversion.currency if revenue else ""
    return conversion.event_id, (conversion.conversion_type.value, revenue, currency)


def _without_escapes(block: Block) -> Block:
    rows = [[without_escape(cell) for cell in row] for row in block.rows]
    return attrs.evolve(block, rows=rows)


def _size(groups: Sequence[Group]) -> int:
    """Return the number of rows in *groups*."""
    return sum(1 + len(others) for _, _, others in groups)


def _shown(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def _grouped(
    block: Block, mapper: RowMapper, pending: list[Group]
) -> tuple[list[Group], list[Group]]:
    """Return the complete orders up to the end of *block*, and the last one, which may go on.

    Rows ``1001, 1001, 1002`` are the order 1001 with two line items, which is complete, and 1002.
    """
    key_of = mapper.fold_key
    if key_of is None:
        return [(line, row, ()) for line, row in zip(block.lines, block.rows, strict=True)], []
    groups: list[tuple[int, Sequence[Any], list[Sequence[Any]]]] = [
        (line, row, list(others)) for line, row, others in pending
    ]
    current = key_of(groups[-1][1]) if groups else None
    for line, row in zip(block.lines, block.rows, strict=True):
        key = key_of(row)
        if key and key == current and mapper.continues(groups[-1][1], row):
            groups[-1][2].append(row)
        else:
            groups.append((line, row, []))
            current = key
    complete: list[Group] = list(groups)
    if not groups or (block.bad and block.bad[-1].line > groups[-1][0]):
        return complete, []
    return complete[:-1], complete[-1:]


class ConversionReader:
    """The conversions of files, for ``async for``; see `read_conversions`.

    Attributes:
        counts: rows read so far; `accepted` are the conversions.
        sources: what was found about each source so far.
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


def add_counts(total: RowCounts, part: RowCounts) -> None:
    """Add the rows, folded rows, skipped rows and refunds of *part* to *total*."""
    total.rows += part.rows
    total.folded += part.folded
    total.refunds += part.refunds
    for reason, count in part.skipped.items():
        total.skip(reason, count)
