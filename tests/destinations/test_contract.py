"""The sink contract, for the destinations of this package.

`tests/testing/test_sink_contract.py` has sinks that break it.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, ClassVar

import httpx

from anytrack_async import (
    AnyTrackSettings,
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    MetaSink,
    Retry,
    WebhookSettings,
    WebhookSink,
)
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.testing import ServiceAnswer, ServiceRequest, SinkContract
from tests.destinations.answers import accept, graph


def http(timeout: float) -> HttpSettings:
    return HttpSettings(timeout=timeout, retry=Retry(attempts=1))


def accepted(request: ServiceRequest) -> ServiceAnswer:
    """Return the answer of the service that the path and the body belong to."""
    answer = accept(
        httpx.Request(request.method, f"http://x{request.path}", content=request.content)
    )
    return ServiceAnswer(status=answer.status_code, body=answer.content)


class TestAnyTrackSink(SinkContract):
    def make(self, url: str, timeout: float) -> AnyTrackSink:
        settings = AnyTrackSettings(
            api_key=self.secret, account_id="account", base_url=url, http=http(timeout)
        )
        return AnyTrackSink(settings)

    confirm = staticmethod(accepted)

    def refuse(self, request: ServiceRequest, key: str) -> ServiceAnswer:
        body = {"status": "error", "error": {"code": "invalid_conversion", "message": "no"}}
        return ServiceAnswer(status=422, body=body)

    def key(self, conversion: Any) -> str:
        return conversion.order_id


class TestMetaSink(SinkContract):
    def make(self, url: str, timeout: float) -> MetaSink:
        return MetaSink(
            MetaSettings(
                pixel_id="1234567890", access_token=self.secret, base_url=url, http=http(timeout)
            )
        )

    confirm = staticmethod(accepted)

    def refuse(self, request: ServiceRequest, key: str) -> ServiceAnswer:
        return ServiceAnswer(status=400, body=graph(100, error_subcode=2_804_050))

    def deny(self, request: ServiceRequest) -> ServiceAnswer:
        return ServiceAnswer(status=400, body=graph(190))

    def throttle(self, request: ServiceRequest) -> ServiceAnswer:
        return ServiceAnswer(status=400, body=graph(4))


class TestHubSpotSink(SinkContract):
    def make(self, url: str, timeout: float) -> HubSpotSink:
        return HubSpotSink(
            HubSpotSettings(access_token=self.secret, base_url=url, http=http(timeout))
        )

    confirm = staticmethod(accepted)

    def refuse(self, request: ServiceRequest, key: str) -> ServiceAnswer:
        body = {"status": "error", "category": "VALIDATION_ERROR", "message": "no"}
        return ServiceAnswer(status=400, body=body)


class TestWebhookSink(SinkContract):
    reads_answers: ClassVar[bool] = False
    secret: ClassVar[str] = "whsec_" + b64encode(b"s3cr3t" * 6).decode()

    def make(self, url: str, timeout: float) -> WebhookSink:
        return WebhookSink(WebhookSettings(url=url, secrets=self.secret, http=http(timeout)))

    def confirm(self, request: ServiceRequest) -> ServiceAnswer:
        return ServiceAnswer(status=204)

    def deny(self, request: ServiceRequest) -> ServiceAnswer:
        return ServiceAnswer(status=410)
