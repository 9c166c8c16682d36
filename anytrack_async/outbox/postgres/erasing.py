"""Erasing a person's data from an outbox in PostgreSQL, and reading everything that it stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import UNDECIPHERABLE, decode, encode, memory_bytes
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.capabilities import ErasedConversion, Erasure
from anytrack_async.outbox.checks import USUAL_BYTES, check_event_ids, check_number, check_period
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.store import PostgresStore
from anytrack_async.outbox.sqlite.verify import Account, Verification

_ROWS_AT_ONCE = 200
_BYTES_AT_ONCE = 2**19
"""Records that are read at once: they take a few milliseconds to decode."""

_REASONS_AT_ONCE = 50
"""Reasons that are searched in one go, in about a millisecond, and six if they are long."""

_CUSTOMER = b'"customer"'
"""A record without it has no customer, and is not decoded."""


class PostgresErasing(PostgresStore):
    """The part of `PostgresOutbox` that reads everything it stores."""

    async def erase(self, erase: Callable[[Conversion], Conversion | None], /) -> Erasure:
        """Replace each stored conversion of a person; see `ErasesCustomers`.

        The old records are in the files of the server until its next VACUUM, and in backups.
        """
        erased: list[tuple[float, ErasedConversion]] = []
        unreadable: list[str] = []
        async for rows in self._stored():
            for record in rows:
                try:
                    conversion = await self._erase_one(erase, *record)
                except DecodeError:
                    unreadable.append(f"record {record[0]}")
                    continue
                if conversion is not None:
                    erased.append(conversion)
        self._cache.clear()
        erased.sort(key=lambda pair: pair[0])
        return Erasure(
            conversions=tuple(conversion for _, conversion in erased),
            unreadable=tuple(unreadable),
        )

    async def empty_reasons(self, matches: Callable[[str], bool], /) -> int:
        """Empty reasons of failures; see `EmptiesReasons`.

        The reasons are read and decrypted here, without a lock. The old texts are in the files of
        the server until its next VACUUM, and in backups.
        """
        count = 0
        for read, write in queries.ERRORS:
            after = (-1, "")
            while rows := await self._db.fetch(read, *after, _REASONS_AT_ONCE):
                await self._know_keys(row["error"] for row in rows)
                matching = [
                    (key, name, stored, "")
                    for key, name, seq, stored in rows
                    if matches(self._cipher.open_error(seq, name, stored))
                ]
                columns = [list(column) for column in zip(*matching, strict=True)]
                emptied = len(await self._db.fetch(write, *columns)) if matching else 0
                count += emptied
                if emptied == len(matching):  # else some were replaced meanwhile: read them again
                    after = (rows[-1]["key"], rows[-1]["destination"])
                await checkpoint()
        return count

    async def _stored(self) -> AsyncIterator[Sequence[tuple[int, bytes, bytes]]]:
        """Yield groups of id, payload and digest of everything that is stored."""
        after = -1
        while True:
            parameters = (after, _ROWS_AT_ONCE, _BYTES_AT_ONCE)
            rows = await self._db.fetch(queries.STORED, *parameters)
            if not rows:
                return
            await self._know_keys(row["payload"] for row in rows)
            yield [tuple(row) for row in rows]
            after = rows[-1][0]
            await checkpoint()

    async def _erase_one(
        self,
        erase: Callable[[Conversion], Conversion | None],
        record_id: int,
        stored: bytes,
        digest: bytes,
    ) -> tuple[float, ErasedConversion] | None:
        """Replace a record if it is the person's; return its position and the old conversion."""
        while True:
            payload, own_digest = self._cipher.open_record(stored, digest)
            if _CUSTOMER not in payload and payload != UNDECIPHERABLE:
                return None
            conversion = decode(payload, own_digest)
            replacement = erase(conversion)
            if replacement is None:
                return None
            new_payload, new_digest = encode(replacement)
            size = memory_bytes(new_payload) if len(new_payload) > USUAL_BYTES else 0
            sealed = self._cipher.seal_record(new_payload, new_digest)
            rows = await self._db.fetch(
                self._cipher.listing(queries.ERASE), record_id, digest, *sealed, size
            )
            if rows:
                return _erased(conversion, rows[0])
            # It was corrected meanwhile, or dropped: read it again.
            again = await self._db.fetch(queries.STORED_AT, record_id)
            if not again:
                return None
            stored, digest = again[0]
            await self._know_keys([stored])

    async def summaries(self, event_ids: Sequence[str]) -> Mapping[str, str | None]:
        """Return event id → summary of its conversion; see `KeepsSummaries`."""
        ids = [event_id for event_id in check_event_ids(event_ids) if "\0" not in event_id]
        return dict(map(tuple, await self._db.fetch(queries.SUMMARIES, ids)))

    async def verify(self) -> Verification:
        """Check that each conversion is accounted for, and decode everything that is stored.

        It reads every record, in steps, while the outbox is used.
        """
        problems = [row[0] for row in await self._db.fetch(queries.VERIFY)]
        async for records in self._stored():
            problems += await self._problems_of(records)
        discarded = {row[0]: row[1] for row in await self._db.fetch(queries.DISCARDED)}
        rows = await self._db.fetch(queries.DEPTHS, self._fixed_now())
        accounts = {
            row["name"]: _account(row, discarded[row["name"]])
            for row in rows
            if row["name"] in discarded
        }
        return Verification(accounts=accounts, problems=problems)

    async def _problems_of(self, rows: Sequence[tuple[int, bytes, bytes]]) -> list[str]:
        """Return the problems of records, by the event ids that belong to their positions."""
        ids = await self._db.fetch(queries.IDS_BETWEEN, rows[0][0], rows[-1][0])
        event_ids: dict[int, str] = dict(map(tuple, ids))
        problems: list[str] = []
        for record_id, payload, digest in rows:
            try:
                conversion = decode(*self._cipher.open_record(payload, digest))
            except DecodeError as exc:
                problems.append(f"record {record_id} cannot be read: {exc}")
                continue
            if conversion.event_id != event_ids.get(record_id, conversion.event_id):
                problems.append(f"record {record_id} was put in the place of another")
        return problems

    async def accepted(
        self, *, since: float, until: float | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, str]]:
        """Return positions and event ids of conversions accepted in a period: `ListsAccepted`."""
        after, limit = check_number("after", after), check_number("limit", limit)
        since, until = check_period(since, until)
        now = await self._db.value(queries.NOW, self._fixed_now())
        shift = now - self._caller_now()
        last = None if until is None else until + shift
        parameters = (since + shift, last, after, limit)
        return [tuple(row) for row in await self._db.fetch(queries.ACCEPTED, *parameters)]

    async def forgotten(self) -> int:
        """Return how many positions at the beginning of the log have no ids: `ListsAccepted`."""
        return int(await self._db.value(queries.FORGOTTEN))


def _account(row: Any, discarded: int) -> Account:
    delivered, waiting, dead = row["delivered"], row["waiting"], row["dead"]
    return Account(
        accepted=delivered + waiting + dead + discarded,
        delivered=delivered,
        waiting=waiting,
        dead=dead,
        discarded=discarded,
    )


def _erased(conversion: Conversion, row: Any) -> tuple[float, ErasedConversion]:
    seq: int | None = row["seq"]
    return float("inf") if seq is None else seq, ErasedConversion(
        event_id=conversion.event_id,
        order_id=conversion.order_id,
        in_flight=tuple(row["in_flight"]),
    )
