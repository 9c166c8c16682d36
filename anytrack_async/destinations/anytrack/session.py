"""How requests to AnyTrack are addressed and signed."""

from __future__ import annotations

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.transport.message import Transport
from anytrack_async.transport.session import Session


def anytrack_session(
    settings: AnyTrackSettings, *, transport: Transport | None = None, limited: bool = True
) -> Session:
    """Return a session with AnyTrack; see `Session` for *transport* and *limited*.

    Raises:
        ConfigurationError: the engine is not installed.
    """
    return Session(
        "anytrack",
        settings.base_url,
        headers={
            "Authorization": f"Bearer {settings.api_key}",
            "X-Account-ID": settings.account_id,
        },
        http=settings.http,
        transport=transport,
        limited=limited,
    )
