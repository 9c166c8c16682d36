"""Processes that end in the middle of their work: the next one continues at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import attrs
import pytest

from anytrack_async import AnyTrackClient, SQLiteOutbox
from anytrack_async.sandbox import Sandbox
from tests.end_to_end.fatal_worker import SALES
from tests.end_to_end.shop import QUICK, SERVICES, everything, ids, sale

pytestmark = pytest.mark.asyncio

Connect = Callable[..., AnyTrackClient]

ROOT = Path(__file__).parents[2]
COUNT = 3000

SUBMITTER = """
import anyio, attrs
from anytrack_async import AnyTrackClient
from tests.end_to_end.shop import QUICK, sale

async def main():
    delivery = attrs.evolve(QUICK, lease=120)
    async with AnyTrackClient.from_env(delivery=delivery, log=False) as client:
        print("open", flush=True)
        for start in range(0, 3000, 50):
            await client.submit_many([sale(number) for number in range(start, start + 50)])
            print(start, flush=True)
            await anyio.sleep(0.01)
        await anyio.sleep(60)

anyio.run(main)
"""


def start(sandbox: Sandbox, outbox: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **sandbox.environment(), "ANYTRACK_OUTBOX": str(outbox)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_after_four_kills_the_next_process_needs_no_longer_than_its_work(
    sandbox: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox.db"
    sandbox.latency(0.02)
    for lines in (10, 20, 40, 61):
        worker = start(sandbox, outbox, "-c", SUBMITTER)
        assert worker.stdout is not None
        for _ in range(lines):
            worker.stdout.readline()
        worker.kill()
        worker.communicate()

    started = time.monotonic()
    async with connect(outbox=outbox, delivery=attrs.evolve(QUICK, lease=120)) as client:
        deliveries = await client.submit_many([sale(number) for number in range(COUNT)])
        with anyio.fail_after(60):  # a lease would take 120 s to expire
            for delivery in deliveries:
                assert (await delivery).delivered
    print(f"{time.monotonic() - started:.1f} s")

    for service in SERVICES:
        assert everything(COUNT) == ids(sandbox, service).keys()


@pytest.mark.parametrize("fatal", [[7], [0, 19], [3, 4, 5]])
async def test_a_conversion_that_ends_its_process_becomes_a_dead_letter(
    sandbox: Sandbox, tmp_path: Path, fatal: list[int]
) -> None:
    outbox = tmp_path / "outbox.db"
    said, starts = "", 0
    while "done" not in said:
        starts += 1
        assert starts <= 2 + len(fatal) + 1
        numbers = [str(number) for number in fatal]
        worker = start(sandbox, outbox, "-m", "tests.end_to_end.fatal_worker", *numbers)
        said, _ = worker.communicate(timeout=60)

    store = SQLiteOutbox(outbox)
    await store.open([])
    letters = await store.dead_letters()
    reports = await store.reports(list(everything(SALES)))
    await store.aclose()
    bad = {sale(number).event_id for number in fatal}
    assert {letter.conversion.event_id for letter in letters} == bad
    assert {(letter.destination, letter.attempts) for letter in letters} == {("fatal", 3)}
    assert all("its worker died" in letter.error for letter in letters)
    assert all(reports[event_id].delivered for event_id in everything(SALES) - bad)
    assert ids(sandbox, "anytrack").keys() == everything(SALES)
