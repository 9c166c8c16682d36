"""`RowJob`: reads sources and makes conversions of their rows.

Opening, decompressing, parsing and mapping happen in one thread, a few blocks ahead of the reader.
Consecutive rows of the same order, one for each line item, become one conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import attrs

from anytrack_async.backfilling.advice import Advice
from anytrack_async.backfilling.blocks import (
    BLOCK_ROWS,
    Block,
    Breather,
    Group,
    MappedBlock,
    Origin,
    Position,
)
from anytrack_async.backfilling.compiled import RowMapper
from anytrack_async.backfilling.identity import Identity
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.presets.registry import choose, find_preset
from anytrack_async.backfilling.query import SqlQuery
from anytrack_async.backfilling.repeats import KnownRows, SeenKeys
from anytrack_async.backfilling.report import REJECT_COLUMNS, REPEAT, TEXT_COLUMN, SourceInfo
from anytrack_async.backfilling.rules import REFUND_EVENT, REFUND_FOUND, Skip
from anytrack_async.backfilling.settings import BackfillSettings, to_zone
from anytrack_async.backfilling.sources import OpenSource, Source, expand_sources, open_source
from anytrack_async.client.export_formats import without_escape
from anytrack_async.errors import DecodeError, InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.missing import is_missing

_PIECE = 25  # rows between two looks at the clock
BLANK = "blank row"
NOT_FIRST = "not the customer's first"


class _Piece(NamedTuple):
    """Some orders, their columns, and their identities if these were computed already."""

    groups: Sequence[Group]
    columns: tuple[str, ...]
    mapper: RowMapper
    identities: Sequence[Identity | None] = ()


class RowJob:
    """Reads sources and maps their rows; every method blocks.

    Args:
        source: the files or queries to read.
        settings: how to read them.
        preset: name of the preset; None to recognise it.
        mapping: replaces the preset.
        start: the place to begin at; default: the first row.
        on_open: called with format, columns and preset of each source, in the reading thread.
        find_repeats: whether to look for event ids that occur again, for `MappedBlock.repeats`.
        known: says which rows were accepted before, so that they need not be mapped.
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
        known: KnownRows | None = None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._preset = preset
        self._mapping = mapping
        self._advice = Advice(command=settings.advice == "command", own_mapping=mapping is not None)
        self._hint = mapping or (find_preset(preset) if preset else None)
        self._start = start or Position()
        self._on_open = on_open
        self._remaining = settings.limit if settings.limit is not None else -1
        self._customers = SeenKeys() if settings.only_first else None
        self._event_ids = SeenKeys() if find_repeats else None
        self._known = known if settings.limit is None else None
        self._queue: list[_Piece] = []
        self._queued = 0
        self._breather = Breather()

    def blocks(self) -> Generator[MappedBlock]:
        """Yield a `MappedBlock` for each block of rows.

        Raises:
            ConfigurationError: a source cannot be used; the message says why.
            OSError: a file cannot be read.
        """
        try:
            sources = expand_sources(self._source)
            for index, source in enumerate(sources):
                if index < self._start.source or not self._remaining:
                    continue
                with self._open(source, among=len(sources)) as opened:
                    yield from self._read(index, opened)
        finally:
            for keys in (self._customers, self._event_ids):
                if keys is not None:
                    keys.close()

    def describe(self) -> list[SourceInfo]:
        """Return format, columns and preset of each source, without reading its rows."""
        infos = []
        sources = expand_sources(self._source)
        for source in sources:
            with self._open(source, among=len(sources)) as opened:
                info = opened.reader.info
                infos.append(self._recognised(info)[0] if info.columns else info)
        return infos

    def _open(self, source: str | SqlQuery, *, among: int) -> AbstractContextManager[OpenSource]:
        return open_source(source, self._settings, self._hint, may_be_empty=among > 1)

    def _recognised(self, info: SourceInfo) -> tuple[SourceInfo, FileMapping]:
        mapping, recognised = choose(
            info.columns,
            preset=self._preset,
            mapping=self._mapping,
            name=info.name,
            advice=self._advice,
        )
        info = attrs.evolve(info, preset=mapping.name, title=mapping.title, recognised=recognised)
        return info, mapping

    def _read(self, index: int, opened: OpenSource) -> Iterator[MappedBlock]:
        if not opened.reader.info.columns:  # an empty file among others
            self._on_open(opened.reader.info)
            yield self._finished(MappedBlock(info=opened.reader.info), opened, Position(index))
            return
        info, mapping = self._recognised(opened.reader.info)
        self._on_open(info)
        mappers = _Mappers(mapping, self._settings, opened.reader.parameters, self._advice)
        mappers.find(tuple(info.columns))  # a mapping that does not fit is an error at once
        skip = self._start.rows if index == self._start.source else 0
        pending: list[Group] = []
        consumed = skip
        columns = tuple(info.columns)
        mapped = MappedBlock(info=info)
        escaped = _is_escaped(info, mapping)
        for block in opened.reader.blocks(skip):
            if escaped:
                block = _without_escapes(block)
            consumed, columns = block.consumed, block.columns
            mapper = mappers.find(columns)
            groups, pending = grouped(block, mapper, pending)
            if block.bad:
                self._map_queue(mapped)
                self._add_bad(mapped, block)
            self._map_or_queue(mapped, _Piece(groups, columns, mapper))
            if mapped.counts.rows + self._queued >= BLOCK_ROWS or not self._remaining:
                self._map_queue(mapped)
                yield self._finished(mapped, opened, Position(index, consumed - row_count(pending)))
                mapped = MappedBlock(info=info)
            if not self._remaining:
                return
        self._map_or_queue(mapped, _Piece(pending, columns, mappers.find(columns)))
        self._map_queue(mapped)
        # Also without rows: the checkpoint has a fingerprint of every source.
        yield self._finished(mapped, opened, Position(index, consumed))

    def _finished(self, mapped: MappedBlock, opened: OpenSource, position: Position) -> MappedBlock:
        mapped.position = position
        mapped.fraction = opened.fraction
        # With the limit reached, the position may be in the middle of the bytes that were read.
        is_needed = self._remaining and not self._settings.dry_run
        mapped.fingerprint = opened.fingerprint() if is_needed else None
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

    def _map_or_queue(self, mapped: MappedBlock, piece: _Piece) -> None:
        """Map the rows of *piece*, or queue them until the outbox is asked which it knows."""
        identify = piece.mapper.identify
        if self._known is None or identify is None or not self._known.asks():
            self._map_queue(mapped)
            self._map(mapped, piece)
            return
        # The identities are computed now, while the rows are in the processor's cache.
        identities = [identify(row) for _, row, _ in piece.groups]
        self._queue.append(piece._replace(identities=identities))
        self._queued += len(identities)
        if not self._known.in_bulk:
            self._map_queue(mapped)
        self._breather.breathe()

    def _map_queue(self, mapped: MappedBlock) -> None:
        """Map the queued rows, except for rows that were accepted before."""
        if self._known is None or not self._queue:
            return
        pieces, self._queue, self._queued = self._queue, [], 0
        accepted_before = self._known.find([item for piece in pieces for item in piece.identities])
        start = 0
        for piece in pieces:
            end = start + len(piece.groups)
            self._map(mapped, piece, accepted_before[start:end])
            start = end

    def _map(
        self, mapped: MappedBlock, piece: _Piece, accepted_before: Sequence[bool] = ()
    ) -> None:
        for number, group in enumerate(piece.groups):
            if not number % _PIECE:
                self._breather.breathe()
            if not self._take(mapped, len(group[2])):
                return
            if accepted_before and accepted_before[number]:
                mapped.counts.repeats += 1
                mapped.counts.skip(REPEAT)
            else:
                self._map_group(mapped, group, piece.columns, piece.mapper)

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
        _, row, further_rows = group
        counts = mapped.counts
        if not any(row):
            counts.skip(BLANK)
            return
        try:
            result = mapper(row, further_rows)
        except (InvalidConversionError, DecodeError) as exc:
            column = mapper.columns_of(exc.name) if isinstance(exc, InvalidConversionError) else ""
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
            (is_repeat,) = self._customers.add([(key, "")])
            if is_repeat is not None:
                return NOT_FIRST
        return ""


class _Mappers:
    """A mapping, compiled for each header: JSON may have further keys in later blocks."""

    def __init__(
        self,
        mapping: FileMapping,
        settings: BackfillSettings,
        parameters: dict[str, str],
        advice: Advice,
    ) -> None:
        self._mapping = mapping
        self._settings = settings
        self._advice = advice
        self._zone: tzinfo | None = None
        if name := parameters.get("timezone"):
            self._zone = to_zone(name)
        self._mappers: dict[tuple[str, ...], RowMapper] = {}

    def find(self, columns: tuple[str, ...]) -> RowMapper:
        mapper = self._mappers.get(columns)
        if mapper is None:
            mapper = RowMapper(
                self._mapping, columns, self._settings, zone=self._zone, advice=self._advice
            )
            self._mappers[columns] = mapper
        return mapper


def _identity(conversion: Conversion) -> tuple[str, tuple[Any, ...]]:
    """Return the event id, and a key that differs if two conversions contradict each other."""
    revenue = conversion.revenue  # 49.9 and 49.90 are equal, and have equal hashes
    currency = conversion.currency if revenue else ""
    return conversion.event_id, (conversion.conversion_type.value, revenue, currency)


def _is_escaped(info: SourceInfo, mapping: FileMapping) -> bool:
    """Return whether cells have an apostrophe before a formula, as `with_escape` adds it."""
    has_rejects = set(info.columns).issuperset(REJECT_COLUMNS)
    return info.format == "csv" and (has_rejects or mapping.escaped)


def _without_escapes(block: Block) -> Block:
    rows = [[without_escape(cell) for cell in row] for row in block.rows]
    return attrs.evolve(block, rows=rows)


def _shown(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


# Orders


def grouped(
    block: Block, mapper: RowMapper, pending: list[Group]
) -> tuple[list[Group], list[Group]]:
    """Return the complete orders of *block*, and the last order, which may have further rows.

    Rows ``1001, 1001, 1002`` are the order 1001 with two line items, which is complete, and 1002.
    """
    key_of = mapper.fold_key
    if key_of is None:
        return _single_rows(block), []
    groups = [(line, row, list(further_rows)) for line, row, further_rows in pending]
    current = key_of(groups[-1][1]) if groups else None
    for line, row in zip(block.lines, block.rows, strict=True):
        key = key_of(row)
        if key and key == current and not is_missing(key) and mapper.continues(groups[-1][1], row):
            groups[-1][2].append(row)
        else:
            groups.append((line, row, []))
            current = key
    complete: list[Group] = list(groups)
    if _ends_with_bad_row(block, complete):
        return complete, []
    return complete[:-1], complete[-1:]


def _single_rows(block: Block) -> list[Group]:
    return [(line, row, ()) for line, row in zip(block.lines, block.rows, strict=True)]


def _ends_with_bad_row(block: Block, groups: Sequence[Group]) -> bool:
    """Return whether a bad row stands behind the last of *groups*: then that order is complete."""
    return bool(groups and block.bad) and block.bad[-1].line > groups[-1][0]


def row_count(groups: Sequence[Group]) -> int:
    """Return the number of rows in *groups*."""
    return sum(1 + len(further_rows) for _, _, further_rows in groups)
