"""Conversions with a few fields and with all, for tests of stored records."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import attrs
from hypothesis import settings

from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaCustomData, MetaFields
from tests.examples import examples

SECRET = "jane@example.com"
many = settings(max_examples=examples(80))

SALE = Conversion.sale(
    revenue="49.90",
    currency="EUR",
    order_id="1001",
    timestamp=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    customer=Customer(email=[SECRET]),
    custom_data={"plan": "pro"},
)


FULL = attrs.evolve(
    SALE,
    id="c1",
    click_id="k1",
    sub_ids={"b": "2", "a": "1"},
    source="google",
    custom_data={"plan": "pro", "a": [1, 2.5, None, True]},
    customer=Customer(email=[SECRET], phone=49, fbc="fb.1.1.x"),
    items=[LineItem(id="p1", price="9.90", quantity=2)],
    meta=MetaFields(opt_out=True, custom_data=MetaCustomData(net_revenue=Decimal("1.50"))),
)
