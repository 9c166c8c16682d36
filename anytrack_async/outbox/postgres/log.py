"""Appending to the log in groups.

A commit takes milliseconds, whatever its size. So calls that arrive while earlier ones are being
written form the next group, and share its statement: with 100 tasks that each append one conversion
and wait, a commit carries about 50.

A repeat of a conversion that is in an open transaction of another program must wait for the end of
that transaction, perhaps for minutes. So a group gives up after 0.2 s; its calls are written one by
one, and a call that has to wait does so in a task of its own, so that no other call waits for it.
A call whose task was cancelled is not written, unless that has begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import compress
from typing import Any, NamedTuple, TypeAlias

import anyio
import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.errors import AnyTrackError, OutboxError, OutcomeUnknownError, QueueFullError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.outbox.checks import queue_full_error
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.append import (
    APPEND,
    APPEND_ONE,
    APPEND_OR_GIVE_UP,
    APPEND_UNLESS_LOCKED,
    APPENDED_ONE,
    AppendArguments,
    results,
)
from anytrack_async.outbox.postgres.budget import Budget
from anytrack_async.outbox.postgres.counts import CountWriter, columns
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.encryption import RowCipher
from anytrack_async.outbox.postgres.errors import FULL, LOCKED, sqlstate
from anytrack_async.outbox.postgres.reading import CACHED_BYTES

_WRITERS = 2
"""Groups that are written at the same time: one is encoded while the other is on its way."""

_WAITING_ASIDE = 2
"""Calls that have a connection while they wait for other transactions."""

_STEPS_ASIDE_AFTER = 0.2
"""Seconds after which a single call is taken to wait for another transaction: others go on."""

_COUNTS_WITHIN = 0.5
"""Seconds in which waiting conversions must be counted while a transaction of the caller waits."""

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
        calls: the calls, without those with a conversion that cannot be encoded.
        conversions: the conversions of all of them.
        arguments: the same, encoded.
    """

    calls: list[_Call] = attrs.field(factory=list)
    conversions: list[Conversion] = attrs.field(factory=list)
    arguments: AppendArguments


class _LockedError(Exception):
    """A conversion of a group is in another transaction, which has not ended; nothing changed."""


class Log:
    """Appends conversions.

    Args:
        db: the database.
        capacity: how many conversions may wait for each destination.
        now: returns the time of a test's clock, or None.
        remember: called with conversions that are new.
        counts: counts them.
        cipher: encrypts them.
    """

    def __init__(
        self,
        db: Database,
        capacity: int,
        now: Callable[[], float | None],
        remember: Remember,
        counts: CountWriter,
        cipher: RowCipher,
    ) -> None:
        self._db = db
        self._capacity = capacity
        self._now = now
        self._remember = remember
        self._counts = counts
        self._cipher = cipher
        self._budget = Budget(capacity)
        self._calls: deque[_Call] = deque()
        self._writers: set[asyncio.Task[None]] = set()
        self._aside: set[asyncio.Task[None]] = set()
        self._waiting_aside = asyncio.Semaphore(_WAITING_ASIDE)

    def forget_room(self) -> None:
        """Let the next append count the waiting conversions first."""
        self._budget.forget()

    async def finish(self) -> None:
        """Wait until all calls have their results."""
        while tasks := self._writers | self._aside:
            await asyncio.wait(tasks)
        self._budget.forget()

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None
    ) -> Sequence[AppendResult]:
        """Append *conversions*; see `Outbox.append`. Cancelling it ends the waiting only."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        recipients = None if destinations is None else tuple(destinations)
        self._calls.append(_Call(future, conversions, recipients))
        if len(self._writers) < _WRITERS:
            self._start_writer()
        result = await future
        if isinstance(result, Exception):
            raise result
        return result

    def _start_writer(self) -> None:
        writer = asyncio.create_task(self._write_all(), name="anytrack-append")
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)

    async def _write_all(self) -> None:
        """Write group after group until no call waits, or this writer has stepped aside."""
        task = asyncio.current_task()
        while self._calls and task in self._writers:
            group = await self._next_group()
            if group.calls:
                await self._write(group)

    def _step_aside(self, writer: asyncio.Task[None] | None) -> None:
        """Let another writer take the place of one that waits for another transaction."""
        if writer is not None and writer in self._writers:
            self._writers.discard(writer)
            self._aside.add(writer)
            writer.add_done_callback(self._aside.discard)
            if self._calls:
                self._start_writer()

    async def _next_group(self) -> _Group:
        """Take waiting calls that have the same recipients, and encode them."""
        recipients = self._calls[0].recipients
        cipher = self._cipher.if_encrypting
        group = _Group(arguments=AppendArguments(recipients=recipients, cipher=cipher))
        while self._calls and self._calls[0].recipients == recipients:
            size = len(group.conversions)
            if size and size + len(self._calls[0].conversions) > _GROUP_SIZE:
                break
            call = self._calls.popleft()
            if call.future.done():
                continue  # its task was cancelled
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

    async def _write(self, group: _Group, *, statement: str = APPEND_OR_GIVE_UP) -> None:
        """Write a group and set the results of its calls."""
        try:
            appended = await self._append(group, statement)
        except (QueueFullError, _LockedError) as exc:
            if len(group.calls) > 1:
                await self._write_apart(group)
            elif isinstance(exc, QueueFullError):
                _resolve(group.calls[0], exc)
            else:
                self._write_aside(group)
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
        """Write the calls of a group one by one: not all of them have room, or need not wait."""
        for call in group.calls:
            cipher = self._cipher.if_encrypting
            arguments = AppendArguments.of(call.conversions, call.recipients, cipher)
            single = _Group(calls=[call], conversions=[*call.conversions], arguments=arguments)
            await self._write(single, statement=APPEND_UNLESS_LOCKED)

    def _write_aside(self, group: _Group) -> None:
        """Write a group that has to wait for another transaction, while others go on."""

        async def write() -> None:
            async with self._waiting_aside:
                if not group.calls[0].future.done():  # its task was not cancelled meanwhile
                    await self._write(group, statement=APPEND)

        task = asyncio.create_task(write(), name="anytrack-append-aside")
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _append(self, group: _Group, statement: str) -> list[AppendResult]:
        arguments, recipients = group.arguments, group.arguments.recipients
        if not self._budget.covers(recipients, len(arguments)):
            await self._count()
        room = self._budget.room(recipients)
        parameters = arguments.parameters(room=room, now=self._now())
        row: Any
        if statement is APPEND_OR_GIVE_UP and self._counts.is_due:
            row = await self._append_and_count(group, parameters)
        else:
            is_appended = self._may_append_one(arguments, statement, room) and (
                await self._append_one(arguments)
            )
            row = (1, None) if is_appended else await self._run(statement, recipients, parameters)
            if row[1] is None:
                self._counts.accepted(group.conversions)
        self._budget.take(recipients, row[0])
        appended = results(arguments, row[0], row[1])
        if row[1] is not None:
            self._counts.accepted(new_of(group.conversions, appended))
        return appended

    async def _append_and_count(self, group: _Group, parameters: Sequence[object]) -> Any:
        """Append a group in the statement that writes the counts, unless the group has repeats."""
        counts_before = self._counts.take()
        counts = self._counts.with_accepted(counts_before, group.conversions)
        try:
            row = await self._run(
                queries.APPEND_AND_COUNT,
                group.arguments.recipients,
                (*parameters, *columns(counts)),
            )
        except BaseException as exc:
            self._counts.put_back_after(exc, counts_before)
            raise
        if row[1] is not None:
            self._counts.put_back(counts_before)
        return row

    async def _run(
        self, statement: str, recipients: Sequence[str] | None, parameters: Sequence[object]
    ) -> Any:
        try:
            (row,) = await self._db.fetch_raw(self._cipher.listing(statement), *parameters)
        except AnyTrackError:
            raise
        except Exception as exc:
            if sqlstate(exc) == LOCKED and statement is not APPEND:
                raise _LockedError from None
            if sqlstate(exc) == FULL:
                raise self._full_error(recipients, int(getattr(exc, "detail", "") or 1)) from None
            raise self._db.change_error(exc) from None
        return row

    def _may_append_one(self, arguments: AppendArguments, statement: str, room: int | None) -> bool:
        return (
            len(arguments) == 1
            and room != 0
            and statement is APPEND_OR_GIVE_UP
            and self._db.has_own_sessions
            and self._cipher.key_id is None  # the statement lists no key
            and not self._waiting_aside.locked()
        )

    async def _append_one(self, arguments: AppendArguments) -> bool:
        """Append a single conversion if it is new; return whether it is.

        Without a limit of the time of the statement itself, which would slow it down: if it has to
        wait, others go on all the same.
        """
        writer = asyncio.current_task()
        patience = asyncio.get_running_loop().call_later(
            _STEPS_ASIDE_AFTER, self._step_aside, writer
        )
        async with self._waiting_aside:
            try:
                parameters = arguments.single_parameters(now=self._now())
                return await self._db.execute_raw(APPEND_ONE, *parameters) == APPENDED_ONE
            except AnyTrackError:
                raise
            except Exception as exc:
                raise self._db.change_error(exc) from None
            finally:
                patience.cancel()

    def _remember_new(self, group: _Group, appended: Sequence[AppendResult]) -> None:
        # Not if they are large on average: so the cache is bounded by bytes without counting any.
        if group.arguments.size > CACHED_BYTES * len(group.arguments):
            return
        are_new = [result is Appended.NEW for result in appended]
        self._remember(
            [*compress(group.conversions, are_new)], [*compress(group.arguments.digests, are_new)]
        )

    async def check_room(self, arguments: AppendArguments) -> None:
        """Raise `QueueFullError` if a destination has no room for all of *arguments*.

        Counting needs a connection, and the caller has one already: if all connections of a pool
        are in transactions that wait for this, there is none, and nothing is counted.
        """
        recipients = arguments.recipients
        if not self._budget.covers(recipients, len(arguments)):
            is_counted = False
            with anyio.move_on_after(_COUNTS_WITHIN), suppress(OutboxError):
                await self._count()
                is_counted = True
            if not is_counted:
                self._budget.postpone()
        room = self._budget.room(recipients)
        if room is not None and len(arguments) > room:
            added = await self._count_new({*arguments.event_ids})
            if added > room:
                raise self._full_error(recipients, added)

    async def _count_new(self, event_ids: set[str]) -> int:
        """Return how many of *event_ids* are new, as far as that is found out in time."""
        known: Sequence[Any] = ()
        with anyio.move_on_after(_COUNTS_WITHIN), suppress(OutboxError):
            known = await self._db.fetch(queries.SUMMARIES, [*event_ids])
        return len(event_ids) - len(known)

    def take_room(self, arguments: AppendArguments, added: int) -> None:
        """Count *added* conversions that were appended in a transaction of the caller."""
        self._budget.take(arguments.recipients, added)

    async def _count(self) -> None:
        rows = await self._db.fetch(queries.DEPTHS, self._now())
        self._counts.compare_clocks(rows[0]["now"])
        self._budget.count({row["name"]: row["waiting"] for row in rows})

    def _full_error(self, recipients: Sequence[str] | None, added: int) -> QueueFullError:
        waiting = self._budget.full(recipients, added)
        self._budget.forget()
        too_large = added > self._capacity
        return queue_full_error(self._capacity, waiting, added, too_large=too_large)


def new_of(conversions: Sequence[Conversion], appended: Sequence[AppendResult]) -> list[Conversion]:
    """Return the conversions that are new in the log."""
    pairs = zip(conversions, appended, strict=True)
    return [conversion for conversion, result in pairs if result is Appended.NEW]


def _resolve(call: _Call, result: Result) -> None:
    if not call.future.done():  # its task was not cancelled
        call.future.set_result(result)


def _copy(error: Exception) -> Exception:
    """Return *error*, copied if it is an `OutboxError`, because several tasks raise it at once."""
    return type(error)(str(error)) if isinstance(error, OutboxError) else error
