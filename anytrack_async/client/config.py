"""From arguments and environment to sinks and outbox, with words for what is wrong."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
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

OUTBOX = "ANYTRACK_OUTBOX"


def sinks_from_env(
    environ: Mapping[str, str] | None = None, transport: Transport | None = None
) -> list[Sink]:
    """Return the sinks that the environment configures, besides AnyTrack's.

    Args:
        environ: instead of the process's environment.
        transport: instead of the sinks' connections.

    Raises:
        ConfigurationError: a destination is configured in part; the message names what is missing.
    """
    sinks = (
        destination.sink_from_env(environ, transport)
        for destination in destinations()
        if destination.name != ANYTRACK
    )
    return [sink for sink in sinks if sink is not None]


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
        from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

        return SQLiteOutbox(Path(given))
    if not hasattr(given, "claim"):
        raise ConfigurationError(f"outbox must be an Outbox or a path, got {type(given).__name__}")
    return given


def delivery_settings(given: object) -> DeliverySettings:
    """Return *given*, or the defaults.

    Raises:
        ConfigurationError: it is something else.
    """
    if given is None:
        return DeliverySettings()
    if not isinstance(given, DeliverySettings):
        kind = type(given).__name__
        raise ConfigurationError(f"delivery must be DeliverySettings(…), got {kind}")
    return given


def check_patience(delivery: DeliverySettings, sinks: Iterable[Sink]) -> None:
    """Refuse a lease in which a sink's time-outs have no room: its batches would be cut short.

    Raises:
        ConfigurationError: the message names both settings and a lease that is long enough.
    """
    for sink in sinks:
        needed = sink.limits.required_seconds
        if needed is not None and needed > delivery.batch_timeout:
            raise ConfigurationError(_too_short(sink.name, needed, delivery.batch_timeout))


def _too_short(name: str, needed: float, given: float) -> str:
    lease = needed / BATCH_SHARE_OF_LEASE
    enough = ceil(lease) if isfinite(lease) else lease
    return (
        f"the lease is too short for the time-out of {name!r}: set "
        f"DeliverySettings(lease={enough}) or a shorter HttpSettings(timeout=…); a batch needs "
        f"{needed:.4g} s and gets four fifths of the lease, {given:.4g} s"
    )


def checked_sinks(sinks: object) -> tuple[Sink, ...]:
    """Return *sinks* as a tuple.

    Raises:
        ConfigurationError: it is no list, or one of them is no sink.
    """
    given = several("sinks", sinks)
    for sink in given:
        if isinstance(sink, type) or not hasattr(sink, "deliver") or not hasattr(sink, "limits"):
            kind = sink.__name__ if isinstance(sink, type) else type(sink).__name__
            raise ConfigurationError(
                f"sinks must be Sink objects such as MetaSink(settings), got {kind}"
            )
    return given


def several(argument: str, given: object) -> tuple[Any, ...]:
    """Return what is *given* as *argument* as a tuple; an iterator would be used up by a look.

    Raises:
        ConfigurationError: it is one thing.
    """
    if isinstance(given, str) or not isinstance(given, (list, tuple, Iterable)):
        raise ConfigurationError(f"{argument} takes a list, got {type(given).__name__}")
    return tuple(given)


def listed(argument: str, names: Iterable[str], among: Collection[str] = ()) -> Sequence[str]:
    """Return *names*, given as *argument*, as a tuple.

    Raises:
        ConfigurationError: it is one text, which would be taken letter by letter, or holds what is
            not *among* the destinations, if these are given.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"{argument} takes a list: [{names!r}]")
    given = several(argument, names)
    if among and (unknown := [name for name in given if name not in among]):
        raise ConfigurationError(
            f"{argument}: no destination {', '.join(map(repr, unknown))}; "
            f"there are: {', '.join(among)}"
        )
    return given
