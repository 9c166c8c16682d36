"""Row 2: the pipeline to a service that takes 50 ms to answer, against all who send batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import requests

from anytrack_async import Conversion
from benchmarks import facebook, trackers
from benchmarks.measure import Cost, Row, interleaved, rates
from benchmarks.ours import BATCH, deliver
from benchmarks.server import Server, running
from benchmarks.shop import client, conversions, meta_sink, records

NUMBER = 2
NEEDS = ("facebook_business", "snowplow_tracker", "posthog", "segment.analytics", "amplitude")
DELAY = 0.05
ROUNDS = 3


def run(quick: bool) -> Row:
    """Compare; slow ones are given fewer sales."""
    many, few = (10_000, 1_000) if quick else (40_000, 5_000)
    plain = records(many)
    sales = list(conversions(many))
    with running(DELAY) as server, facebook.pointed_at(server.url):
        events = [facebook.event(sale) for sale in plain]
        runs = {
            "anytrack_async": partial(_ours, server, sales),
            "facebook-business async, 1,000 × 8 at once": partial(
                facebook.send_async, events, BATCH, 8
            ),
            "facebook-business BatchProcessor": partial(facebook.send_batches, events[:few]),
            "snowplow, 500 × 16 threads": partial(
                trackers.snowplow, server.url, plain, **_snowplow(many)
            ),
            "snowplow as it comes": partial(trackers.snowplow, server.url, plain[:few]),
            "posthog async, 1,000 a request": partial(
                trackers.posthog_async, server.url, plain, flush_at=BATCH, max_queue_size=many
            ),
            "posthog async as it comes": partial(trackers.posthog_async, server.url, plain[:few]),
            "segment, 100 a request": partial(
                trackers.segment, server.url, plain[:few], upload_size=100
            ),
            "amplitude, 1,000 a request": partial(
                trackers.amplitude, server.url, plain[:20_000], flush_queue_size=BATCH
            ),
            "amplitude as it comes": partial(trackers.amplitude, server.url, plain[:few]),
        }
        costs = interleaved(runs, ROUNDS)
    return _row(costs)


def _row(costs: dict[str, Cost]) -> Row:
    ours = costs["anytrack_async"].wall
    others = {name: cost.wall / ours for name, cost in costs.items() if name != "anytrack_async"}
    best = min(others, key=others.__getitem__)
    small = min(
        ratio
        for name, ratio in others.items()
        if name.startswith("segment") or "posthog async as" in name
    )
    return Row(
        number=NUMBER,
        measure="the same with a 50 ms answer",
        against="the best of facebook-business async, snowplow, posthog async, segment, amplitude",
        reach="≥ 3 × the best, ≥ 25 × segment/posthog",
        got=f"{others[best]:.1f} × the best ({best}), {small:.0f} × segment/posthog",
        reached=others[best] >= 3 and small >= 25,
        details=rates(costs, "conversions"),
    )


def _snowplow(count: int) -> dict[str, object]:
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
    return {"batch_size": 500, "thread_count": 16, "buffer_capacity": count, "session": session}


async def _ours(server: Server, sales: Sequence[Conversion]) -> int:
    sink = meta_sink(server.url)
    return await deliver(client(server.url, sinks=[sink]), sales, ["meta"])
