"""Whether a NATS server has a message on its disk when it acknowledges it.

By default it syncs every two minutes, so that a power cut takes acknowledged messages with it
(https://github.com/nats-io/nats-server/issues/7564). ``sync_interval: always`` changes that, from
version 2.10 on. A server does not tell its clients, only its monitoring port.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import anyio
from anyio import to_thread

from anytrack_async.descriptions import safe_description
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import logger

if TYPE_CHECKING:
    from nats.aio.client import Client

_TIMEOUT = 5.0  # seconds
_ADVICE = (
    "set `sync_interval: always` in its jetstream section, or accept that the loss of its power "
    "loses acknowledged conversions"
)


async def warn_if_not_synced(client: Client, monitoring: str | None) -> None:
    """Log a warning unless the server of *client* is known to sync each message.

    Args:
        client: an open connection.
        monitoring: URL of the server's monitoring port, if it may be asked.

    Raises:
        ConfigurationError: *monitoring* is no URL.
    """
    version = client.connected_server_version
    if (version.major, version.minor) < (2, 10):
        logger.warning(
            "NATS %d.%d cannot sync each message before it acknowledges it: upgrade to 2.12, or "
            "accept that the loss of its power loses acknowledged conversions",
            version.major,
            version.minor,
        )
    elif monitoring is None:
        logger.warning(
            "NATS may acknowledge conversions before they are on its disk: %s; "
            "JetStreamPublisher(monitoring='http://host:8222') checks it, and assume_synced=True "
            "turns this warning off",
            _ADVICE,
        )
    elif not _syncs_always(await _settings(monitoring)):
        logger.warning("NATS acknowledges conversions before they are on its disk: %s", _ADVICE)


async def _settings(monitoring: str) -> dict[str, Any]:
    """Return the settings of JetStream; none if the server does not answer."""
    if not monitoring.startswith(("http://", "https://")):
        raise ConfigurationError("monitoring must be a URL such as http://host:8222")
    try:
        with anyio.fail_after(_TIMEOUT):
            answer = await to_thread.run_sync(_read, monitoring, abandon_on_cancel=True)
        settings = json.loads(answer).get("config")
    except (OSError, ValueError, AttributeError) as exc:  # also a time-out
        logger.warning("NATS's monitoring port gives no answer: %s", safe_description(exc))
        return {}
    return settings if isinstance(settings, dict) else {}


def _read(monitoring: str) -> bytes:
    with urlopen(f"{monitoring.rstrip('/')}/jsz", timeout=_TIMEOUT) as answer:  # noqa: S310
        return bytes(answer.read(2**20))


def _syncs_always(settings: dict[str, Any]) -> bool:
    return bool(settings.get("sync_always"))
