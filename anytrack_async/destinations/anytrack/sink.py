"""`AnyTrackSink`: sends conversions to AnyTrack, one per request, many requests in flight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import ClassVar, Self

import anyio

from anytrack_async.destinations.anytrack.batch import BatchSender, Refusals, RequestSlots
from anytrack_async.destinations.anytrack.payload import limited, to_payload
from anytrack_async.destinations.anytrack.settings import (
    CONSENT_VARIABLES,
    AnyTrackSettings,
    anytrack_session,
    collect_url,
    has_credentials,
)
from anytrack_async.destinations.consent import LIMITED, deliver_with_consent, preview_reason
from anytrack_async.destinations.responses import Confirmations
from anytrack_async.destinations.sink import Finding, Preview, SinkLimits
from anytrack_async.errors import CredentialsError, DecodeError, NotFoundError, ServiceError
from anytrack_async.events import Observer, Weakened
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.message import Transport

REQUESTS_PER_CONNECTION = 8  # in a full batch
_MAX_SENDING_TIME = 30.0  # seconds in which requests may be started
# A sink ends its batch itself after this share of the time: if the lane cut the batch off, its
# outcomes would be lost.
USABLE_SHARE = 0.95


class AnyTrackSink:
    """Sends conversions to AnyTrack.

    Each request has the header ``Idempotency-Key: <event_id>``. AnyTrack does not document whether
    it honours the header, so expect *at least once*: if a response is lost, the conversion is sent
    again.

    Args:
        settings: URL and credentials.
        transport: replaces the connection pool; closed with the sink.
        batch_timeout: seconds that one `deliver` call may take. A request is started only if its
            whole timeout still fits, unless the timeout is longer than *batch_timeout*.

    Source: AnyTrack REST, ``POST /conversions``.
    """

    variables: ClassVar[Sequence[str]] = (
        *AnyTrackSettings.VARIABLES.values(),
        *CONSENT_VARIABLES.values(),
    )

    def __init__(
        self,
        settings: AnyTrackSettings,
        *,
        transport: Transport | None = None,
        batch_timeout: float = inf,
    ) -> None:
        http = settings.http
        self._consent = settings.consent
        self._session = anytrack_session(settings, transport=transport, limited=False)
        self._slots = RequestSlots(http.connections)
        self._refusals = Refusals()
        self._confirmations = Confirmations(self.name)
        self._sending_time, self._total_time = batch_times(
            http.timeout, batch_timeout * USABLE_SHARE
        )
        request_time = http.required_seconds()
        self._limits = SinkLimits(
            batch=REQUESTS_PER_CONNECTION * http.connections,
            # With two batches, one uses the connections that become idle while the other ends.
            concurrency=min(2, http.connections),
            required_seconds=request_time and request_time / USABLE_SHARE,
        )

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return a sink with `AnyTrackSettings.from_env`.

        None if ``ANYTRACK_COLLECT_URL`` is set and there are no credentials: `CollectSink` sends
        the conversions then.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        if not has_credentials(environ) and collect_url(environ):
            return None
        return cls(AnyTrackSettings.from_env(environ), transport=transport)

    @property
    def name(self) -> str:
        """``"anytrack"``."""
        return "anytrack"

    def set_observer(self, observer: Observer, /) -> None:
        """Report `UnusualConfirmation` to *observer* instead of the log."""
        self._confirmations.observer = observer

    @property
    def limits(self) -> SinkLimits:
        """Eight conversions per connection in a batch, two batches at once."""
        return self._limits

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch*; the number of connections limits how many conversions are in flight.

        Raises:
            NeedsOperator: AnyTrack does not accept the credentials; conversions without an outcome
                were not sent. Or all answers are not AnyTrack's, as with a wrong base URL
                (``cause="configuration"``).
            Throttled: AnyTrack answered 429; conversions without an outcome were not sent.
            Unfinished: AnyTrack is so slow that some conversions were not sent.
            Unavailable: AnyTrack neither accepted nor rejected any conversion.
        """
        return await deliver_with_consent(
            batch, self._consent, limited, self._deliver, self._report_limited
        )

    def _report_limited(self, count: int) -> None:
        weakened = Weakened(destination=self.name, reason=LIMITED, count=count)
        self._confirmations.observer.notify(weakened)

    async def _deliver(self, batch: Sequence[Conversion]) -> Sequence[Outcome]:
        sender = BatchSender(
            self._session,
            self._slots,
            batch,
            seconds=self._sending_time,
            refusals=self._refusals,
            report_unusual=self._confirmations.report_response,
        )
        with anyio.move_on_after(self._total_time) as timeout:
            await sender.run()
        return sender.result(in_time=not timeout.cancelled_caught)

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Check the credentials by reading today's report; nothing is written.

        Args:
            currencies: ignored, because AnyTrack accepts every currency.
        """
        today = datetime.now(UTC).date().isoformat()
        try:
            await self._session.get("reports", "daily", params={"date": today})
        except (ServiceError, DecodeError) as exc:
            advice = ""
            if isinstance(exc, NotFoundError | DecodeError):
                advice = "; is AnyTrackSettings.base_url (ANYTRACK_BASE_URL) right?"
            elif isinstance(exc, CredentialsError):
                advice = "; check api_key and account_id (ANYTRACK_API_KEY, ANYTRACK_ACCOUNT_ID)"
            return [Finding(name="credentials", ok=False, message=f"{exc}{advice}")]
        return [Finding(name="credentials", ok=True, message="accepted")]

    def preview(self, conversion: Conversion, /) -> Preview:
        """Return the body of the request for *conversion*; sends nothing."""
        problem = preview_reason(conversion, self._consent)
        conversion = limited(conversion, self._consent)
        return Preview(
            problem=problem,
            requests={"conversion": to_payload(conversion)},
            match_keys=("click_id",) if conversion.click_id else (),
            missing=() if conversion.click_id else ("click_id",),
            repeat="the request has the event id as its idempotency key, which AnyTrack does not "
            "document",
        )

    def use_token(self, token: str) -> None:
        """Use *token* as API key from now on.

        Raises:
            ConfigurationError: *token* cannot be sent in a header.
        """
        self._session.authorize(token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()


def batch_times(timeout: float, available: float) -> tuple[float, float]:
    """Return the seconds during which a batch may start requests, and after which it ends.

    If *available* is long enough, the last request still gets its whole *timeout*. By default,
    the timeout is 30 s and 91 s are available: requests are started for 30 s, and the batch ends
    after 60 s. With 22.8 s available, requests are started for 11.4 s, and the batch ends after
    22.8 s.
    """
    spare = available - timeout if timeout <= available < inf else available / 2
    sending_time = min(timeout, _MAX_SENDING_TIME, spare)
    return sending_time, min(sending_time + timeout, available)
