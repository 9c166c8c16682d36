"""`Resumption`: finds the checkpoint of an earlier run, and saves checkpoints of this run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread

from anytrack_async.backfilling.advice import Advice
from anytrack_async.backfilling.blocks import MappedBlock, Position
from anytrack_async.backfilling.checkpoint import Checkpoint, changed_file, checkpoint_name, keeper
from anytrack_async.backfilling.files import Fingerprint
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.rejects import RejectsFile
from anytrack_async.backfilling.report import REPEAT, RowCounts
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import Source
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox

_CHECKPOINT_SECONDS = 1.0
_TOTALS = ("rows", "folded", "accepted", "rejected", "repeats", "refunds")


class Resumption:
    """The row at which a run begins, and the row at which another run would continue.

    Args:
        source: the files or queries to read.
        settings: how to read them.
        preset: name of the preset.
        mapping: replaces the preset.

    Attributes:
        checkpoint: the checkpoint of an earlier run, behind which this run continues; None if this
            run begins at the first row.
        dead_before: destination → dead letters in the outbox before the first of these runs.
    """

    def __init__(
        self,
        source: Source,
        settings: BackfillSettings,
        preset: str | None,
        mapping: FileMapping | None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._preset = preset
        self._mapping = mapping
        self._outbox: Outbox | None = None
        self._name: str | None = None
        self._prints: list[Fingerprint] = []
        self._saved_at = time.monotonic()
        self.checkpoint: Checkpoint | None = None
        self.dead_before: Mapping[str, int] = {}

    @property
    def unchanged(self) -> bool:
        """Whether an earlier run has accepted all of the same content, so that none is read."""
        return self.checkpoint is not None and not self._settings.resume

    @property
    def _option(self) -> str:
        return Advice(command=self._settings.advice == "command").name("resume")

    @property
    def rejects_path(self) -> str | None:
        """Absolute path of the file of rejected rows."""
        path = self._settings.rejects
        return None if path is None else str(Path(path).absolute())

    @property
    def rejects_length(self) -> int | None:
        """Bytes that the earlier run had written to the same file of rejected rows.

        None if it wrote to another file. Rows after these bytes are read again in this run.
        """
        checkpoint = self.checkpoint
        is_same = checkpoint is not None and checkpoint.rejects == self.rejects_path
        return checkpoint.rejects_length if checkpoint and is_same else None

    # Finding

    async def find(self, outbox: Outbox) -> None:
        """Read the checkpoint in *outbox*, and count the dead letters from before the first run.

        Raises:
            ConfigurationError: the settings want to resume, and that is not possible.
        """
        self._outbox = outbox
        self._name = await to_thread.run_sync(
            partial(
                checkpoint_name,
                self._source,
                self._settings,
                preset=self._preset,
                mapping=self._mapping,
            )
        )
        keeps = keeper(outbox)
        if self._settings.resume:
            self._check_resumable(outbox)
        if self._name is not None and keeps is not None:
            value = await keeps.checkpoint(self._name)
            checkpoint = None if value is None else Checkpoint.from_bytes(value)
            if checkpoint is not None:
                await self._use(checkpoint)
        if self.checkpoint is None or not self._settings.resume:
            depths = await outbox.depths()
            self.dead_before = {name: depth.dead for name, depth in depths.items() if depth.dead}

    def _check_resumable(self, outbox: Outbox) -> None:
        if self._name is None:
            raise ConfigurationError(
                f"{self._option}: a query and standard input cannot be continued; run it again: "
                "rows that were accepted before are recognised"
            )
        if keeper(outbox) is None:
            raise ConfigurationError(f"{self._option}: this outbox keeps no checkpoints")

    async def _use(self, checkpoint: Checkpoint) -> None:
        """Continue at *checkpoint*, or note that all rows were accepted before."""
        strict = self._settings.duplicates == "fail"
        if not self._settings.resume and (strict or not checkpoint.is_whole):
            return
        changed = await to_thread.run_sync(changed_file, checkpoint, self._source)
        if changed is None:
            self.checkpoint = checkpoint
            self.dead_before = checkpoint.dead_before
            self._prints = list(checkpoint.prints)
        elif self._settings.resume:
            raise ConfigurationError(
                f"{changed} has changed since the checkpoint: run without {self._option}; rows "
                "that were accepted before are recognised, and not sent again"
            )

    # Saving

    async def begin(self) -> None:
        """Save a checkpoint at the first row, unless the run continues an earlier one.

        With it, a run that is killed before its next checkpoint can be resumed, and may write to
        its file of rejected rows again.
        """
        if self.checkpoint is None:
            await self._save(
                Checkpoint(
                    position=Position(),
                    rows=0,
                    rejects=self.rejects_path,
                    dead_before=self.dead_before,
                )
            )

    def note(self, block: MappedBlock) -> None:
        """Keep the fingerprint of each source that is read, whenever a checkpoint is saved."""
        if block.fingerprint is not None:
            del self._prints[block.position.source :]
            self._prints.append(block.fingerprint)

    @property
    def is_time(self) -> bool:
        """Whether the last checkpoint is old enough for the next one."""
        strict = self._settings.duplicates == "fail"
        return strict or time.monotonic() - self._saved_at >= _CHECKPOINT_SECONDS

    async def save(
        self,
        block: MappedBlock,
        counts: RowCounts,
        rejects_file: RejectsFile | None,
        *,
        finished: bool = False,
    ) -> None:
        """Save a checkpoint after *block*, with the *counts* of this run so far."""
        self._saved_at = time.monotonic()
        if block.fingerprint is None:
            return
        before = self.checkpoint
        await self._save(
            Checkpoint(
                position=block.position,
                rows=(before.rows if before else 0) + counts.rows,
                prints=tuple(self._prints),
                rejects=self.rejects_path,
                rejects_length=rejects_file.length if rejects_file else 0,
                finished=finished,
                counts=_total(counts, before.counts if before else {}),
                dead_before=self.dead_before,
            )
        )

    async def _save(self, checkpoint: Checkpoint) -> None:
        keeps = None if self._outbox is None else keeper(self._outbox)
        if keeps is not None and self._name is not None:
            await keeps.save_checkpoint(self._name, checkpoint.to_bytes())


def _total(counts: RowCounts, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sum of *counts* and the counts of an earlier run, for a checkpoint."""
    total = {name: getattr(counts, name) + before.get(name, 0) for name in _TOTALS}
    skipped = Counter(counts.skipped)
    skipped.update(before.get("skipped", {}))
    return {**total, "skipped": dict(skipped)}


def count_repeats(counts: RowCounts, before: Mapping[str, Any]) -> None:
    """Count the rows of a run that has accepted everything as rows that were accepted before."""
    counts.rows, counts.folded = before["rows"], before["folded"]
    counts.refunds = before["refunds"]
    counts.repeats = before["accepted"] + before["repeats"]
    counts.skipped.update(before["skipped"])
    if before["accepted"]:
        counts.skip(REPEAT, before["accepted"])
