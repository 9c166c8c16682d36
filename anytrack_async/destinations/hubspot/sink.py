"""`HubSpotSink`: conversions as deals of their customers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

import anyio

from anytrack_async.destinations.hubspot.check import examine
from anytrack_async.destinations.hubspot.pipelines import is_plain, resolved
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import RESUME
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.hubspot.setup import set_up
from anytrack_async.destinations.hubspot.signals import SERVICE, Refused, to_signal
from anytrack_async.destinations.hubspot.values import check_source
from anytrack_async.destinations.hubspot.write_deals import write_deals
from anytrack_async.destinations.hubspot.write_events import write_events
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

_BATCH = 100

_AT_ONCE = 6
"""Batches at once: HubSpot takes its time over one, and fewer would leave its limit unused."""


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
        check_source("properties", settings.properties)
        check_source("contact_properties", settings.contact_properties)
        self._settings = settings
        self._portal = Portal(settings, transport)
        self._write = write_events if settings.mode == "events" else write_deals
        self._plain = settings.mode == "events" or is_plain(settings)
        self._ready = settings if self._plain else None
        self._looking = anyio.Lock()
        self._limits = SinkLimits(
            batch=_BATCH,
            concurrency=_AT_ONCE,
            required_seconds=settings.http.required_seconds(_requests(settings)),
            spacing=self._portal.spacing,
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
        """Batches of 100, six at once; smaller ones as far apart as the rate makes sensible."""
        return self._limits

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Write *batch*; one outcome per conversion, in its order, with the deal's id.

        Raises:
            Throttled: a limit of HubSpot's is reached.
            BatchRejected: one conversion spoils all, and HubSpot does not say which.
            NeedsOperator: the token, its scopes, the pipeline or a property is not there.
            Unavailable: HubSpot is down or did not respond.
        """
        settings = await self._placed()
        outcomes: list[Outcome] = []
        for start in range(0, len(batch), _BATCH):
            try:
                outcomes += await self._write(self._portal, batch[start : start + _BATCH], settings)
            except SinkSignal as signal:
                self._forget(signal)
                if not isinstance(signal, BatchRejected):
                    signal.outcomes = _in_place(outcomes, signal.outcomes, len(batch))
                raise
        return outcomes

    async def setup(self, *, dry_run: bool = False) -> list[SetupStep]:
        """Create the deal properties that are missing; what exists and fits stays as it is.

        Needs the scope ``crm.schemas.deals.write``, and ``….read`` for a dry run.

        Args:
            dry_run: only tell what would be created or refused.

        Returns:
            One step per property, and one for the group unless it is HubSpot's own.

        Raises:
            ConfigurationError: a property of that name exists and does not fit; nothing was
                created. Or the mode is ``"events"``: define the event in HubSpot.
            ServiceError: HubSpot did not do it.
        """
        if self._settings.mode == "events":
            raise ConfigurationError(
                "set-up is for deals; define the custom event and its properties in HubSpot"
            )
        return await set_up(self._portal, self._settings, dry_run=dry_run)

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Return whether token, scopes, properties, stages and currencies are as needed.

        Writes nothing. Learns the portal's time zone, with which a daily limit is waited out.

        Args:
            currencies: ISO 4217 codes that conversions will have.
        """
        return await examine(self._portal, self._settings, currencies)

    def use_token(self, token: str) -> None:
        """Use *token* from now on, e.g. a rotated one.

        Raises:
            ConfigurationError: it cannot be one.
        """
        self._portal.credentials.use(token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._portal.aclose()

    async def _placed(self) -> HubSpotSettings:
        """Return the settings with internal ids; what is not plain is looked up once."""
        if self._ready is not None:
            return self._ready
        async with self._looking:
            if self._ready is None:
                self._ready = await self._look_up()
            return self._ready

    async def _look_up(self) -> HubSpotSettings:
        try:
            return resolved(self._settings, await self._portal.read(self._portal.paths.pipelines))
        except Refused as exc:
            raise to_signal(exc.problem) from exc
        except ConfigurationError as exc:
            # Every deal would fail: hold until the settings or the portal are put right.
            reason = f"{exc}; {RESUME}"
            raise NeedsOperator(reason, cause="configuration", code="CONFIGURATION") from exc

    def _forget(self, signal: SinkSignal) -> None:
        if isinstance(signal, NeedsOperator) and not self._plain:
            self._ready = None  # a stage may have been removed


def _in_place(
    before: list[Outcome], here: Sequence[Outcome | None], size: int
) -> Sequence[Outcome | None]:
    known: list[Outcome | None] = [*before, *here]
    return [*known, *[None] * (size - len(known))] if any(known) else ()


def _requests(settings: HubSpotSettings) -> int:
    """Return how many a batch takes: for contacts, deals and links, or only one."""
    return 3 if settings.mode == "deals" and settings.contacts else 1
