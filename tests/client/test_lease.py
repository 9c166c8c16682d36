"""A batch that takes longer than its share of the lease, on a clock that only sleeping advances."""

from __future__ import annotations

import anyio
import attrs
import httpx

from anytrack_async import Conversion, Report
from tests.client.service import QUICK, Service
from tests.destinations.hubspot import virtual_time


def test_a_conversion_delivered_before_the_batch_ran_out_of_time_is_not_sent_again() -> None:
    service, sent = Service(), []

    async def hang_once(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["Idempotency-Key"])
        if sent[-1] == "b" and sent.count("b") == 1:
            await anyio.sleep_forever()
        return await service(request)

    async def track() -> tuple[list[Report], float]:
        started = anyio.current_time()
        delivery = attrs.evolve(QUICK, lease=50.0)
        transport = httpx.MockTransport(hang_once)
        async with service.client(transport=transport, delivery=delivery) as client:
            deliveries = await client.submit_many([Conversion.lead(event_id=name) for name in "ab"])
            reports = [await delivery for delivery in deliveries]
        return reports, anyio.current_time() - started

    reports, seconds = virtual_time.run(track())

    assert all(report.delivered for report in reports)
    assert sorted(sent) == ["a", "b", "b"]
    assert 30 < seconds < 40  # a batch may take four fifths of the lease
