"""Checks of the arguments that callers pass to an outbox, and errors that all engines raise.

No engine can hold every value: SQLite has integers of 64 bits and text in UTF-8, and would raise
errors of its own. These checks make the engines alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from anytrack_async.descriptions import shown
from anytrack_async.errors import (
    ConfigurationError,
    InvalidArgumentError,
    OutboxError,
    QueueFullError,
    UnsendableError,
)
from anytrack_async.models.conversion import Conversion
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
    if not isinstance(name, str) or not (name.isascii() or encodable(name)):
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


def check_period(since: object, until: object) -> tuple[float, float | None]:
    """Return the beginning and the end of a period, unix seconds; None as the end is now.

    Raises:
        InvalidArgumentError: one is not a number of this size.
    """
    return check_moment("since", since), None if until is None else check_moment("until", until)


def check_moment(argument: str, value: object) -> float:
    """Return *value*, a time in unix seconds.

    Raises:
        InvalidArgumentError: it is not a number of this size.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
            return float(value)
    except OverflowError:  # an integer of more than 308 digits
        pass
    raise InvalidArgumentError(argument, "must be a time in unix seconds")


def check_claim(claim: object) -> None:
    """Check that *claim* may be one of an outbox.

    Raises:
        InvalidArgumentError: it is something else, or made with values that no outbox has.
    """
    if not isinstance(claim, Claim) or not _are_stored(claim.destination, claim.lease_id):
        raise InvalidArgumentError("claim", "must be what claim() of this outbox returned")


def _are_stored(destination: object, lease_id: object) -> bool:
    if not isinstance(destination, str) or not isinstance(lease_id, int):
        return False
    is_text = destination.isascii() or encodable(destination)
    return is_text and -_INTEGER_LIMIT <= lease_id < _INTEGER_LIMIT


def check_release(claim: object, due: object, counts_as_attempt: object) -> float:
    """Return *due*, after checking the arguments of `Outbox.release`.

    Raises:
        InvalidArgumentError: an argument has a type or a value that the method does not take.
    """
    check_claim(claim)
    if not isinstance(counts_as_attempt, bool):
        raise InvalidArgumentError("counts_as_attempt", "must be True or False")
    return check_moment("due", due)


def check_remote_ids(remote_ids: Sequence[str | None]) -> None:
    """Check the ids that a destination gave to conversions.

    Raises:
        InvalidArgumentError: one is neither text nor None, or has half of a surrogate pair.
    """
    try:
        "".join(filter(None, remote_ids)).encode()  # all at once is faster
    except (TypeError, UnicodeEncodeError):
        problem = "must be a list of texts without unpaired surrogates, or None for no id"
        raise InvalidArgumentError("remote_ids", problem) from None


def check_text(argument: str, value: object) -> str | None:
    """Return *value*, a text to look for, or None.

    Raises:
        InvalidArgumentError: it is not text, or has half of a surrogate pair.
    """
    if value is None or (isinstance(value, str) and encodable(value)):
        return value
    raise InvalidArgumentError(argument, "must be a text without unpaired surrogates")


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


# Sizes, of conversions that are not encoded
#
# Only the fields of any size are looked at, without encoding them: all others have limits of their
# own, and fit into `USUAL_BYTES`. It takes about 1 µs.

USUAL_BYTES = 2_048
"""Bytes of memory that each conversion is counted with, unless it is larger: about as many as the
objects of a usual conversion take."""

MAX_CLAIM_BYTES = 4 * 2**20
"""Bytes that the conversions of one claim may take, unless it is a single one: batches are smaller
where conversions are large. It is room for 1,000 conversions of 4 KiB."""

MAX_APPEND_BYTES = 256 * 2**20
"""Bytes of records that one `append` to an outbox on disk may have. It is one atomic step, so all
are in memory until they are written."""


def check_append_bytes(size: int, encoded: int, count: int) -> None:
    """Refuse an `append` with records that are too large in total.

    Args:
        size: bytes of the records so far.
        encoded: how many records these are.
        count: how many conversions were to be appended.

    Raises:
        UnsendableError: *size* is more than `MAX_APPEND_BYTES`.
    """
    if size > MAX_APPEND_BYTES:
        raise UnsendableError(
            "conversions",
            f"are too many for one step: the first {encoded:,} of {count:,} take more than "
            f"{MAX_APPEND_BYTES // 2**20} MiB, and none was accepted; submit fewer at a time, or "
            "use track_many(), which takes any number",
        )


def text_size(conversion: Conversion) -> int:
    """Return how many characters the fields of *conversion* have that may be of any size."""
    texts: tuple[str, ...] = (conversion.user_agent or "", conversion.page_url or "")
    if (customer := conversion.customer) is not None:
        texts += customer.email + customer.phone + customer.first_name + customer.last_name
        texts += customer.gender + customer.birth_date + customer.city + customer.state
        texts += customer.postal_code + customer.country + customer.external_id
    size = len("".join(texts))  # takes half as long as adding up lengths
    for values in (
        conversion.custom_data,
        conversion.sub_ids,
        conversion.meta,
        conversion.clicks,
    ):
        if values:
            for name, value in values.items():  # here, because a call for each value takes longer
                size += len(name) + (len(value) if type(value) is str else _value_size(value))
    if items := conversion.items:
        size += 10 * len(items)
        size += sum(map(len, filter(None, chain(*map(_TEXTS_OF_ITEM, items)))))
    return size


def _value_size(value: object) -> int:
    """Return the characters of a value that is no text."""
    return _NUMBER_SIZE if type(value) in (int, float) else len(str(value))


_NUMBER_SIZE = 24
"""Characters of the longest float; integers have 64 bits."""

_TEXTS_OF_ITEM = attrgetter("id", "title", "category", "brand")


def large_conversions(conversions: Iterable[Conversion]) -> dict[str, int]:
    """Return event id → bytes of memory of the conversions that take more than `USUAL_BYTES`.

    Raises:
        UnsendableError: the record of one would have more than `MAX_CONVERSION_BYTES`.
        TypeError: JSON cannot hold a large one, because its ``custom_data`` was changed.
    """
    large: dict[str, int] = {}
    for conversion in conversions:
        size = text_size(conversion)
        if size > USUAL_BYTES:
            large[conversion.event_id] = _memory_bytes(conversion, size)
    return large


def total_bytes(conversions: Sequence[Conversion]) -> int:
    """Return about how many bytes of memory *conversions* take; see `large_conversions`."""
    large = large_conversions(conversions)
    return USUAL_BYTES * (len(conversions) - len(large)) + sum(large.values())


def _memory_bytes(conversion: Conversion, size: int) -> int:
    # Imported here: most processes never have a large conversion.
    from anytrack_async.codec import storage

    # Encoding hundreds of megabytes would take too long. Text may be shorter in a record than here,
    # but not by this much: [1, 2] becomes [1,2].
    if size > 4 * storage.MAX_CONVERSION_BYTES:
        raise storage.too_large_error(conversion, size)
    return max(USUAL_BYTES, storage.memory_bytes(storage.record_of(conversion)))


# Errors, with the same messages in all engines


def queue_full_error(
    capacity: int,
    waiting: Mapping[str, int],
    new: int,
    *,
    capacity_bytes: int = 0,
    waiting_bytes: Mapping[str, int] | None = None,
    too_large: bool = False,
) -> QueueFullError:
    """Return the error for *new* conversions for which there is no room.

    Args:
        capacity: how many conversions may wait for each destination.
        waiting: destination without room → how many wait for it; with the key "", how many are
            stored while no destination is registered.
        new: how many are not accepted.
        capacity_bytes: how many bytes may wait for each destination.
        waiting_bytes: destination without room for the bytes → how many bytes wait for it.
        too_large: whether they would not fit into an empty outbox either.
    """
    of_bytes = waiting_bytes or {}
    limits = {
        name: f"conversions with {size:,} of at most {capacity_bytes:,} bytes"
        for name, size in of_bytes.items()
    }
    counts = [
        f"{count} {limits.get(name, f'of at most {capacity} conversions')} are waiting "
        + (f"for {name!r}" if name else "and no destination is registered")
        for name, count in sorted(waiting.items())
    ]
    advice = "submit fewer at a time" if too_large else "try again once some are delivered"
    setting = "capacity_bytes" if of_bytes else "capacity"
    return QueueFullError(
        f"the outbox is full: {', '.join(counts)}, so none of these {new} was accepted; {advice}, "
        f"raise the {setting}, or forget a destination that is no longer used",
        _of_destinations(waiting),
        _of_destinations(of_bytes),
        too_large,
    )


def _of_destinations(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name}


def not_open_error() -> OutboxError:
    """Return the error for use before `open` or after `aclose`."""
    return OutboxError("the outbox is not open: call open() before use, and again after aclose()")


def unknown_destination_error(name: object) -> OutboxError:
    """Return the error for a destination that was never registered, or was forgotten."""
    return OutboxError(
        f"the outbox has no destination {shown(name)}: check the name; a new destination is "
        "registered when a client that has it opens the outbox"
    )


def last_failures(claim: Claim, failed: Sequence[FailedEntry]) -> list[FailedEntry]:
    """Return one failure per entry of *claim*, the last one where *failed* repeats an entry.

    Raises:
        OutboxError: *failed* contains an entry that is not in *claim*.
        InvalidArgumentError: it contains something else, or values that no outbox can store.
    """
    _check_failed(failed)
    by_seq = {failure.seq: failure for failure in failed}
    if by_seq and (unclaimed := by_seq.keys() - set(claim.entries.seqs)):
        raise OutboxError(
            f"settle() got failures not in the claim: entries {shown(sorted(unclaimed))}"
        )
    return list(by_seq.values())


def _check_failed(failed: object) -> None:
    if not isinstance(failed, Iterable):
        raise InvalidArgumentError("failed", "must be a list of FailedEntry(…)")
    for failure in failed:
        if not isinstance(failure, FailedEntry):
            raise InvalidArgumentError("failed", "must be a list of FailedEntry(…)")
        check_number("failed: seq", failure.seq)
        check_number("failed: attempts", failure.attempts)
        check_text("failed: code", failure.code)
        if check_text("failed: error", failure.error) is None:
            raise InvalidArgumentError("failed: error", "must be a text")
        if failure.due is not None:
            check_moment("failed: due", failure.due)
        if failure.http_status is not None:
            check_number("failed: http_status", failure.http_status)
