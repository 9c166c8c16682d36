"""`CollectSink`: sends conversions to AnyTrack by the URL of a custom integration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import ClassVar, Final, Self

import anyio
import orjson

from anytrack_async.destinations.anytrack.batch import (
    BatchSender,
    Refusals,
    RequestSlots,
)
from anytrack_async.destinations.anytrack.payload import RequestFormat, limited
from anytrack_async.destinations.anytrack.sink import (
    REQUESTS_PER_CONNECTION,
    USABLE_SHARE,
    batch_times,
)
from anytrack_async.destinations.collect.payload import (
    MISSING_IDENTITY,
    NOTHING_LEFT,
    encode,
    identity,
    to_payload,
    weaknesses,
)
from anytrack_async.destinations.collect.responses import read_outcome
from anytrack_async.destinations.collect.settings import HOST, CollectSettings
from anytrack_async.destinations.consent import LIMITED, deliver_with_consent, preview_reason
from anytrack_async.destinations.responses import Confirmations
from anytrack_async.destinations.sink import Finding, Preview, SinkLimits, SinkSignal
from anytrack_async.errors import TransportError
from anytrack_async.events import Observer, Weakened
from anytrack_async.models.consent import UNKNOWN_CONSENT
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.observers import LoggingObserver
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Transport
from anytrack_async.transport.session import Session

_WANTED: Final = ("click_id", "ref_id", "email")
# Without an identity: AnyTrack refuses it, so that nothing is recorded.
_PROBE: Final = orjson.dumps({"event_name": "Lead", "value": 0})


class CollectSink:
    """Sends conversions to the collect endpoint of a custom integration, one in a request.

    It takes the place of AnyTrack's REST API (``AnyTrackClient(collect=…)``) and so has its name,
    ``"anytrack"``. To send to both, which counts each conversion twice unless AnyTrack drops one,
    give it another name.

    A conversion without click id, external id and e-mail address is rejected without a request,
    because AnyTrack would refuse it. `Weakened` events count those without a click id, and click
    ids that are only client ids. AnyTrack discards a repeat of the same event and order id; a
    conversion without an order id that is sent again after a lost answer counts twice.

    Args:
        property_id: the segment of the collect URL in front of ``/collect/``.
        slug: the segment behind it.
        base_url: scheme and host of the URL.
        http: timeouts and connections.
        consent: what AnyTrack gets by `Conversion.consent`, see `CollectSettings`.
        name: the destination's name.
        transport: replaces the connection pool; closed with the sink.

    Raises:
        ConfigurationError: an argument is not valid; the message names it and does not show it.

    Source: AnyTrack, Custom Integration Params, readme.anytrack.io.
    """

    variables: ClassVar[Sequence[str]] = tuple(CollectSettings.VARIABLES.values())

    def __init__(
        self,
        property_id: str,
        slug: str,
        *,
        base_url: str = HOST,
        http: HttpSettings | None = None,
        consent: ConsentRule | None = None,
        name: str = "anytrack",
        transport: Transport | None = None,
    ) -> None:
        settings = CollectSettings(
            property_id=property_id,
            slug=slug,
            base_url=base_url,
            http=http or HttpSettings(),
            consent=consent or ConsentRule(),
        )
        http = settings.http
        self.name = name
        self._consent = settings.consent
        self._format = RequestFormat(
            path=(settings.property_id, "collect", settings.slug),
            encode=encode,
            headers=lambda _, __: None,
            read=read_outcome,
        )
        self._session = Session(
            name, settings.base_url, headers={}, http=http, transport=transport, limited=False
        )
        self._session.hide_secrets(settings.property_id, settings.slug)
        self._slots, self._refusals = RequestSlots(http.connections), Refusals()
        self._observer: Observer = LoggingObserver()
        self._confirmations = Confirmations(name)
        self._timeout = http.timeout
        self.fit(inf)
        self.limits = _limits(http)

    @classmethod
    def from_settings(
        cls,
        settings: CollectSettings,
        *,
        name: str = "anytrack",
        transport: Transport | None = None,
    ) -> Self:
        """Return a sink with *settings*."""
        return cls(
            settings.property_id,
            settings.slug,
            base_url=settings.base_url,
            http=settings.http,
            consent=settings.consent,
            name=name,
            transport=transport,
        )

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        http: HttpSettings | None = None,
        name: str = "anytrack",
        transport: Transport | None = None,
    ) -> Self:
        """Return a sink for the collect URL that AnyTrack shows.

        Raises:
            ConfigurationError: *url* is not such a URL; the message does not show it.
        """
        options = {} if http is None else {"http": http}
        settings = CollectSettings.from_url(url, **options)
        return cls.from_settings(settings, name=name, transport=transport)

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return a sink for ``ANYTRACK_COLLECT_URL``; None if it is not set.

        Raises:
            ConfigurationError: it is not a collect URL; the message does not show it.
        """
        settings = CollectSettings.from_env(environ)
        return None if settings is None else cls.from_settings(settings, transport=transport)

    def fit(self, batch_timeout: float) -> None:
        """Let one `deliver` call take at most *batch_timeout* seconds, as the client's lease asks.

        Without it, a lane would cut off a batch that is slower, and its outcomes would be lost.
        """
        self._sending_time, self._total_time = batch_times(
            self._timeout, batch_timeout * USABLE_SHARE
        )

    def set_observer(self, observer: Observer, /) -> None:
        """Report `Weakened` and `UnusualConfirmation` to *observer* instead of the log."""
        self._observer = self._confirmations.observer = observer

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch*; the number of connections limits how many conversions are in flight.

        Raises:
            NeedsOperator: the URL is wrong or switched off (``cause="configuration"``).
            Throttled: AnyTrack answered 429; conversions without an outcome were not sent.
            Unfinished: AnyTrack is so slow that some conversions were not sent.
            Unavailable: AnyTrack neither accepted nor rejected any conversion.
        """
        return await deliver_with_consent(
            batch, self._consent, limited, self._deliver, self._report_limited
        )

    def _report_limited(self, count: int) -> None:
        self._observer.notify(Weakened(destination=self.name, reason=LIMITED, count=count))

    async def _deliver(self, batch: Sequence[Conversion]) -> Sequence[Outcome]:
        outcomes = [_preflight(conversion, self._consent) for conversion in batch]
        sendable = _without_outcome(batch, outcomes)
        try:
            sent = await self._send(sendable) if sendable else ()
        except SinkSignal as signal:
            if signal.outcomes or len(sendable) < len(batch):
                signal.outcomes = _merged(outcomes, signal.outcomes or [None] * len(sendable))
            raise
        return [outcome for outcome in _merged(outcomes, sent) if outcome is not None]

    async def _send(self, batch: Sequence[Conversion]) -> Sequence[Outcome]:
        sender = BatchSender(
            self._session,
            self._slots,
            batch,
            seconds=self._sending_time,
            refusals=self._refusals,
            report_unusual=self._confirmations.report_response,
            request_format=self._format,
        )
        with anyio.move_on_after(self._total_time) as timeout:
            await sender.run()
        outcomes = sender.result(in_time=not timeout.cancelled_caught)
        self._report_weak(batch, outcomes)
        return outcomes

    def _report_weak(self, batch: Sequence[Conversion], outcomes: Sequence[Outcome]) -> None:
        kinds = Counter(
            kind
            for conversion, outcome in zip(batch, outcomes, strict=True)
            if outcome.status is not Status.RETRY
            for kind in weaknesses(conversion)
        )
        for kind, count in kinds.items():
            self._observer.notify(Weakened(destination=self.name, reason=kind, count=count))

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Send a conversion without identity, which AnyTrack refuses: nothing is recorded.

        Args:
            currencies: ignored, because AnyTrack accepts every currency.
        """
        try:
            response = await self._session.send("POST", *self._format.path, content=_PROBE)
            outcome = read_outcome(response)
        except TransportError as exc:
            return [Finding(name="collect URL", ok=False, message=str(exc))]
        except SinkSignal as signal:
            return [Finding(name="collect URL", ok=False, message=signal.reason)]
        message = "AnyTrack answers there; it refused a conversion without identity, as it should"
        if outcome.status is Status.DELIVERED:
            message = "something answers there, and did not refuse a conversion without identity"
        ok = outcome.status is not Status.RETRY
        return [Finding(name="collect URL", ok=ok, message=message if ok else outcome.error or "")]

    def preview(self, conversion: Conversion, /) -> Preview:
        """Return the body of the request for *conversion*; sends nothing."""
        problem = preview_reason(conversion, self._consent)
        conversion = limited(conversion, self._consent)
        keys = tuple(identity(conversion))
        return Preview(
            requests={"conversion": to_payload(conversion)},
            match_keys=keys,
            missing=tuple(key for key in _WANTED if key not in keys),
            problem=problem or ("" if keys else MISSING_IDENTITY),
            repeat="AnyTrack discards a repeat of the same event and transaction_id, the order id; "
            "without an order id it counts again",
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()


def _preflight(conversion: Conversion, rule: ConsentRule) -> Outcome | None:
    """Return the rejection that AnyTrack would answer with; None if it can be sent.

    A conversion that only lacks what its visitor has not agreed to is skipped: no dead letter.
    """
    if identity(conversion):
        return None
    consent = conversion.consent or UNKNOWN_CONSENT
    for state in (consent.ad_user_data, consent.ad_storage):
        if rule.action(state) != "send":
            return Outcome.skipped(NOTHING_LEFT)
    return Outcome.rejected(MISSING_IDENTITY, code="identity")


def _without_outcome(
    batch: Sequence[Conversion], outcomes: Sequence[Outcome | None]
) -> list[Conversion]:
    """Return the conversions of *batch* that preflight has given no outcome."""
    pairs = zip(batch, outcomes, strict=True)
    return [conversion for conversion, outcome in pairs if outcome is None]


def _merged(
    outcomes: Sequence[Outcome | None], sent: Sequence[Outcome | None]
) -> Sequence[Outcome | None]:
    """Return *outcomes*, with the outcomes in *sent* filling the gaps, in order.

    ``[rejected, None, None]`` and ``[delivered, retry]`` become ``[rejected, delivered, retry]``.
    """
    remaining = iter(sent)
    return [next(remaining) if outcome is None else outcome for outcome in outcomes]


def _limits(http: HttpSettings) -> SinkLimits:
    request_time = http.required_seconds()
    return SinkLimits(
        batch=REQUESTS_PER_CONNECTION * http.connections,
        concurrency=min(2, http.connections),
        required_seconds=request_time and request_time / USABLE_SHARE,
    )
