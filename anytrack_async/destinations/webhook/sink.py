"""`WebhookSink`: posts each conversion to a receiver of yours, signed by Standard Webhooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import anyio
import orjson

from anytrack_async.destinations.anytrack.batch import (
    BatchSender,
    Refusals,
    RequestSlots,
)
from anytrack_async.destinations.anytrack.payload import RequestFormat
from anytrack_async.destinations.anytrack.sink import REQUESTS_PER_CONNECTION, batch_times
from anytrack_async.destinations.consent import (
    LIMITED,
    deliver_with_consent,
    preview_reason,
    withhold_clicks,
    without_identity,
)
from anytrack_async.destinations.responses import noting_status
from anytrack_async.destinations.sink import (
    Finding,
    NeedsOperator,
    Preview,
    SinkLimits,
    SinkSignal,
    Throttled,
)
from anytrack_async.destinations.webhook.payload import encode, signed_headers, to_payload
from anytrack_async.destinations.webhook.settings import WebhookSettings, signing_key
from anytrack_async.errors import TransportError
from anytrack_async.events import Observer, Weakened
from anytrack_async.models.consent import UNKNOWN_CONSENT
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.observers import LoggingObserver
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.transport.errors import read_error_body
from anytrack_async.transport.message import Response, Transport
from anytrack_async.transport.session import Session

_DEFAULT_PAUSE = 1.0  # seconds, after a 429 without `Retry-After`
_BATCH_SECONDS = 60.0  # that one `deliver` call may take
_CONNECTIONS = 8  # at most: the receiver is one application, and not a vendor's service
_SHORTEST_SECRET = 8  # characters of a part of the URL


class WebhookSink:
    """Posts each conversion as JSON to one URL, with the headers of *Standard Webhooks*.

    Receivers verify them with the libraries of www.standardwebhooks.com, and recognise a repeat by
    ``webhook-id``, the event id. A 2xx is delivered. 410 (Gone) holds the lane until an operator
    has changed the URL, and so does a redirect. Everything else is retried by the lane.

    Args:
        settings: URL, secrets, and the form of customer data.
        name: the destination's name; give each receiver its own.
        transport: replaces the connection pool, for tests.
        clock: returns unix seconds.

    Raises:
        ConfigurationError: the HTTP engine is not installed.

    Source: Standard Webhooks, www.standardwebhooks.com.
    """

    variables: ClassVar[Sequence[str]] = tuple(WebhookSettings.VARIABLES.values())

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        name: str = "signed-webhook",
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._settings, self._clock = settings, clock
        self._keys = tuple(map(signing_key, settings.secrets))
        self._format = RequestFormat(
            path=(),
            encode=partial(encode, customer=settings.customer),
            headers=lambda conversion, body: self._sign(conversion.event_id, body),
            read=_read_outcome,
        )
        http = settings.http
        self._session = Session(
            name, settings.url, headers={}, http=http, transport=transport, limited=False
        )
        self._session.hide_secrets(*settings.secrets, *_secret_parts(settings.url))
        connections = min(http.connections, _CONNECTIONS)
        self._slots, self._refusals = RequestSlots(connections), Refusals()
        self._observer: Observer = LoggingObserver()
        self._sending_time, self._total_time = batch_times(http.timeout, _BATCH_SECONDS)
        self.limits = SinkLimits(
            batch=REQUESTS_PER_CONNECTION * connections,
            concurrency=min(2, connections),
            required_seconds=http.required_seconds(),
        )

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return a sink with `WebhookSettings.from_env`, None when nothing is set.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        settings = WebhookSettings.from_env(environ)
        return None if settings is None else cls(settings, transport=transport)

    def set_observer(self, observer: Observer, /) -> None:
        """Report `Weakened` to *observer* instead of the log."""
        self._observer = observer

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Post *batch*, each conversion in a request of its own.

        Raises:
            NeedsOperator: the receiver is gone, or redirects.
            Throttled: the receiver answered 429.
            Unfinished: the receiver is so slow that some conversions were not sent.
            Unavailable: the receiver accepted none.
        """
        return await deliver_with_consent(
            batch, self._settings.consent, _limited, self._deliver, self._report_limited
        )

    async def _deliver(self, batch: Sequence[Conversion]) -> Sequence[Outcome]:
        sender = BatchSender(
            self._session,
            self._slots,
            batch,
            seconds=self._sending_time,
            refusals=self._refusals,
            request_format=self._format,
        )
        with anyio.move_on_after(self._total_time) as timeout:
            await sender.run()
        return sender.result(in_time=not timeout.cancelled_caught)

    def _report_limited(self, count: int) -> None:
        self._observer.notify(Weakened(destination=self.name, reason=LIMITED, count=count))

    def _sign(self, message_id: str, body: bytes) -> Mapping[str, str]:
        return signed_headers(message_id, body, self._keys, now=self._clock())

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Post a signed webhook of type ``check``, without data; receivers should ignore it.

        Args:
            currencies: ignored.
        """
        body = orjson.dumps({"type": "check", "timestamp": int(self._clock()), "data": {}})
        try:
            headers = self._sign("anytrack-check", body)
            outcome = _read_outcome(await self._session.send("POST", content=body, headers=headers))
        except TransportError as exc:
            return [Finding(name="receiver", ok=False, message=str(exc))]
        except SinkSignal as signal:
            return [Finding(name="receiver", ok=False, message=signal.reason)]
        ok = outcome.status is Status.DELIVERED
        message = "accepted a webhook of type 'check'" if ok else outcome.error or ""
        return [Finding(name="receiver", ok=ok, message=message)]

    def preview(self, conversion: Conversion, /) -> Preview:
        """Return the body of the webhook for *conversion*; sends nothing."""
        problem = preview_reason(conversion, self._settings.consent)
        conversion = _limited(conversion, self._settings.consent)
        return Preview(
            requests={"webhook": to_payload(conversion, self._settings.customer)},
            problem=problem,
            repeat="the receiver recognises it by webhook-id, the event id",
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()


def _limited(conversion: Conversion, rule: ConsentRule) -> Conversion:
    consent = conversion.consent or UNKNOWN_CONSENT
    conversion = withhold_clicks(conversion, rule)
    return (
        conversion if rule.action(consent.ad_user_data) == "send" else without_identity(conversion)
    )


def _read_outcome(response: Response, _: Callable[[Response], None] | None = None) -> Outcome:
    return Outcome.delivered() if response.success else _read_refusal(response)


@noting_status
def _read_refusal(response: Response) -> Outcome:
    error = read_error_body(response)
    status = response.status
    reason, code = f"{error.message} (status {status})", error.code or str(status)
    if status == 429:
        wait = response.retry_after
        raise Throttled(reason, code=code, after=_DEFAULT_PAUSE if wait is None else wait)
    if status == 410 or 300 <= status < 400:
        cause = "is gone" if status == 410 else "redirects, which is not followed"
        advice = "change WebhookSettings.url (SIGNED_WEBHOOK_URL)"
        raise NeedsOperator(f"the receiver {cause}: {reason}; {advice}", cause="configuration")
    return Outcome.retry(reason, code=code, after=response.retry_after)


def _secret_parts(url: str) -> list[str]:
    parts = urlsplit(url)
    values = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query)), parts.query]
    return [value for value in values if len(value) >= _SHORTEST_SECRET]
