"""Row 3: the Meta lane against the least that the same work can cost in Python, written by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from typing import Any

import orjson

from benchmarks.measure import Row, interleaved, rates
from benchmarks.ours import BATCH, deliver
from benchmarks.server import Server, running
from benchmarks.shop import Record, client, conversions, meta_sink, records

NUMBER = 3
NEEDS = ()

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_NOT_DIGITS = re.compile(r"\D+")
_PUNCTUATION = re.compile(r"[\W_]+")


def _hashed(text: str) -> list[str]:
    return [sha256(text.encode()).hexdigest()]


def _email(raw: str) -> list[str]:
    text = raw.strip().lower()
    return _hashed(text) if _EMAIL.fullmatch(text) else []


def _phone(raw: str) -> list[str]:
    digits = _NOT_DIGITS.sub("", raw).lstrip("0")
    return _hashed(digits) if 7 <= len(digits) <= 15 else []


def _name(raw: str) -> list[str]:
    text = _PUNCTUATION.sub("", raw.strip().lower())
    return _hashed(text) if text else []


def event(sale: Record) -> dict[str, Any]:
    """Return *sale* as an event for Meta, with only the checks that these sales need."""
    return {
        "event_name": "Purchase",
        "event_time": int(sale["timestamp"].timestamp()),
        "event_id": f"sale:{sale['order_id']}",
        "action_source": "website",
        "event_source_url": sale["page_url"],
        "user_data": {
            "em": _email(sale["email"]),
            "ph": _phone(sale["phone"]),
            "fn": _name(sale["first_name"]),
            "ln": _name(sale["last_name"]),
            "client_ip_address": sale["ip_address"].strip(),
            "client_user_agent": sale["user_agent"],
        },
        "custom_data": {
            "value": float(sale["revenue"]),
            "currency": sale["currency"],
            "order_id": sale["order_id"],
        },
    }


async def floor(port: int, sales: list[Record], connections: int = 1) -> int:
    """One POST per 1,000 on each of *connections*, one answer after the other."""
    starts = iter(range(0, len(sales), BATCH))
    await asyncio.gather(*(_connection(port, sales, starts) for _ in range(connections)))
    return len(sales)


async def _connection(port: int, sales: list[Record], starts: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for start in starts:
        chunk = sales[start : start + BATCH]
        body = orjson.dumps({"data": [event(sale) for sale in chunk]})
        writer.write(
            b"POST /v26.0/1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer token\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = orjson.loads(await reader.readexactly(length))
        assert answer["events_received"] == len(chunk)
    writer.close()
    await writer.wait_closed()


def run(quick: bool) -> Row:
    """Compare conversions a second."""
    count = 10_000 if quick else 50_000
    plain, sales = records(count), list(conversions(count))
    with running() as server:
        costs = interleaved(
            {
                "anytrack_async, submit_many": partial(_ours, server, sales, BATCH),
                "anytrack_async, submit": partial(_ours, server, sales, 1),
                "hand-written floor": partial(floor, server.port, plain),
            },
            rounds=9,
        )
    ours, floor_cost = costs["anytrack_async, submit_many"], costs["hand-written floor"]
    share = floor_cost.wall / ours.wall
    return Row(
        number=NUMBER,
        measure="the same, as a share of a hand-written floor",
        against="normalise, SHA-256, orjson, one POST of 1,000 per batch over asyncio streams",
        target="≥ 0.7",
        result=f"{share:.2f} (of the core: {floor_cost.cpu / ours.cpu:.2f})",
        reached=share >= 0.7,
        details=rates(costs, "conversions"),
    )


async def _ours(server: Server, sales: list[Any], at_once: int) -> int:
    sink = meta_sink(server.url)
    return await deliver(client(server.url, sinks=[sink]), sales, ["meta"], at_once=at_once)
