"""Arguments and environment variables of the client: checked, and made into sinks and an outbox."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import ceil, isfinite
from pathlib import Path
from typing import Any

from anytrack_async.destinations.registry import ANYTRACK, destinations
from anytrack_async.destinations.sink import Sink
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import BATCH_SHARE_OF_LEASE, DeliverySettings
from anytrack_async.transport.message import Transport

OUTBOX_VARIABLE = "ANYTRACK_OUTBOX"


def sinks_from_env(
    environ: Mapping[str, str] | None = None, transport: Transport | None = None
) -> list[Sink]:
    """Return the sinks that the environment configures, without AnyTrack's.

    Args:
        environ: instead of the process's environment.
        transport: instead of the sinks' connections.

    Raises:
        ConfigurationError: a variable is missing or wrong; the message names it.
    """
    sinks = (
        destination.sink_from_env(environ, transport)
        for destination in destinations()
        if destination.name != ANYTRACK
    )
    return [sink for sink in sinks if sink is not None]


def outbox_from_env(environ: Mapping[str, str] | None = None) -> Outbox:
    """Return the outbox at the path in ``ANYTRACK_OUTBOX``; in memory if that is not set."""
    return make_outbox((os.environ if environ is None else environ).get(OUTBOX_VARIABLE) or None)


def make_outbox(outbox: Outbox | str | os.PathLike[str] | None) -> Outbox:
    """Return *outbox* itself, a SQLite outbox if it is a path, one in memory if it is None.

    Raises:
        ConfigurationError: it is something else.
    """
    if outbox is None:
        return MemoryOutbox()
    if isinstance(outbox, str | os.PathLike):
        # Only here: a client with its outbox in memory never loads sqlite3.
        from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

        return SQLiteOutbox(Path(outbox))
    # `Outbox` is a protocol, not a base class: a method that every outbox has stands for it.
    if not hasattr(outbox, "claim"):
        kind = type(outbox).__name__
        raise ConfigurationError(f"outbox must be an Outbox or a path, got {kind}")
    return outbox


def delivery_settings(settings: object) -> DeliverySettings:
    """Return *settings*, or the defaults for None.

    Raises:
        ConfigurationError: it is something else.
    """
    if settings is None:
        return DeliverySettings()
    if not isinstance(settings, DeliverySettings):
        kind = type(settings).__name__
        raise ConfigurationError(f"delivery must be DeliverySettings(…), got {kind}")
    return settings


def check_lease(delivery: DeliverySettings, sinks: Iterable[Sink]) -> None:
    """Refuse a lease that is too short for a sink's timeouts: its batches would be cut short.

    A HubSpot batch takes three requests, so with a timeout of 80 s it may need 240 s. A batch gets
    four fifths of the lease, so the lease must be 300 s or more.

    Raises:
        ConfigurationError: the message names both settings and a lease that is long enough.
    """
    for sink in sinks:
        needed = sink.limits.required_seconds
        if needed is not None and needed > delivery.batch_timeout:
            raise ConfigurationError(_lease_message(sink.name, needed, delivery.batch_timeout))


def _lease_message(name: str, needed: float, available: float) -> str:
    lease = needed / BATCH_SHARE_OF_LEASE
    # Rounded up to a number that a person would write; infinity cannot be rounded.
    sufficient = ceil(lease) if isfinite(lease) else lease
    return (
        f"the lease is too short for the timeout of {name!r}: set "
        f"DeliverySettings(lease={sufficient}) or a shorter HttpSettings(timeout=…); a batch needs "
        f"{needed:.4g} s and gets four fifths of the lease, {available:.4g} s"
    )


def check_sinks(sinks: object) -> tuple[Sink, ...]:
    """Return *sinks* as a tuple.

    Raises:
        ConfigurationError: it is not a list, or one of them is not a sink.
    """
    checked = as_tuple("sinks", sinks)
    for sink in checked:
        # A sink class has the same methods as a sink, and is the likeliest mistake.
        if isinstance(sink, type) or not hasattr(sink, "deliver") or not hasattr(sink, "limits"):
            kind = sink.__name__ if isinstance(sink, type) else type(sink).__name__
            raise ConfigurationError(
                f"sinks must be Sink objects such as MetaSink(settings), got {kind}"
            )
    return checked


def as_tuple(argument: str, values: object) -> tuple[Any, ...]:
    """Return *values*, given as *argument*, as a tuple: an iterator can be read only once.

    Raises:
        ConfigurationError: it is a single thing, or a string, which would be read letter by letter.
    """
    # A lone sink or observer is not iterable; a string is, but is never meant to be.
    if isinstance(values, str) or not isinstance(values, (list, tuple, Iterable)):
        raise ConfigurationError(f"{argument} must be a list, got {type(values).__name__}")
    return tuple(values)
