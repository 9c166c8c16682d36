from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest

from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer


class Wire:
    """Stands in for Meta: keeps the requests, answers from *replies*, then with success."""

    def __init__(self):
        self.requests = []
        self.replies = []

    def __call__(self, request):
        self.requests.append(request)
        reply = self.replies.pop(0) if self.replies else self.success
        return reply(request) if callable(reply) else reply

    @staticmethod
    def success(request):
        received = len(orjson.loads(request.content)["data"])
        return httpx.Response(
            200, json={"events_received": received, "messages": [], "fbtrace_id": "AbC"}
        )

    def body(self, index=-1):
        return orjson.loads(self.requests[index].content)

    def event_ids(self, index=-1):
        return [event["event_id"] for event in self.body(index)["data"]]


def make_conversion(number=1, **fields):
    defaults = {
        "revenue": "19.99",
        "order_id": f"o{number}",
        "timestamp": datetime.now(UTC) - timedelta(minutes=5),
        "user_agent": "Mozilla/5.0",
        "page_url": "https://shop.example/thanks",
        "customer": Customer(email=f"jane{number}@example.com"),
    }
    return Conversion(**{"conversion_type": "sale", **defaults, **fields})


def make_settings(**fields):
    return MetaSettings(**{"pixel_id": "1234567890", "access_token": "t0ken", **fields})


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def sink_of(wire):
    """Return a maker of sinks that talk to the wire."""

    def make(**fields):
        return MetaSink(make_settings(**fields), transport=httpx.MockTransport(wire))

    return make


@pytest.fixture
def conversion():
    """Return a maker of valid sales."""
    return make_conversion


@pytest.fixture
def settings():
    """Return a maker of settings."""
    return make_settings


@pytest.fixture
def graph_error():
    """Return a maker of Graph API errors."""

    def make(code, subcode=None, *, status=400, headers=None, **more):
        error = {"message": "Invalid parameter", "type": "OAuthException", "code": code}
        error |= {"error_subcode": subcode, "fbtrace_id": "TrAcE", **more}
        present = {name: value for name, value in error.items() if value is not None}
        return httpx.Response(status, json={"error": present}, headers=headers)

    return make
