"""What holds for every conversion there can be."""

import logging
import string
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anytrack_async.destinations.meta.encoding import find_refusal
from anytrack_async.destinations.meta.event import event_name, to_event
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.destinations.meta.user_data import match_keys
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaCustomData, MetaFields, MetaUserData
from anytrack_async.models.meta_types import ActionSource, CustomerSegment
from anytrack_async.models.outcome import Status
from tests.examples import examples

SETTINGS = MetaSettings(pixel_id="1", access_token="t0ken")
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
HASHED = {"em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id"}

_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_texts = st.lists(_text, max_size=3)
_filled = _text.filter(lambda text: not text.isspace())
_key = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
_id = st.text(string.ascii_letters + string.digits + "-_:.", min_size=1, max_size=30)
_money = st.decimals(0, 10**12, places=2, allow_nan=False) | st.floats(0, 1e12, allow_nan=False)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_key, inner, max_size=3),
    max_leaves=6,
)

customers = st.builds(
    Customer,
    email=_texts | st.emails(),
    phone=_texts | st.integers(0, 10**16),
    first_name=_texts,
    last_name=_texts,
    gender=_texts | st.sampled_from(["f", "Male"]),
    birth_date=_texts | st.dates(),
    city=_texts,
    state=_texts,
    postal_code=_texts,
    country=_texts | st.sampled_from(["us", "DE"]),
    external_id=_texts,
    fbc=st.none() | _text | st.just("fb.1.1554763741205.AbC"),
    fbp=st.none() | _text,
    fbclid=st.none() | _text,
)
fields = st.builds(
    MetaFields,
    action_source=st.none() | st.from_type(ActionSource),
    event_name=st.none() | _id,
    opt_out=st.none() | st.booleans(),
    data_processing_options=st.sampled_from([None, (), ("LDU",)]),
    customer_segmentation=st.none() | st.from_type(CustomerSegment),
    user_data=st.none() | st.builds(MetaUserData, lead_id=st.none() | st.integers(0)),
    custom_data=st.none()
    | st.builds(MetaCustomData, net_revenue=st.none() | st.integers(-5, 5), status=_filled),
    extra=st.just({}) | st.dictionaries(_key.map("x_{}".format), _json, max_size=2),
)
conversions = st.builds(
    Conversion,
    conversion_type=st.sampled_from(["sale", "lead", "signup", "custom"]),
    revenue=_money,
    currency=st.sampled_from(["USD", "eur"]),
    timestamp=st.datetimes(
        NOW.replace(tzinfo=None) - timedelta(days=90),
        NOW.replace(tzinfo=None) + timedelta(days=90),
        timezones=st.just(UTC),
    ),
    order_id=st.none() | _id,
    event_name=st.none() | _id,
    ip_address=st.none() | _filled | st.ip_addresses().map(str),
    user_agent=st.none() | _filled,
    page_url=st.none() | _filled | st.just("https://x.example/?fbclid=AbC"),
    custom_data=st.dictionaries(_key, _json, max_size=4),
    items=st.lists(st.builds(LineItem, id=_id, price=st.none() | _money), max_size=3),
    customer=st.none() | customers,
    meta=st.none() | fields,
)


def nulls_in(value, path=""):
    """Yield the path of each null in parsed JSON."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from nulls_in(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nulls_in(item, f"{path}[{index}]")


def test_nulls_are_found_and_the_text_null_is_not():
    event = {"client_user_agent": "null", "em": ["null", None], "fbp": None}

    assert [*nulls_in(event)] == [".em[1]", ".fbp"]


@given(conversions)
def test_every_conversion_is_an_event_that_json_can_hold(conversion):
    event = to_event(conversion, SETTINGS, now=NOW.timestamp())
    back = orjson.loads(orjson.dumps(event))

    assert back == event
    assert not [*nulls_in(back["user_data"])]
    assert event["event_id"] == conversion.event_id
    assert event["event_time"] <= NOW.timestamp()


@given(conversions)
def test_hashed_fields_hold_digests_and_nothing_empty(conversion):
    event = to_event(conversion, SETTINGS, now=NOW.timestamp())

    for name in HASHED & event["user_data"].keys():
        values = event["user_data"][name]
        assert values
        assert len(set(values)) == len(values)
        for value in values:
            assert len(value) in (32, 64)
            assert set(value) <= set(string.hexdigits.lower())


@given(conversions)
def test_hashing_a_digest_changes_nothing(conversion):
    names = {
        "email": "em",
        "phone": "ph",
        "first_name": "fn",
        "last_name": "ln",
        "city": "ct",
        "country": "country",
        "external_id": "external_id",
    }
    once = to_event(conversion, SETTINGS)["user_data"]
    again = Conversion.sale(
        revenue=1, customer=Customer(**{name: once.get(key) for name, key in names.items()})
    )

    twice = to_event(again, SETTINGS)["user_data"]
    assert twice == {key: once[key] for key in names.values() if key in once}


@given(conversions)
def test_value_and_currency_are_the_conversions_own(conversion):
    custom = to_event(conversion, SETTINGS).get("custom_data", {})

    if conversion.revenue or event_name(conversion, SETTINGS) == "Purchase":
        assert custom["value"] == float(conversion.revenue)
        assert custom["currency"] == conversion.currency
    else:
        assert "value" not in custom


@given(conversions)
def test_match_keys_are_the_keys_of_user_data(conversion):
    event = to_event(conversion, SETTINGS)

    assert set(match_keys(conversion, SETTINGS)) == set(event["user_data"])


@given(conversions)
def test_event_passes_the_preflight_or_has_a_reason(conversion):
    fault = find_refusal(to_event(conversion, SETTINGS, now=NOW.timestamp()), NOW.timestamp())

    assert fault is None or (fault.code.startswith(("2804", "100")) and fault.reason)


SECRETS = {
    "email": "zq-mail@zq.example",
    "phone": "+49 170 9998887",
    "first_name": "Zqfirst",
    "last_name": "Zqlast",
    "city": "Zqcity",
    "external_id": "zq-external",
    "fbclid": "zqclick",
}


@pytest.mark.asyncio
@given(batch=st.lists(conversions, min_size=1, max_size=5), code=st.sampled_from([100, 190, 2]))
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=examples(25),
    deadline=None,
)
async def test_no_message_contains_customer_data(batch, code, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    error = {"code": code, "message": f"bad {SECRETS['email']}", "error_user_msg": SECRETS["phone"]}
    wire = httpx.MockTransport(lambda _: httpx.Response(400, json={"error": error}))
    sink = MetaSink(SETTINGS, transport=wire)
    secret = Conversion.sale(
        revenue=1, customer=Customer(**SECRETS), ip_address="198.51.100.77", user_agent="ZqBrowser"
    )
    try:
        outcomes = await sink.deliver([*batch, secret])
    except Exception as signal:
        shown = f"{signal} {signal!r} {signal.reason} {list(signal.outcomes)!r}"
    else:
        assert all(outcome.status is Status.REJECTED for outcome in outcomes)
        shown = repr(outcomes)

    shown += caplog.text + repr(secret) + repr(sink)
    for value in (*SECRETS.values(), "198.51.100.77", "ZqBrowser", "t0ken", "9998887"):
        assert value.lower() not in shown.lower()


@pytest.mark.asyncio
@given(batch=st.lists(conversions, max_size=8))
@hypothesis_settings(max_examples=examples(50), deadline=None)
async def test_outcomes_are_in_the_order_of_the_batch(batch):
    received = []

    def take(request):
        events = orjson.loads(request.content)["data"]
        received.extend(event["event_id"] for event in events)
        return httpx.Response(200, json={"events_received": len(events)})

    sink = MetaSink(SETTINGS, transport=httpx.MockTransport(take))
    outcomes = await sink.deliver(batch)

    assert len(outcomes) == len(batch)
    delivered = [
        conversion.event_id
        for conversion, outcome in zip(batch, outcomes, strict=True)
        if outcome.status is Status.DELIVERED
    ]
    assert delivered == received
