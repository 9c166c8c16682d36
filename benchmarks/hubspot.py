"""Row 4: building, serialising and parsing 10,000 HubSpot deals, against HubSpot's two clients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from anytrack_async import Conversion, HubSpotSettings
from anytrack_async.destinations.hubspot.mapping import to_deal
from benchmarks.measure import Row, interleaved, rates
from benchmarks.server import Server, running
from benchmarks.shop import conversions, hubspot_sink

NUMBER = 4
NEEDS = ("hubspot", "hubspot_sdk")
BATCH = 100
_NAMES = {"idProperty": "id_property", "objectWriteTraceId": "object_write_trace_id"}


def run(quick: bool) -> Row:
    """Compare processor time: all wait equally long for the server.

    The peers get ready-made inputs; ours builds them from conversions inside the measurement.
    """
    sales = list(conversions(2_000 if quick else 10_000))
    settings = HubSpotSettings(access_token="token")
    deals = [to_deal(sale, settings) for sale in sales]
    inputs = [{_NAMES.get(name, name): value for name, value in deal.items()} for deal in deals]
    with running() as server:
        costs = interleaved(
            {
                "anytrack_async": partial(_ours, server, sales),
                "hubspot-api-client": partial(_legacy, server, inputs),
                "hubspot-sdk": partial(_sdk, server, inputs),
                "hubspot-sdk, async": partial(_sdk_async, server, inputs),
            },
            rounds=3,
        )
    ours = costs.pop("anytrack_async")
    ratios = {name: cost.cpu / ours.cpu for name, cost in costs.items()}
    return Row(
        number=NUMBER,
        measure="HubSpot: build + serialise + parse answers for 10,000 deals",
        against="`hubspot-api-client`, `hubspot-sdk`",
        target="≥ 5 × each",
        result=", ".join(f"{ratio:.1f} × {name}" for name, ratio in ratios.items()),
        reached=min(ratios.values()) >= 5,
        details=rates({"anytrack_async": ours, **costs}, "deals"),
    )


async def _ours(server: Server, sales: Sequence[Conversion]) -> int:
    sink = hubspot_sink(server.url, contacts=False)
    for start in range(0, len(sales), BATCH):
        await sink.deliver(sales[start : start + BATCH])
    await sink.aclose()
    return len(sales)


def _legacy(server: Server, inputs: Sequence[dict[str, Any]]) -> int:
    from hubspot import HubSpot
    from hubspot.crm.deals import (
        BatchInputSimplePublicObjectBatchInputUpsert,
        SimplePublicObjectBatchInputUpsert,
    )

    api = HubSpot(access_token="token").crm.deals.batch_api
    api.api_client.configuration.host = server.url
    for start in range(0, len(inputs), BATCH):
        chunk = [
            SimplePublicObjectBatchInputUpsert(**input_) for input_ in inputs[start : start + BATCH]
        ]
        response = api.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=chunk))
        assert len(response.results) == len(chunk)
    return len(inputs)


def _sdk(server: Server, inputs: Sequence[Any]) -> int:
    from hubspot_sdk import HubSpot

    with HubSpot(access_token="token", base_url=server.url) as client:
        for start in range(0, len(inputs), BATCH):
            chunk = inputs[start : start + BATCH]
            response = client.crm.objects.deals.batch.upsert(inputs=chunk)
            assert len(response.results) == len(chunk)
    return len(inputs)


async def _sdk_async(server: Server, inputs: Sequence[Any]) -> int:
    from hubspot_sdk import AsyncHubSpot

    async with AsyncHubSpot(access_token="token", base_url=server.url) as client:
        for start in range(0, len(inputs), BATCH):
            chunk = inputs[start : start + BATCH]
            response = await client.crm.objects.deals.batch.upsert(inputs=chunk)
            assert len(response.results) == len(chunk)
    return len(inputs)
