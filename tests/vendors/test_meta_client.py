"""Meta's own `facebook-business` works against the sandbox, and reads its refusals.

Where that client itself is at fault, a test says so: there the sandbox does as Meta documents.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.batch_processor import BatchProcessor
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.event_request_async import EventRequestAsync
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from anytrack_async.sandbox import Faults, Sandbox

PIXEL = "1234567890"
TOKEN = "sandbox-meta-token"
SECRET = "app-secret"
DAY = 86_400

Connect = Callable[..., FacebookAdsApi]


@pytest.fixture
def connect(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a function that points Meta's client at the sandbox; it has a single session."""
    monkeypatch.setattr(FacebookSession, "GRAPH", sandbox.url)

    def init(**options: Any) -> FacebookAdsApi:
        arguments = {"access_token": TOKEN, "app_secret": SECRET, **options}
        api = FacebookAdsApi(FacebookSession(**arguments))
        monkeypatch.setattr(FacebookAdsApi, "_default_api", api)
        return api

    init()
    return init


def purchase(**changes):
    defaults = {
        "event_name": "Purchase",
        "event_time": int(time.time()),
        "event_id": "e1",
        "action_source": ActionSource.WEBSITE,
        "user_data": UserData(email="jane@example.com"),
        "custom_data": CustomData(value=9.9, currency="EUR"),
    }
    return Event(**{**defaults, **changes})


def request(*events, kind=EventRequest, **more):
    return kind(**{"pixel_id": PIXEL, "events": list(events), **more})


class Unhashed(UserData):
    """Customer data that is sent as given, which Meta's client does not do."""

    def normalize(self):
        return {"em": self.email}


REFUSED = {
    2804003: {"event_time": int(time.time()) - 8 * DAY},
    2804009: {"custom_data": CustomData(currency="EUR")},
    2804010: {"custom_data": CustomData(value=9.9)},
    2804016: {"user_data": Unhashed(email="jane@example.com")},
    2804050: {"user_data": UserData(city="Paris", client_user_agent="Mozilla")},
}
SETUP = {
    (190, 463): {"access_token": "expired"},
    (100, None): {"app_secret": "wrong"},
}


def page(sandbox):
    return sandbox.ledger(ids=True)["meta"]


class TestRequests:
    def test_events_are_accepted(self, connect, sandbox):
        events = purchase(), purchase(event_id="e2", event_name="Lead")
        answer = request(*events, test_event_code="TEST7", partner_agent="shop").execute()

        assert (answer.events_received, answer.messages) == (2, [])
        assert answer.fbtrace_id
        assert page(sandbox)["ids"] == {"e1": 1, "e2": 1}
        assert page(sandbox)["test_event_codes"] == {"TEST7": 2}

    def test_a_repeat_is_dropped(self, connect, sandbox):
        for _ in range(2):
            request(purchase()).execute()

        assert (page(sandbox)["unique"], page(sandbox)["duplicates"]) == (1, 1)

    def test_the_token_is_in_the_address_where_logs_keep_it(self, connect):
        seen = []
        api = connect()
        api._session.requests.hooks["response"].append(
            lambda answer, **_: seen.append(answer.request.url)
        )
        request(purchase()).execute()

        assert f"access_token={TOKEN}" in seen[0]

    def test_usage_is_in_the_headers(self, connect):
        api = connect()
        answer = api.call("POST", (PIXEL, "events"), params=request(purchase()).get_params())

        assert set(answer.headers()) >= {"x-app-usage", "x-business-use-case-usage"}

    @pytest.mark.parametrize("subcode", REFUSED)
    def test_an_invalid_event_refuses_the_request(self, connect, sandbox, subcode):
        with pytest.raises(FacebookRequestError) as refusal:
            request(purchase(event_id="good"), purchase(**REFUSED[subcode])).execute()

        error = refusal.value
        assert error.http_status() == 400
        assert (error.api_error_code(), error.api_error_subcode()) == (100, subcode)
        assert error.api_error_type() == "OAuthException"
        assert error.api_transient_error() is False
        assert error.body()["error"]["fbtrace_id"]
        assert page(sandbox)["accepted"] == 0
        assert page(sandbox)["rejected"] == {str(subcode): 1}

    @pytest.mark.parametrize(("code", "subcode"), SETUP)
    def test_wrong_credentials(self, connect, sandbox, code, subcode):
        connect(**SETUP[code, subcode])
        with pytest.raises(FacebookRequestError) as refusal:
            request(purchase()).execute()

        assert refusal.value.api_error_code() == code
        assert refusal.value.api_error_subcode() == subcode

    def test_a_request_without_a_proof_of_the_secret(self, connect):
        connect(app_secret=None)
        with pytest.raises(FacebookRequestError) as refusal:
            request(purchase()).execute()

        assert refusal.value.api_error_code() == 100
        assert "appsecret_proof" in refusal.value.api_error_message()

    def test_an_unknown_pixel(self, connect):
        with pytest.raises(FacebookRequestError) as refusal:
            request(purchase(), pixel_id="999").execute()

        assert (refusal.value.api_error_code(), refusal.value.api_error_subcode()) == (100, 33)
        assert refusal.value.api_error_type() == "GraphMethodException"

    def test_more_than_a_thousand_events(self, connect):
        with pytest.raises(FacebookRequestError) as refusal:
            request(*[purchase()] * 1001).execute()

        assert refusal.value.api_error_code() == 100

    def test_throttling_is_transient_and_reports_the_usage(self, connect, sandbox):
        sandbox.faults(Faults(rate=1, kinds=("throttle",)))
        with pytest.raises(FacebookRequestError) as refusal:
            request(purchase()).execute()

        assert refusal.value.http_status() == 400
        assert refusal.value.api_error_code() in (4, 80004)
        assert refusal.value.api_transient_error() is True
        assert '"call_count":100' in refusal.value.http_headers()["x-app-usage"]


@pytest.mark.asyncio
class TestAsyncRequests:
    async def test_events_are_accepted(self, connect, sandbox):
        events = purchase(), purchase(event_id="e2")
        built = request(
            *events, kind=EventRequestAsync, test_event_code="TEST7", partner_agent="shop"
        )
        answer = await built.execute()

        assert (answer.events_received, answer.messages) == (2, [])
        assert page(sandbox)["ids"] == {"e1": 1, "e2": 1}
        assert page(sandbox)["test_event_codes"] == {"TEST7": 2}

    async def test_batches_one_after_the_other(self, connect, sandbox):
        events = [purchase(event_id=f"e{number}") for number in range(5)]
        batches = BatchProcessor(batch_size=2, concurrent_requests=2).process_events_generator(
            request(kind=EventRequestAsync), events
        )
        counts = [[item.events_received for item in answers] async for answers in batches]

        assert counts == [[2, 2], [1]]
        assert page(sandbox)["unique"] == 5

    @pytest.mark.parametrize("subcode", REFUSED)
    async def test_an_invalid_event_refuses_the_request(self, connect, subcode):
        status, error = await refusal(request(purchase(**REFUSED[subcode]), kind=EventRequestAsync))

        assert (status, error["code"], error["error_subcode"]) == (400, 100, subcode)
        assert error["is_transient"] is False
        assert error["fbtrace_id"]

    @pytest.mark.parametrize(("code", "subcode"), SETUP)
    async def test_wrong_credentials(self, connect, code, subcode):
        connect(**SETUP[code, subcode])
        _, error = await refusal(request(purchase(), kind=EventRequestAsync))

        assert (error["code"], error.get("error_subcode")) == (code, subcode)

    async def test_an_unknown_pixel(self, connect):
        built = request(purchase(), kind=EventRequestAsync, pixel_id="999")
        _, error = await refusal(built)

        assert (error["code"], error["error_subcode"]) == (100, 33)

    async def test_a_refusal_becomes_a_key_error(self, connect):
        # Meta's text is there, but `execute` looks for the fields of a success.
        with pytest.raises(KeyError, match="fbtrace_id"):
            await request(purchase(), kind=EventRequestAsync, pixel_id="999").execute()


async def refusal(built):
    """Return Meta's status and error, which the client's own `execute` does not return."""
    statuses = []

    async def note(_session, _context, params):
        statuses.append(params.response.status)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        answer = await built.create_event(session)
    return statuses[0], answer["error"]
