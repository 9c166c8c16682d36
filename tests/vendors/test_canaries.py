"""Nothing of a customer, and no token, in any log record, error, report, event or `repr`.

Canaries are planted in every field that tells of a customer. Then everything goes wrong that the
sandbox knows, or that a service may answer that quotes all it was sent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import get_args, is_typeddict

import anyio
import attrs
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async import AnyTrackClient, HubSpotSink, MetaSink
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.errors import AnyTrackError, InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaContent, MetaCustomData, MetaFields, MetaUserData
from anytrack_async.sandbox import FAULT_KINDS, Faults
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry

CUSTOMER = {
    "email": "zqmail@zq.example",
    "phone": "+49 170 9998887",
    "first_name": "Zqfirst",
    "last_name": "Zqlast",
    "birth_date": "1977-07-17",
    "city": "Zqcity",
    "state": "Zqstate",
    "postal_code": "ZQ7 9ZQ",
    "external_id": "zqexternal",
    "fbp": "fb.1.1596403881668.7771116446470",
    "fbclid": "zqfbclid",
}
VISIT = {
    "ip_address": "198.51.100.77",
    "user_agent": "Zqbrowser/7",
    "page_url": "https://shop.example/zqpage?fbclid=zqfbclid",
    "click_id": "zqclick",
    "sub_ids": {"s1": "zqsub"},
    "custom_data": {"note": "zqnote"},
    "meta": MetaFields(
        user_data=MetaUserData(madid="zqmadid"), custom_data=MetaCustomData(search_string="zqwish")
    ),
}
HASHES = [sha256(text.encode()).hexdigest() for text in ("zqmail@zq.example", "zqfirst", "zqlast")]
TOKENS = ["sandbox-api-key", "sandbox-meta-token", "sandbox-hubspot-token", "app-secret"]
QUICK = DeliverySettings(
    retry=Retry(attempts=3, base=0.001, cap=0.01, hint_cap=0.01),
    probe=Retry(base=0.001, cap=0.01),
    drain=0.1,
)


def canaries(*values) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            yield from canaries(*value.values())
        elif isinstance(value, str):
            yield value.lower()


PERSONAL = [*canaries(CUSTOMER, VISIT["ip_address"], *HASHES, *TOKENS), "9998887", "7771116446470"]
ALL = [*PERSONAL, *canaries(VISIT), "zqpage", "zqmadid", "zqwish"]


def sales():
    """One that all take, one that is too old for Meta, one from before AnyTrack's time."""
    for number, days in enumerate((0, 30, 365 * 60)):
        yield Conversion.sale(
            revenue=10,
            order_id=f"o{number}",
            timestamp=datetime.now(UTC) - timedelta(days=days),
            customer=Customer(**CUSTOMER),
            **VISIT,
        )


class Observer:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def notify(self, event):
        self.told.append(repr(event))


def chain(error):
    """Yield an error with all that it came from, as a traceback would print them."""
    while error is not None:
        yield f"{error!r} {error} {vars(error)!r}"
        for one in getattr(error, "exceptions", ()):
            yield from chain(one)
        hidden = error.__cause__ is None and error.__suppress_context__
        error = None if hidden else error.__cause__ or error.__context__


async def told_by(connect, caplog):
    """Send conversions through a client, in good times and bad, and return every word of it."""
    caplog.set_level(logging.DEBUG)
    observer = Observer()
    client = connect(observers=[observer], delivery=QUICK)
    told = [repr(client)]
    try:
        async with client:
            told += await tracked(client, [*sales()])
            told += map(repr, await client.outbox.dead_letters())
            told.append(repr(await client.stats()))
    except AnyTrackError as error:  # of closing
        told += chain(error)
    logged = [f"{one.getMessage()} {one.args!r} {one.exc_text}" for one in caplog.records]
    return "\n".join([*told, *observer.told, *logged]).lower()


async def tracked(client, conversions):
    told = [repr((one, one.customer, one.meta)) for one in conversions]
    deliveries = await client.submit_many(conversions)
    for conversion in conversions:
        try:
            told.append(repr(await client.track_conversion(conversion, timeout=0.1)))
        except AnyTrackError as error:
            told += chain(error)
    with anyio.move_on_after(0.3):
        for delivery in deliveries:
            await delivery
    return [*told, *map(repr, deliveries), *(repr(one.report) for one in deliveries)]


TROUBLE = {
    "none": lambda sandbox: None,
    "faults": lambda sandbox: sandbox.faults(Faults(rate=0.5, seed=7, kinds=QUICK_KINDS)),
    "no answers": lambda sandbox: sandbox.faults(Faults(rate=1, kinds=("cut", "lost", "reset"))),
    "an outage": lambda sandbox: sandbox.down(),
    "broken connections": lambda sandbox: sandbox.down(how="reset"),
    "expired tokens": lambda sandbox: [
        sandbox.credentials(service, "another") for service in ("anytrack", "meta", "hubspot")
    ],
}
QUICK_KINDS = tuple(kind for kind in FAULT_KINDS if kind not in ("latency", "throttle"))


@pytest.mark.asyncio
@pytest.mark.parametrize("trouble", TROUBLE)
async def test_the_sandbox_in_trouble_tells_nothing(sandbox, caplog, trouble):
    TROUBLE[trouble](sandbox)
    environ = sandbox.environment()

    def connect(**options):
        meta = MetaSettings.from_env(environ)
        # Names are no dates: HubSpot refuses each deal, and quotes the name.
        hubspot = HubSpotSettings(
            access_token=environ["HUBSPOT_ACCESS_TOKEN"],
            base_url=environ["HUBSPOT_BASE_URL"],
            properties={"closedate": "customer.last_name"},
        )
        return AnyTrackClient(
            environ["ANYTRACK_API_KEY"],
            environ["ANYTRACK_ACCOUNT_ID"],
            base_url=environ["ANYTRACK_BASE_URL"],
            sinks=[MetaSink(meta), HubSpotSink(hubspot)],
            **options,
        )

    told = await told_by(connect, caplog)

    assert "sale:o0" in told
    assert not [canary for canary in ALL if canary in told]
    if trouble == "none":
        assert "was not a valid long" in told  # HubSpot's words, without the name in them


class Parrot(httpx.AsyncBaseTransport):
    """A service that quotes all it was sent, in the form of each vendor's errors."""

    def __init__(self, status):
        self.status = status

    async def handle_async_request(self, request):
        sent = (await request.aread()).decode()
        words = f"You sent {sent} to {request.url} with {dict(request.headers)}"
        if self.status == 0:
            raise httpx.ReadError(words)
        error = {"message": words, "code": 100, "error_subcode": 2804007, "error_user_msg": words}
        body = {"message": words, "category": "VALIDATION_ERROR", "error": {**error}}
        body["errors"] = [{"message": words, "code": words, "context": {"id": [words]}}]
        return httpx.Response(self.status, json=body, headers={"Retry-After": "0"})


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [0, 400, 401, 403, 404, 409, 422, 423, 429, 500, 503])
async def test_services_that_quote_customers_are_not_quoted(caplog, status):
    def connect(**options):
        wire = Parrot(status)
        meta = MetaSettings(pixel_id="1", access_token=TOKENS[1], app_secret=TOKENS[3])
        hubspot = HubSpotSettings(access_token=TOKENS[2])
        return AnyTrackClient(
            TOKENS[0],
            "account",
            sinks=[MetaSink(meta, transport=wire), HubSpotSink(hubspot, transport=wire)],
            transport=wire,
            **options,
        )

    told = await told_by(connect, caplog)

    assert "sale:o0" in told
    assert not [canary for canary in ALL if canary in told]


# Fields that identify a conversion in errors and records.
PUBLIC = {"id", "event_id", "order_id", "event_name", "source", "campaign_id", "ad_id"}


def private_fields():
    """Yield a class and the path of each of its fields that may hold a customer's data."""
    yield from ((Customer, (field.name,)) for field in attrs.fields(Customer))
    names = {field.name for field in attrs.fields(Conversion)} - PUBLIC
    yield from ((Conversion, (name,)) for name in sorted(names))
    groups = {name: hint for name, hint in META_GROUPS.items() if is_typeddict(hint)}
    yield from ((Conversion, ("meta", name)) for name in META_GROUPS)
    for group, parameters in groups.items():
        yield from ((Conversion, ("meta", group, name)) for name in parameters.__annotations__)
    contents = ("meta", "custom_data", "contents")
    yield from ((Conversion, (*contents, name)) for name in MetaContent.__annotations__)


META_GROUPS = {name: get_args(hint)[0] for name, hint in MetaFields.__annotations__.items()}
FIELDS = [*private_fields()]


class Canary:
    """Something that no field takes, and that tells all."""

    def __repr__(self):
        return "zqcanary"


wrapped = st.recursive(
    st.sampled_from(["zqcanary", "zqcanary@eg.com", "zqcanary \ud800", "zqcanary" * 600])
    | st.builds(Canary),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(st.sampled_from(["note", "zqcanary@eg.com"]), inner, min_size=1)
    ),
    max_leaves=3,
)


@given(st.sampled_from(FIELDS), wrapped)
def test_a_model_never_quotes_a_value(field, value):
    model, path = field
    needed = {"conversion_type": "sale"} if model is Conversion else {}
    for name in reversed(path[1:]):
        value = {name: value}
    try:
        made = model(**{**needed, path[0]: value})
        told = [repr(made), repr(getattr(made, "meta", None))]
    except InvalidConversionError as error:
        told = [*chain(error)]
        assert path[-1] in told[0]

    assert not [words for words in told if "zqcanary" in words]


def test_every_group_of_metas_parameters_is_looked_at():
    assert {"user_data", "custom_data", "app_data"} <= {path[1] for _, path in FIELDS if path[2:]}
