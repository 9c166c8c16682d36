"""`PostgresKeys`: counting and replacing the keys that encrypt an outbox in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio

from anytrack_async.codec.storage import UNDECIPHERABLE
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.encryption import (
    SEALED_TEXT,
    UNREADABLE_REASON,
    missing_key_error,
)
from anytrack_async.outbox.postgres.store import PostgresStore

_ROWS_AT_ONCE = 200
_BYTES_AT_ONCE = 2**19
_ERRORS_AT_ONCE = 500

_ASKED_EVERY, _TIMES_ASKED = 0.05, 200
"""Seconds, and how often: the wait for transactions from before other keys were marked."""


class PostgresKeys(PostgresStore):
    """The part of `PostgresOutbox` that has to do with the keys in use."""

    async def _check_keys(self) -> None:
        """List the key that encrypts; the outbox was just opened.

        Raises:
            MissingKeyError: rows are encrypted with keys that are not in the ring.
        """
        await self._list_keys()
        missing = {key_id for key_id in self._cipher.listed if not self._cipher.has_key(key_id)}
        # A key that is listed may be of no more use: its conversions were delivered and dropped.
        if missing and (used := sorted(missing & {*await self._used_keys()})):
            raise missing_key_error(used, self._db.schema)
        if self._cipher.key_id is not None:
            await self._db.fetch(queries.LIST_KEY, self._cipher.key_id)

    async def _used_keys(self) -> Mapping[str, int]:
        return dict(map(tuple, await self._db.fetch(queries.KEY_USAGE)))

    async def key_usage(self) -> Mapping[str, int]:
        """Return id of a key → how many records and reasons of failures it encrypts.

        The keys of the ring come first, in its order; "" counts unencrypted records and reasons.
        """
        counts, ring = await self._used_keys(), self._cipher.ring
        ids = (*(ring.ids if ring else ()), *sorted(key_id for key_id in counts if key_id), "")
        return {key_id: counts.get(key_id, 0) for key_id in ids}

    async def rekey(self) -> int:
        """Encrypt everything with the first key, in steps, while the outbox is used.

        Other keys can be removed afterwards, unless `key_usage` still counts rows of theirs: those
        rows are damaged, or a program that has another key first wrote them meanwhile. The old rows
        are in the files of the server until its next VACUUM, and in backups.

        Returns:
            How many records and reasons were encrypted.

        Raises:
            ConfigurationError: the outbox has no keys.
            MissingKeyError: something is encrypted with a key that is not in the ring.
        """
        if self._cipher.key_id is None:
            raise ConfigurationError(
                "there is no key to encrypt with: set ANYTRACK_OUTBOX_KEYS, or pass "
                "PostgresOutbox(keys=KeyRing(…)); make a key with `anytrack outbox new-key`"
            )
        transaction = await self._db.value(queries.RETIRE_KEYS, self._cipher.key_id)
        is_seen = await self._wait_for_older(transaction)
        count = await self._seal_records()
        for statements in queries.ERRORS:
            count += await self._seal_errors(*statements)
        if is_seen:
            # Else they stay listed, which costs nothing but a count at the next start without them.
            await self._db.fetch(queries.REMOVE_RETIRING_KEYS)
        return count

    async def _wait_for_older(self, transaction: str) -> bool:
        """Wait for the end of transactions that are older than one; return whether they ended."""
        for _ in range(_TIMES_ASKED):
            if await self._db.value(queries.IS_OLDEST, transaction):
                return True
            await anyio.sleep(_ASKED_EVERY)
        return False

    async def _seal_records(self) -> int:
        count, after = 0, -1
        while rows := await self._db.fetch(queries.STORED, after, _ROWS_AT_ONCE, _BYTES_AT_ONCE):
            await self._know_keys(row["payload"] for row in rows)
            changed: list[tuple[object, ...]] = []
            for record_id, stored, old_digest in rows:
                if self._cipher.is_first(stored):
                    continue
                payload, digest = self._cipher.open_record(stored, old_digest)
                if payload == UNDECIPHERABLE:
                    await self._keep_key_of(stored)
                    continue
                changed.append((record_id, old_digest, *self._cipher.seal_record(payload, digest)))
            written = await self._write(queries.SET_RECORDS, changed)
            count += written
            if written == len(changed):  # else some were corrected or dropped: read them again
                after = rows[-1][0]
        self._cache.clear()
        return count

    async def _seal_errors(self, read: str, write: str) -> int:
        count, after = 0, (-1, "")
        while rows := await self._db.fetch(read, *after, _ERRORS_AT_ONCE):
            await self._know_keys(row["error"] for row in rows)
            changed: list[tuple[object, ...]] = []
            for key, name, seq, stored in rows:
                if self._cipher.is_first(stored):
                    continue
                error = self._cipher.open_error(seq, name, stored)
                if error == UNREADABLE_REASON and stored[:1] == SEALED_TEXT:
                    await self._keep_key_of(stored)
                    continue
                changed.append((key, name, stored, self._cipher.seal_error(seq, name, error)))
            written = await self._write(write, changed)
            count += written
            if written == len(changed):  # else some were changed meanwhile: read them again
                after = (rows[-1]["key"], rows[-1]["destination"])
        return count

    async def _write(self, statement: str, changed: Sequence[Sequence[object]]) -> int:
        """Replace the rows of *changed* that are as they were read; return how many these were."""
        return len(await self._db.fetch(statement, *_columns(changed))) if changed else 0

    async def _keep_key_of(self, stored: bytes | str) -> None:
        """Leave the key of a damaged text listed, so that it is counted by its name."""
        await self._db.fetch(queries.KEEP_KEY, self._cipher.key_id_of(stored))


def _columns(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
