"""Conversions that are mapped together become what each becomes alone."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anytrack_async.destinations.meta.encoding import SLICE, Encoder, request_body
from anytrack_async.destinations.meta.event import to_event, to_events
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.user_data import all_user_data, user_data
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields
from anytrack_async.models.outcome import Status
from tests.examples import examples
from tests.strategies import recent_conversions

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
DIGEST = "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"

_open = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_odd = st.sampled_from(["\0", "\n", " ", "a\0b", "joe@eg.com\n", "+1 650\0 555 1212", DIGEST, "é"])
_emails = st.emails() | _open.map("{}joe@eg.com".format)
_numbers = st.integers(10**6, 10**16).map("+{}".format)


def _several(*values):
    return st.lists(st.one_of(_open, _odd, *values), max_size=3)


open_customers = st.builds(
    Customer,
    email=_several(_emails) | _emails,
    phone=_several(_numbers) | _numbers,
    first_name=_several(st.just("Ann")),
    last_name=_several(st.just("Ann")),
    city=_several(),
    birth_date=_several(st.just("1990-02-03")),
    external_id=_several(),
    fbclid=st.none() | _open,
)
open_conversions = st.builds(
    Conversion.sale,
    revenue=st.just(1),
    timestamp=st.sampled_from([NOW, NOW - timedelta(days=9.3), NOW + timedelta(seconds=0.5)]),
    ip_address=st.none() | _open | st.ip_addresses().map(str),
    page_url=st.none() | _open | st.just("https://x.example/?fbclid=AbC"),
    customer=st.none() | open_customers,
    meta=st.none() | st.builds(MetaFields, event_name=st.just("Donate")),
)
batches = st.lists(open_conversions | recent_conversions, max_size=6)
settings_given = st.sampled_from(
    [{}, {"hash_external_id": False}, {"action_source": "app", "limited_data_use": True}]
).map(lambda given: MetaSettings(pixel_id="1", access_token="t", **given))


@given(batches, settings_given)
@hypothesis_settings(deadline=None)
def test_events_mapped_together_equal_events_mapped_alone(batch, settings):
    now = NOW.timestamp()

    assert to_events(batch, settings, now=now) == [
        to_event(item, settings, now=now) for item in batch
    ]
    seen_at = [item.timestamp for item in batch]
    alone = [user_data(item, settings) for item in batch]
    assert all_user_data(batch, settings, seen_at) == alone


@given(batches)
@hypothesis_settings(deadline=None, max_examples=examples(30))
def test_numbers_and_countries_are_read_for_each_conversion(batch):
    pytest.importorskip("phonenumbers")
    settings = MetaSettings(pixel_id="1", access_token="t", phone_region="DE")
    now = NOW.timestamp()

    assert to_events(batch, settings, now=now) == [
        to_event(item, settings, now=now) for item in batch
    ]


def _named(conversion):
    """Fail where the test says so, with a name that JSON cannot hold or with none."""
    if conversion.source == "unnamed":
        raise LookupError("secret")
    return object() if conversion.source == "unencodable" else None


def _made(number, kind):
    nobody = kind == "nobody"
    return Conversion.sale(
        revenue=1,
        order_id=str(number),
        source=kind,
        timestamp=datetime.now(UTC) - timedelta(days=30 if kind == "old" else 1),
        customer=None if nobody else Customer(email=f"ann{number}@eg.com", phone="+16505551212"),
    )


@pytest.mark.asyncio
@given(
    st.lists(
        st.sampled_from([None] * 4 + ["unnamed", "unencodable", "nobody", "old"]),
        max_size=SLICE + 6,
    )
)
@hypothesis_settings(deadline=None, max_examples=examples(50))
async def test_bad_conversions_do_not_change_others(kinds):
    settings = MetaSettings(pixel_id="1", access_token="t", event_name=_named)
    batch = [_made(number, kind) for number, kind in enumerate(kinds)]
    outcomes = [None] * len(batch)
    chunks = await Encoder(settings).encode(batch, outcomes, Counter())

    good = [place for place, kind in enumerate(kinds) if kind is None]
    assert [place for chunk in chunks for place in chunk.indexes] == good
    sent = orjson.loads(request_body(chunks, b"]}"))["data"] if chunks else []
    plain = attrs.evolve(settings, event_name=None)
    assert sent == [to_event(batch[place], plain, now=time.time()) for place in good]
    for kind, outcome in zip(kinds, outcomes, strict=True):
        assert (outcome is None) == (kind is None)
        assert outcome is None or outcome.status is Status.REJECTED
        assert "secret" not in repr(outcome)
