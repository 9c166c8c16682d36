"""Appending to the log in groups.

A commit takes milliseconds, whatever its size. So calls that arrive while earlier ones are being
written form the next group, and share its statement: with 100 tasks that each append one conversion
and wait, a commit carries about 50.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import compress
from typing import NamedTuple, TypeAlias

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.errors import AnyTrackError, OutboxError, OutcomeUnknownError, QueueFullError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.outbox.checks import queue_full_error
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.append import APPEND, AppendArguments, results
from anytrack_async.outbox.postgres.budget import Budget
from anytrack_async.outbox.postgres.claim import CACHED_BYTES
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.errors import FULL, sqlstate

_WRITERS = 2
"""Groups that are written at the same time: one is encoded while the other is on its way."""

_GROUP_SIZE = 4_096
_GROUP_BYTES = 4 * 2**20
"""Conversions, and bytes of records, from which further calls are left to the next group."""

Remember = Callable[[Sequence[Conversion], Sequence[bytes]], None]
"""Called with conversions that are new in the log, and their digests."""

Result: TypeAlias = Sequence[AppendResult] | Exception
"""The result for each conversion of a call, or the reason why none of the call was accepted."""


class _Call(NamedTuple):
    """One call of `append`."""

    future: asyncio.Future[Result]
    conversions: Sequence[Conversion]
    recipients: tuple[str, ...] | None


@attrs.define(kw_only=True)
class _Group:
    """Calls that are written by one statement.

    Attributes:
        calls: the calls, without those whose conversions cannot be encoded.
        conversions: the conversions of all of them.
        arguments: the same, encoded.
    """

    calls: list[_Call] = attrs.field(factory=list)
    conversions: list[Conversion] = attrs.field(factory=list)
    arguments: AppendArguments


class Log:
    """Appends conversions.

    Args:
        db: the database.
        capacity: how many conversions may wait for each destination.
        now: returns the time of a test's clock, or None.
        remember: called with conversions that are new.
    """

    def __init__(
        self, db: Database, capacity: int, now: Callable[[], float | None], remember: Remember
    ) -> None:
        self._db = db
        self._capacity = capacity
        self._now = now
        self._remember = remember
        self._budget = Budget(capacity)
        self._calls: deque[_Call] = deque()
        self._writers: set[asyncio.Task[None]] = set()

    def forget_room(self) -> None:
        """Have what waits counted before the next append."""
        self._budget.forget()

    async def finish(self) -> None:
        """Wait until all calls have their results."""
        while self._writers:
            await asyncio.wait(self._writers)
        self._budget.forget()

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None
    ) -> Sequence[AppendResult]:
        """Append *conversions*; see `Outbox.append`. Cancelling it ends the waiting only."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        recipients = None if destinations is None else tuple(destinations)
        self._calls.append(_Call(future, conversions, recipients))
        if len(self._writers) < _WRITERS:
            writer = asyncio.create_task(self._write_all(), name="anytrack-append")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        result = await future
        if isinstance(result, Exception):
            raise result
        return result

    async def _write_all(self) -> None:
        """Write group after group until no call waits."""
        while self._calls:
            group = await self._next_group()
            if group.calls:
                await self._write(group)

    async def _next_group(self) -> _Group:
        """Take waiting calls that have the same recipients, and encode them."""
        recipients = self._calls[0].recipients
        group = _Group(arguments=AppendArguments(recipients=recipients))
        while self._calls and self._calls[0].recipients == recipients:
            size = len(group.conversions)
            if size and size + len(self._calls[0].conversions) > _GROUP_SIZE:
                break
            call = self._calls.popleft()
            try:
                for _ in group.arguments.add_in_steps(call.conversions):
                    await checkpoint()
            except Exception as exc:  # it fails its own call only
                group.arguments.truncate(size)
                _resolve(call, exc)
                continue
            group.calls.append(call)
            group.conversions += call.conversions
            if group.arguments.size >= _GROUP_BYTES:
                break
        return group

    async def _write(self, group: _Group) -> None:
        """Write a group and set the results of its calls."""
        try:
            appended = await self._append(group.arguments)
        except QueueFullError as exc:
            if len(group.calls) == 1:
                _resolve(group.calls[0], exc)
            else:
                await self._write_apart(group)
        except Exception as exc:
            for call in group.calls:
                _resolve(call, _copy(exc))
        except BaseException:
            for call in group.calls:
                _resolve(call, OutcomeUnknownError("the outbox was closed while it was accepting"))
            raise
        else:
            self._remember_new(group, appended)
            start = 0
            for call in group.calls:
                end = start + len(call.conversions)
                _resolve(call, appended[start:end])
                start = end

    async def _write_apart(self, group: _Group) -> None:
        """Write the calls of a group one by one: there is no room for all of them."""
        for call in group.calls:
            arguments = AppendArguments.of(call.conversions, call.recipients)
            single = _Group(calls=[call], conversions=[*call.conversions], arguments=arguments)
            await self._write(single)

    async def _append(self, arguments: AppendArguments) -> list[AppendResult]:
        recipients = arguments.recipients
        if not self._budget.covers(recipients, len(arguments)):
            await self._count()
        room = self._budget.room(recipients)
        try:
            (row,) = await self._db.fetch_raw(
                APPEND, *arguments.parameters(room=room, now=self._now())
            )
        except AnyTrackError:
            raise
        except Exception as exc:
            if sqlstate(exc) == FULL:
                raise self._full_error(recipients, int(getattr(exc, "detail", "") or 1)) from None
            raise self._db.change_error(exc) from None
        self._budget.take(recipients, row[0])
        return results(arguments, row[0], row[1])

    def _remember_new(self, group: _Group, appended: Sequence[AppendResult]) -> None:
        # Not if they are large on average: so the cache is bounded by bytes without counting any.
        if group.arguments.size > CACHED_BYTES * len(group.arguments):
            return
        are_new = [result is Appended.NEW for result in appended]
        self._remember(
            [*compress(group.conversions, are_new)], [*compress(group.arguments.digests, are_new)]
        )

    async def check_room(self, arguments: AppendArguments) -> None:
        """Raise `QueueFullError` if a destination has no room for all of *arguments*."""
        recipients = arguments.recipients
        if not self._budget.covers(recipients, len(arguments)):
            await self._count()
        room = self._budget.room(recipients)
        if room is not None and len(arguments) > room:
            raise self._full_error(recipients, len(arguments))

    def take_room(self, arguments: AppendArguments, added: int) -> None:
        """Count *added* conversions that a transaction of somebody else has appended."""
        self._budget.take(arguments.recipients, added)

    async def _count(self) -> None:
        rows = await self._db.fetch(queries.DEPTHS, self._now())
        self._budget.count({row["name"]: row["waiting"] for row in rows})

    def _full_error(self, recipients: Sequence[str] | None, added: int) -> QueueFullError:
        waiting = self._budget.full(recipients, added)
        self._budget.forget()
        too_large = added > self._capacity
        return queue_full_error(self._capacity, waiting, added, too_large=too_large)


def _resolve(call: _Call, result: Result) -> None:
    if not call.future.done():  # its task was not cancelled
        call.future.set_result(result)


def _copy(error: Exception) -> Exception:
    """Return *error*, copied if it is an `OutboxError`, because several tasks raise it at once."""
    return type(error)(str(error)) if isinstance(error, OutboxError) else error
