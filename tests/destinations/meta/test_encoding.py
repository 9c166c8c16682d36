import hashlib
import hmac
from collections import Counter
from itertools import combinations

import anyio
import orjson
import pytest

from anytrack_async.destinations.meta.encoding import (
    EVENTS_PER_TURN,
    SLICE,
    Chunk,
    Encoder,
    count_weaknesses,
    find_refusal,
    request_body,
    request_tail,
    split_into_requests,
)
from anytrack_async.destinations.meta.event import to_event
from anytrack_async.models.outcome import Status


@pytest.fixture
def encoder_of(settings):
    """Return a maker of encoders that keep warnings to themselves."""
    return lambda **fields: Encoder(settings(**fields))


def places(chunks):
    return [place for chunk in chunks for place in chunk.indexes]


def events(chunks):
    return orjson.loads(request_body(chunks, b"]}"))["data"]


async def encoded(encoder, batch):
    outcomes = [None] * len(batch)
    return await encoder.encode(batch, outcomes, Counter()), outcomes


@pytest.mark.parametrize("count", [1, SLICE, SLICE + 1, 3 * SLICE])
@pytest.mark.asyncio
async def test_events_are_those_of_the_batch_in_its_order(encoder_of, conversion, settings, count):
    batch = [conversion(n) for n in range(count)]
    chunks, outcomes = await encoded(encoder_of(), batch)

    assert places(chunks) == list(range(count))
    assert events(chunks) == [to_event(item, settings()) for item in batch]
    assert outcomes == [None] * count


@pytest.mark.asyncio
async def test_events_of_a_slice_are_encoded_together(encoder_of, conversion):
    chunks, _ = await encoded(encoder_of(), [conversion(n) for n in range(SLICE + 2)])

    assert [len(chunk.indexes) for chunk in chunks] == [SLICE, 2]


@pytest.mark.parametrize("unusable", ["\ud800", object()])
@pytest.mark.asyncio
async def test_event_that_cannot_be_encoded_is_rejected_alone(encoder_of, conversion, unusable):
    encoder = encoder_of(event_name=lambda one: unusable if one.event_id == "sale:o2" else None)
    chunks, outcomes = await encoded(encoder, [conversion(n) for n in range(4)])

    assert [event["event_id"] for event in events(chunks)] == ["sale:o0", "sale:o1", "sale:o3"]
    assert places(chunks) == [0, 1, 3]
    assert [outcome and outcome.status for outcome in outcomes] == [
        *(None, None),
        *(Status.REJECTED, None),
    ]
    assert outcomes[2].error.startswith("could not be turned into a Meta event: TypeError; ")


@pytest.mark.asyncio
async def test_only_a_slice_too_long_for_a_request_is_split(encoder_of, conversion):
    long = conversion(0, custom_data={"note": "x" * 100_000})
    batch = [long, *(conversion(n) for n in range(1, SLICE + 3))]
    chunks, _ = await encoded(encoder_of(max_bytes=90_000), batch)

    assert [len(chunk.indexes) for chunk in chunks] == [1] * SLICE + [3]
    assert places(chunks) == list(range(SLICE + 3))


@pytest.mark.asyncio
async def test_a_slice_of_refused_events_makes_no_chunk(encoder_of, conversion):
    chunks, outcomes = await encoded(encoder_of(), [conversion(customer=None, user_agent=None)])

    assert chunks == []
    assert outcomes[0].code == "2804050"


@pytest.mark.asyncio
async def test_other_tasks_run_while_a_batch_is_encoded(encoder_of, conversion):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await anyio.lowlevel.checkpoint()
        before = turns
        await encoded(encoder_of(), [conversion(n) for n in range(10 * EVENTS_PER_TURN)])
        tasks.cancel_scope.cancel()

    assert turns - before >= 9


@pytest.mark.asyncio
async def test_batches_are_encoded_one_at_a_time(encoder_of, conversion):
    seen = []
    encoder = encoder_of(event_name=lambda one: seen.append(one.order_id))
    first, second = ([conversion(n) for n in range(at, at + 3 * SLICE)] for at in (0, 10_000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(encoded, encoder, first)
        tasks.start_soon(encoded, encoder, second)

    assert seen == [conversion.order_id for conversion in (*first, *second)]


@pytest.mark.asyncio
async def test_cancelled_batch_does_not_block_the_next(encoder_of, conversion):
    encoder = encoder_of()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await encoded(encoder, [conversion(n) for n in range(2 * SLICE)])
    chunks, _ = await encoded(encoder, [conversion(1)])

    assert scope.cancelled_caught
    assert places(chunks) == [0]


def test_body_is_json_with_the_events_in_order(settings):
    piece = [Chunk.of({0: {"a": 1}, 1: {"b": 2}}), Chunk.of({4: {"c": 3}})]

    assert [tuple(chunk.indexes) for chunk in piece] == [(0, 1), (4,)]
    assert orjson.loads(request_body(piece, request_tail(settings(), "t"))) == {
        "data": [{"a": 1}, {"b": 2}, {"c": 3}]
    }


def test_body_has_the_parameters_from_the_settings(settings):
    meta_settings = settings(app_secret="s3cret", test_event_code='T"1', partner_agent="shop-1.0")
    body = orjson.loads(request_body([Chunk.of({0: {}})], request_tail(meta_settings, "t0ken")))

    assert body == {
        "data": [{}],
        "test_event_code": 'T"1',
        "partner_agent": "shop-1.0",
        "appsecret_proof": hmac.new(b"s3cret", b"t0ken", hashlib.sha256).hexdigest(),
    }


def test_requests_keep_within_the_limit_and_lose_nothing():
    chunks = [Chunk((place,), b"x" * size) for place, size in enumerate([3, 3, 9, 1, 1, 1, 1, 1])]
    pieces = list(split_into_requests(chunks, 8))

    assert [len(piece) for piece in pieces] == [2, 1, 4, 1]
    assert [chunk for piece in pieces for chunk in piece] == chunks


def test_no_chunks_make_no_request():
    assert list(split_into_requests([], 8)) == []


NOW = 1_800_000_000.0
DAY = 86_400


def event(**fields):
    plain = {
        "event_name": "Lead",
        "event_time": int(NOW),
        "action_source": "website",
        "user_data": {"em": ["…"], "client_user_agent": "Mozilla"},
        "event_source_url": "https://x.example",
    }
    return {**plain, **fields}


def code(**fields):
    fault = find_refusal(event(**fields), NOW)
    return fault.code if fault else None


@pytest.mark.parametrize(
    ("source", "age", "wanted"),
    [
        ("website", 7 * DAY, None),
        ("website", 7 * DAY + 1, "2804003"),
        ("physical_store", 7 * DAY + 1, None),
        ("physical_store", 62 * DAY, None),
        ("physical_store", 62 * DAY + 1, "2804003"),
        ("email", 62 * DAY, "2804003"),
    ],
)
def test_event_may_be_some_days_old(source, age, wanted):
    assert code(action_source=source, event_time=int(NOW - age)) == wanted


@pytest.mark.parametrize(
    ("custom", "wanted"),
    [
        ({"value": 0.0, "currency": "EUR"}, None),
        ({"currency": "EUR"}, "2804009"),
        ({"value": 1.0}, "2804010"),
        ({"value": 1.0, "currency": ""}, "2804010"),
    ],
)
def test_purchase_needs_value_and_currency(custom, wanted):
    assert code(event_name="Purchase", custom_data=custom) == wanted
    assert code(event_name="Subscribe", custom_data=custom) is None


def test_purchase_needs_custom_data():
    assert code(event_name="Purchase") == "2804009"


BROAD = [
    {"ct", "country", "st", "zp", "ge", "client_user_agent"},
    {"db", "client_user_agent"},
    {"fn", "ge"},
    {"ln", "ge"},
]
WEAK = {"ct", "country", "st", "zp", "ge", "client_user_agent", "db", "fn", "ln"}


@pytest.mark.parametrize("size", range(4))
def test_too_broad_is_exactly_a_subset_of_one_of_metas_combinations(size):
    for names in combinations(sorted(WEAK), size):
        broad = any(set(names) <= combination for combination in BROAD)

        assert code(user_data={name: ["…"] for name in names}) == ("2804050" if broad else None), (
            names
        )


@pytest.mark.parametrize(
    "name",
    [
        *("em", "ph", "external_id", "client_ip_address", "fbc", "fbp", "subscription_id"),
        *("fb_login_id", "lead_id", "anon_id", "page_id", "page_scoped_user_id", "ctwa_clid"),
        *("ig_account_id", "ig_sid", "madid"),
    ],
)
def test_one_real_identifier_is_enough(name):
    assert code(user_data={name: "…"}) is None


APP_DATA = {
    "advertiser_tracking_enabled": 0,
    "application_tracking_enabled": 1,
    "extinfo": ["i2", *[""] * 15],
}


@pytest.mark.parametrize("missing", [*APP_DATA, None])
def test_an_app_event_needs_its_flags_and_its_device(missing):
    app_data = {name: value for name, value in APP_DATA.items() if name != missing}
    refusal = find_refusal(event(action_source="app", app_data=app_data), NOW)

    assert (refusal is None) == (missing is None)
    if refusal is not None:
        assert refusal.code == "100"
        assert f"needs {missing}:" in refusal.reason
    assert code(action_source="website", app_data=app_data) is None


def test_an_app_event_without_app_data_is_told_all_that_it_needs():
    assert ", ".join(APP_DATA) in find_refusal(event(action_source="app"), NOW).reason


def test_reasons_have_advice():
    assert "7 days" in find_refusal(event(event_time=0), NOW).reason
    assert "e-mail" in find_refusal(event(user_data={}), NOW).reason


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, None),
        ({"user_data": {"em": ["…"]}}, "user_agent"),
        ({"event_source_url": None}, "page_url"),
        ({"action_source": "email", "user_data": {}}, None),
        ({"action_source": "app", "user_data": {}}, None),
    ],
)
def test_weaknesses_are_reported_by_kind(fields, wanted):
    parameters = {name: value for name, value in event(**fields).items() if value is not None}
    kinds = count_weaknesses([parameters, parameters], [])

    assert (wanted is None and not kinds) or [wanted in kind for kind in kinds] == [True]
    assert {*kinds.values()} <= {2}
