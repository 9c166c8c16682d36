"""`LocalSandbox`: the stand-ins of all services in the test's own process, without a port."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import httpx

from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.destinations.sink import Sink
from anytrack_async.errors import ConfigurationError
from anytrack_async.sandbox import Faults, SandboxSettings, create_app
from anytrack_async.sandbox.payloads import Payload
from anytrack_async.testing.clock import ManualClock

ServiceName: TypeAlias = Literal["anytrack", "meta", "hubspot"]

_SINKS = ("meta", "hubspot")


class LocalSandbox:
    """AnyTrack, Meta's Conversions API and HubSpot, in this process and without a port.

    Requests take the client's whole path up to the connection: a conversion that a service would
    refuse is refused here too. Nothing leaves the process. Needs the extra ``[sandbox]``.

    Args:
        settings: credentials, limits and faults; the defaults if None.
        clock: the services' clock, for tests of rules about time, such as Meta's seven days.

    Attributes:
        settings: the set-up.
        clock: see above.
        transport: pass it as ``transport=`` to a client or a sink.
    """

    def __init__(
        self, settings: SandboxSettings | None = None, *, clock: ManualClock | None = None
    ) -> None:
        self.settings = settings or SandboxSettings()
        self.clock = clock or ManualClock()
        self._app = create_app(self.settings, clock=self.clock)
        self.transport = httpx.ASGITransport(self._app)

    def sinks(self, *names: str) -> list[Sink]:
        """Return sinks of these destinations, by default of all, that send to this sandbox.

        Raises:
            ConfigurationError: there is no such destination here.
        """
        return [self._sink(name) for name in names or _SINKS]

    def _sink(self, name: str) -> Sink:
        if name == "meta":
            pixel = self.settings.meta
            settings = MetaSettings(pixel_id=pixel.pixels[0], access_token=pixel.tokens[0])
            return MetaSink(settings, transport=self.transport)
        if name == "hubspot":
            token = self.settings.hubspot.tokens[0]
            return HubSpotSink(HubSpotSettings(access_token=token), transport=self.transport)
        raise ConfigurationError(
            f"the sandbox has no destination {name!r}; it has anytrack, {', '.join(_SINKS)}"
        )

    def payloads(
        self, service: ServiceName | None = None, *, masked: bool = False
    ) -> list[Payload]:
        """Return the latest requests that *service* received (all services, if None).

        Args:
            service: its name.
            masked: whether the customer's values become ``***``.
        """
        return self._app.payloads.read(service, masked=masked)

    def ledger(self, *, ids: bool = False) -> dict[str, Any]:
        """Return the conversions that each service got, by result; see `sandbox.ledger`."""
        return self._app.ledger.as_dict(ids=ids)

    def reset(self) -> None:
        """Forget everything and go back to the settings."""
        self._app.reset()

    def inject(self, faults: Faults) -> None:
        """Inject *faults* from now on."""
        self._app.inject(faults)

    def down(self, service: ServiceName | None = None, *, down: bool = True) -> None:
        """Take *service* (all of them, if None) down, or bring it back with ``down=False``."""
        for name in (service,) if service else tuple(self._app.services):
            self._app.services[name].outage = "503" if down else None

    def accept_tokens(self, service: ServiceName, *tokens: str) -> None:
        """Let *service* accept these tokens and no others, e.g. to see a lane that is held."""
        self._app.services[service].service.set_tokens(tokens)
