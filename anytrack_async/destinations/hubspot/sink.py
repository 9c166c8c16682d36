"""`HubSpotSink`: writes conversions as deals of their customers, or sends custom events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Self

import anyio

from anytrack_async.destinations.consent import LIMITED, deliver_with_consent, preview_reason
from anytrack_async.destinations.hubspot.custom_events import send_custom_events
from anytrack_async.destinations.hubspot.deals import write_deals
from anytrack_async.destinations.hubspot.mapping import (
    count_weaknesses,
    limited,
    to_contact,
    to_custom_event,
    to_deal,
    validate_source,
)
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import SERVICE, HubSpotError, to_signal
from anytrack_async.destinations.hubspot.settings import (
    CONSENT_VARIABLES,
    HubSpotSettings,
    OAuthSettings,
    consent_rule,
    resolve_pipelines,
    uses_standard_pipeline,
)
from anytrack_async.destinations.hubspot.setup import check_portal, create_properties
from anytrack_async.destinations.hubspot.steps import ConfirmedInputs
from anytrack_async.destinations.sink import (
    BatchRejected,
    Finding,
    NeedsOperator,
    Preview,
    SetupStep,
    SinkLimits,
    SinkSignal,
    Unavailable,
)
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import Observer, Weakened
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.observers import LoggingObserver
from anytrack_async.transport.message import Transport

_BATCH_SIZE = 100
"""Inputs that HubSpot accepts in one request."""

_NO_CONTACT = "a custom event needs the e-mail address or hubspotutk"

_CONCURRENCY = 6
"""Batches at once.

The usual limit of 100 requests in 10 s allows five batches a second, of two counted requests each.
If a batch takes 1.2 s, six must be in flight to use up the limit.
"""


class HubSpotSink:
    """Writes each conversion as a deal, its customer as a contact, and links the two.

    The deal's key is the event id, so writing a deal again changes nothing. Run `setup` once per
    portal before the first delivery: it creates the properties.

    If HubSpot refuses a contact, the deal is still delivered, without a contact, and the logger
    ``anytrack_async.hubspot`` warns.

    Args:
        settings: how to reach HubSpot and how conversions appear there.
        transport: replaces the connection pool, for tests.

    Raises:
        ConfigurationError: the settings name a field that conversions do not have, or the HTTP
            engine is not installed.
    """

    variables: ClassVar[Sequence[str]] = (
        *HubSpotSettings.VARIABLES.values(),
        *OAuthSettings.VARIABLES.values(),
        *CONSENT_VARIABLES.values(),
    )

    def __init__(self, settings: HubSpotSettings, *, transport: Transport | None = None) -> None:
        validate_source("properties", settings.properties)
        validate_source("contact_properties", settings.contact_properties)
        self._settings = settings
        self._consent = consent_rule(settings)
        self._portal = Portal(settings, transport)
        self._write = (
            send_custom_events
            if settings.mode == "events"
            else partial(write_deals, confirmed=ConfirmedInputs())
        )
        self._has_labels = settings.mode == "deals" and not uses_standard_pipeline(settings)
        # The settings with ids in place of labels; None until they are looked up.
        self._resolved = None if self._has_labels else settings
        self._resolving = anyio.Lock()
        self._observer: Observer = LoggingObserver()
        self._limits = SinkLimits(
            batch=_BATCH_SIZE,
            concurrency=_CONCURRENCY,
            required_seconds=settings.http.required_seconds(_requests_per_batch(settings)),
            spacing=self._portal.rate_limiter.spacing,
        )

    @property
    def quota_used(self) -> float | None:
        """The part of HubSpot's rate limit that is used now; None before the first request."""
        return self._portal.rate_limiter.quota_used

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return a sink with `HubSpotSettings.from_env`; None if neither token nor app is set.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        settings = HubSpotSettings.from_env(environ)
        return None if settings is None else cls(settings, transport=transport)

    @property
    def name(self) -> str:
        """Always ``"hubspot"``."""
        return SERVICE

    def set_observer(self, observer: Observer, /) -> None:
        """Report `Weakened` and `UnusualConfirmation` to *observer* instead of the log."""
        self._observer = self._portal.confirmations.observer = observer

    @property
    def limits(self) -> SinkLimits:
        """Batches of 100, six at once; the rate limiter spaces smaller batches."""
        return self._limits

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Write *batch* and return an outcome per conversion, in order, with the deal's id.

        Raises:
            Throttled: one of HubSpot's limits is reached.
            BatchRejected: HubSpot refuses the batch and does not say which conversion caused it.
            Inconclusive: HubSpot refuses a single conversion and does not say that it is at fault.
            NeedsOperator: the token is refused or lacks a scope (``cause="credentials"``), or the
                portal lacks a pipeline, stage or property (``cause="configuration"``).
            Unavailable: HubSpot is down or did not respond.
        """
        return await deliver_with_consent(
            batch, self._consent, limited, self._deliver, self._report_limited
        )

    def _report_limited(self, count: int) -> None:
        self._observer.notify(Weakened(destination=self.name, reason=LIMITED, count=count))

    async def _deliver(self, batch: Sequence[Conversion]) -> Sequence[Outcome]:
        settings = await self._resolved_settings()
        outcomes: list[Outcome] = []
        for start in range(0, len(batch), _BATCH_SIZE):
            part = batch[start : start + _BATCH_SIZE]
            try:
                written = await self._write(self._portal, part, settings)
                self._report_weaknesses(part, written)
                outcomes += written
            except SinkSignal as signal:
                if not isinstance(signal, BatchRejected):  # else all of it is sent again
                    self._report_weaknesses(part, signal.outcomes)
                if isinstance(signal, NeedsOperator) and self._has_labels:
                    self._resolved = None  # a stage may have been removed: look up labels again
                if not isinstance(signal, BatchRejected):
                    signal.outcomes = _pad([*outcomes, *signal.outcomes], len(batch))
                raise
        return outcomes

    def _report_weaknesses(
        self, conversions: Sequence[Conversion], outcomes: Sequence[Outcome | None]
    ) -> None:
        if self._settings.mode == "deals" and not self._settings.contacts:
            return
        # A conversion that will be sent again is reported then.
        final = [
            conversion
            for conversion, outcome in zip(conversions, outcomes, strict=False)
            if outcome is not None and outcome.status is not Status.RETRY
        ]
        for kind, count in count_weaknesses(final).items():
            self._observer.notify(Weakened(destination=self.name, reason=kind, count=count))

    async def setup(self, *, dry_run: bool = False) -> list[SetupStep]:
        """Create the missing deal properties and leave existing ones unchanged.

        Needs the scope ``crm.schemas.deals.write``; for a dry run, ``crm.schemas.deals.read``.

        Args:
            dry_run: create nothing, only return the steps.

        Returns:
            One step per property, and one for the property group unless it is HubSpot's own.

        Raises:
            ConfigurationError: a property of that name exists but is unusable, so nothing was
                created; or the mode is ``"events"``: define its custom event in HubSpot.
            ServiceError: HubSpot refused a request, or did not respond.
        """
        if self._settings.mode == "events":
            raise ConfigurationError(
                "setup creates deal properties, but the mode is 'events': define the custom event "
                "and its properties in HubSpot"
            )
        return await create_properties(self._portal, self._settings, dry_run=dry_run)

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Check token, scopes, properties, stages and currencies, and return the findings.

        Writes nothing. Remembers the portal's time zone: a daily limit ends at its midnight.

        Args:
            currencies: ISO 4217 codes of the conversions that will be sent.
        """
        return await check_portal(self._portal, self._settings, currencies)

    def preview(self, conversion: Conversion, /) -> Preview:
        """Return the deal and contact, or the custom event, of *conversion*; sends nothing."""
        problem = preview_reason(conversion, self._consent)
        conversion = limited(conversion, self._consent)
        if self._settings.mode == "events":
            return _preview_event(conversion, self._settings, problem)
        return _preview_deal(conversion, self._settings, problem)

    def use_token(self, token: str) -> None:
        """Use *token* from the next request on: an access token, with ``oauth`` a refresh token.

        Raises:
            ConfigurationError: *token* cannot be sent in a header.
        """
        self._portal.credentials.use(token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._portal.aclose()

    async def _resolved_settings(self) -> HubSpotSettings:
        """Return the settings with ids in place of labels; labels are looked up once."""
        if self._resolved is not None:
            return self._resolved
        async with self._resolving:
            if self._resolved is None:
                self._resolved = await self._resolve_labels()
            return self._resolved

    async def _resolve_labels(self) -> HubSpotSettings:
        try:
            pipelines = await self._portal.read(self._portal.paths.pipelines)
            return resolve_pipelines(self._settings, pipelines)
        except HubSpotError as exc:
            signal = to_signal(exc.problem)
            if isinstance(signal, BatchRejected):  # the request was about no conversion
                signal = Unavailable(
                    signal.reason, code=signal.code, http_status=signal.http_status
                )
            raise signal from exc
        except ConfigurationError as exc:
            # Every deal would be rejected: the lane holds until settings or portal are fixed.
            raise NeedsOperator(str(exc), cause="configuration", code="CONFIGURATION") from exc


def _preview_event(conversion: Conversion, settings: HubSpotSettings, problem: str) -> Preview:
    repeat = "HubSpot drops events with the same uuid"
    event = to_custom_event(conversion, settings)
    if not event:
        missing = ("email",)
        return Preview(requests={}, missing=missing, problem=problem or _NO_CONTACT, repeat=repeat)
    return Preview(
        requests={"event": event},
        match_keys=[key for key in ("email", "utk") if key in event],
        problem=problem,
        repeat=repeat,
    )


def _preview_deal(conversion: Conversion, settings: HubSpotSettings, problem: str) -> Preview:
    contact = to_contact(conversion, settings)
    requests = {"deal": to_deal(conversion, settings)["properties"]}
    if contact:
        requests["contact"] = contact["properties"]
    return Preview(
        requests=requests,
        match_keys=("email",) if contact else (),
        missing=("email",) if settings.contacts and not contact else (),
        problem=problem,
        repeat="HubSpot updates the deal with the same anytrack_event_id",
    )


def _pad(outcomes: list[Outcome | None], size: int) -> Sequence[Outcome | None]:
    """Return *outcomes*, then None for each conversion not sent; empty without any outcome."""
    return [*outcomes, *[None] * (size - len(outcomes))] if any(outcomes) else ()


def _requests_per_batch(settings: HubSpotSettings) -> int:
    """Return the number of requests per batch: contacts, deals and links, or only one request."""
    return 3 if settings.mode == "deals" and settings.contacts else 1
