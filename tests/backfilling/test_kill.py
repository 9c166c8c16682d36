"""`kill -9` at any step of a back-fill, then `resume`: nothing is lost, and nothing sent twice."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.backfilling.tables import shopify_row, write_csv

ROWS = 3500
KILLS = int(os.environ.get("BACKFILL_KILLS", "4"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_every_order_is_sent_once_however_often_the_process_is_killed(tmp_path: Path):
    paid = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S +0000")
    rows = [
        shopify_row(number, Paid_at=paid, Total="" if number % 500 == 7 else "5.00")
        for number in range(ROWS)
    ]
    write_csv(tmp_path / "orders.csv", rows)
    random = Random(13)

    killed = 0
    for _ in range(KILLS):
        status = run(tmp_path, random.randrange(1, 14))
        killed += status == -signal.SIGKILL
    assert killed
    assert run(tmp_path, 0) == 0

    sent = Counter((tmp_path / "sent.txt").read_text().split())
    good = {f"sale:{5_000_000 + number}" for number in range(ROWS) if number % 500 != 7}
    assert {*sent} == good
    # A request that was sent and not settled is repeated; Meta drops it by its event id. Only such
    # batches may repeat, one for each kill.
    assert sum(sent.values()) - len(good) <= killed * 1000
    with (tmp_path / "rejects.csv").open(encoding="utf-8", newline="") as file:
        rejected = [row["_line"] for row in csv.DictReader(file)]
    assert rejected == [str(number + 2) for number in range(7, ROWS, 500)]
    assert (tmp_path / "report.json").read_text() == str(ROWS)


def run(folder: Path, step: int) -> int:
    command = [sys.executable, "-m", "tests.backfilling.killed", str(folder), str(step)]
    return subprocess.run(command, check=False, timeout=100).returncode
