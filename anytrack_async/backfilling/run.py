"""`backfill`: the conversions of files into a client's outbox, safely, as often as you like."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from os import PathLike
from pathlib import Path

import anyio
from anyio import to_thread

from anytrack_async.backfilling.acceptance import Acceptance, DryRun, Outboxed
from anytrack_async.backfilling.advice import Advice
from anytrack_async.backfilling.blocks import MappedBlock, joined
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.reading import RowJob
from anytrack_async.backfilling.rejects import RejectsFile
from anytrack_async.backfilling.repeats import known_rows
from anytrack_async.backfilling.report import (
    BackfillReport,
    DestinationProgress,
    OnProgress,
    OnReject,
    Progress,
    Reject,
    RowCounts,
    SourceInfo,
    add_counts,
)
from anytrack_async.backfilling.resuming import Resumption, count_repeats
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import Source, expand_sources
from anytrack_async.backfilling.thread import ReadAhead
from anytrack_async.backfilling.watch import DestinationWatch, finished
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox

_SHOWN_REJECTS = 100
_BLOCKS_AT_ONCE = 4
_PROGRESS_SECONDS = 0.5
_POLL_SECONDS = 0.1


async def backfill(
    client: AnyTrackClient | None,
    source: Source,
    *,
    preset: str | None = None,
    mapping: FileMapping | None = None,
    settings: BackfillSettings | None = None,
    outbox: Outbox | None = None,
    limits: Mapping[str, SinkLimits] | None = None,
    on_progress: OnProgress | None = None,
    on_reject: OnReject | None = None,
) -> BackfillReport:
    """Track the conversions of files, or of a query.

        async with AnyTrackClient.from_env() as client:
            report = await backfill(client, "orders_export.csv")
        print(report.counts)

    Running it twice over the same file sends nothing twice: an order's event id is that of the
    live integration, ``sale:<order_id>``, and the outbox remembers it. After an interruption, even
    ``kill -9``, ``BackfillSettings(resume=True)`` goes on at the checkpoint in the outbox. If a run
    with the same settings has accepted all of the same files before, they are only compared by
    their hashes, not read row by row.

    Args:
        client: an open client. A dry run needs none; it may be one that is not open, which then
            only names the destinations and their limits.
        source: a path, a pattern such as ``"orders-*.csv"``, ``"-"`` for standard input, an
            `SqlQuery`, or several of these.
        preset: name of the preset; default: recognised by the columns.
        mapping: replaces the preset.
        settings: how rows are read and handled.
        outbox: an open outbox in which a dry run looks for conversions accepted before; it changes
            nothing there.
        limits: destination → limits of its sink, for a dry run without a client.
        on_progress: called about twice a second with a snapshot.
        on_reject: called for each rejected row.

    Returns:
        The report; accepted + skipped + rejected = rows.

    Raises:
        ConfigurationError: a file cannot be used, no preset fits (`UnknownFormatError`), a setting
            does not fit the file, or a file has changed since the checkpoint.
        OSError: a file cannot be read, or the rejects file cannot be written.
        ClosedError: the client is not open.
        OutboxError: the outbox failed. Conversions accepted before that are safe.
        QueueFullError: a destination that is full takes no conversions for
            `DeliverySettings.accept_within` seconds. Conversions accepted before that are safe;
            resume the run later.
    """
    settings = settings or BackfillSettings()
    if client is None and not settings.dry_run:
        raise ConfigurationError("a back-fill needs a client, unless it is a dry run")
    run = _Run(source, settings, preset, mapping, on_progress, on_reject)
    run.acceptance = _acceptance(client, settings, outbox, limits)
    run.outbox = outbox if client is None or settings.dry_run else client.outbox
    async with run.reporting():
        await run.prepare(client)
        await run.read()
        await run.deliver()
    return run.report()


def _acceptance(
    client: AnyTrackClient | None,
    settings: BackfillSettings,
    outbox: Outbox | None,
    limits: Mapping[str, SinkLimits] | None,
) -> Acceptance:
    limits = limits if client is None else client.limits
    if client is None or settings.dry_run:
        return DryRun(limits or {}, settings, outbox)
    return Outboxed(client, settings)


class _Run:
    """One back-fill.

    Attributes:
        acceptance: takes the conversions.
        outbox: has the conversions of earlier runs; None in a dry run without an outbox.
    """

    acceptance: Acceptance
    outbox: Outbox | None

    def __init__(
        self,
        source: Source,
        settings: BackfillSettings,
        preset: str | None,
        mapping: FileMapping | None,
        on_progress: OnProgress | None,
        on_reject: OnReject | None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._preset = preset
        self._mapping = mapping
        self._on_progress = on_progress
        self._on_reject = on_reject
        self._counts = RowCounts()
        self._sources: list[SourceInfo] = []
        self._rejects: list[Reject] = []
        self._rejects_file: RejectsFile | None = None
        self._watch: DestinationWatch | None = None
        self._destinations: Mapping[str, DestinationProgress] = {}
        self._resumption = Resumption(source, settings, preset, mapping)
        self._phase = "reading"
        self._fraction: float | None = None
        self._stopped = ""
        self._began = time.monotonic()

    # Reading and accepting

    async def prepare(self, client: AnyTrackClient | None) -> None:
        """Find the checkpoint, and check sources and settings before the first row."""
        settings = self._settings
        if client is not None and not settings.dry_run:
            await self._resumption.find(client.outbox)
        if settings.rejects is not None and not settings.dry_run:
            await to_thread.run_sync(self._make_rejects_file, settings.rejects)
        await self._resumption.begin()
        if client is not None and not settings.dry_run:
            watch = DestinationWatch(client, self.acceptance.destinations)
            await watch.begin(self._resumption.dead_before)
            self._watch = watch

    def _make_rejects_file(self, path: str | PathLike[str]) -> None:
        own = Path(path).absolute()
        if any(Path(item).absolute() == own for item in _paths(self._source)):
            name = Advice(command=self._settings.advice == "command").name("rejects")
            raise ConfigurationError(
                f"{name}: the file of rejected rows must not be one that is read"
            )
        self._rejects_file = RejectsFile(path, resume_at=self._resumption.rejects_length)

    async def read(self) -> None:
        """Read all rows, and accept their conversions."""
        resumed = self._resumption.checkpoint
        job = RowJob(
            self._source,
            self._settings,
            preset=self._preset,
            mapping=self._mapping,
            start=resumed.position if resumed else None,
            on_open=self._sources.append,
            find_repeats=self._settings.dry_run,
            known=known_rows(self.outbox, self._settings, self.acceptance.oldest),
        )
        if resumed is not None and resumed.finished:
            self._sources = await to_thread.run_sync(job.describe)
            if self._resumption.unchanged:
                count_repeats(self._counts, resumed.counts)
            return
        try:
            await self._read(job)
        finally:
            if self._rejects_file is not None:
                self._rejects_file.close()

    async def _read(self, job: RowJob) -> None:
        block: MappedBlock | None = None
        at_once = self._blocks_at_once
        ahead = ReadAhead(job.blocks, ahead=max(2, at_once))
        async with aclosing(ahead.batches(at_once)) as batches:
            async for blocks in batches:
                for block in joined(blocks):
                    await self._take(block)
                if self._stopped:
                    break
        if block is not None:
            finished = not self._stopped and self._settings.limit is None
            await self._resumption.save(block, self._counts, self._rejects_file, finished=finished)

    @property
    def _blocks_at_once(self) -> int:
        """How many blocks, if they are ready, are accepted as one.

        While a disk takes 30 ms to write 500 conversions, 1,000 more are read: so they cost one
        wait, not two. Not if the run has to stop, to pace or to save its checkpoint between them.
        """
        settings = self._settings
        exact = settings.max_rejects or settings.rate or settings.duplicates == "fail"
        return 1 if exact or settings.dry_run else _BLOCKS_AT_ONCE

    async def _take(self, block: MappedBlock) -> None:
        rejects = await self.acceptance.accept(block, self._counts)
        add_counts(self._counts, block.counts)
        self._counts.rejected += len(rejects)
        self._fraction = block.fraction
        if rejects:
            await self._keep_rejects(rejects, block.info)
        limit = self._settings.max_rejects
        if limit is not None and self._counts.rejected >= limit:
            self._stopped = "max_rejects"
        self._resumption.note(block)
        if self._resumption.is_time:
            await self._resumption.save(block, self._counts, self._rejects_file)

    async def _keep_rejects(self, rejects: Sequence[Reject], info: SourceInfo) -> None:
        self._rejects += rejects[: _SHOWN_REJECTS - len(self._rejects)]
        if self._on_reject is not None:
            for reject in rejects:
                self._on_reject(reject)
        if self._rejects_file is not None:
            await to_thread.run_sync(self._rejects_file.write, rejects, info)

    # Delivery and progress

    async def deliver(self) -> None:
        """Wait until the destinations have all conversions."""
        if self._watch is None:
            return
        self._phase = "delivering"
        self._destinations = await self._watch.read()
        while self._settings.wait and not finished(self._destinations):
            await anyio.sleep(_POLL_SECONDS)
            self._destinations = await self._watch.read()

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Report progress while the block runs, and once more at its end."""
        failure: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            if self._on_progress is not None:
                tasks.start_soon(self._report_progress, self._on_progress)
            try:
                yield
            except Exception as exc:
                failure = exc
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        self._phase = "done"
        if self._on_progress is not None:
            self._on_progress(self._snapshot())

    async def _report_progress(self, on_progress: OnProgress) -> None:
        while True:
            if self._watch is not None and self._phase == "reading":
                self._destinations = await self._watch.read()
            on_progress(self._snapshot())
            await anyio.sleep(_PROGRESS_SECONDS)

    def _snapshot(self) -> Progress:
        return Progress(
            phase=self._phase,
            source=self._sources[-1] if self._sources else None,
            counts=self._counts,
            fraction=self._fraction,
            seconds=time.monotonic() - self._began,
            destinations=self._destinations,
        )

    def report(self) -> BackfillReport:
        """Return the report of the run."""
        stopped = self._stopped
        limit = self._settings.limit
        resumed = None if self._resumption.unchanged else self._resumption.checkpoint
        if not stopped and limit is not None and self._counts.rows >= limit:
            stopped = "limit"
        return BackfillReport(
            counts=self._counts,
            sources=tuple(self._sources),
            rejects=tuple(self._rejects),
            rejects_file=self._rejects_file.path if self._rejects_file else None,
            unchanged=self._resumption.unchanged,
            resumed_at=resumed.rows if resumed else 0,
            rejected_before=resumed.counts.get("rejected", 0) if resumed else 0,
            destinations=self._destinations,
            expected_seconds=self.acceptance.expected_seconds(),
            dry_run=self._settings.dry_run,
            stopped=stopped,
            seconds=time.monotonic() - self._began,
        )


def _paths(source: Source) -> list[str]:
    return [path for path in expand_sources(source) if isinstance(path, str)]
