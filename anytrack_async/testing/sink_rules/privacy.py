"""Rules about privacy: neither the secret nor a customer's data is shown anywhere."""

# ruff: noqa: D102, S101

from __future__ import annotations

import logging

import pytest

from anytrack_async.testing.sink_rules.base import EMAIL, PHONE, SinkHooks, attempt
from anytrack_async.testing.stand_in import ServiceAnswer, ServiceRequest

_STATUSES = (200, 400, 401, 403, 404, 409, 422, 429, 500, 503)


class PrivacyRules(SinkHooks):
    """Rules about the texts in logs, reports and tracebacks."""

    @pytest.mark.parametrize("status", _STATUSES)
    async def test_a_service_that_quotes_the_request_betrays_nothing(
        self, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The answer has the token and the customer's address, as some services' errors have."""
        caplog.set_level(logging.DEBUG)

        def quote(request: ServiceRequest) -> ServiceAnswer:
            quoted = f"{dict(request.headers)} {request.path} {EMAIL} {PHONE} {self.secret}"
            body = {"error": {"message": quoted, "code": 1}, "message": quoted, "detail": quoted}
            return ServiceAnswer(status=status, body=body)

        async with self.opened(quote) as (sink, _):
            result = await attempt(sink, self.batch(min(2, sink.limits.batch)))
            shown = f"{sink!r} {sink} {sink.limits!r}"

        for text in (result.said, shown, caplog.text):
            assert self.secret not in text, "the secret is shown"
            assert EMAIL not in text, "a customer's e-mail address is shown"
            assert PHONE not in text, "a customer's phone number is shown"

    async def test_a_service_that_is_not_there_betrays_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with self.opened() as (_, service):
            url = service.url
        sink = self.make(url, 10.0)
        result = await attempt(sink, self.batch(1))

        assert self.secret not in result.said + caplog.text
