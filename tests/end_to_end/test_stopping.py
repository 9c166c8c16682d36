"""Processes that are killed, interrupted, cancelled or leave by an exception lose nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import attrs
import pytest

from anytrack_async import AnyTrackClient, Dropped, UndeliveredError
from anytrack_async.sandbox import Sandbox
from tests.end_to_end.shop import QUICK, SERVICES, everything, ids, sale

pytestmark = pytest.mark.asyncio

Connect = Callable[..., AnyTrackClient]

ROOT = Path(__file__).parents[2]


def start_worker(sandbox: Sandbox, outbox: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.end_to_end.worker", "0"],
        cwd=ROOT,
        env={**os.environ, **sandbox.environment(), "ANYTRACK_OUTBOX": str(outbox)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read(worker: subprocess.Popen[str], lines: int) -> list[str]:
    assert worker.stdout is not None
    return [worker.stdout.readline().strip() for _ in range(lines)]


async def settled(client: AnyTrackClient, event_ids: set[str]) -> None:
    """Submit the sales with these ids again, which sends nothing, and await them."""
    numbers = (int(event_id.rpartition("-")[2]) for event_id in event_ids)
    deliveries = await client.submit_many([sale(number) for number in numbers])
    with anyio.fail_after(30):
        for delivery in deliveries:
            assert (await delivery).delivered


async def test_kill_9_loses_nothing_and_doubles_nothing(
    sandbox: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox.db"
    sandbox.latency(0.02)
    worker = start_worker(sandbox, outbox)
    read(worker, 100)
    worker.kill()
    said, _ = worker.communicate()
    delivered_before = len(ids(sandbox, "anytrack"))
    accepted = everything(100) | set(said.split())
    sandbox.latency(0)

    async with connect(outbox=outbox) as client:
        await settled(client, accepted)
        dead = await client.outbox.dead_letters()

    assert delivered_before < len(accepted)
    assert not dead
    for service in SERVICES:
        assert accepted <= ids(sandbox, service).keys()
        # One conversion may have been written down without its id being printed any more.
        assert sandbox.ledger()[service]["unique"] <= len(accepted) + 1


async def test_ctrl_c_delivers_or_keeps_everything(
    sandbox: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox.db"
    worker = start_worker(sandbox, outbox)
    read(worker, 50)
    worker.send_signal(signal.SIGINT)
    said, errors = worker.communicate(timeout=60)

    accepted = everything(50) | set(said.split()) - {"closed"}
    assert worker.returncode == 130, errors
    assert said.split()[-1] == "closed"
    for service in SERVICES:
        assert accepted <= ids(sandbox, service).keys()


async def test_an_exception_in_the_block_still_delivers(sandbox: Sandbox, connect: Connect) -> None:
    with pytest.raises(LookupError, match="the caller's own"):
        async with connect() as client:
            for number in range(300):
                await client.submit(sale(number))
            raise LookupError("the caller's own")

    for service in SERVICES:
        assert ids(sandbox, service).keys() == everything(300)


async def test_cancelling_the_caller_still_delivers(sandbox: Sandbox, connect: Connect) -> None:
    async def serve(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with connect() as client:
            for number in range(300):
                await client.submit(sale(number))
            task_status.started()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tg:
        await tg.start(serve)
        tg.cancel_scope.cancel()

    for service in SERVICES:
        assert ids(sandbox, service).keys() == everything(300)


async def test_undelivered_conversions_in_memory_are_listed(
    sandbox: Sandbox, connect: Connect
) -> None:
    dropped: list[Dropped] = []

    class Witness:
        def notify(self, event: object, /) -> None:
            if isinstance(event, Dropped):
                dropped.append(event)

    sandbox.down("hubspot")
    short = attrs.evolve(QUICK, drain=0.3)
    with pytest.raises(UndeliveredError, match="hubspot: sale:order-0") as caught:
        async with connect(delivery=short, observers=[Witness()]) as client:
            for number in range(5):
                delivery = await client.submit(sale(number))
                await delivery.at("anytrack")
                await delivery.at("meta")

    assert set(caught.value.event_ids) == {"hubspot"}
    assert set(caught.value.event_ids["hubspot"]) == everything(5)
    assert [(event.destination, set(event.event_ids)) for event in dropped] == [
        ("hubspot", everything(5))
    ]
    assert ids(sandbox, "meta").keys() == everything(5)


async def test_conversions_on_disk_arrive_with_the_next_client(
    sandbox: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox.db"
    sandbox.down()
    async with connect(outbox=outbox, delivery=attrs.evolve(QUICK, drain=0.1)) as client:
        for number in range(100):
            await client.submit(sale(number))
    sandbox.down(down=False)

    async with connect(outbox=outbox) as client:
        await settled(client, everything(100))

    for service in SERVICES:
        assert ids(sandbox, service).keys() == everything(100)
