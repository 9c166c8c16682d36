import logging

import httpx
import pytest

from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.sink import SinkSignal
from anytrack_async.models.customer import Customer

pytestmark = pytest.mark.asyncio

CUSTOMER = Customer(
    email="jane.doe@example.com",
    phone="+49 228 1234567",
    first_name="Jane",
    last_name="Doe",
    city="Bonn",
    postal_code="53113",
)
SECRETS = ("jane", "doe", "228", "bonn", "53113", "pat-na1-secret", "hush", "c1ick")
ECHOES = {
    "contacts": "Email address jane.doe@example.com of Jane Doe, +49 228 1234567, 53113 Bonn "
    "is wrong (Bearer pat-na1-secret)",
    "deals": "c1ick or Jane from Bonn is wrong (Bearer pat-na1-secret)",
}
"""Sent values, quoted back in an error."""


def answers(hs, echo):
    def item(trace, echo=echo):
        return hs.item_error(trace, message=echo, errors=[{"message": echo, "code": "X"}])

    return [
        hs.refusal(400, "VALIDATION_ERROR", echo),
        hs.refusal(400, "VALIDATION_ERROR", echo, errors=[item("sale:1")]),
        hs.refusal(423, "LOCKED", echo),
        hs.refusal(409, "CONFLICT", echo),
        hs.reply(207, errors=[item("sale:1"), item("sale:2", "joe@example.com is wrong")]),
        hs.reply(207, errors=[item(None), item(None)]),
        hs.reply(207, errors=[item(None)]),
    ]


@pytest.mark.parametrize("case", range(7))
@pytest.mark.parametrize("op", ["contacts", "deals"])
@pytest.mark.parametrize("size", [1, 2])
async def test_no_customer_data_reaches_outcomes_signals_or_logs(
    hs, make_sink, wire, caplog, case, op, size
):
    sink = make_sink(properties={"buyer": "customer.first_name", "town": "customer.city"})
    wire.script(op, answers(hs, ECHOES[op])[case])
    other = Customer(email="joe@example.com")
    batch = [
        hs.sale("1", customer=CUSTOMER, click_id="c1ick"),
        hs.sale("2", customer=other),
    ][:size]

    with caplog.at_level(logging.DEBUG):
        output = await _output_of(sink, batch)

    for secret in SECRETS:
        assert secret not in (output + caplog.text).lower(), output


async def _output_of(sink, batch):
    try:
        outcomes = await sink.deliver(batch)
    except SinkSignal as signal:
        return f"{signal!r} {signal.reason} {signal.code} {signal.outcomes}"
    return str(outcomes)


async def test_a_refused_oauth_app_does_not_show_its_secrets(hs, wire):
    oauth = OAuthSettings(client_id="c", client_secret="hush-hush", refresh_token="hush-hush-2")
    wire.script(
        "token", httpx.Response(400, json={"message": "unknown: hush-hush and hush-hush-2"})
    )
    sink = HubSpotSink(HubSpotSettings(oauth=oauth), transport=wire)

    output = await _output_of(sink, [hs.sale("1", customer=CUSTOMER)])

    assert "unknown: *** and ***" in output
