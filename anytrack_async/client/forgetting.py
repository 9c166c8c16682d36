"""`client.forget_customer`: erases a person's data from the outbox, and says what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.errors import ConfigurationError, InvalidArgumentError
from anytrack_async.models.consent import FORGOTTEN
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.erasure import Person, without_person
from anytrack_async.models.outcome import Outcome, Report, Status
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import (
    EmptiesReasons,
    ErasedConversion,
    ErasesCustomers,
)

Undelivered: TypeAlias = Literal["discard", "redact"]
"""What becomes of a forgotten customer's conversions that a destination has not received:
``"discard"``: it never gets them; ``"redact"``: it gets them without the customer."""

_IDS_PER_CALL = 500


@attrs.frozen(kw_only=True)
class ForgottenConversion:
    """A conversion whose customer's data were erased from the outbox.

    Attributes:
        event_id: its event id.
        order_id: your id of the order.
        sent: destinations that have received it with the customer's data → their own id for it, if
            they gave one: erase it there.
        in_flight: destinations that it was being sent to at that moment: perhaps they have it.
        discarded: destinations that never get it, because it was waiting or dead there.
        redacted: destinations that get it, or whose dead letter it is, without the customer's data.
    """

    event_id: str
    order_id: str | None = None
    sent: Mapping[str, str | None] = attrs.field(factory=dict, hash=False)
    in_flight: tuple[str, ...] = ()
    discarded: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ForgottenCustomer:
    """What `AnyTrackClient.forget_customer` has done.

    Attributes:
        conversions: the customer's conversions that were stored, in the order of their acceptance.
        unreadable: event ids of stored conversions that cannot be read, so that it is not known
            whose they are.
    """

    conversions: tuple[ForgottenConversion, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def sent(self) -> Mapping[str, tuple[str, ...]]:
        """Destination → event ids of the conversions that it has, or perhaps has."""
        sent: dict[str, list[str]] = {}
        for conversion in self.conversions:
            for name in (*conversion.sent, *conversion.in_flight):
                sent.setdefault(name, []).append(conversion.event_id)
        return {name: tuple(event_ids) for name, event_ids in sent.items()}


class Forgetting:
    """The part of the client that erases customers."""

    _dispatcher: Dispatcher

    async def forget_customer(
        self,
        *,
        email: str | None = None,
        phone: str | None = None,
        external_id: str | None = None,
        undelivered: Undelivered = "discard",
    ) -> ForgottenCustomer:
        """Erase a person's data from the outbox, and return what was already sent where.

        Every stored conversion with one of the values loses everything that may identify its
        customer: those that wait, are retried or are dead letters, and delivered ones whose content
        is still stored. The outbox keeps type, amount, currency and order, so that a repeat is
        still recognised. Destinations are not asked to erase anything: do that there, with the ids
        in the report.

        Conversions of which only the event id is remembered have no customer any more, and cannot
        be found: look for the orders in your shop. Values in `custom_data` are erased with the
        conversion, but not searched.

        Reasons of failures that contain one of the values are emptied too, whichever conversion
        they are about: also those of attempts at conversions whose content is gone. They are
        searched for the value in any case and writing, and for its SHA-256 and MD5; with a hash
        instead of the value, for the hash only.

        Args:
            email: compared in lower case, without whitespace and invisible characters.
            phone: with country code; its digits are compared.
            external_id: compared in lower case, without whitespace.
            undelivered: what becomes of conversions that a destination has not received:
                ``"discard"`` them, so that their outcome is ``skipped`` or ``discarded``; or
                ``"redact"``: send them without the customer. Meta refuses most of these.

        Raises:
            InvalidArgumentError: no value is given, or one is blank or unusable.
            ConfigurationError: the outbox cannot erase, see `ErasesCustomers`.
            MissingKeyError: something is encrypted with a key that this client does not have.
            OutboxError: the outbox failed; call it again.
        """
        self._dispatcher.guard.check()
        person = Person(email=email, phone=phone, external_id=external_id)
        return await forget_customer(self._dispatcher.outbox, person, undelivered)


async def forget_customer(
    outbox: Outbox, person: Person, undelivered: Undelivered = "discard"
) -> ForgottenCustomer:
    """Erase *person* from an open *outbox*; see `Forgetting.forget_customer`."""
    if undelivered not in ("discard", "redact"):
        raise InvalidArgumentError("undelivered", "must be 'discard' or 'redact'")
    if not isinstance(outbox, ErasesCustomers):
        raise ConfigurationError(
            f"the outbox {type(outbox).__name__} cannot erase customers: it needs a method erase, "
            "see ErasesCustomers"
        )
    discards = undelivered == "discard"

    def erase(conversion: Conversion) -> Conversion | None:
        if not person.matches(conversion):
            return None
        return without_person(conversion, forgotten=discards)

    erasure = await outbox.erase(erase)
    erased = erasure.conversions
    conversions: list[ForgottenConversion] = []
    for start in range(0, len(erased), _IDS_PER_CALL):
        part = erased[start : start + _IDS_PER_CALL]
        event_ids = [conversion.event_id for conversion in part]
        reports = await outbox.reports(event_ids)
        if discards:
            await outbox.discard(None, event_ids)
        conversions += [_forgotten(item, reports.get(item.event_id), discards) for item in part]
    if isinstance(outbox, EmptiesReasons):
        # Of conversions that are gone, and of others in a batch with this customer's.
        await outbox.empty_reasons(person.is_quoted_in)
    return ForgottenCustomer(conversions=tuple(conversions), unreadable=erasure.unreadable)


def _is_open(outcome: Outcome) -> bool:
    """Return whether a destination did not have the conversion when its customer was erased."""
    # A lane may have skipped it since.
    return outcome.status in (Status.WAITING, Status.DEAD) or outcome.error == FORGOTTEN


def _forgotten(
    erased: ErasedConversion, report: Report | None, discards: bool
) -> ForgottenConversion:
    outcomes = {} if report is None else report.outcomes
    open_at = tuple(
        name
        for name, outcome in outcomes.items()
        if name not in erased.in_flight and _is_open(outcome)
    )
    return ForgottenConversion(
        event_id=erased.event_id,
        order_id=erased.order_id,
        sent={
            name: outcome.remote_id
            for name, outcome in outcomes.items()
            if outcome.status is Status.DELIVERED
        },
        in_flight=tuple(
            name
            for name in erased.in_flight
            if name in outcomes and outcomes[name].status is Status.WAITING
        ),
        discarded=open_at if discards else (),
        redacted=() if discards else open_at,
    )
