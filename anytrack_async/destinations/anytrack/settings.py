"""Where AnyTrack is and how to sign in there: `AnyTrackSettings`, and the session they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.environment import (
    base_url,
    build,
    from_environment,
    made_of,
    not_empty,
    require,
    secret,
)
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Transport
from anytrack_async.transport.session import Session


@attrs.frozen(kw_only=True)
class AnyTrackSettings:
    """How to reach AnyTrack.

    Attributes:
        api_key: sent as bearer token.
        account_id: sent as ``X-Account-ID``.
        base_url: HTTPS, with the version.
        http: timeouts, connections, retries of reads.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.
    """

    VARIABLES: ClassVar = {
        "api_key": "ANYTRACK_API_KEY",
        "account_id": "ANYTRACK_ACCOUNT_ID",
        "base_url": "ANYTRACK_BASE_URL",
    }

    api_key: str = secret()
    account_id: str = attrs.field(validator=not_empty)
    base_url: str = attrs.field(default="https://api.anytrack.io/v1", converter=base_url)
    http: HttpSettings = attrs.field(factory=HttpSettings, validator=made_of(HttpSettings))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return settings from ``ANYTRACK_API_KEY``, ``…_ACCOUNT_ID`` and ``…_BASE_URL``.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        values = from_environment(cls.VARIABLES, environ)
        require(values, cls.VARIABLES, "api_key", "account_id")
        return build(cls, values, cls.VARIABLES)


def anytrack_session(
    settings: AnyTrackSettings, *, transport: Transport | None = None, bounded: bool = False
) -> Session:
    """Return a session with AnyTrack; see `Session` for *transport* and *bounded*.

    Raises:
        ConfigurationError: the account id cannot be sent in a header, or the engine is missing.
    """
    account = settings.account_id
    # Checked here because the message must name the setting; the session checks the token.
    if not account.isascii() or not account.isprintable():
        raise ConfigurationError("account_id must be printable ASCII")
    return Session(
        "anytrack",
        settings.base_url,
        headers={"Authorization": f"Bearer {settings.api_key}", "X-Account-ID": account},
        http=settings.http,
        transport=transport,
        bounded=bounded,
    )
