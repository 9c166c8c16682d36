"""No customer data and no token in any log record, error, report, event or `repr`.

Every field with customer data holds a canary, a value that is easy to find. Then the sandbox
injects all the faults it has, or a service quotes in its errors everything that it was sent.
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
from anytrack_async.models.conversion import ARGUMENTS, Conversion
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
    """Yield a sale that every service accepts, one too old for Meta, one too old for AnyTrack."""
    for number, days in enumerate((0, 30, 365 * 60)):
        yield Conversion.sale(
            revenue=10,
            order_id=f"o{number}",
            timestamp=datetime.now(UTC) - timedelta(days=days),
            customer=Customer(**CUSTOMER),
            **VISIT,
        )


class Observer:
    """Collects the `repr` of every event."""

    def __init__(self):
        self.events = []

    def notify(self, event):
        self.events.append(repr(event))


def texts_of(error):
    """Yield the texts of an error and its causes, as a traceback would print them."""
    while error is not None:
        yield f"{error!r} {error} {vars(error)!r}"
        for inner in getattr(error, "exceptions", ()):
            yield from texts_of(inner)
        hidden = error.__cause__ is None and error.__suppress_context__
        error = None if hidden else error.__cause__ or error.__context__


async def output_of(connect, caplog):
    """Send conversions through a client and return all its output, in lower case."""
    caplog.set_level(logging.DEBUG)
    observer = Observer()
    client = connect(observers=[observer], delivery=QUICK)
    output = [repr(client)]
    try:
        async with client:
            output += await track_all(client, [*sales()])
            output += map(repr, await client.outbox.dead_letters())
            output.append(repr(await client.stats()))
    except AnyTrackError as error:  # of closing
        output += texts_of(error)
    logged = [
        f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records
    ]
    return "\n".join([*output, *observer.events, *logged]).lower()


async def track_all(client, conversions):
    output = [
        repr((conversion, conversion.customer, conversion.meta)) for conversion in conversions
    ]
    deliveries = await client.submit_many(conversions)
    for conversion in conversions:
        try:
            output.append(repr(await client.track_conversion(conversion, timeout=0.1)))
        except AnyTrackError as error:
            output += texts_of(error)
    with anyio.move_on_after(0.3):
        for delivery in deliveries:
            await delivery
    reports = (repr(delivery.report) for delivery in deliveries)
    return [*output, *map(repr, deliveries), *reports]


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
async def test_no_canary_leaks_in_any_failure(sandbox, caplog, trouble):
    TROUBLE[trouble](sandbox)
    environ = sandbox.environment()

    def connect(**options):
        meta = MetaSettings.from_env(environ)
        # A name is not a date: HubSpot refuses each deal, and quotes the name.
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

    output = await output_of(connect, caplog)

    assert "sale:o0" in output
    assert not [canary for canary in ALL if canary in output]
    if trouble == "none":
        assert "was not a valid long" in output  # HubSpot's message, with the name masked


class EchoTransport(httpx.AsyncBaseTransport):
    """A service that quotes each request in its errors, in the format of every vendor."""

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
async def test_customers_quoted_by_a_service_are_masked(caplog, status):
    def connect(**options):
        wire = EchoTransport(status)
        meta = MetaSettings(pixel_id="1", access_token=TOKENS[1], app_secret=TOKENS[3])
        hubspot = HubSpotSettings(access_token=TOKENS[2])
        return AnyTrackClient(
            TOKENS[0],
            "account",
            sinks=[MetaSink(meta, transport=wire), HubSpotSink(hubspot, transport=wire)],
            transport=wire,
            **options,
        )

    output = await output_of(connect, caplog)

    assert "sale:o0" in output
    assert not [canary for canary in ALL if canary in output]


# Fields that identify a conversion in errors and records.
PUBLIC = {"id", "event_id", "order_id", "event_name", "source", "campaign_id", "ad_id"}


def private_fields():
    """Yield a class and the path of each of its fields that may hold a customer's data."""
    yield from ((Customer, (field.name,)) for field in attrs.fields(Customer))
    names = ARGUMENTS.keys() - PUBLIC
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
    """An object that no field accepts, and whose `repr` is a canary."""

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
def test_a_model_never_quotes_a_value_in_errors_or_reprs(field, value):
    model, path = field
    needed = {"conversion_type": "sale"} if model is Conversion else {}
    for name in reversed(path[1:]):
        value = {name: value}
    try:
        instance = model(**{**needed, path[0]: value})
        texts = [repr(instance), repr(getattr(instance, "meta", None))]
    except InvalidConversionError as error:
        texts = [*texts_of(error)]
        assert path[-1] in texts[0]

    assert not [text for text in texts if "zqcanary" in text]


def test_every_group_of_metas_parameters_is_tested():
    assert {"user_data", "custom_data", "app_data"} <= {path[1] for _, path in FIELDS if path[2:]}
