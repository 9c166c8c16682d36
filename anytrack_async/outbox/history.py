"""What an outbox remembers of its past: counts for charts, failed attempts, times of delivery.

`KeepsHistory` is an optional part of an outbox, like those in `capabilities`. It has two kinds of
records. Counts are statistics: an outbox may write them up to a second late, so a crash or a power
failure loses those of the last second. Attempts and times of delivery belong to a conversion, and
are written in the same step as the result they tell of.

All times here are dates, unix seconds (UTC), because people read them. They are not on the outbox's
clock. If the date of the machine was wrong for an hour, so are the times of that hour.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol, runtime_checkable

import attrs

from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.identifiers import order_event_id
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import Claim
from anytrack_async.outbox.checks import check_text

MINUTE, HOUR, DAY = 60, 3_600, 86_400

COUNTS_KEPT_FOR = 35.0 * DAY
"""Seconds for which counts are kept at least: to compare a week with the one before it, or a month
with the last. With a longer `DeliverySettings.remember` they are kept as long as the ids."""

NAMES_PER_DAY = 500
"""Pairs of source and campaign that are counted apart on a day; all others count as `OTHER`."""

OTHER = "other"
"""Source and campaign of conversions beyond `NAMES_PER_DAY`."""

MAX_SCANNED = 10_000
"""Stored conversions, the newest first, that `KeepsHistory.find` reads for an id without index."""

LEASE_LOST_CODE = "lease_lost"
"""`PastAttempt.code` of an attempt with an unknown end."""

LEASE_LOST_ERROR = "its worker died, or was too late, before the result was recorded"
"""`PastAttempt.error` of such an attempt."""


@attrs.frozen(kw_only=True)
class OutcomeCount:
    """How many attempts at conversions ended in the same way within one minute.

    A conversion that was delivered at its third attempt counts three times: twice as waiting, with
    the codes of the failures, and once as delivered. An attempt that ended with its worker counts
    as waiting, with `LEASE_LOST_CODE`, in the minute in which another worker takes it over.

    Attributes:
        destination: the destination's name.
        minute: when the minute began, unix seconds.
        status: `Status.DELIVERED`, `WAITING` (to be sent again), `DEAD` or `SKIPPED`.
        code: ``"delivered"``, or the destination's error code; empty if it gave none.
        count: number of conversions.
        seconds: the sum of their times from acceptance to the end of the attempt: 120.0 for three
            conversions that were accepted 40 seconds before.
    """

    destination: str
    minute: int
    status: Status
    code: str
    count: int
    seconds: float


@attrs.frozen(kw_only=True)
class AcceptedCount:
    """How many conversions of one kind were accepted within one hour; repeats do not count.

    Attributes:
        hour: when the hour began, unix seconds.
        conversion_type: ``"sale"``, ``"lead"``, ``"signup"`` or ``"custom"``.
        currency: ISO 4217 code.
        source: `Conversion.source`, at most 100 characters; empty if there is none.
        campaign: `Conversion.campaign_id`, likewise.
        count: number of conversions.
        value: the sum of their revenues, in major units of *currency*.
    """

    hour: int
    conversion_type: str
    currency: str
    source: str
    campaign: str
    count: int
    value: Decimal


@attrs.frozen(kw_only=True)
class PastAttempt:
    """An attempt to deliver a conversion that failed, or that followed failed ones.

    A conversion that was delivered at once has none; see `KeepsHistory.delivered_at`. An attempt
    that ended with its worker, or took longer than its lease, has the code `LEASE_LOST_CODE`: the
    destination may have got the conversion. It is recorded when another worker takes it over.

    Attributes:
        destination: the destination's name.
        at: when the attempt ended, unix seconds.
        number: how many attempts of the conversion had been made, this one included. A pause of
            the whole destination does not count as one.
        status: `Status.DELIVERED`, `WAITING` (to be sent again), `DEAD` or `SKIPPED`.
        code: the destination's error code.
        error: why it failed; empty after the customer's data was erased.
        http_status: the status of the response; None if there was none.
        due: when the conversion is sent again at the earliest, unix seconds; None if it is not.
    """

    destination: str
    at: float
    number: int
    status: Status
    code: str | None = None
    error: str = ""
    http_status: int | None = None
    due: float | None = None


def with_deliveries(
    attempts: Sequence[PastAttempt], delivered_at: Mapping[str, float]
) -> list[PastAttempt]:
    """Return the *attempts* at a conversion with those that delivered it, oldest first.

    A batch that was released and then delivered has no row of its own for the delivery.

    Args:
        attempts: the attempts that are kept, oldest first.
        delivered_at: destination → when it confirmed the conversion.
    """
    completed = list(attempts)
    for name, date in delivered_at.items():
        own = [attempt for attempt in attempts if attempt.destination == name]
        if own and own[-1].status is not Status.DELIVERED:
            number = own[-1].number + 1
            completed.append(
                PastAttempt(destination=name, at=date, number=number, status=Status.DELIVERED)
            )
    return sorted(completed, key=lambda attempt: attempt.at)


@attrs.frozen(kw_only=True)
class RememberedConversion:
    """A conversion of which an outbox still has the event id.

    Attributes:
        seq: its position in the log.
        event_id: its event id.
        summary: type, revenue and currency, such as ``"sale 49.90 USD"``; None if not known.
        destinations: the names it is addressed to; None for all.
        accepted_at: when it was accepted, unix seconds; None once the conversion was dropped.
        conversion: None once it was dropped, because every destination has it; or if its record is
            damaged.
    """

    seq: int
    event_id: str
    summary: str | None = None
    destinations: tuple[str, ...] | None = None
    accepted_at: float | None = None
    conversion: Conversion | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class ReleaseReason:
    """Why a claim is released, for `KeepsHistory.release_with_reason`.

    Attributes:
        error: in the destination's own words where known.
        code: the destination's error code.
        sent: index in the claim of the only conversion that was sent; None if all were.
        http_status: the status of the destination's response; None without one.
    """

    error: str
    code: str | None = None
    sent: int | None = None
    http_status: int | None = None


@attrs.frozen(kw_only=True)
class ConversionPage:
    """What one part of a search has found.

    Attributes:
        conversions: the newest first.
        before: the position below which the search may go on; None if there is nothing more.
    """

    conversions: Sequence[RememberedConversion] = ()
    before: int | None = None


@runtime_checkable
class KeepsHistory(Protocol):
    """Optional part of an outbox that keeps counts, failed attempts and times of delivery.

    Attempts and times of delivery are kept as long as the event id, counts for `COUNTS_KEPT_FOR`.
    """

    async def outcome_counts(
        self, *, since: float, until: float | None = None, destination: str | None = None
    ) -> Sequence[OutcomeCount]:
        """Return the outcomes of a period by destination, minute, status and code, oldest first.

        Args:
            since: the minute that contains this date is the first one, unix seconds.
            until: only minutes that began before this date; None for no end.
            destination: only of this destination; None for all.
        """
        ...

    async def accepted_counts(
        self, *, since: float, until: float | None = None
    ) -> Sequence[AcceptedCount]:
        """Return the conversions accepted in a period, by hour and kind, oldest first.

        Args:
            since: the hour that contains this date is the first one, unix seconds.
            until: only hours that began before this date; None for no end.
        """
        ...

    async def attempts(self, event_id: str) -> Sequence[PastAttempt]:
        """Return the attempts at a conversion that are kept, oldest first; none if it is unknown.

        Raises:
            MissingKeyError: a reason is encrypted with a key that the outbox does not have.
        """
        ...

    async def delivered_at(self, event_id: str) -> Mapping[str, float]:
        """Return destination → when it confirmed the conversion, unix seconds.

        Destinations that do not have it are absent, and so are those for which it is not known,
        because an earlier release delivered the conversion.
        """
        ...

    async def find(
        self,
        *,
        event_id: str | None = None,
        order_id: str | None = None,
        click_id: str | None = None,
        limit: int = 20,
    ) -> Sequence[RememberedConversion]:
        """Return the conversions that have one of the given ids, the newest first.

        An event id is found as long as it is remembered, and an order id where the event id was
        made from it (``sale:1001``, but not that of an event with a name). For any other order id,
        and for a click id, about `MAX_SCANNED` stored conversions are read, the newest first: one
        that every destination has is found only until it was dropped.

        Args:
            event_id: the event id.
            order_id: the order id.
            click_id: AnyTrack's click id.
            limit: how many.
        """
        ...

    async def recent(
        self, *, before: int | None = None, limit: int = 50
    ) -> Sequence[RememberedConversion]:
        """Return remembered conversions, the newest first; an empty page is after the last one.

        With large conversions, a page may be shorter than *limit*.

        Args:
            before: only those with a `seq` below this one, for the next page.
            limit: how many.
        """
        ...

    async def release_with_reason(
        self, claim: Claim, *, due: float, counts_as_attempt: bool, reason: ReleaseReason
    ) -> bool:
        """Do the same as `Outbox.release`, and keep *reason* in the same atomic step."""
        ...


@runtime_checkable
class SearchesConversions(Protocol):
    """Optional part of a history that searches all stored conversions, a part at a time.

    `KeepsHistory.find` gives up after `MAX_SCANNED` conversions. A page looks at fewer at once, and
    the search goes on as long as the caller asks for the next page.
    """

    async def search_conversions(
        self,
        *,
        order_id: str | None = None,
        click_id: str | None = None,
        before: int | None = None,
        limit: int = 20,
        within: int = 2_000,
    ) -> ConversionPage:
        """Return stored conversions that have one of the given ids.

        Args:
            order_id: the order id.
            click_id: AnyTrack's click id.
            before: only those with a `seq` below this one.
            limit: how many, about.
            within: how many of the newest to look at, about.
        """
        ...


# Searching, in steps that read one part of the log each

SEARCHED_PER_STEP = 500
"""Records that a search reads at once: a millisecond or two, in which the engine does no more."""

BYTES_PER_STEP = 2**21
"""Bytes of records after which a step, or a page of the newest conversions, ends."""

LAST_POSITION = 2**63 - 1
"""A position after every other."""


@attrs.frozen(kw_only=True)
class SearchedIds:
    """The ids that a search looks for; a conversion that has one of them matches.

    Attributes:
        event_id: the event id; None for none.
        order_id: the order id; None for none.
        click_id: AnyTrack's click id; None for none.

    Raises:
        InvalidArgumentError: an id is not text, or has half of a surrogate pair.
    """

    event_id: str | None = None
    order_id: str | None = None
    click_id: str | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("event_id", "order_id", "click_id"):
            check_text(name, getattr(self, name))

    @property
    def event_ids(self) -> list[str]:
        """The event id, and those made from the order id: ``sale:1001``, ``lead:1001``, …."""
        ids = [] if self.event_id is None else [self.event_id]
        if self.order_id is not None:
            ids += [order_event_id(kind, None, self.order_id) for kind in ConversionType]
        return list(dict.fromkeys(ids))

    @property
    def texts(self) -> list[bytes]:
        r"""The order id and the click id as they look in a record, as UTF-8 or escaped.

        Order ``bücher-7`` is stored as ``"bücher-7"`` or ``"b\u00fccher-7"``: up to four texts.
        """
        texts = [
            json.dumps(value, ensure_ascii=is_ascii).encode()
            for value in (self.order_id, self.click_id)
            if value is not None
            for is_ascii in (True, False)
        ]
        return list(dict.fromkeys(texts))

    def match(self, conversion: Conversion) -> bool:
        """Return whether *conversion* has the order id or the click id."""
        if self.order_id is not None and conversion.order_id == self.order_id:
            return True
        return self.click_id is not None and conversion.click_id == self.click_id


def newest_first(
    conversions: Iterable[RememberedConversion], limit: int
) -> list[RememberedConversion]:
    """Return the newest *limit* of *conversions*, each once, the newest first."""
    by_seq = {item.seq: item for item in conversions}
    return [by_seq[seq] for seq in sorted(by_seq, reverse=True)[:limit]]
