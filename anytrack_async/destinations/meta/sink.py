"""`MetaSink`: conversions to Meta's Conversions API.

Source: Meta: Conversions API, using the API.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

# Conversions with `MetaFields` are compared by their stored form. Importing that takes long, so it
# is done here and not at the first comparison, when conversions come in.
import anytrack_async.codec.storage as _storage  # noqa: F401
from anytrack_async.destinations.consent import LIMITED, deliver_with_consent, preview_reason
from anytrack_async.destinations.meta.encoding import (
    Chunk,
    Encoder,
    app_secret_proof,
    find_refusal,
    max_days,
    request_body,
    request_tail,
    split_into_requests,
)
from anytrack_async.destinations.meta.event import limited, to_event
from anytrack_async.destinations.meta.responses import QuotaPacer, outcome_of_request
from anytrack_async.destinations.meta.settings import CONSENT_VARIABLES, MetaSettings
from anytrack_async.destinations.meta.user_data import check_normalise_extra
from anytrack_async.destinations.responses import Confirmations
from anytrack_async.destinations.sink import (
    BatchRejected,
    Finding,
    Preview,
    SinkLimits,
    SinkSignal,
    Throttled,
    Unavailable,
)
from anytrack_async.errors import TransportError
from anytrack_async.events import Observer, Weakened
from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.observers import LoggingObserver
from anytrack_async.transport.message import Response, Transport
from anytrack_async.transport.session import Session

_WANTED_KEYS = ("em", "ph", "fbc", "fbp", "client_ip_address", "client_user_agent")


class MetaSink:
    """Sends conversions to one pixel or dataset, up to 1,000 in a request.

    An event for which Meta would refuse the whole request is found before sending, and only its
    conversion is rejected. An event that Meta will match less well is sent, and `Weakened` events
    report how many there were of each kind: to the client's observers, or, the first of each kind,
    in the log ``anytrack_async`` without a client. Meta drops repeats of an event id and name
    within 48 hours.

    Args:
        settings: pixel, token and defaults of the events.
        name: the destination's name; give each pixel its own.
        transport: replaces the connection pool, for tests.

    Raises:
        ConfigurationError: the settings ask for ``[normalise]`` or ``[speed]``, which is missing.
    """

    variables: ClassVar[Sequence[str]] = (
        *MetaSettings.VARIABLES.values(),
        *CONSENT_VARIABLES.values(),
    )

    def __init__(
        self, settings: MetaSettings, *, name: str = "meta", transport: Transport | None = None
    ) -> None:
        check_normalise_extra(settings)
        self.name = name
        self.limits = SinkLimits(
            batch=settings.batch,
            concurrency=settings.concurrency,
            required_seconds=settings.http.required_seconds(),
            max_age=max_days(settings.action_source) * 86_400.0,
        )
        self._settings = settings
        self._session = Session(
            name, settings.base_url, headers={}, http=settings.http, transport=transport
        )
        self._observer: Observer = LoggingObserver()
        self._confirmations = Confirmations(name)
        self._encoder = Encoder(settings)
        self._pacer = QuotaPacer()
        self._throttled = 0
        self.use_token(settings.access_token)

    @property
    def quota_used(self) -> float:
        """The part of Meta's quota that its last response said is used, from 0 to 1."""
        return self._pacer.used / 100

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return a sink with `MetaSettings.from_env`, None when neither pixel nor token is set.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        settings = MetaSettings.from_env(environ)
        return None if settings is None else cls(settings, transport=transport)

    def set_observer(self, observer: Observer, /) -> None:
        """Report `Weakened` and `UnusualConfirmation` to *observer* instead of the log."""
        self._observer = self._confirmations.observer = observer

    def preview(self, conversion: Conversion, /) -> Preview:
        """Return the event of *conversion*, and why Meta would refuse it; sends nothing."""
        now, rule = time.time(), self._settings.consent
        event = to_event(limited(conversion, rule), self._settings, now=now)
        keys = tuple(event["user_data"])
        refusal = find_refusal(event, now)
        return Preview(
            requests={"event": event},
            match_keys=keys,
            missing=tuple(key for key in _WANTED_KEYS if key not in keys),
            problem=preview_reason(conversion, rule) or (refusal.reason if refusal else ""),
            repeat="Meta drops events with the same name and event id for 48 hours",
        )

    def use_token(self, token: str) -> None:
        """Use *token* from the next request on.

        Raises:
            ConfigurationError: it cannot be a token.
        """
        self._session.authorize(token)
        self._tail = request_tail(self._settings, token)
        proof = app_secret_proof(self._settings, token)
        self._session.hide_secrets(self._settings.app_secret, proof)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch*; one outcome per conversion, in its order. Safe to repeat.

        Raises:
            Throttled: Meta asks to wait.
            BatchRejected: Meta refuses a request, perhaps for one event; it does not say which.
            Inconclusive: Meta refuses a single event, and does not say that it is at fault.
            NeedsOperator: token, permission, account or pixel is wrong.
            Unavailable: no response, or a response that is not Meta's.
        """
        return await deliver_with_consent(
            batch, self._settings.consent, limited, self._deliver, self._report_limited
        )

    def _report_limited(self, count: int) -> None:
        self._report(Counter({LIMITED: count}))

    async def _deliver(self, batch: Sequence[Conversion]) -> Sequence[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(batch)
        weaknesses: Counter[str] = Counter()  # of conversions that have an outcome
        chunks = await self._encoder.encode(batch, outcomes, weaknesses)
        requests = list(split_into_requests(chunks, self._encoder.max_event_bytes))
        del chunks  # each request frees its own chunks while it waits for Meta
        try:
            for request in requests:
                await self._deliver_request(request, outcomes, weaknesses)
        except BatchRejected:  # all of the batch is sent again, in halves
            raise
        except SinkSignal as signal:
            signal.outcomes = outcomes if any(outcomes) else ()
            self._report(weaknesses)
            raise
        self._report(weaknesses)
        return [outcome for outcome in outcomes if outcome is not None]

    async def _deliver_request(
        self, request: list[Chunk], outcomes: list[Outcome | None], weaknesses: Counter[str]
    ) -> None:
        indexes = [index for chunk in request for index in chunk.indexes]
        weak_chunks = [chunk.weaknesses for chunk in request if chunk.weaknesses]
        outcome = await self._send(request, len(indexes))
        for index in indexes:
            outcomes[index] = outcome
        if outcome.status is not Status.RETRY:
            for kinds in weak_chunks:
                weaknesses.update(kinds)

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Send one invented lead with the test code; if Meta accepts it, pixel and token are right.

        Without `MetaSettings.test_event_code` nothing is sent, because the event would count. Meta
        takes all *currencies*.

        Source: Meta: Conversions API, using the API, "Test Events Tool".
        """
        outcome = await self._send_test_event()
        message = outcome.error or (
            f"pixel {self._settings.pixel_id} accepted it; see it in Events Manager under "
            f"{self._settings.test_event_code}"
        )
        delivered = outcome.status is Status.DELIVERED
        return [Finding(name="test event", ok=delivered, message=message)]

    async def _send_test_event(self) -> Outcome:
        if not self._settings.test_event_code:
            return Outcome.rejected(
                "set META_TEST_EVENT_CODE to a code of Events Manager, tab Test events; without a "
                "code the event would count as real"
            )
        try:
            (outcome,) = await self.deliver((_test_lead(),))
        except SinkSignal as signal:
            return Outcome.retry(signal.reason, code=signal.code, http_status=signal.http_status)
        return outcome

    def _report(self, weaknesses: Mapping[str, int]) -> None:
        for kind, count in weaknesses.items():
            self._observer.notify(Weakened(destination=self.name, reason=kind, count=count))

    async def _send(self, chunks: list[Chunk], count: int) -> Outcome:
        await self._pacer.wait()
        body = request_body(chunks, self._tail)  # after the wait: the token may have changed
        chunks.clear()  # until Meta responds, the body is the only copy of its events
        path = (self._settings.api_version, self._settings.pixel_id, "events")
        try:
            response = await self._session.send("POST", *path, content=body)
        except TransportError as exc:
            raise Unavailable(str(exc)) from exc
        return self._read(self._session.mask_response(response), count)

    def _read(self, response: Response, count: int) -> Outcome:
        try:
            outcome = outcome_of_request(
                response,
                count,
                throttled=self._throttled,
                report_unusual=self._confirmations.report_response,
            )
        except Throttled:
            self._throttled += 1
            raise
        self._throttled = 0
        self._pacer.record(response.headers)
        return outcome


def _test_lead() -> Conversion:
    return Conversion.lead(
        customer=Customer(email="nobody@example.com", external_id="anytrack-check"),
        user_agent="anytrack check",
        page_url="https://example.com/",
        consent=Consent.granted(),
    )
