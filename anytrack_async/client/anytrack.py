"""`AnyTrackAccess`: which sink sends to AnyTrack, and which session reads from it.

api_key, account_id            the REST API sends and reads
collect                        the collect endpoint sends; reading raises an error
api_key, account_id, collect   the collect endpoint sends, the REST API reads
sends=False                    nothing sends; with an API key, the REST API reads
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from anytrack_async.destinations.anytrack.settings import (
    AnyTrackSettings,
    anytrack_session,
    has_credentials,
)
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.collect.settings import CollectSettings
from anytrack_async.destinations.collect.sink import CollectSink
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Transport
from anytrack_async.transport.session import Session


class AnyTrackAccess:
    """The client's arguments about AnyTrack, checked.

    Args:
        api_key: see `AnyTrackClient`, as for the others.
        account_id: needed with the API key.
        collect: replaces the REST API for sending.
        sends: whether conversions are sent to AnyTrack.
        transport: replaces the connections.
        options: fields of `AnyTrackSettings`; those that are None have their default.

    Attributes:
        check: called before each read; None if nothing speaks against reading.

    Raises:
        ConfigurationError: an argument is missing or wrong; the message names it.
    """

    def __init__(
        self,
        api_key: str | None,
        account_id: str | None,
        collect: CollectSink | CollectSettings | str | None,
        *,
        sends: bool,
        transport: Transport | None,
        **options: Any,
    ) -> None:
        if not sends and collect is not None:
            raise ConfigurationError(
                "collect is a way to send conversions to AnyTrack, and anytrack=False sends none "
                "there: leave out one of them"
            )
        # None keeps the default of the settings class, so that defaults are stated in one place.
        explicit = {name: value for name, value in options.items() if value is not None}
        self._transport, self._sends = transport, sends
        self._http: HttpSettings = explicit.get("http", HttpSettings())
        self._settings: AnyTrackSettings | None = None
        if api_key or account_id or (sends and collect is None):
            self._settings = AnyTrackSettings(
                api_key=_required("api_key", api_key),
                account_id=_required("account_id", account_id),
                **explicit,
            )
        explicit.pop("base_url", None)
        self._collect = _collect_sink(collect, explicit, transport)
        self.check: Callable[[], None] | None = None if self._settings else _refuse_to_read

    def sink(self, batch_timeout: float) -> AnyTrackSink | CollectSink | None:
        """Return the sink, if conversions are sent to AnyTrack.

        One of its batches may take *batch_timeout* seconds.
        """
        if not self._sends:
            return None
        if self._collect is not None:
            self._collect.fit(batch_timeout)
            return self._collect
        assert self._settings is not None  # noqa: S101 - see the constructor
        return AnyTrackSink(self._settings, transport=self._transport, batch_timeout=batch_timeout)

    def session(self) -> Session:
        """Return the session for reads.

        Deliveries have their own: a session retries reads, but a lane retries deliveries.
        """
        if self._settings is not None:
            return anytrack_session(self._settings, transport=self._transport)
        # Nothing is sent with it: `check` raises first.
        url = str(attrs.fields_dict(AnyTrackSettings)["base_url"].default)
        return Session(ANYTRACK, url, headers={}, http=self._http, transport=self._transport)


def access_from_env(environ: Mapping[str, str] | None, *, sends: bool = True) -> dict[str, Any]:
    """Return the client's arguments about AnyTrack that the environment sets.

    Args:
        environ: variables to use instead of the process's environment.
        sends: whether conversions are to be sent to AnyTrack; without, no variable is needed.

    Raises:
        ConfigurationError: a variable is missing or wrong; the message names it.
    """
    if not sends and not has_credentials(environ):
        return {"anytrack": False}
    collect = CollectSettings.from_env(environ) if sends else None
    if collect is not None and not has_credentials(environ):
        return {"collect": collect}
    settings = AnyTrackSettings.from_env(environ)
    return {
        "api_key": settings.api_key,
        "account_id": settings.account_id,
        "base_url": settings.base_url,
        "consent": settings.consent,
        "collect": collect,
        "anytrack": sends,
    }


def _collect_sink(
    collect: object, options: Mapping[str, Any], transport: Transport | None
) -> CollectSink | None:
    if collect is None:
        return None
    if isinstance(collect, str):
        collect = CollectSettings.from_url(collect)
    if isinstance(collect, CollectSettings):
        settings = attrs.evolve(collect, **options)
        return CollectSink.from_settings(settings, transport=transport)
    if not isinstance(collect, CollectSink):
        kind = type(collect).__name__
        raise ConfigurationError(
            f"collect must be a collect URL, CollectSettings or CollectSink, got {kind}"
        )
    if collect.name != ANYTRACK:
        raise ConfigurationError(
            f"collect takes the place of {ANYTRACK!r}, so it must have that name; a sink with "
            "another name goes in sinks"
        )
    return collect


def _refuse_to_read() -> None:
    raise ConfigurationError(
        "reading from AnyTrack needs an API key: pass api_key and account_id too "
        "(ANYTRACK_API_KEY, ANYTRACK_ACCOUNT_ID); the collect endpoint only takes conversions"
    )


def _required(name: str, value: str | None) -> str:
    if value:
        return value
    raise ConfigurationError(
        f"{name} is missing: pass it to AnyTrackClient, or set ANYTRACK_{name.upper()} and use "
        "AnyTrackClient.from_env(); without an API key, pass collect, or anytrack=False if "
        "nothing is to be sent to AnyTrack"
    )
