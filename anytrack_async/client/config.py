"""Checks the client's arguments and environment variables; makes sinks and the outbox from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any

from anytrack_async.client.locations import OutboxLocation
from anytrack_async.destinations.registry import ANYTRACK, COLLECT, destinations
from anytrack_async.destinations.sink import Sink
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import BATCH_SHARE_OF_LEASE, DeliverySettings
from anytrack_async.transport.message import Transport

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

OUTBOX_VARIABLE = "ANYTRACK_OUTBOX"
"""The environment variable with the path, or the address, of the outbox."""

KEYS_VARIABLE = "ANYTRACK_OUTBOX_KEYS"
"""The environment variable with the keys that encrypt the outbox file, separated by commas."""


def sinks_from_env(
    environ: Mapping[str, str] | None = None, transport: Transport | None = None
) -> list[Sink]:
    """Return the sinks that the environment configures, except AnyTrack's two.

    Args:
        environ: variables to use instead of the process's environment.
        transport: replaces the sinks' connections.

    Raises:
        ConfigurationError: a variable is missing or wrong; the message names it.
    """
    sinks = (
        destination.sink_from_env(environ, transport)
        for destination in destinations()
        if destination.name not in (ANYTRACK, COLLECT)
    )
    return [sink for sink in sinks if sink is not None]


def outbox_from_env(
    environ: Mapping[str, str] | None = None,
    outbox: Outbox | str | os.PathLike[str] | None = None,
) -> Outbox:
    """Return the outbox that ``ANYTRACK_OUTBOX`` names, or one in memory if that is not set.

    A file is encrypted with the keys in ``ANYTRACK_OUTBOX_KEYS``, if they are set; in a database,
    the schema is ``ANYTRACK_OUTBOX_SCHEMA``.

    Args:
        environ: variables to use instead of the process's environment.
        outbox: an outbox or a path to use instead of ``ANYTRACK_OUTBOX``.

    Raises:
        ConfigurationError: a key is not valid, or *outbox* is neither an outbox nor a path.
    """
    keys, environ = keys_from_env(environ), os.environ if environ is None else environ
    address = environ.get(OUTBOX_VARIABLE) or None
    return make_outbox(address if outbox is None else outbox, keys, environ)


def keys_from_env(environ: Mapping[str, str] | None = None) -> KeyRing | None:
    """Return the keys in ``ANYTRACK_OUTBOX_KEYS``; None if it is not set.

    Raises:
        ConfigurationError: a key is not valid, or the extra ``[encryption]`` is not installed.
    """
    keys = (os.environ if environ is None else environ).get(KEYS_VARIABLE)
    if not keys:
        return None
    # Imported here, so that it is only loaded if there are keys.
    from anytrack_async.codec.encryption import KeyRing

    try:
        return KeyRing(keys)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{KEYS_VARIABLE}: {exc}") from None


def make_outbox(
    outbox: Outbox | str | os.PathLike[str] | None,
    keys: KeyRing | None = None,
    environ: Mapping[str, str] | None = None,
) -> Outbox:
    """Return *outbox* itself, or the outbox at a path or an address; see `OutboxLocation`.

    None and ``":memory:"`` mean memory; ``~`` at the start of a path is the user's home.

    Args:
        outbox: an outbox, a path, the address of a database, or None.
        keys: encrypt the file at a path.
        environ: has the schema of a database; None for the default.

    Raises:
        ConfigurationError: *outbox* is neither an outbox nor a path.
    """
    if outbox is None:
        return MemoryOutbox()
    if isinstance(outbox, str | os.PathLike):
        return OutboxLocation(os.fspath(outbox)).outbox(keys, environ)
    # `Outbox` is a protocol without a runtime check: look for one of its methods.
    if not hasattr(outbox, "claim"):
        kind = type(outbox).__name__
        raise ConfigurationError(f"outbox must be an Outbox or a path, got {kind}")
    return outbox


def delivery_settings(settings: object) -> DeliverySettings:
    """Return *settings*, or the default settings for None.

    Raises:
        ConfigurationError: *settings* is not a `DeliverySettings`.
    """
    if settings is None:
        return DeliverySettings()
    if not isinstance(settings, DeliverySettings):
        kind = type(settings).__name__
        raise ConfigurationError(f"delivery must be DeliverySettings(…), got {kind}")
    return settings


def check_shared(delivery: DeliverySettings, outbox: Outbox) -> Outbox:
    """Return *outbox*; check that another process can deliver if this one does not.

    Raises:
        ConfigurationError: it cannot.
    """
    if delivery.deliver or outbox.shared:
        return outbox
    raise ConfigurationError(
        f"DeliverySettings(deliver=False) with a {type(outbox).__name__}: no other process can "
        "deliver from it; use an outbox on disk, and run `anytrack deliver` beside it"
    )


def check_lease(delivery: DeliverySettings, sinks: Iterable[Sink]) -> None:
    """Check that the lease is long enough for the timeouts of every sink.

    With a shorter lease, batches would be cut off. For example, a HubSpot batch needs three
    requests, so 240 s with a timeout of 80 s. A batch gets four fifths of the lease, so the lease
    must be 300 s or more.

    Raises:
        ConfigurationError: the message names both settings and a lease that is long enough.
    """
    for sink in sinks:
        needed = sink.limits.required_seconds
        if needed is not None and needed > delivery.batch_timeout:
            raise ConfigurationError(_lease_message(sink.name, needed, delivery.batch_timeout))


def _lease_message(name: str, needed: float, available: float) -> str:
    lease = needed / BATCH_SHARE_OF_LEASE
    # Rounded up to whole seconds; infinity cannot be rounded.
    sufficient = ceil(lease) if isfinite(lease) else lease
    return (
        f"the lease is too short for the timeout of {name!r}: set "
        f"DeliverySettings(lease={sufficient}) or a shorter HttpSettings(timeout=…); a batch needs "
        f"{needed:.4g} s and gets four fifths of the lease, {available:.4g} s"
    )


def check_sinks(sinks: object) -> tuple[Sink, ...]:
    """Return *sinks* as a tuple.

    Raises:
        ConfigurationError: *sinks* is not a list, or contains something else than sinks.
    """
    checked = as_tuple("sinks", sinks)
    for sink in checked:
        # The likeliest mistake is a class instead of an object, and it has the same methods.
        if isinstance(sink, type) or not hasattr(sink, "deliver") or not hasattr(sink, "limits"):
            kind = sink.__name__ if isinstance(sink, type) else type(sink).__name__
            raise ConfigurationError(
                f"sinks must be Sink objects such as MetaSink(settings), got {kind}"
            )
    return checked


def as_tuple(argument: str, values: object) -> tuple[Any, ...]:
    """Return *values*, the value of *argument*, as a tuple: an iterator can be read only once.

    Raises:
        ConfigurationError: *values* is not iterable, or is a string, which would be read letter by
            letter.
    """
    if isinstance(values, str) or not isinstance(values, (list, tuple, Iterable)):
        raise ConfigurationError(f"{argument} must be a list, got {type(values).__name__}")
    return tuple(values)
