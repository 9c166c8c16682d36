"""Tests of an application that tracks: `anytrack_async[sandbox]` brings the fixtures.

$ pytest test_shop.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anytrack_async import AnyTrackClient, Conversion


async def thank_you_page(client: AnyTrackClient, order: dict[str, str]) -> None:
    """Stand for the code of your application."""
    await client.submit(
        Conversion.sale(order_id=order["id"], revenue=order["total"], click_id="click-1")
    )


@pytest.mark.asyncio
async def test_an_order_arrives_everywhere(
    anytrack_client: AnyTrackClient, assert_tracked: Callable[..., Any]
) -> None:
    await thank_you_page(anytrack_client, {"id": "1003", "total": "49.90"})

    sale = await assert_tracked(order_id="1003", to=["anytrack", "hubspot"])
    assert str(sale.revenue) == "49.90"


@pytest.mark.asyncio
async def test_a_page_that_is_loaded_twice_is_one_sale(
    anytrack_client: AnyTrackClient, anytrack_sandbox: Any
) -> None:
    for _ in range(2):
        await thank_you_page(anytrack_client, {"id": "1004", "total": "49.90"})

    delivery = await anytrack_client.submit(
        Conversion.sale(order_id="1004", revenue="49.90", click_id="click-1")
    )
    assert (await delivery.at("anytrack")).status == "delivered"
