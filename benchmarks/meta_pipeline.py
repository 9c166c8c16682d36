"""Row 1: the whole pipeline to Meta against Meta's own client, 1,000 events a request."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from anytrack_async import Conversion
from benchmarks import facebook
from benchmarks.measure import Row, interleaved, rates
from benchmarks.ours import BATCH, deliver
from benchmarks.server import Server, running
from benchmarks.shop import Record, client, conversion, meta_sink, records

NUMBER = 1
NEEDS = ("facebook_business",)


def run(quick: bool) -> Row:
    """Compare with objects made beforehand, and once more with making them included."""
    plain = records(4_000 if quick else 20_000)
    with running() as server, facebook.redirected_to(server.url):
        sales = [conversion(sale) for sale in plain]
        events = [facebook.event(sale) for sale in plain]
        costs = interleaved(
            {
                "anytrack_async, submit_many": partial(_ours, server, sales, BATCH),
                "anytrack_async, submit": partial(_ours, server, sales, 1),
                "anytrack_async, from records": partial(_ours_from, server, plain),
                "EventRequest": partial(facebook.send, events, BATCH),
                "EventRequestAsync, 4 at once": partial(facebook.send_async, events, BATCH, 4),
                "EventRequest, from records": partial(_theirs_from, plain),
            },
            rounds=5,
        )
    theirs = min(costs["EventRequest"], costs["EventRequestAsync, 4 at once"])
    ratio = theirs.wall / costs["anytrack_async, submit_many"].wall
    one_by_one = theirs.wall / costs["anytrack_async, submit"].wall
    from_records = (
        costs["EventRequest, from records"].wall / costs["anytrack_async, from records"].wall
    )
    return Row(
        number=NUMBER,
        measure="conversions/s through the whole pipeline, Meta lane, memory outbox",
        against="facebook-business `EventRequest`, 1,000 a request",
        target="≥ 2.5 ×",
        result=f"{ratio:.1f} × (one by one {one_by_one:.1f} ×, "
        f"made from records {from_records:.1f} ×)",
        reached=ratio >= 2.5,
        details=rates(costs, "conversions"),
    )


async def _ours(server: Server, sales: Sequence[Conversion], at_once: int) -> int:
    sink = meta_sink(server.url)
    return await deliver(client(server.url, sinks=[sink]), sales, ["meta"], at_once=at_once)


async def _ours_from(server: Server, plain: Sequence[Record]) -> int:
    return await _ours(server, [conversion(sale) for sale in plain], BATCH)


def _theirs_from(plain: Sequence[Record]) -> int:
    return facebook.send([facebook.event(sale) for sale in plain], BATCH)
