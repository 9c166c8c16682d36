"""`kill -9` of `anytrack backfill` at random moments, over real connections to another process."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from anytrack_async import AnyTrackClient
from anytrack_async.sandbox import Sandbox, running
from tests.backfilling.tables import shopify_row, write_csv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")

ROWS = 2000
KILLS = int(os.environ.get("BACKFILL_KILLS", "2"))
SERVICES = ("anytrack", "meta", "hubspot")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


def test_every_order_reaches_every_service_however_often_the_command_is_killed(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paid = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S +0000")
    rows = [
        shopify_row(number, Paid_at=paid, Total="" if number % 500 == 7 else "5.00")
        for number in range(ROWS)
    ]
    for part in range(4):  # small files, so that some end between two checkpoints
        write_csv(tmp_path / f"orders-{part}.csv", rows[part * 500 : part * 500 + 500])
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    random = Random(os.urandom(8))

    # The first one comes before a run can have ended, perhaps before the outbox is there.
    moments = [random.uniform(0.2, 0.8), *(random.uniform(0.5, 3) for _ in range(KILLS - 1))]
    killed = sum(run(tmp_path, seconds) == -signal.SIGKILL for seconds in moments)

    assert killed
    assert run(tmp_path, None) == 3  # rows were rejected, by this run or an earlier one
    good = {f"sale:{5_000_000 + number}" for number in range(ROWS) if number % 500 != 7}
    limits = AnyTrackClient.from_env(outbox=":memory:").limits
    for name in SERVICES:
        sent: Mapping[str, int] = sandbox.ledger(ids=True)[name]["ids"]
        assert {*sent} == good
        # What was in flight at a kill is sent again, and only that.
        in_flight = limits[name].batch * limits[name].concurrency
        assert sum(sent.values()) - len(good) <= killed * in_flight
    with (tmp_path / "rejects.csv").open(encoding="utf-8", newline="") as file:
        rejected = [row["Id"] for row in csv.DictReader(file)]
    assert rejected == [str(5_000_000 + number) for number in range(7, ROWS, 500)]


def run(folder: Path, seconds: float | None) -> int:
    """Run the command, and kill it after *seconds* unless it has ended; return its exit code."""
    command = [
        *(sys.executable, "-m", "anytrack_async.cli", "backfill", str(folder / "orders-*.csv")),
        *("--outbox", str(folder / "outbox.db"), "--rejects", str(folder / "rejects.csv")),
        *("--resume", "--yes"),
    ]
    environment = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return process.wait(seconds if seconds is not None else 100)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
