"""The processes of the attack `fleet`: shops that sell, and workers that deliver.

A shop writes an order and its conversion in one transaction, and then commits, or rolls back. What
it knows about the end is in files, one line written at once, which survive its own end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import anyio
import asyncpg
import attrs

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    DeliverySettings,
    OutboxError,
    Outcome,
    QueueFullError,
    Retry,
    SinkLimits,
)
from anytrack_async.outbox.postgres.outbox import PostgresOutbox

DESTINATIONS = ("alpha", "beta")
LEASE = 1.0  # seconds
SETTINGS = DeliverySettings(
    lease=LEASE, poll=0.1, drain=0.0, retry=Retry(attempts=50, base=0.02, cap=0.2)
)

_ORDERS_PER_SHOP = 10_000_000
_ROLLED_BACK = 0.2  # of the transactions
_SLOW, _SLOW_SECONDS = 0.05, 0.5  # a share of the transactions, and how long these stay open
_CALL = 5.0  # seconds that a statement may take


@attrs.frozen
class Job:
    """What a process does.

    Attributes:
        dsn: address of the database.
        folder: where the process writes what it knows.
        number: of the process; no two shops have the same orders.
        seed: of its random numbers.
        pause: seconds that a shop waits between two sales, on average half of it.
    """

    dsn: str
    folder: Path
    number: int
    seed: str
    pause: float = 0.0


class Lines:
    """A file to which whole lines are appended at once.

    Args:
        folder: the folder of all files.
        kind: what the lines are.
        number: of the process that writes them.
    """

    def __init__(self, folder: Path, kind: str, number: int) -> None:
        path = folder / f"{kind}-{number}"
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, lines: Sequence[str]) -> None:
        """Append *lines*."""
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())


def read_lines(folder: Path, kind: str) -> list[str]:
    """Return the lines of a kind that all processes wrote; half a line counts as none."""
    texts = [file.read_text() for file in sorted(folder.glob(f"{kind}-*"))]
    return [line for text in texts for line in text.rpartition("\n")[0].split()]


class FileSink:
    """A destination that has received what is in its file."""

    limits = SinkLimits(batch=100, concurrency=1)

    def __init__(self, name: str, folder: Path, number: int) -> None:
        self.name = name
        self._received = Lines(folder, f"at-{name}", number)

    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        """Take *batch*, after a moment in which the worker may be killed."""
        await anyio.sleep(0.002)
        self._received.write([conversion.event_id for conversion in batch])
        return [Outcome.delivered()] * len(batch)

    async def aclose(self) -> None:
        """Do nothing: a file needs no end."""


def outbox_at(dsn: str) -> PostgresOutbox:
    """Return an outbox in the database of the attack."""
    return PostgresOutbox(dsn, timeout=_CALL)


def client_for(job: Job) -> AnyTrackClient:
    """Return a client that delivers into files."""
    sinks = [FileSink(name, job.folder, job.number) for name in DESTINATIONS]
    return AnyTrackClient(
        anytrack=False, sinks=sinks, outbox=outbox_at(job.dsn), delivery=SETTINGS, log=False
    )


def deliver(job: Job) -> None:
    """Deliver until killed."""
    logging.disable()  # of the server's crashes
    anyio.run(_deliver, job)


async def _deliver(job: Job) -> None:
    while True:
        with suppress(OutboxError):  # the server is down at the start
            async with client_for(job):
                await anyio.sleep_forever()
        await anyio.sleep(0.05)


def sell(job: Job) -> None:
    """Sell until killed."""
    logging.disable()
    anyio.run(_sell, job)


async def _sell(job: Job) -> None:
    outbox = outbox_at(job.dsn)
    shop = _Shop(job, outbox)
    while True:
        with suppress(OutboxError):
            await outbox.open(DESTINATIONS)
            break
        await anyio.sleep(0.05)
    async with anyio.create_task_group() as tg:
        for _ in range(2):
            tg.start_soon(shop.sell_in_transactions)
        tg.start_soon(shop.submit)


class _Shop:
    """Sells in three ways: with orders, with orders that end badly, and without any."""

    def __init__(self, job: Job, outbox: PostgresOutbox) -> None:
        self._job = job
        self._outbox = outbox
        self._random = Random(job.seed)
        self._numbers = iter(range(job.number * _ORDERS_PER_SHOP, 2**60))
        self._accepted = Lines(job.folder, "accepted", job.number)
        self._rolled_back = Lines(job.folder, "rolled-back", job.number)

    async def sell_in_transactions(self) -> None:
        """Write orders with their conversions, each pair in a transaction."""
        while True:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                connection = await asyncpg.connect(self._job.dsn, command_timeout=_CALL)
                try:
                    while True:
                        await self._sell(connection)
                finally:
                    connection.terminate()
            await anyio.sleep(0.05)

    async def _sell(self, connection: asyncpg.Connection) -> None:
        numbers = [next(self._numbers) for _ in range(self._random.choice((1, 1, 5, 20)))]
        sales = [Conversion.sale(order_id=f"joint-{number}", revenue=5) for number in numbers]
        event_ids = [sale.event_id for sale in sales]
        transaction = connection.transaction()
        await transaction.start()
        insert = "INSERT INTO orders SELECT unnest($1::text[])"
        if self._random.random() < 0.5:
            await connection.execute(insert, event_ids)
            await self._append_within(connection, sales)
        else:
            await self._append_within(connection, sales)
            await connection.execute(insert, event_ids)
        if self._random.random() < _SLOW:
            await anyio.sleep(self._random.uniform(0, _SLOW_SECONDS))
        if self._random.random() < _ROLLED_BACK:
            self._rolled_back.write(event_ids)  # before: if the server crashes, it is so as well
            await transaction.rollback()
            return
        await transaction.commit()
        self._accepted.write(event_ids)
        await anyio.sleep(self._random.uniform(0.0, self._job.pause))

    async def _append_within(
        self, connection: asyncpg.Connection, sales: Sequence[Conversion]
    ) -> None:
        """Append *sales*; some are taken back to a savepoint first, and appended again."""
        if self._random.random() < 0.1:
            async with connection.transaction():
                savepoint = connection.transaction()
                await savepoint.start()
                await self._outbox.append_within(connection, sales)
                await savepoint.rollback()
        await self._outbox.append_within(connection, sales)

    async def submit(self) -> None:
        """Append conversions without a transaction of the shop's, and again if that failed."""
        while True:
            sales = [
                Conversion.sale(order_id=f"single-{next(self._numbers)}", revenue=5)
                for _ in range(self._random.choice((1, 10, 50)))
            ]
            while True:
                try:
                    await self._outbox.append(sales)
                    break
                except QueueFullError:
                    await anyio.sleep(0.2)
                except OutboxError:
                    await anyio.sleep(0.05)
            self._accepted.write([sale.event_id for sale in sales])
            await anyio.sleep(self._random.uniform(0.0, self._job.pause))
