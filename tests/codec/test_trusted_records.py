"""Records that match their digest are trusted; all others are validated."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.codec import storage
from anytrack_async.codec.converter import load
from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import DecodeError
from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import ARGUMENTS, Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields
from tests.codec.records import FULL, SALE, SECRET, many
from tests.models.strategies import conversions

# Trusted


def spy_on_load(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that collects the event ids of validated conversions."""
    validated: list[str] = []

    def spy(data: Any, cls: Any) -> Any:
        if cls is Conversion:
            validated.append(data["event_id"])
        return load(data, cls)

    monkeypatch.setattr(storage, "load", spy)
    return validated


@given(conversions)
@many
def test_decoding_with_a_digest_returns_the_same_conversion(conversion: Conversion):
    stored = encode(conversion)
    again, validated = decode(*stored), decode(stored.payload)

    assert again == conversion
    assert attrs.asdict(again) == attrs.asdict(validated)
    assert repr(again) == repr(validated)
    assert again.timestamp.tzinfo is UTC
    assert type(again.conversion_type) is ConversionType
    assert {type(value) for value in attrs.astuple(again, recurse=False)} == {
        type(value) for value in attrs.astuple(conversion, recurse=False)
    }


@given(st.builds(Customer, email=st.text("ab ", min_size=1), phone=st.integers(), fbp=st.just("x")))
@many
def test_decoding_with_a_digest_returns_the_same_customer(customer: Customer):
    conversion = Conversion.lead(customer=customer)

    assert decode(*encode(conversion)).customer == customer


def test_a_private_address_from_an_older_outbox_is_left_out():
    sale = Conversion.sale(revenue=1, order_id="1", ip_address="203.0.113.9")
    object.__setattr__(sale, "ip_address", "192.168.0.7")
    payload, earlier_digest = encode(sale).payload, bytes(16)

    assert decode(payload, earlier_digest).ip_address is None
    assert decode(payload).ip_address is None


def test_two_decoded_conversions_share_no_mapping_that_can_be_changed():
    stored = encode(Conversion.lead(sub_ids={"s1": "a"}))
    one, other = decode(*stored), decode(*stored)

    assert one.custom_data is not other.custom_data
    assert one.sub_ids is not other.sub_ids


def test_a_record_that_matches_its_digest_is_not_validated(monkeypatch: pytest.MonkeyPatch):
    validated = spy_on_load(monkeypatch)

    assert decode(*encode(SALE)) == SALE
    assert decode(*encode(FULL)) == FULL
    assert validated == []


def test_a_record_that_a_later_rule_forbids_is_validated_despite_its_digest(
    monkeypatch: pytest.MonkeyPatch,
):
    validated = spy_on_load(monkeypatch)
    payload = encode(SALE).payload.replace(b'"sale"', b'"gone"')

    with pytest.raises(DecodeError, match="conversion_type"):
        decode(payload, storage.digest_of(payload))
    assert validated == ["sale:1001"]


@pytest.mark.parametrize(
    ("original", "damaged"),
    [
        (b'"EUR"', b'"EU"'),
        (b'"sale:1001"', b'""'),
        (b'"sale"', b'"sold"'),
        (b'"revenue":"49.90"', b'"revenue":"-1"'),
        (b'"revenue":"49.90"', b'"revenue":"NaN"'),
        (b'"revenue":"49.90"', b'"revenue":"x"'),
        (b'"revenue":"49.90"', b'"revenue":[]'),
        (b"2026-01-02T", b"2026-13-02T"),
        (b'"price":"9.90"', b'"price":"-1"'),
        (b'"opt_out":true', b'"opt_out":"maybe"'),
        (b'"content":{', b'"content":{"customer":5,'),
        (b'"revenue":"49.90"', b'"currency":5'),
    ],
)
def test_a_changed_record_is_validated_despite_its_digest(original: bytes, damaged: bytes):
    payload, digest = encode(attrs.evolve(FULL, id=None))
    assert original in payload

    changed = payload.replace(original, damaged, 1)

    assert result(changed, digest) == result(changed, None)


def result(payload: bytes, digest: bytes | None) -> Conversion | str:
    try:
        return decode(payload, digest)
    except DecodeError as exc:
        return str(exc)


@given(st.data())
@many
def test_a_byte_that_was_changed_reads_the_same_with_and_without_digest(
    data: st.DataObject,
):
    payload, digest = encode(attrs.evolve(FULL, id=None))
    position = data.draw(st.integers(0, len(payload) - 1))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    broken = payload[:position] + byte + payload[position + 1 :]

    assert result(broken, digest) == result(broken, None)


def test_a_timestamp_that_was_changed_is_read_as_it_is():
    payload, digest = encode(SALE)
    zoned = payload.replace(b"+00:00", b"+02:00")

    assert decode(zoned, digest).timestamp == SALE.timestamp - timedelta(hours=2)
    assert decode(zoned, digest).timestamp.tzinfo is UTC


# Digests


CHANGES: dict[str, Any] = {
    "conversion_type": "lead",
    "click_id": "c1",
    "revenue": "49.9",
    "currency": "USD",
    "timestamp": SALE.timestamp + timedelta(microseconds=1),
    "id": "c1",
    "order_id": "1002",
    "event_name": "x",
    "event_id": "mine",
    "source": "s",
    "campaign_id": "c",
    "ad_id": "a",
    "sub_ids": {"s": "1"},
    "ip_address": "2606:4700::1",
    "user_agent": "u",
    "page_url": "p",
    "custom_data": {"plan": "free"},
    "items": [LineItem(id="a")],
    "customer": Customer(email=SECRET, phone="1"),
    "meta": MetaFields(opt_out=True),
    "clicks": {"gclid": "Cj0"},
    "consent": Consent(ad_user_data=False),
}


def test_the_changes_cover_every_field():
    assert set(ARGUMENTS) == set(CHANGES)


@pytest.mark.parametrize("field", CHANGES)
def test_the_digest_covers_every_field(field: str):
    assert encode(attrs.evolve(SALE, **{field: CHANGES[field]})).digest != encode(SALE).digest
