"""From the environment to sinks and outbox."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox import MemoryOutbox, Outbox, SQLiteOutbox
from anytrack_async.settings import HubSpotSettings, MetaSettings
from anytrack_async.sinks import HubSpotSink, MetaSink, Sink

OUTBOX = "ANYTRACK_OUTBOX"


def sinks_from_env(environ: Mapping[str, str] | None = None) -> list[Sink]:
    """Return the sinks whose variables are set: Meta, HubSpot, both or none.

    Raises:
        ConfigurationError: a service's variables are set in part; the message names the missing.
    """
    meta, hubspot = MetaSettings.from_env(environ), HubSpotSettings.from_env(environ)
    sinks: list[Sink] = []
    if meta is not None:
        sinks.append(MetaSink(meta))
    if hubspot is not None:
        sinks.append(HubSpotSink(hubspot))
    return sinks


def outbox_from_env(environ: Mapping[str, str] | None = None) -> Outbox:
    """Return the outbox at ``ANYTRACK_OUTBOX``, one in memory where that is not set."""
    return make_outbox((os.environ if environ is None else environ).get(OUTBOX) or None)


def make_outbox(given: Outbox | str | os.PathLike[str] | None) -> Outbox:
    """Return *given*, or the SQLite outbox at that path; None makes one in memory.

    Raises:
        ConfigurationError: it is neither.
    """
    if given is None:
        return MemoryOutbox()
    if isinstance(given, str | os.PathLike):
        return SQLiteOutbox(Path(given))
    if not hasattr(given, "append"):
        raise ConfigurationError(f"outbox must be an Outbox or a path, got {type(given).__name__}")
    return given
