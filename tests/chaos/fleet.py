"""Many machines on one PostgreSQL: shops, workers and the server itself fail, all together."""

from __future__ import annotations

from collections import Counter
from multiprocessing.process import BaseProcess
from random import Random

import anyio
import psycopg
from anyio import to_thread

from tests.chaos.audit import LONGEST
from tests.chaos.fleet_workers import (
    DESTINATIONS,
    LEASE,
    Job,
    client_for,
    deliver,
    outbox_at,
    read_lines,
    sell,
)
from tests.chaos.trial import Trial
from tests.chaos.workers import kill, start, stop, wake
from tests.servers.postgres import PostgresServer, find_programs

_WORKERS = 2
_SHOPS = 2
_WORKING_SHARE = 0.7
_LAST_WORKER = 1_000_000
_TWICE_AT_MOST = 0.02
"""Of the deliveries of a run that is long enough to have a share: a minute, not seconds."""

_LONG = 20.0
"""Seconds of a run from which on shops sell as fast as they can, nearly."""

_PAUSE, _SHORT_PAUSE = 0.02, 0.2  # seconds


async def attack(trial: Trial) -> None:
    """Start a server, and attack the fleet on it."""
    server = PostgresServer(find_programs())
    try:
        await attack_on(server, trial)
    finally:
        server.close()


async def attack_on(server: PostgresServer, trial: Trial) -> None:
    """Keep the fleet busy while its parts fail; then deliver the rest, and compare everything."""
    is_long = trial.seconds >= _LONG
    await prepare(server)
    fleet = _Fleet(trial, server, _PAUSE if is_long else _SHORT_PAUSE)
    try:
        await fleet.work()
    finally:
        fleet.end()
    await _deliver_rest(trial, server)
    twice = await audit(trial, server)
    if is_long and twice > _TWICE_AT_MOST:
        trial.lose(f"{twice:.1%} of the deliveries were sent twice")


async def prepare(server: PostgresServer) -> None:
    """Make the tables; every sale is for both destinations, however early a shop begins."""
    server.execute("CREATE TABLE orders (event_id text)")
    outbox = outbox_at(server.dsn)
    await outbox.open(DESTINATIONS)
    await outbox.aclose()


class _Fleet:
    """The processes of a trial, and what happens to them."""

    def __init__(self, trial: Trial, server: PostgresServer, pause: float) -> None:
        self._trial = trial
        self._pause = pause
        self._server = server
        self._started = 0
        self._workers = [self._start(deliver) for _ in range(_WORKERS)]
        self._shops = [self._start(sell) for _ in range(_SHOPS)]

    def _start(self, work: object) -> BaseProcess:
        self._started += 1
        trial = self._trial
        seed = f"{trial.seed}:{trial.attack}:{self._started}"
        job = Job(self._server.dsn, trial.folder, self._started, seed, self._pause)
        return start(work, job)  # type: ignore[arg-type]

    async def work(self) -> None:
        """Let something fail, again and again, until the time is over."""
        await self._until_delivered()
        self._trial.seconds *= _WORKING_SHARE
        for round_ in self._trial.rounds():
            # Each kind of failure comes first once, so that a short run has them all.
            failures = (self._kill_worker, self._stop_worker, self._crash, self._kill_shop)
            known = round_.number < len(failures)
            failure = failures[round_.number] if known else round_.random.choice(failures)
            await failure(round_.random)
            await anyio.sleep(round_.random.uniform(0.3, 1.2))
        await self._until_delivered()

    async def _until_delivered(self) -> None:
        """Wait until something more has arrived."""
        before = len(read_lines(self._trial.folder, "at-beta"))
        with anyio.move_on_after(LONGEST):
            while len(read_lines(self._trial.folder, "at-beta")) == before:  # noqa: ASYNC110
                await anyio.sleep(0.05)

    async def _kill_worker(self, random: Random) -> None:
        index = random.randrange(_WORKERS)
        kill(self._workers[index])
        self._workers[index] = self._start(deliver)
        self._trial.count(kills=1)

    async def _kill_shop(self, random: Random) -> None:
        index = random.randrange(_SHOPS)
        kill(self._shops[index])
        self._shops[index] = self._start(sell)
        self._trial.count(kills=1)

    async def _stop_worker(self, random: Random) -> None:
        worker = random.choice(self._workers)
        stop(worker)
        try:
            await anyio.sleep(LEASE * random.uniform(1.1, 1.5))
        finally:
            wake(worker)
        self._trial.count(stops=1)

    async def _crash(self, random: Random) -> None:
        await to_thread.run_sync(self._server.crash)
        await anyio.sleep(random.uniform(0.0, 0.5))
        await to_thread.run_sync(self._server.start)
        self._trial.count(crashes=1)

    def end(self) -> None:
        """Kill every process."""
        for process in (*self._workers, *self._shops):
            kill(process)


async def _deliver_rest(trial: Trial, server: PostgresServer) -> None:
    """Deliver everything that waits, for up to two minutes."""
    job = Job(server.dsn, trial.folder, _LAST_WORKER, "")
    with anyio.move_on_after(LONGEST):
        async with client_for(job) as client:
            while any(depth.waiting for depth in (await client.outbox.depths()).values()):  # noqa: ASYNC110
                await anyio.sleep(0.05)


async def audit(trial: Trial, server: PostgresServer) -> float:
    """Compare what was accepted, what the database has, and what arrived.

    Returns:
        The share of the deliveries that were sent twice.
    """
    with psycopg.connect(server.dsn) as connection:
        orders = {event_id for (event_id,) in connection.execute("SELECT event_id FROM orders")}
    accepted = {*read_lines(trial.folder, "accepted")}
    rolled_back = {*read_lines(trial.folder, "rolled-back")}
    received = {name: Counter(read_lines(trial.folder, f"at-{name}")) for name in DESTINATIONS}
    outbox = outbox_at(server.dsn)
    await outbox.open([])
    known = {*await outbox.reports([*accepted])}
    dead = await outbox.dead_letters()
    await outbox.aclose()
    arrived = {event_id for counts in received.values() for event_id in counts}
    joint = {event_id for event_id in arrived if event_id.startswith("sale:joint-")}
    trial.count(accepted=len(accepted), rolled_back=len(rolled_back), orders=len(orders))
    trial.expect_none("lost", accepted - known)
    missing = [(accepted | orders) - counts.keys() for counts in received.values()]
    trial.expect_none("undelivered", {event_id for ids in missing for event_id in ids})
    trial.expect_none("delivered though rolled back", arrived & rolled_back)
    trial.expect_none("delivered without an order", joint - orders)
    trial.expect_none("dead letters", {letter.event_id for letter in dead})
    deliveries = sum(counts.total() for counts in received.values())
    twice = deliveries - sum(len(counts) for counts in received.values())
    trial.count(deliveries=deliveries, sent_twice=twice)
    return twice / max(deliveries, 1)
