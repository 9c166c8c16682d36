"""Row 2: the pipeline to a service that answers after 50 ms, against all that send batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import requests

from anytrack_async import Conversion
from benchmarks import facebook, meta_floor, trackers
from benchmarks.measure import Cost, Row, Run, interleaved, rates
from benchmarks.ours import BATCH, deliver
from benchmarks.server import Server, running
from benchmarks.shop import Record, client, conversions, meta_sink, records

NUMBER = 2
NEEDS = ("facebook_business", "snowplow_tracker", "posthog", "segment.analytics", "amplitude")
DELAY = 0.05
ROUNDS = 3
AT_ONCE = 8

_HASHED = "snowplow, 500 × 16 threads, values normalised and hashed by its caller"
_UNHASHED = "snowplow, 500 × 16 threads, values unchanged"
_FLOOR = f"hand-written floor, {AT_ONCE} connections"


def run(quick: bool) -> Row:
    """Compare; a fast contender gets so many sales that its last wait hardly counts.

    Snowplow's client does not hash. It counts with the values that Meta wants, made by its caller,
    because only then do both do the same work; with unchanged values it is in the details.
    """
    many, few = (10_000, 1_000) if quick else (80_000, 5_000)
    plain = records(many)
    with running(DELAY) as server, facebook.redirected_to(server.url):
        runs = {**_meta(server, plain, few), **_trackers(server.url, plain, few)}
        return _row(interleaved(runs, ROUNDS))


def _meta(server: Server, plain: list[Record], few: int) -> dict[str, Run]:
    sales = list(conversions(len(plain)))
    events = [facebook.event(sale) for sale in plain[:20_000]]
    return {
        f"anytrack_async, 1,000 × {AT_ONCE} at once": partial(_ours, server, sales, AT_ONCE),
        "anytrack_async with its defaults": partial(_ours, server, sales),
        _FLOOR: partial(meta_floor.floor, server.port, plain, AT_ONCE),
        f"facebook-business async, 1,000 × {AT_ONCE} at once": partial(
            facebook.send_async, events, BATCH, AT_ONCE
        ),
        "facebook-business BatchProcessor": partial(facebook.send_batches, events[:few]),
    }


def _trackers(url: str, plain: list[Record], few: int) -> dict[str, Run]:
    many = len(plain)
    return {
        _UNHASHED: partial(trackers.snowplow, url, plain, **_snowplow(many)),
        _HASHED: partial(
            trackers.snowplow, url, plain, properties=meta_floor.event, **_snowplow(many)
        ),
        "snowplow with its defaults": partial(trackers.snowplow, url, plain[:few]),
        "posthog async, 1,000 a request": partial(
            trackers.posthog_async, url, plain, flush_at=BATCH, max_queue_size=many
        ),
        "posthog async with its defaults": partial(trackers.posthog_async, url, plain[:few]),
        "segment, 100 a request": partial(trackers.segment, url, plain[:few], upload_size=100),
        "amplitude, 1,000 a request": partial(
            trackers.amplitude, url, plain[:20_000], flush_queue_size=BATCH
        ),
        "amplitude with its defaults": partial(trackers.amplitude, url, plain[:few]),
    }


def _row(costs: dict[str, Cost]) -> Row:
    ours = min(cost.wall for name, cost in costs.items() if name.startswith("anytrack"))
    ratios = {name: cost.wall / ours for name, cost in costs.items()}
    peers = {
        name: ratio
        for name, ratio in ratios.items()
        if not name.startswith("anytrack") and name not in (_UNHASHED, _FLOOR)
    }
    best = min(peers, key=peers.__getitem__)
    small = min(
        ratio
        for name, ratio in peers.items()
        if name.startswith("segment") or "posthog async with" in name
    )
    return Row(
        number=NUMBER,
        measure="the same with a 50 ms answer",
        against="the best of facebook-business async, snowplow (its caller normalises and hashes "
        "the customer's data, as we do), posthog async, segment, amplitude",
        target="≥ 3 × the best, ≥ 25 × segment/posthog",
        result=(
            f"{ratios[best]:.1f} × the best ({best}; {ratios[_UNHASHED]:.1f} × with unchanged "
            f"values; the hand-written floor {ratios[best] / ratios[_FLOOR]:.1f} ×), "
            f"{small:.0f} × segment/posthog"
        ),
        reached=ratios[best] >= 3 and small >= 25,
        details=rates(costs, "conversions"),
    )


def _snowplow(count: int) -> dict[str, Any]:
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
    return {"batch_size": 500, "thread_count": 16, "buffer_capacity": count, "session": session}


async def _ours(server: Server, sales: Sequence[Conversion], at_once: int | None = None) -> int:
    sink = meta_sink(server.url, **({} if at_once is None else {"concurrency": at_once}))
    return await deliver(client(server.url, sinks=[sink]), sales, ["meta"])
