"""An AnyTrack API that returns fixed responses and keeps the requests."""

from __future__ import annotations

from typing import Any

import httpx
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings, anytrack_session
from anytrack_async.settings.http import HttpSettings, ResponseLimits, Retry
from anytrack_async.transport.session import Session

BASE = "https://api.test/v1"


class FakeApi(httpx.MockTransport):
    """Responds with the JSON that *routes* has for the path.

    Args:
        max_body: bytes of a response that the session reads.
        routes: path, with ``__`` for each slash → JSON, an `httpx.Response`, or a function of the
            request that returns either.
    """

    def __init__(self, *, max_body: int = 8_388_608, **routes: Any) -> None:
        super().__init__(self._respond)
        self.limits = ResponseLimits(max_body=max_body)
        self.routes = {path.replace("__", "/"): body for path, body in routes.items()}
        self.requests: list[httpx.Request] = []

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.raw_path.decode().split("?")[0].removeprefix("/v1/")
        body = self.routes.get(path)
        if callable(body):
            body = body(request)
        if isinstance(body, httpx.Response):
            return body
        if body is None:
            return httpx.Response(404, json={"message": "no such record"})
        return httpx.Response(200, json=body)

    @property
    def params(self) -> dict[str, str]:
        """The query of the last request."""
        return dict(self.requests[-1].url.params)

    @property
    def session(self) -> Session:
        http = HttpSettings(limits=self.limits, retry=Retry(attempts=2, base=0.0001))
        settings = AnyTrackSettings(api_key="key", account_id="acc", base_url=BASE, http=http)
        return anytrack_session(settings, transport=self)


RECORD = {
    "id": "c1",
    "click_id": "k1",
    "conversion_type": "sale",
    "revenue": "49.90",
    "currency": "EUR",
    "source": "google",
    "campaign_id": "42",
    "ad_id": "7",
    "timestamp": "2026-01-02T03:04:05",
    "sub_ids": {"s1": "a"},
    "ip_address": "203.0.113.9",
    "user_agent": "Mozilla/5.0",
}
"""A conversion as AnyTrack returns it."""


def record(**changes: Any) -> dict[str, Any]:
    """`RECORD` with *changes*."""
    return RECORD | changes


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4), values),
    max_leaves=6,
)
json_records = st.fixed_dictionaries(
    {}, optional=dict.fromkeys([*RECORD, "event_id", "custom_data", "more"], json_values)
)
"""Any JSON objects that use the names of AnyTrack's fields."""
