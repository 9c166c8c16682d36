"""The cheap mark of a conversion tells exactly what the stored digest tells."""

from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest

from anytrack_async.codec.storage import encode
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields
from anytrack_async.outbox.memory.fingerprint import fingerprint

PLAIN = Conversion.custom("Subscribed", order_id="1", revenue=10)

SAME = {
    "timestamp": datetime(2020, 1, 1, tzinfo=UTC),
    "id": "given-later",
    "revenue": Decimal("10.00"),
}
OTHER = {
    "conversion_type": ConversionType.LEAD,
    "click_id": "c",
    "revenue": 11,
    "currency": "EUR",
    "order_id": "2",
    "event_name": "Renewed",
    "source": "google",
    "campaign_id": "c",
    "ad_id": "a",
    "sub_ids": {"a": "1"},
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla",
    "page_url": "https://example.com",
    "custom_data": {"deep": [{"a": None}]},
    "items": [LineItem(id="sku", price="1.50")],
    "customer": Customer(email="a@example.com"),
    "meta": MetaFields(event_name="Subscribe"),
}


def changed(**fields):
    return attrs.evolve(PLAIN, **fields)


def test_every_field_is_looked_at():
    assert {field.name for field in attrs.fields(Conversion)} == {*SAME, *OTHER, "event_id"}


@pytest.mark.parametrize("field", SAME)
def test_what_is_not_content_does_not_count(field):
    other = changed(**{field: SAME[field]})

    assert fingerprint(other) == fingerprint(PLAIN)
    assert encode(other).digest == encode(PLAIN).digest


@pytest.mark.parametrize("field", OTHER)
def test_content_counts(field):
    other = changed(**{field: OTHER[field]})

    assert fingerprint(other) != fingerprint(PLAIN)
    assert encode(other).digest != encode(PLAIN).digest


def test_mappings_deep_inside_count():
    def with_extra(value):
        return changed(meta=MetaFields(extra={"a": value}))

    assert fingerprint(with_extra(1)) == fingerprint(with_extra(1))
    assert fingerprint(with_extra(1)) != fingerprint(with_extra(2))


def test_the_order_of_keys_does_not_count():
    one, other = changed(custom_data={"a": 1, "b": 2}), changed(custom_data={"b": 2, "a": 1})

    assert fingerprint(one) == fingerprint(other)
