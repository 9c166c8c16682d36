"""One contract for all frameworks: every order that was answered is delivered.

A real server gets orders over real connections. It is killed while it works, started again on the
same outbox, and ended with SIGTERM while it works.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from anytrack_async.sandbox import Sandbox, running
from tests.integrations.apps import FRAMEWORKS, HOST

ROOT = Path(__file__).parents[2]
CALLERS = 8
BEFORE_SIGNAL = 40  # answered orders


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


class Shop:
    """The server of one framework, and the customers who order there.

    Attributes:
        answered: the orders for which a customer saw the thank-you page.
    """

    def __init__(self, framework: str, sandbox: Sandbox, folder: Path) -> None:
        self.answered: list[str] = []
        self._framework = framework
        self._orders = iter(range(100_000))
        outbox = {"ANYTRACK_OUTBOX": str(folder / "outbox.db"), "PYTHONPATH": str(ROOT)}
        self._environment = {**os.environ, **sandbox.environment(), **outbox}
        self._stderr = folder / "stderr"

    def start(self) -> None:
        with self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integrations.apps", self._framework],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors
        self._port = int(line)

    @property
    def errors(self) -> str:
        return self._stderr.read_text(encoding="utf-8")

    async def sell_until(self, signal_number: int) -> None:
        """Let customers order, and send the signal when some have been served."""
        stop_at = len(self.answered) + BEFORE_SIGNAL
        enough = asyncio.Event()

        async def customer(http: aiohttp.ClientSession) -> None:
            while True:
                order = f"{self._framework}-{next(self._orders)}"
                try:
                    async with http.post(f"http://{HOST}:{self._port}/thanks/{order}") as response:
                        if response.status >= 500 and enough.is_set():
                            return  # it is shutting down
                        assert response.status in (200, 201), await response.text()
                except aiohttp.ClientError:
                    return  # the server is gone
                self.answered.append(order)
                if len(self.answered) >= stop_at:
                    enough.set()

        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as customers:
            for _ in range(CALLERS):
                customers.create_task(customer(http))
            await asyncio.wait_for(enough.wait(), 60)
            self.process.send_signal(signal_number)

    def wait(self) -> int:
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_answered_order_is_delivered(framework: str, sandbox: Sandbox, tmp_path: Path):
    shop = Shop(framework, sandbox, tmp_path)
    sandbox.reset()

    shop.start()
    asyncio.run(shop.sell_until(signal.SIGKILL))
    assert shop.wait() == -signal.SIGKILL
    shop.start()
    asyncio.run(shop.sell_until(signal.SIGTERM))
    code = shop.wait()

    assert len(shop.answered) >= 2 * BEFORE_SIGNAL
    assert code in (0, -signal.SIGTERM), shop.errors  # uvicorn ends by the signal it got
    assert "Traceback" not in shop.errors
    page = sandbox.ledger(ids=True)["anytrack"]
    missing = {f"sale:{order}" for order in shop.answered} - page["ids"].keys()
    assert missing == set()
    # Only what was in flight at the kill is sent again, and AnyTrack's stand-in knows the id.
    assert page["duplicates"] <= 2 * 32
