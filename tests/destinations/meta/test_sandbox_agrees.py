"""The sandbox's Meta shares no code with the sink: what one sends, the other has to take."""

import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.destinations.sink import BatchRejected, NeedsOperator
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields
from anytrack_async.models.outcome import Status
from tests.examples import examples

sandbox = pytest.importorskip("anytrack_async.sandbox")
pytestmark = pytest.mark.asyncio

PIXEL = sandbox.MetaPixel(app_secret="s3cret")


def make(clock=time.time, **fields):
    """Return a sink that talks to a sandbox, and Meta's page of its ledger."""
    app = sandbox.create_app(sandbox.SandboxSettings(meta=PIXEL), clock=clock)
    settings = {
        "pixel_id": PIXEL.pixels[0],
        "access_token": PIXEL.tokens[0],
        "app_secret": PIXEL.app_secret,
        **fields,
    }
    sink = MetaSink(MetaSettings(**settings), transport=httpx.ASGITransport(app=app))
    return sink, app.ledger.pages["meta"]


def sale(number, **fields):
    return Conversion.sale(
        **{
            "revenue": 10,
            "order_id": f"o{number}",
            "customer": Customer(email=f"jane{number}@example.com"),
            **fields,
        }
    )


_values = st.sampled_from(["", "x", "ü", "12", "?", "jane@example.com", "+1 555 010 9999", "us"])
_customers = st.builds(
    Customer,
    **dict.fromkeys(
        [
            *("email", "phone", "first_name", "last_name", "gender", "birth_date", "city"),
            *("state", "postal_code", "country", "external_id", "fbc", "fbp", "fbclid"),
        ],
        _values,
    ),
)
_conversions = st.builds(
    Conversion,
    conversion_type=st.sampled_from(["sale", "lead", "signup", "custom"]),
    revenue=st.decimals(0, 100, places=2),
    timestamp=st.timedeltas(timedelta(days=-80), timedelta(days=2)).map(
        lambda ago: datetime.now(UTC) + ago
    ),
    ip_address=st.sampled_from([None, "x", "::1", "192.0.2.1"]),
    user_agent=st.sampled_from([None, "Mozilla"]),
    page_url=st.sampled_from([None, "x", "https://x.example/?fbclid=AbC"]),
    custom_data=st.dictionaries(st.sampled_from(["value", "currency", "product_id", "x"]), _values),
    items=st.lists(st.builds(LineItem, id=st.sampled_from(["a", "b"])), max_size=2),
    customer=st.none() | _customers,
    meta=st.none()
    | st.builds(
        MetaFields,
        action_source=st.sampled_from([None, "physical_store", "app"]),
        data_processing_options=st.sampled_from([None, (), ("LDU",)]),
    ),
)


@given(batch=st.lists(_conversions, max_size=6))
@hypothesis_settings(max_examples=examples(150), deadline=None)
async def test_event_that_passes_the_preflight_is_accepted(batch):
    sink, page = make()
    outcomes = await sink.deliver(batch)

    delivered = [outcome for outcome in outcomes if outcome.status is Status.DELIVERED]
    assert page.unique + page.duplicates == len(delivered)
    assert not page.rejected


async def test_same_event_is_counted_once():
    sink, page = make()
    await sink.deliver([sale(1)])
    await sink.deliver([sale(1), sale(2)])

    assert (page.unique, page.duplicates) == (2, 1)


async def test_test_code_arrives():
    sink, page = make(test_event_code="TEST7", partner_agent="shop")
    await sink.deliver([sale(1)])

    assert page.extra["test_event_codes"] == {"TEST7": 1}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pixel_id": "999"}, "33"),
        ({"access_token": "expired"}, "463"),
        ({"app_secret": "wrong"}, "100"),
        ({"app_secret": None}, "100"),
    ],
)
async def test_wrong_settings_need_an_operator(fields, code):
    sink, _ = make(**fields)
    with pytest.raises(NeedsOperator) as caught:
        await sink.deliver([sale(1), sale(2)])

    assert caught.value.code == code


async def test_bad_event_rejects_its_batch_and_is_then_rejected_alone():
    # A day ahead of us, Meta finds an event too old that we do not.
    sink, page = make(clock=lambda: time.time() + 86_400)
    old = sale(1, timestamp=datetime.now(UTC) - timedelta(days=6.5))
    with pytest.raises(BatchRejected):
        await sink.deliver([old, sale(2)])
    (outcome,) = await sink.deliver([old])

    assert outcome.status is Status.REJECTED
    assert outcome.code == "2804003"
    assert page.unique == 0
