"""`backfill`: the conversions of files into a client's outbox, safely, as often as you like."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from anytrack_async.backfilling.acceptance import REPEAT, Acceptance, DryRun, Outboxed
from anytrack_async.backfilling.checkpoint import Checkpoint, changed_file, checkpoint_name, keeper
from anytrack_async.backfilling.files import Fingerprint
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.reading import MappedBlock, Position, RowJob, add_counts
from anytrack_async.backfilling.rejects import RejectsFile
from anytrack_async.backfilling.report import (
    BackfillReport,
    DestinationProgress,
    OnProgress,
    OnReject,
    Progress,
    Reject,
    RowCounts,
    SourceInfo,
)
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import Source, expand_sources
from anytrack_async.backfilling.thread import ReadAhead
from anytrack_async.backfilling.watch import DestinationWatch, finished
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox

_SHOWN_REJECTS = 100
_CHECKPOINT_SECONDS = 1.0
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
        settings: how rows are read, and what happens to them.
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
        OutboxError: the outbox failed. What was accepted before is safe.
        QueueFullError: a destination that is full takes no conversions for
            `DeliverySettings.accept_within` seconds. What was accepted before is safe: resume.
    """
    settings = settings or BackfillSettings()
    if client is None and not settings.dry_run:
        raise ConfigurationError("a back-fill needs a client, unless it is a dry run")
    run = _Run(source, settings, preset, mapping, on_progress, on_reject)
    run.acceptance = _acceptance(client, settings, outbox, limits)
    async with run.reporting(None if settings.dry_run else client):
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
    """

    acceptance: Acceptance

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
        self._outbox: Outbox | None = None
        self._checkpoint_name: str | None = None
        self._resumed: Checkpoint | None = None
        self._prints: list[Fingerprint] = []
        self._phase = "reading"
        self._fraction: float | None = None
        self._stopped = ""
        self._began = self._saved_at = time.monotonic()

    # Reading and accepting

    async def prepare(self, client: AnyTrackClient | None) -> None:
        """Find the checkpoint, and check what can be checked before the first row."""
        settings = self._settings
        if client is not None and not settings.dry_run:
            self._outbox = client.outbox
            await self._find_checkpoint(client.outbox)
        if settings.rejects is not None and not settings.dry_run:
            await to_thread.run_sync(self._make_rejects_file, settings.rejects)
        if self._resumed is None:
            # So that a run which is killed before its first checkpoint can be resumed, and knows
            # the rejects file for its own.
            await self._save(Checkpoint(position=Position(), rows=0, rejects=self._rejects_path))

    def _make_rejects_file(self, path: str | PathLike[str]) -> None:
        own = Path(path).absolute()
        if any(Path(item).absolute() == own for item in _paths(self._source)):
            raise ConfigurationError(
                "rejects: the file of rejected rows must not be one that is read"
            )
        resumed = self._resumed
        is_same = resumed is not None and resumed.rejects == self._rejects_path
        resume_at = resumed.rejects_length if resumed and is_same else None
        self._rejects_file = RejectsFile(path, resume_at=resume_at)

    async def _find_checkpoint(self, outbox: Outbox) -> None:
        settings = self._settings
        name = await to_thread.run_sync(
            partial(
                checkpoint_name,
                self._source,
                settings,
                preset=self._preset,
                mapping=self._mapping,
            )
        )
        keeps = keeper(outbox)
        if settings.resume and (name is None or keeps is None):
            raise ConfigurationError(
                "resume: a query and standard input cannot be continued; run it again: rows that "
                "were accepted before are recognised"
                if name is None
                else "resume: this outbox keeps no checkpoints"
            )
        if name is None or keeps is None:
            return
        self._checkpoint_name = name
        value = await keeps.checkpoint(name)
        checkpoint = None if value is None else Checkpoint.from_bytes(value)
        if checkpoint is not None:
            await self._use(checkpoint)

    async def _use(self, checkpoint: Checkpoint) -> None:
        """Go on at *checkpoint*, or find that there is nothing left to do."""
        strict = self._settings.duplicates == "fail"
        if not self._settings.resume and (strict or not checkpoint.is_whole):
            return
        changed = await to_thread.run_sync(changed_file, checkpoint, self._source)
        if changed is None:
            self._resumed = checkpoint
            self._prints = list(checkpoint.prints)
        elif self._settings.resume:
            raise ConfigurationError(
                f"{changed} has changed since the checkpoint: run without resume; rows that were "
                "accepted before are recognised, and not sent again"
            )

    async def read(self) -> None:
        """Read everything, and accept what can be."""
        resumed = self._resumed
        job = RowJob(
            self._source,
            self._settings,
            preset=self._preset,
            mapping=self._mapping,
            start=resumed.position if resumed else None,
            on_open=self._sources.append,
            find_repeats=self._settings.dry_run,
        )
        if resumed is not None and resumed.finished:
            self._sources = await to_thread.run_sync(job.describe)
            if self._unchanged:
                _count_repeats(self._counts, resumed.counts)
            return
        try:
            await self._read(job)
        finally:
            if self._rejects_file is not None:
                self._rejects_file.close()

    async def _read(self, job: RowJob) -> None:
        block: MappedBlock | None = None
        async with aclosing(ReadAhead(job.blocks).items()) as blocks:
            async for block in blocks:
                await self._take(block)
                if self._stopped:
                    break
        if block is not None:
            finished = not self._stopped and self._settings.limit is None
            await self._save_checkpoint(block, finished=finished)

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
        strict = self._settings.duplicates == "fail"
        if strict or time.monotonic() - self._saved_at >= _CHECKPOINT_SECONDS:
            await self._save_checkpoint(block)

    async def _keep_rejects(self, rejects: Sequence[Reject], info: SourceInfo) -> None:
        self._rejects += rejects[: _SHOWN_REJECTS - len(self._rejects)]
        if self._on_reject is not None:
            for reject in rejects:
                self._on_reject(reject)
        if self._rejects_file is not None:
            await to_thread.run_sync(self._rejects_file.write, rejects, info)

    async def _save_checkpoint(self, block: MappedBlock, *, finished: bool = False) -> None:
        self._saved_at = time.monotonic()
        if block.fingerprint is None:
            return
        del self._prints[block.position.source :]
        self._prints.append(block.fingerprint)
        before = self._resumed.rows if self._resumed else 0
        checkpoint = Checkpoint(
            position=block.position,
            rows=before + self._counts.rows,
            prints=tuple(self._prints),
            rejects=self._rejects_path,
            rejects_length=self._rejects_file.length if self._rejects_file else 0,
            finished=finished,
            counts=_total(self._counts, self._resumed.counts if self._resumed else {}),
        )
        await self._save(checkpoint)

    async def _save(self, checkpoint: Checkpoint) -> None:
        keeps = None if self._outbox is None else keeper(self._outbox)
        if keeps is not None and self._checkpoint_name is not None:
            await keeps.save_checkpoint(self._checkpoint_name, checkpoint.to_bytes())

    @property
    def _unchanged(self) -> bool:
        return self._resumed is not None and not self._settings.resume

    @property
    def _rejects_path(self) -> str | None:
        path = self._settings.rejects
        return None if path is None else str(Path(path).absolute())

    # Delivery and progress

    async def deliver(self) -> None:
        """Wait until the destinations have everything."""
        if self._watch is None:
            return
        self._phase = "delivering"
        self._destinations = await self._watch.read()
        while self._settings.wait and not finished(self._destinations):
            await anyio.sleep(_POLL_SECONDS)
            self._destinations = await self._watch.read()

    @asynccontextmanager
    async def reporting(self, client: AnyTrackClient | None) -> AsyncIterator[None]:
        """Report progress while the block runs, and once more at its end."""
        if client is not None:
            self._watch = DestinationWatch(client, self.acceptance.destinations)
            await self._watch.begin()
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
        if not stopped and limit is not None and self._counts.rows >= limit:
            stopped = "limit"
        return BackfillReport(
            counts=self._counts,
            sources=tuple(self._sources),
            rejects=tuple(self._rejects),
            rejects_file=self._rejects_file.path if self._rejects_file else None,
            unchanged=self._unchanged,
            resumed_at=self._resumed.rows if self._resumed and not self._unchanged else 0,
            destinations=self._destinations,
            expected_seconds=self.acceptance.expected_seconds(),
            dry_run=self._settings.dry_run,
            stopped=stopped,
            seconds=time.monotonic() - self._began,
        )


_KEPT_COUNTS = ("rows", "folded", "accepted", "rejected", "repeats", "refunds")


def _total(counts: RowCounts, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return *counts*, and those of an earlier run, for a checkpoint."""
    total = {name: getattr(counts, name) + before.get(name, 0) for name in _KEPT_COUNTS}
    skipped = Counter(counts.skipped)
    skipped.update(before.get("skipped", {}))
    return {**total, "skipped": dict(skipped)}


def _count_repeats(counts: RowCounts, before: Mapping[str, Any]) -> None:
    """Count the rows of a run that has accepted everything as rows that were accepted before."""
    counts.rows, counts.folded = before["rows"], before["folded"]
    counts.refunds = before["refunds"]
    counts.repeats = before["accepted"] + before["repeats"]
    counts.skipped.update(before["skipped"])
    if before["accepted"]:
        counts.skip(REPEAT, before["accepted"])


def _paths(source: Source) -> list[str]:
    return [path for path in expand_sources(source) if isinstance(path, str)]
