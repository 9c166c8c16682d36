"""An outbox file with two destinations, and browsers that speak to a console without a socket."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest_asyncio

from anytrack_async import SQLiteOutbox
from anytrack_async.testing.outbox_rules.base import LEASE, failures, sales

SAME_SITE = {"sec-fetch-site": "same-origin"}


def browser(app, **options) -> httpx.AsyncClient:
    """Return a client that sends what a browser sends with a form of the console."""
    options = {"base_url": "http://localhost", "headers": SAME_SITE} | options
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), **options)


def anna(request) -> str:
    return "anna@shop.example"


async def fill_with_three_sales(path: Path) -> None:
    """Make an outbox file: of three sales Meta has one, retries one, and one is dead."""
    outbox = SQLiteOutbox(path)
    await outbox.open(["meta", "hubspot"])
    await outbox.append(sales(1, 2, 3))
    claim = await outbox.claim("meta", 3, LEASE)
    await outbox.settle(claim, failures(claim, 1) + failures(claim, 2, due=outbox.now() + 3600))
    await outbox.aclose()


@pytest_asyncio.fixture
async def path(tmp_path: Path) -> Path:
    await fill_with_three_sales(tmp_path / "outbox.db")
    return tmp_path / "outbox.db"
