"""Delivers one conversion in a process of its own: ``python -m tests.loading.first_delivery``.

It prints the modules that entering the client loaded, and those that delivering loaded.
"""

from __future__ import annotations

import json
import os
import sys

import anyio

from anytrack_async import AnyTrackClient, Conversion, Customer, HttpSettings, LineItem
from anytrack_async.models.meta import MetaFields

SALE = Conversion.sale(
    revenue="49.90",
    order_id="1001",
    click_id="click-1",
    user_agent="Mozilla/5.0",
    page_url="https://shop.example.com/thanks",
    customer=Customer(email="jane@example.com", phone="+49 30 1234567", country="DE"),
    items=[LineItem(id="sku", price="24.95", quantity=2)],
    custom_data={"plan": "pro"},
    meta=MetaFields(event_name="Purchase", extra={"new": 1}),
)


async def main(client: AnyTrackClient) -> None:
    before = set(sys.modules)
    async with client:
        entered = set(sys.modules)
        with anyio.fail_after(30):
            report = await (await client.submit(SALE))
            await client.submit(SALE)  # a repeat is compared with the first one
        assert report.delivered, report
        delivered = set(sys.modules)
    print(json.dumps([sorted(entered - before), sorted(delivered - entered)]))


if __name__ == "__main__":
    http = HttpSettings(engine=os.environ["ENGINE"])
    anyio.run(main, AnyTrackClient.from_env(log=False, http=http))
