"""`inspect_source`: the first rows of a file, as each destination would be sent them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import attrs
from anyio import to_thread

from anytrack_async.backfilling.addressing import is_from_anytrack
from anytrack_async.backfilling.blocks import Block, MappedBlock
from anytrack_async.backfilling.files import EmptyFileError
from anytrack_async.backfilling.guess import Guess, guess_mapping
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.masking import masked_request
from anytrack_async.backfilling.reading import RowJob
from anytrack_async.backfilling.report import Reject, SourceInfo
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import Source, expand_sources, open_source
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.errors import UnknownFormatError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Outbox

_SAMPLE_ROWS = 200  # for a guess


@attrs.frozen(kw_only=True)
class DestinationPreview:
    """The requests that a destination would get for a row.

    Attributes:
        requests: kind of the request, e.g. ``"deal"`` → its content; customer data is masked.
        match_keys: the service's names of the identifiers by which it will match the visitor.
        missing: identifiers that would improve the match.
        problem: why the row would not be sent, or would be refused by the service; empty if
            neither.
        second_run: the effect of a second run over the same file at this destination.
    """

    requests: Mapping[str, Any]
    match_keys: Sequence[str] = ()
    missing: Sequence[str] = ()
    problem: str = ""
    second_run: str = ""


@attrs.frozen(kw_only=True)
class RowPreview:
    """A row that is a conversion.

    Attributes:
        line: the line where it begins, from 1.
        conversion: the conversion; its `repr` has no customer data.
        known: whether the outbox has accepted it before.
        destinations: destination → the requests that it would get.
    """

    line: int
    conversion: Conversion
    known: bool = False
    destinations: Mapping[str, DestinationPreview] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Inspection:
    """The format of a source, and its first rows.

    Attributes:
        info: format, encoding, delimiter, columns and preset.
        rows: the first rows that are conversions.
        rejects: the rows up to there that could not be read.
        skipped: reason → number of rows up to there that were left out on purpose.
        guess: a proposed mapping, if no preset fits.
    """

    info: SourceInfo
    rows: Sequence[RowPreview] = ()
    rejects: Sequence[Reject] = ()
    skipped: Mapping[str, int] = attrs.field(factory=dict)
    guess: Guess | None = None


async def inspect_source(
    source: Source,
    *,
    client: AnyTrackClient | None = None,
    preset: str | None = None,
    mapping: FileMapping | None = None,
    settings: BackfillSettings | None = None,
    outbox: Outbox | None = None,
    rows: int = 3,
) -> Inspection:
    """Read the first rows of the first file of *source*; nothing is sent or written.

    Args:
        source: as for `backfill`.
        client: its destinations preview their requests; it need not be open.
        preset: name of the preset; default: recognised by the columns.
        mapping: replaces the preset.
        settings: zone, decimal sign, currency and so on.
        outbox: an open outbox, in which conversions accepted before are looked for.
        rows: how many conversions to show.

    Raises:
        ConfigurationError: the file cannot be used.
        OSError: it cannot be read.
    """
    settings = settings or BackfillSettings()
    try:
        info, block = await to_thread.run_sync(_first_block, source, settings, preset, mapping)
    except UnknownFormatError:
        return await to_thread.run_sync(_guess, source, settings)
    conversions = block.conversions[:rows]
    reports = (
        await outbox.reports([sale.event_id for sale in conversions])
        if outbox and conversions
        else {}
    )
    lines = [origin.line for origin in block.origins]
    return Inspection(
        info=info,
        rows=[
            RowPreview(
                line=line,
                conversion=conversion,
                known=conversion.event_id in reports,
                destinations=_previews(client, conversion, settings) if client else {},
            )
            for line, conversion in zip(lines, conversions, strict=False)
        ],
        rejects=block.rejects,
        skipped=block.counts.skipped,
    )


def _first_block(
    source: Source, settings: BackfillSettings, preset: str | None, mapping: FileMapping | None
) -> tuple[SourceInfo, MappedBlock]:
    *sources, last = expand_sources(source)
    for single in sources:
        try:
            return _first_block_of(single, settings, preset, mapping)
        except EmptyFileError:
            continue
    return _first_block_of(last, settings, preset, mapping)


def _first_block_of(
    source: Source, settings: BackfillSettings, preset: str | None, mapping: FileMapping | None
) -> tuple[SourceInfo, MappedBlock]:
    infos: list[SourceInfo] = []
    job = RowJob(source, settings, preset=preset, mapping=mapping, on_open=infos.append)
    blocks = job.blocks()
    try:
        # A small file with folded rows has its last order in a second block.
        parts = list(islice(blocks, 2))
    finally:
        blocks.close()
    if not parts:
        return infos[0], MappedBlock(info=infos[0])
    first = parts[0]
    for part in parts[1:]:
        first.add(part)
    return infos[0], first


def _guess(source: Source, settings: BackfillSettings) -> Inspection:
    with open_source(expand_sources(source)[0], settings, None) as opened:
        info = opened.reader.info
        block: Block | None = next(iter(opened.reader.blocks()), None)
        sample = block.rows[:_SAMPLE_ROWS] if block else ()
        columns = block.columns if block else info.columns
        return Inspection(
            info=info, guess=guess_mapping(columns, sample, answered=_answered(settings))
        )


def _answered(settings: BackfillSettings) -> list[str]:
    """Return the topics of the questions about a mapping that *settings* answer."""
    answers = {
        "timezone": settings.timezone,
        "currency": settings.currency,
        "decimal": settings.decimal,
        "day order": settings.day_first,
    }
    return [topic for topic, answer in answers.items() if answer is not None]


def _previews(
    client: AnyTrackClient, conversion: Conversion, settings: BackfillSettings
) -> dict[str, DestinationPreview]:
    previews = {}
    for name, preview in client.preview(conversion).items():
        if settings.to is not None and name not in settings.to:
            continue
        problem = preview.problem
        max_age = client.limits[name].max_age
        age = time.time() - conversion.timestamp.timestamp()
        if settings.too_old == "skip" and max_age is not None and age > max_age:
            problem = f"too old: skipped here; it takes conversions of {max_age / 86_400:.0f} days"
        if name == ANYTRACK and settings.to is None and is_from_anytrack(conversion):
            problem = "skipped here: it was exported from AnyTrack, which has it"
        previews[name] = DestinationPreview(
            requests=masked_request(preview.requests, conversion),
            match_keys=preview.match_keys,
            missing=preview.missing,
            problem=problem,
            second_run=_second_run(conversion, preview.repeat),
        )
    return previews


def _second_run(conversion: Conversion, repeat: str) -> str:
    text = f"nothing is sent: the outbox knows {conversion.event_id}"
    return f"{text}; without the outbox, {repeat}" if repeat else text
