"""`HubSpotSink`: conversions as deals of their customers, or as custom events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

import anyio

from anytrack_async.destinations.hubspot.custom_events import send_custom_events
from anytrack_async.destinations.hubspot.deals import write_deals
from anytrack_async.destinations.hubspot.mapping import validate_source
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import SERVICE, Refusal, to_signal
from anytrack_async.destinations.hubspot.settings import (
    HubSpotSettings,
    OAuthSettings,
    resolve_pipelines,
    uses_standard_pipeline,
)
from anytrack_async.destinations.hubspot.setup import check_portal, create_properties
from anytrack_async.destinations.sink import (
    BatchRejected,
    Finding,
    NeedsOperator,
    SetupStep,
    SinkLimits,
    SinkSignal,
)
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.message import Transport

_BATCH_SIZE = 100
"""Inputs that HubSpot takes in one request."""

_CONCURRENCY = 6
"""Batches at once. The usual limit of 100 requests in 10 s admits five batches a second, of two
counted requests each: if a batch takes 1.2 s, it takes six at once to use the limit up."""


class HubSpotSink:
    """Writes each conversion as a deal, its customer as a contact, and links the two.

    The deal's key is the event id, so that writing it again changes nothing. Run `setup` once per
    portal before the first delivery: it creates the properties.

    A contact that HubSpot refuses does not lose its deal: that is delivered without one, and the
    logger ``anytrack_async.hubspot`` warns.

    Args:
        settings: how to reach HubSpot and how deals look there.
        transport: instead of a connection pool, for tests.

    Raises:
        ConfigurationError: the settings name a field that conversions do not have, or the engine is
            missing.
    """

    variables: ClassVar[Sequence[str]] = (
        *HubSpotSettings.VARIABLES.values(),
        *OAuthSettings.VARIABLES.values(),
    )

    def __init__(self, settings: HubSpotSettings, *, transport: Transport | None = None) -> None:
        validate_source("properties", settings.properties)
        validate_source("contact_properties", settings.contact_properties)
        self._settings = settings
        self._portal = Portal(settings, transport)
        self._write = send_custom_events if settings.mode == "events" else write_deals
        self._has_labels = settings.mode == "deals" and not uses_standard_pipeline(settings)
        # The settings with ids in place of labels; None until they are looked up.
        self._resolved = None if self._has_labels else settings
        self._resolving = anyio.Lock()
        self._limits = SinkLimits(
            batch=_BATCH_SIZE,
            concurrency=_CONCURRENCY,
            required_seconds=settings.http.required_seconds(_requests_per_batch(settings)),
            spacing=self._portal.rate_limiter.spacing,
        )

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return a sink with `HubSpotSettings.from_env`, None if neither token nor app is set.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        settings = HubSpotSettings.from_env(environ)
        return None if settings is None else cls(settings, transport=transport)

    @property
    def name(self) -> str:
        """Always ``"hubspot"``."""
        return SERVICE

    @property
    def limits(self) -> SinkLimits:
        """Batches of 100, six at once; the rate limiter spaces smaller batches."""
        return self._limits

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Write *batch*; one outcome per conversion, in its order, with the deal's id.

        Raises:
            Throttled: a limit of HubSpot's is reached.
            BatchRejected: HubSpot refuses all because of one conversion, and does not say which.
            NeedsOperator: the token is refused or lacks a scope (``cause="credentials"``); or the
                portal lacks a pipeline, stage or property (``cause="configuration"``).
            Unavailable: HubSpot is down or did not respond.
        """
        settings = await self._resolved_settings()
        outcomes: list[Outcome] = []
        for start in range(0, len(batch), _BATCH_SIZE):
            part = batch[start : start + _BATCH_SIZE]
            try:
                outcomes += await self._write(self._portal, part, settings)
            except SinkSignal as signal:
                if isinstance(signal, NeedsOperator) and self._has_labels:
                    self._resolved = None  # a stage may have been removed: look again next time
                if not isinstance(signal, BatchRejected):
                    signal.outcomes = _pad([*outcomes, *signal.outcomes], len(batch))
                raise
        return outcomes

    async def setup(self, *, dry_run: bool = False) -> list[SetupStep]:
        """Create the deal properties that are missing; leave those that exist as they are.

        Needs the scope ``crm.schemas.deals.write``, and ``….read`` for a dry run.

        Args:
            dry_run: only return the steps.

        Returns:
            One step per property, and one for the group unless it is HubSpot's own.

        Raises:
            ConfigurationError: a property of that name exists and does not fit; nothing was
                created. Or the mode is ``"events"``: define the event in HubSpot.
            ServiceError: HubSpot refused a request.
        """
        if self._settings.mode == "events":
            raise ConfigurationError(
                "setup is for deals; define the custom event and its properties in HubSpot"
            )
        return await create_properties(self._portal, self._settings, dry_run=dry_run)

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Return whether token, scopes, properties, stages and currencies are as needed.

        Writes nothing. Learns the portal's time zone: a daily limit ends at its midnight.

        Args:
            currencies: ISO 4217 codes that conversions will have.
        """
        return await check_portal(self._portal, self._settings, currencies)

    def use_token(self, token: str) -> None:
        """Use *token* from now on, e.g. a rotated one.

        Raises:
            ConfigurationError: *token* cannot be sent in a header.
        """
        self._portal.credentials.use(token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._portal.aclose()

    async def _resolved_settings(self) -> HubSpotSettings:
        """Return the settings with ids in place of labels, which are looked up once."""
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
        except Refusal as exc:
            raise to_signal(exc.problem) from exc
        except ConfigurationError as exc:
            # Every deal would be rejected: the lane holds until settings or portal are fixed.
            raise NeedsOperator(str(exc), cause="configuration", code="CONFIGURATION") from exc


def _pad(outcomes: list[Outcome | None], size: int) -> Sequence[Outcome | None]:
    """Return *outcomes* with None for the conversions that were not sent; empty without any."""
    return [*outcomes, *[None] * (size - len(outcomes))] if any(outcomes) else ()


def _requests_per_batch(settings: HubSpotSettings) -> int:
    """Return the requests that a batch takes: for contacts, deals and links, or only one."""
    return 3 if settings.mode == "deals" and settings.contacts else 1
