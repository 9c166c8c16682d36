"""The programs in `docs/examples` run as they stand, against the sandbox.

Those of workers have tests of their own: `tests/workers/test_examples.py`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anytrack_async import SQLiteOutbox
from anytrack_async.sandbox import Sandbox, running

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    shared_sandbox.reset()
    return shared_sandbox


class Programs:
    """Runs programs of the folder, in a new folder."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        paths = os.pathsep.join((str(ROOT), str(EXAMPLES)))
        self.environment = {**os.environ, **sandbox.environment(), "PYTHONPATH": paths}

    def run(self, *arguments: str, **variables: str) -> str:
        """Run Python with *arguments*; return what is printed."""
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout

    def example(self, name: str, *arguments: str, **variables: str) -> str:
        """Run a program of the folder."""
        return self.run(str(EXAMPLES / f"{name}.py"), *arguments, **variables)

    def requests(self, name: str, script: str, **variables: str) -> str:
        """Import the application of a program, and run *script* on it."""
        return self.run("-c", f"from {name} import *\n{textwrap.dedent(script)}", **variables)

    def ids(self, service: str) -> Any:
        """Return event id → how often *service* has got it."""
        return self.sandbox.ledger(ids=True)[service]["ids"]


@pytest.fixture
def programs(sandbox: Sandbox, tmp_path: Path) -> Programs:
    return Programs(sandbox, tmp_path)


STARLETTE = """
    from starlette.testclient import TestClient

    with TestClient(app) as browser:
        for _ in range(2):
            order = {"id": "E-1", "total": "49.90", "email": "jane@example.com"}
            assert browser.post("/thanks", json=order).json() == {"event_id": "sale:E-1"}
"""
LITESTAR = """
    from litestar.testing import TestClient

    with TestClient(app) as browser:
        assert browser.post("/thanks/E-1").text == "thanks"
"""
AIOHTTP = """
    import asyncio

    from aiohttp.test_utils import TestClient, TestServer


    async def main():
        async with TestClient(TestServer(make_app())) as browser:
            answer = await browser.post("/thanks", json={"id": "E-1", "total": "49.90"})
            assert await answer.json() == {"event_id": "sale:E-1"}


    asyncio.run(main())
"""
DJANGO_ASGI = """
    from starlette.testclient import TestClient

    with TestClient(application) as browser:
        assert browser.get("/thanks/E-1").json() == {"event_id": "sale:E-1"}
"""
DJANGO_WSGI = """
    from django.test import Client

    post_fork(None, None)
    assert Client().get("/thanks/E-1").json() == {"event_id": "sale:E-1"}
    clients[-1].close()
"""


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("fastapi_app", STARLETTE),
        ("litestar_app", LITESTAR),
        ("aiohttp_app", AIOHTTP),
        ("django_asgi", DJANGO_ASGI),
        ("django_wsgi", DJANGO_WSGI),
    ],
)
def test_a_web_application_tracks_an_order_once(programs: Programs, name: str, script: str) -> None:
    programs.requests(name, script)

    assert programs.ids("anytrack") == programs.ids("hubspot") == {"sale:E-1": 1}


def test_an_export_of_a_shop_is_sent_once_and_bad_rows_are_kept(programs: Programs) -> None:
    paid = f"{YESTERDAY:%Y-%m-%d %H:%M:%S} +0000"
    rows = [
        "Name,Email,Financial Status,Paid at,Currency,Total,Lineitem quantity,Created at,Id",
        f"#1001,a@example.com,paid,{paid},EUR,49.90,1,{paid},1",
        f"#1002,b@example.com,paid,{paid},EUR,much,1,{paid},2",
        f"#1003,c@example.com,pending,,EUR,10.00,1,{paid},3",
    ]
    (programs.folder / "orders.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    rejects = programs.folder / "rejects.csv"
    for run in range(2):
        assert "1 rejected" in programs.example("backfill_preset", "orders.csv")
        rejects.rename(programs.folder / f"rejects-{run}.csv")
    assert len(programs.ids("anytrack")) == 1
    assert {*programs.ids("anytrack").values()} == {1}
    assert "much" in (programs.folder / "rejects-0.csv").read_text(encoding="utf-8")


def test_a_loop_of_ones_own_skips_bad_lines_and_says_which(programs: Programs) -> None:
    orders = [{"id": n, "total": "5", "paid_at": YESTERDAY.isoformat()} for n in (1, 2)]
    lines = [json.dumps(order) for order in orders] + ['{"id": 3}']
    (programs.folder / "orders.jsonl").write_text("\n".join(lines), encoding="utf-8")

    printed = programs.example("backfill_loop", "orders.jsonl")

    assert "line 3 is skipped" in printed
    assert programs.ids("anytrack") == {"sale:1": 1, "sale:2": 1}


def test_the_orders_in_a_database_are_sent(programs: Programs) -> None:
    with closing(sqlite3.connect(programs.folder / "shop.db")) as sql, sql:
        sql.execute("CREATE TABLE orders (number, total, paid_at, email)")
        row = ("7", "12.50", f"{YESTERDAY:%Y-%m-%d %H:%M:%S}", "a@example.com")
        sql.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", row)
        sql.execute("INSERT INTO orders VALUES ('8', '1', NULL, NULL)")

    programs.example("backfill_sql", "shop.db")

    assert programs.ids("anytrack") == {"sale:7": 1}


def test_a_destination_of_ones_own_delivers(programs: Programs) -> None:
    script = """
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer

        received = []


        class Chat(BaseHTTPRequestHandler):
            def do_POST(self):
                received.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass


        server = HTTPServer(("127.0.0.1", 0), Chat)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ |= {"CHAT_URL": f"http://127.0.0.1:{server.server_port}/", "CHAT_TOKEN": "t"}
        asyncio.run(main())
        server.shutdown()
        assert b"sale:C-1: 49.90 USD" in received[0]
    """
    assert "delivered" in programs.requests("own_destination", script)


def test_dead_letters_are_corrected_and_replayed(programs: Programs) -> None:
    outbox = str(programs.folder / "outbox.db")
    script = """
        from anytrack_async import Conversion, DeliverySettings, Retry


        async def refused():
            settings = DeliverySettings(retry=Retry(attempts=1))
            async with AnyTrackClient.from_env(delivery=settings) as client:
                sale = Conversion.sale(order_id="D-1", revenue="5", source="newsletter-old")
                await client.submit(sale, to=["meta"])  # without anything to match by
                await client.submit(Conversion.sale(order_id="D-2", revenue="5"), to=["meta"])


        asyncio.run(refused())
        asyncio.run(main())
    """
    printed = programs.requests("dead_letters", script, ANYTRACK_OUTBOX=outbox)

    assert "1 corrected, 0 replayed" in printed
    assert "sale:D-2 meta" in printed
    assert SQLiteOutbox(outbox).durable


def test_an_export_is_drawn(programs: Programs) -> None:
    programs.requests("fastapi_app", STARLETTE)

    assert "1 conversions" in programs.example("export_plot", "all.parquet", "revenue.png")

    assert (programs.folder / "revenue.png").read_bytes()[:4] == b"\x89PNG"


TRACK = """
    async def track():
        async with AnyTrackClient.from_env() as client:
            await client.track_sale("click-1", "49.90", "EUR", order_id="A-1")


    asyncio.run(track())
"""


def test_revenue_is_divided_among_sources(programs: Programs) -> None:
    programs.requests("attribution_report", TRACK)

    lines = programs.example("attribution_report").splitlines()

    assert sum(float(line.split()[0]) for line in lines) == pytest.approx(49.9, abs=0.02)


def test_webhooks_go_to_the_other_services(programs: Programs) -> None:
    script = """
        from starlette.testclient import TestClient

        event = {
            "id": "w-1", "type": "sale", "revenue": "49.90", "currency": "USD", "orderId": "H-1",
            "ip": "203.0.113.5", "userAgent": "Mozilla/5.0",
        }
        with TestClient(app) as browser:
            answer = browser.post("/anytrack/s3cret-s3cret-s3cret", json=event)
            assert answer.status_code == 200, answer.text
    """
    secret = {"ANYTRACK_WEBHOOK_SECRET": "s3cret-s3cret-s3cret"}
    printed = programs.requests("webhook_listener", script, **secret)

    assert "from AnyTrack: " in printed
    assert programs.ids("anytrack") == {}
    assert len(programs.ids("meta")) == len(programs.ids("hubspot")) == 1


def test_metrics_are_served_and_somebody_is_called(programs: Programs) -> None:
    script = """
        from starlette.testclient import TestClient

        from anytrack_async import Conversion

        with TestClient(app) as browser:
            sale = Conversion.sale(order_id="M-1", revenue="5")
            browser.portal.call(client.submit, sale)
            text = browser.get("/metrics").text
            assert "anytrack_outbox_waiting" in text, text
            assert browser.get("/healthz").status_code == 200
    """
    outbox = str(programs.folder / "outbox.db")
    programs.requests("metrics_and_alerts", script, ANYTRACK_OUTBOX=outbox)


def test_the_tests_of_an_application_pass(programs: Programs) -> None:
    printed = programs.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_shop.py")
    )

    assert "2 passed" in printed


def test_every_program_is_tested_here_or_with_the_workers() -> None:
    tests = [Path(__file__), *(ROOT / "tests").glob("*/test_*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in tests)

    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert len(names) >= 12
    assert {name for name in names if name not in text} == set()


def test_an_order_and_its_conversion_are_in_one_transaction(
    programs: Programs, own_database: str
) -> None:
    printed = programs.example("order_in_postgres", ANYTRACK_OUTBOX=own_database)

    assert printed.splitlines() == [
        "sale:1001 delivered: True",
        "the payment failed - so there is no conversion: {}",
    ]
    assert programs.ids("anytrack") == {"sale:1001": 1}
