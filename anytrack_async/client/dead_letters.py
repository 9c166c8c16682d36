"""The part of the client that reads, replays, edits and discards dead letters."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

import attrs

from anytrack_async.client.config import as_tuple
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import ALL, DeadLetter, DeadLetterFilter

_PAGE_SIZE = 200

NOTE = "note"
"""The field of an exported row that has the reasons; it is ignored when the row is read."""


class DeadLetterSelection(TypedDict, total=False):
    """Keyword arguments that select dead letters; several must all be fulfilled.

    Attributes:
        code: the destination's error code.
        text: a part of the reason; upper and lower case are the same.
        older_than: a `timedelta`: at least this long dead; a `datetime` with a time zone: delivery
            was given up before it.
        newer_than: a `timedelta`: at most this long dead; a `datetime` with a time zone: delivery
            was given up after it.
    """

    code: str | None
    text: str | None
    older_than: timedelta | datetime | None
    newer_than: timedelta | datetime | None


class DeadLetters:
    """The client's methods for dead letters.

    They work on the whole outbox, also on conversions that other processes accepted or deliver.
    Each change is one atomic step for a conversion. A conversion that is no longer a dead letter,
    because another process has replayed it, is not changed.

    All raise `InvalidArgumentError` for a wrong argument, `ConfigurationError` if *event_ids* is a
    single text, and `OutboxError` for a destination that the outbox does not have.
    """

    _dispatcher: Dispatcher

    @property
    def outbox(self) -> Outbox:
        """Where accepted conversions wait and dead letters are kept."""
        return self._dispatcher.outbox

    async def dead_letters(
        self,
        destination: str | None = None,
        event_ids: Sequence[str] | None = None,
        **selection: Unpack[DeadLetterSelection],
    ) -> AsyncGenerator[DeadLetter, None]:
        """Yield dead letters in the order in which their conversions were accepted.

        They are read in pages, so memory stays flat.

        Args:
            destination: only of this destination; default: of all.
            event_ids: only of conversions with these event ids.
            selection: see `DeadLetterSelection`.
        """
        self._dispatcher.guard.check()
        ids, where, after = _ids(event_ids), to_filter(selection), 0
        while page := await self.outbox.dead_letters(
            destination, event_ids=ids, where=where, after=after, limit=_PAGE_SIZE
        ):
            after = page[-1].seq
            for letter in page:
                yield letter

    async def replay(
        self,
        destination: str | None = None,
        event_ids: Sequence[str] | None = None,
        **selection: Unpack[DeadLetterSelection],
    ) -> int:
        """Send dead letters again; the arguments select them as in `dead_letters`.

        The lanes of this client send them at once; those of other processes see them with their
        next poll.

        Returns:
            The number of dead letters that will be sent again.
        """
        self._dispatcher.guard.check()
        count = await self.outbox.replay(destination, _ids(event_ids), where=to_filter(selection))
        # An idle lane sleeps until it is woken, or until its next poll.
        self._dispatcher.wake()
        return count

    async def discard(
        self,
        destination: str | None = None,
        event_ids: Sequence[str] | None = None,
        *,
        everything: bool = False,
        **selection: Unpack[DeadLetterSelection],
    ) -> int:
        """Give up dead letters for good; the arguments select them as in `dead_letters`.

        Their destinations never get these conversions. As long as the event id is remembered,
        reports have the status ``discarded``, and a repeat is not accepted as a new conversion.

        Args:
            destination: only of this destination.
            event_ids: only of conversions with these event ids.
            everything: must be true to discard all dead letters of all destinations.
            selection: see `DeadLetterSelection`.

        Returns:
            The number of dead letters that were discarded.
        """
        ids, where = _ids(event_ids), to_filter(selection)
        if destination is None and ids is None and where == ALL and not everything:
            raise InvalidArgumentError(
                "everything", "must be True to discard all dead letters of all destinations"
            )
        self._dispatcher.guard.check()
        return await self.outbox.discard(destination, ids, where=where)

    async def edit(
        self, /, event_id: str, conversion: Conversion | None = None, **changes: Any
    ) -> Sequence[str]:
        """Correct a conversion under its event id, and send it where it is a dead letter.

        One atomic step: a worker sends either the old or the corrected conversion. Destinations
        that have received the old one get nothing; those that have not claimed it yet get the
        corrected one. Type, revenue and currency may change too: repeats are compared with the
        corrected conversion from now on, and one with the old values is a contradiction.

        Args:
            event_id: the conversion's event id.
            conversion: the corrected conversion, with the same event id.
            changes: without *conversion*: fields of `Conversion` and their new values, e.g.
                ``revenue="49.90"``. The other fields stay.

        Returns:
            The destinations to which it is sent again.

        Raises:
            InvalidArgumentError: no destination has it as a dead letter, or the event id of
                *conversion* is another one.
            InvalidConversionError: a new value is not valid; nothing has changed.
            TypeError: both *conversion* and *changes* were passed, or neither, or there is no such
                field.
        """
        if (conversion is None) is not bool(changes):
            raise TypeError("edit() needs either a conversion or the fields to change")
        self._dispatcher.guard.check()
        if conversion is None:
            conversion = await self._changed(event_id, changes)
        if conversion.event_id != event_id:
            raise InvalidArgumentError("conversion", f"must have the event id {event_id!r}")
        destinations = await self.outbox.correct(conversion)
        if not destinations:
            raise await self._not_dead_error(event_id)
        self._dispatcher.wake()
        return destinations

    async def _changed(self, event_id: str, changes: dict[str, Any]) -> Conversion:
        letters = await self.outbox.dead_letters(event_ids=[event_id], limit=1)
        if not letters:
            raise await self._not_dead_error(event_id)
        # With the event id: attrs would make another one for another order id.
        return attrs.evolve(letters[0].conversion, **({"event_id": event_id} | changes))

    async def _not_dead_error(self, event_id: str) -> InvalidArgumentError:
        return InvalidArgumentError("event_id", await not_dead_reason(self.outbox, event_id))


async def not_dead_reason(outbox: Outbox, event_id: str) -> str:
    """Return why *event_id* cannot be replayed, edited or discarded, for an error message."""
    report = (await outbox.reports([event_id])).get(event_id)
    if report is None:
        return f"{event_id!r} is not known to the outbox"
    outcomes = [f"{name}: {outcome.status}" for name, outcome in report.outcomes.items()]
    return f"{event_id!r} is no dead letter that can be read ({', '.join(outcomes)})"


async def export_rows(
    letters: AsyncGenerator[DeadLetter, None],
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the fields of each conversion in *letters*, with its reasons as a note.

    A conversion's dead letters at several destinations are neighbours, and become one row.
    """
    neighbours: list[DeadLetter] = []
    async with aclosing(letters):
        async for letter in letters:
            if neighbours and letter.seq != neighbours[0].seq:
                yield _row(neighbours)
                neighbours = []
            neighbours.append(letter)
    if neighbours:
        yield _row(neighbours)


def _row(letters: Sequence[DeadLetter]) -> dict[str, Any]:
    # Imported here: a client that only tracks need not load it.
    from anytrack_async.models.plain import to_dict

    notes = [
        f"{letter.destination}: {letter.error} (code {letter.code}, {letter.died:%Y-%m-%d %H:%M})"
        if letter.code
        else f"{letter.destination}: {letter.error} ({letter.died:%Y-%m-%d %H:%M})"
        for letter in letters
    ]
    return to_dict(letters[0].conversion) | {NOTE: "; ".join(notes)}


def _ids(event_ids: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if event_ids is None else as_tuple("event_ids", event_ids)


def to_filter(selection: DeadLetterSelection) -> DeadLetterFilter:
    """Return the condition that *selection* describes.

    Raises:
        InvalidArgumentError: an argument is not valid; the message names it.
        TypeError: there is no such argument.
    """
    for name in ("code", "text"):
        if not isinstance(selection.get(name), str | None):
            raise InvalidArgumentError(name, "must be text")
    unknown = selection.keys() - DeadLetterSelection.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
    died_before, min_age = _bound("older_than", selection.get("older_than"), math.inf, -math.inf)
    died_after, max_age = _bound("newer_than", selection.get("newer_than"), -math.inf, math.inf)
    return DeadLetterFilter(
        code=selection.get("code"),
        text=selection.get("text"),
        died_before=died_before,
        died_after=died_after,
        min_age=min_age,
        max_age=max_age,
    )


def _bound(argument: str, value: object, date: float, age: float) -> tuple[float, float]:
    """Return a bound as a date and as an age; *date* and *age* are those without a bound."""
    if value is None:
        return date, age
    if isinstance(value, timedelta):
        return date, value.total_seconds()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp(), age
    raise InvalidArgumentError(argument, "must be a timedelta, or a datetime with a time zone")
