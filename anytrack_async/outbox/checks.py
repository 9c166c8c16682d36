"""Checks of the arguments that callers pass to an outbox, and errors that all engines raise.

No engine can hold every value: SQLite has integers of 64 bits and text in UTF-8, and would raise
errors of its own. These checks make the engines alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from anytrack_async.errors import (
    ConfigurationError,
    InvalidArgumentError,
    OutboxError,
    QueueFullError,
    shown,
)
from anytrack_async.models.validators import encodable
from anytrack_async.outbox.base import Claim, FailedEntry

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

_INTEGER_LIMIT = 2**63


def check_destination(name: object) -> str:
    """Return *name* if it may be that of a destination.

    Raises:
        OutboxError: it is not text, or has half of a surrogate pair, so no destination has it.
    """
    if not isinstance(name, str) or not encodable(name):
        raise unknown_destination_error(name)
    return name


def already_open_error(kind: str, opened_by: int) -> OutboxError:
    """Return the error of opening an outbox object that the process *opened_by* has open."""
    if opened_by != os.getpid():
        return OutboxError(
            f"this {kind} was opened before this process was forked, and the other process "
            "delivers what is in it: create one in this process"
        )
    return OutboxError(
        f"this {kind} is open already: a client needs an outbox object of its own, so create one "
        "for each client, or close this one first"
    )


def check_event_ids(event_ids: Iterable[str]) -> list[str]:
    """Return *event_ids* as a list, if each may be an event id.

    Raises:
        InvalidArgumentError: they are not a list of texts, or have half of a surrogate pair.
    """
    if isinstance(event_ids, str) or not isinstance(event_ids, Iterable):
        raise InvalidArgumentError("event_ids", "must be a list")
    checked = [*event_ids]
    try:
        "".join(checked).encode()  # all at once is faster
    except (TypeError, UnicodeEncodeError):
        problem = "must be a list of texts without unpaired surrogates"
        raise InvalidArgumentError("event_ids", problem) from None
    return checked


def check_checkpoint(name: object, value: object) -> tuple[str, bytes | None]:
    """Return the name and the value of a checkpoint; None as the value deletes it.

    Raises:
        InvalidArgumentError: *name* is not text, or has half of a surrogate pair, or *value* is not
            bytes.
    """
    if not isinstance(name, str) or not encodable(name):
        raise InvalidArgumentError("name", "must be a text without unpaired surrogates")
    if value is not None and not isinstance(value, bytes):
        raise InvalidArgumentError("value", "must be bytes, or None to delete the checkpoint")
    return name, value


def check_key_ring(keys: object) -> KeyRing:
    """Return *keys*.

    Raises:
        ConfigurationError: it is not a `KeyRing`.
    """
    from anytrack_async.codec.encryption import KeyRing

    if not isinstance(keys, KeyRing):
        raise ConfigurationError(f"keys must be a KeyRing(…), got {type(keys).__name__}")
    return keys


def check_number(argument: str, value: object) -> int:
    """Return *value*, a limit or a position.

    Raises:
        InvalidArgumentError: it is not a whole number from 0 to 2^63 - 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _INTEGER_LIMIT:
        raise InvalidArgumentError(argument, "must be a whole number from 0 to 2^63 - 1")
    return value


def check_seconds(argument: str, value: object) -> float:
    """Return *value*, a number of seconds; infinity is one.

    Raises:
        InvalidArgumentError: it is not a number of at least 0.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
    except OverflowError:  # an integer of more than 308 digits
        pass
    raise InvalidArgumentError(argument, "must be a number of seconds of at least 0")


# Errors, with the same messages in all engines


def queue_full_error(capacity: int, waiting: Mapping[str, int], new: int) -> QueueFullError:
    """Return the error for *new* conversions for which there is no room.

    Args:
        capacity: how many conversions may wait for each destination.
        waiting: destination without room → how many wait for it; with the key "", how many are
            stored while no destination is registered.
        new: how many are not accepted.
    """
    counts = [
        f"{count} of at most {capacity} conversions are waiting "
        + (f"for {name!r}" if name else "and no destination is registered")
        for name, count in sorted(waiting.items())
    ]
    return QueueFullError(
        f"the outbox is full: {', '.join(counts)}, so none of these {new} was accepted; try again "
        "once some are delivered, raise the capacity, or forget a destination that is no longer "
        "used",
        {name: count for name, count in waiting.items() if name},
    )


def not_open_error() -> OutboxError:
    """Return the error for use before `open` or after `aclose`."""
    return OutboxError("the outbox is not open: call open() before use, and again after aclose()")


def unknown_destination_error(name: object) -> OutboxError:
    """Return the error for a destination that was never registered, or was forgotten."""
    return OutboxError(
        f"the outbox has no destination {shown(name)}: pass its name to open() first"
    )


def last_failures(claim: Claim, failed: Sequence[FailedEntry]) -> list[FailedEntry]:
    """Return one failure per entry of *claim*, the last one where *failed* repeats an entry.

    Raises:
        OutboxError: *failed* contains an entry that is not in *claim*.
    """
    by_seq = {failure.seq: failure for failure in failed}
    if by_seq and (unclaimed := by_seq.keys() - set(claim.entries.seqs)):
        raise OutboxError(f"settle() got failures not in the claim: entries {sorted(unclaimed)}")
    return list(by_seq.values())
