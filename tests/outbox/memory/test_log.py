"""The log in memory: fingerprints of content, and the ids it remembers."""

from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.codec.storage import encode
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields
from anytrack_async.outbox.memory.log import RememberedId, RememberedIds, fingerprint

# Fingerprints: equal exactly where the stored digests are equal

PLAIN = Conversion.custom("Subscribed", order_id="1", revenue=10)

NOT_CONTENT = {
    "timestamp": datetime(2020, 1, 1, tzinfo=UTC),
    "id": "given-later",
    "revenue": Decimal("10.00"),
}
CONTENT = {
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


def test_the_tests_below_cover_every_field():
    fields = {field.name for field in attrs.fields(Conversion)}

    assert fields == {*NOT_CONTENT, *CONTENT, "event_id"}


@pytest.mark.parametrize("field", NOT_CONTENT)
def test_the_fingerprint_ignores_fields_that_are_not_content(field):
    other = changed(**{field: NOT_CONTENT[field]})

    assert fingerprint(other) == fingerprint(PLAIN)
    assert encode(other).digest == encode(PLAIN).digest


@pytest.mark.parametrize("field", CONTENT)
def test_the_fingerprint_covers_content(field):
    other = changed(**{field: CONTENT[field]})

    assert fingerprint(other) != fingerprint(PLAIN)
    assert encode(other).digest != encode(PLAIN).digest


def test_the_fingerprint_covers_nested_mappings():
    def with_extra(value):
        return changed(meta=MetaFields(extra={"a": value}))

    assert fingerprint(with_extra(1)) == fingerprint(with_extra(1))
    assert fingerprint(with_extra(1)) != fingerprint(with_extra(2))


def test_the_fingerprint_ignores_the_order_of_keys():
    first, second = changed(custom_data={"a": 1, "b": 2}), changed(custom_data={"b": 2, "a": 1})

    assert fingerprint(first) == fingerprint(second)


# Remembered ids


def add(remembered, *event_ids, now=0.0, seq=1):
    seqs = range(seq, seq + len(event_ids))
    return remembered.add(event_ids, map(hash, event_ids), seqs, [None] * len(event_ids), now)


def test_a_remembered_id_is_found_by_its_number():
    remembered = RememberedIds(10)
    (first,) = add(remembered, "a", now=1.0, seq=7)
    (second,) = remembered.add(["b"], [42], [9], [frozenset({"meta"})], 2.0)

    assert remembered.get(first) == RememberedId(seq=7, recipients=None, dropped_at=1.0)
    assert remembered.get(second) == RememberedId(
        seq=9, recipients=frozenset({"meta"}), dropped_at=2.0
    )
    assert remembered.fingerprint(first) == hash("a")
    assert remembered.fingerprint(second) == 42


def test_no_id_is_forgotten_below_the_limit():
    remembered = RememberedIds(10)
    add(remembered, *"abcdefg")

    assert remembered.forget_excess() == []


def test_ids_dropped_up_to_a_moment_are_forgotten():
    remembered = RememberedIds(10)
    add(remembered, "a", "b", now=1.0)
    (last,) = add(remembered, "c", now=2.0, seq=3)

    assert remembered.forget_until(0.5) == []
    assert remembered.forget_until(1.0) == ["a", "b"]
    assert remembered.get(last).seq == 3
    assert remembered.forget_until(9.0) == ["c"]


def test_a_fingerprint_that_raises_leaves_nothing_behind():
    remembered = RememberedIds(10)
    with pytest.raises(ZeroDivisionError):
        remembered.add("ab", (1 // divisor for divisor in (1, 0)), [1, 2], [None, None], 1.0)

    (number,) = add(remembered, "c", now=2.0, seq=3)
    assert (remembered.fingerprint(number), remembered.get(number).seq) == (hash("c"), 3)
    assert remembered.forget_until(9.0) == ["c"]


@pytest.mark.parametrize("limit", [0, 1, 2, 7, 100])
@given(steps=st.lists(st.integers(0, 30), max_size=12))
def test_the_newest_ids_are_remembered_and_each_other_is_returned_once(limit, steps):
    remembered, added, forgotten, numbers = RememberedIds(limit), [], [], {}
    for step in steps:
        event_ids = [str(len(added) + index) for index in range(step)]
        new_numbers = add(remembered, *event_ids, seq=len(added))
        numbers.update(zip(event_ids, new_numbers, strict=True))
        added += event_ids
        forgotten += remembered.forget_excess()

    newest = added[-limit:] if limit else []
    assert forgotten + newest == added
    assert [remembered.get(numbers[name]).seq for name in newest] == [int(name) for name in newest]
    assert [remembered.fingerprint(numbers[name]) for name in newest] == list(map(hash, newest))
