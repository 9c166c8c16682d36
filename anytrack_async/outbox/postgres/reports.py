"""Reports, backlogs, checkpoints and retention of an outbox in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from anyio.lowlevel import checkpoint

from anytrack_async.codec.remote_ids import (
    unpack_ids,
)
from anytrack_async.errors import DecodeError
from anytrack_async.models.outcome import Outcome, Report, Status, given_up, not_retried
from anytrack_async.outbox.base import Depth
from anytrack_async.outbox.checks import (
    check_checkpoint,
    check_event_ids,
    check_number,
    check_seconds,
)
from anytrack_async.outbox.history import COUNTS_KEPT_FOR
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.encryption import RowCipher
from anytrack_async.outbox.postgres.reading import DECODED_AT_ONCE, ConversionCache
from anytrack_async.outbox.postgres.store import PostgresStore

_REPORTS_AT_ONCE = 1_000
_PRUNED_AT_ONCE = 5_000


class PostgresReports(PostgresStore):
    """The part of `PostgresOutbox` that reports outcomes of conversions, and drops old ones."""

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return event id → outcomes at its destinations; see `Outbox.reports`."""
        ids = [event_id for event_id in check_event_ids(event_ids) if "\0" not in event_id]
        by_event_id: dict[str, Report] = {}
        await self._db.fetch(queries.SEQUENCE)
        for start in range(0, len(ids), _REPORTS_AT_ONCE):
            part = ids[start : start + _REPORTS_AT_ONCE]
            rows = await self._db.fetch(queries.REPORTS, part)
            await self._know_keys(row["error"] or "" for row in rows)
            by_event_id |= reports_of(rows, self._cipher)
        return {event_id: by_event_id[event_id] for event_id in ids if event_id in by_event_id}

    async def undelivered(self, destination: str, *, limit: int = 1000) -> Sequence[str]:
        """Return ids of events neither delivered to *destination* nor dead, in log order."""
        name, limit = self._name(destination), check_number("limit", limit)
        rows = await self._fetch_for(name, queries.UNDELIVERED, name, limit)
        await self._know_keys(row["payload"] for row in rows)
        return await decoded_ids(rows, self._cache)

    async def depths(self) -> Mapping[str, Depth]:
        """Return destination → its depth."""
        rows = await self._db.fetch(queries.DEPTHS, self._fixed_now())
        return {
            row["name"]: Depth(
                waiting=row["waiting"],
                in_flight=row["in_flight"],
                retrying=row["retrying"],
                dead=row["dead"],
            )
            for row in rows
            if row["name"]
        }

    async def oldest_ages(self) -> Mapping[str, float]:
        """Return destination → seconds since its oldest waiting conversion was accepted."""
        rows = await self._db.fetch(queries.OLDEST, self._fixed_now())
        return {row["name"]: max(0.0, row["now"] - row["at"]) for row in rows}

    async def delivered_counts(self) -> Mapping[str, int]:
        """Return destination → how many conversions it has received."""
        rows = await self._db.fetch(queries.DEPTHS, self._fixed_now())
        return {row["name"]: row["delivered"] for row in rows if row["name"]}

    # Checkpoints

    async def checkpoint(self, name: str) -> bytes | None:
        """Return the value last saved as *name*; see `KeepsCheckpoints`."""
        rows = await self._db.fetch(queries.CHECKPOINT, check_checkpoint(name, None)[0])
        return bytes(rows[0][0]) if rows else None

    async def save_checkpoint(self, name: str, value: bytes | None) -> None:
        """Save *value* as *name*, on the disk when this returns; None deletes it."""
        name, value = check_checkpoint(name, value)
        if value is None:
            await self._db.fetch(queries.DELETE_CHECKPOINT, name)
        else:
            await self._db.fetch(queries.SAVE_CHECKPOINT, name, value)

    # Retention

    async def prune(self, *, remember: float) -> int:
        """Drop conversions that every destination has, and old ids; see `Outbox.prune`.

        While another process is at it, this one drops nothing and returns 0.
        """
        remember, dropped = check_seconds("remember", remember), 0
        counts_kept = max(remember, COUNTS_KEPT_FOR)
        while True:
            parameters = (_PRUNED_AT_ONCE, remember, counts_kept, self._fixed_now())
            row = await self._db.row(queries.PRUNE, *parameters)
            dropped += int(row["dropped"])
            if not row["more"]:
                return dropped


# Rows of reports


def reports_of(rows: Iterable[Any], cipher: RowCipher) -> Mapping[str, Report]:
    """Return event id → report, from the rows of ``reports_v2``."""
    outcomes: dict[str, dict[str, Outcome]] = {}
    for row in rows:
        by_name = outcomes.setdefault(row["event_id"], {})
        if row["destination"] is not None:
            by_name[row["destination"]] = _outcome(row, cipher)
    return {
        event_id: Report(event_id=event_id, outcomes=dict(sorted(by_name.items())))
        for event_id, by_name in outcomes.items()
    }


def _outcome(row: Any, cipher: RowCipher) -> Outcome:
    name, state = row["destination"], row["state"]
    if state == "":
        return Outcome(status=Status.DELIVERED, destination=name, remote_id=_remote_id(row))
    if state == "d":
        status = given_up(row["code"])
    else:
        status = not_retried(row["code"]) if state == "x" else Status.WAITING
    return Outcome(
        status=status,
        destination=name,
        attempts=row["attempts"],
        error=cipher.open_error(row["seq"], name, row["error"]) if row["error"] else None,
        code=row["code"],
    )


def _remote_id(row: Any) -> str | None:
    if row["packed"] is None:
        return None
    try:
        ids = unpack_ids(row["packed"])
        return ids[int(row["pack_offset"])]
    except (DecodeError, IndexError):
        return None


async def decoded_ids(rows: Sequence[Any], cache: ConversionCache) -> list[str]:
    """Return the event ids of records, without those that cannot be read."""
    event_ids: list[str] = []
    for count, row in enumerate(rows, 1):
        with suppress(DecodeError):
            event_ids.append(cache.decode(row["payload"], row["digest"]).event_id)
        if count % DECODED_AT_ONCE == 0:
            await checkpoint()
    return event_ids
