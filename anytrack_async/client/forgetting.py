"""`client.forget_customer`: erases a person's data, and reports which destinations have them."""

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
"""The fate of a forgotten customer's conversions that a destination has not received:
``"discard"``: it never gets them; ``"redact"``: it gets them without the customer."""

_IDS_PER_CALL = 500


@attrs.frozen(kw_only=True)
class ForgottenConversion:
    """A conversion without its customer's data, which were erased from the outbox.

    Attributes:
        event_id: its event id.
        order_id: your id of the order.
        sent: destination that has received the conversion with the customer's data → its own id for
            the conversion, if it gave one: erase the data there.
        in_flight: destinations to which the conversion was being sent at that moment: perhaps they
            have it.
        discarded: destinations that never get the conversion, because it was waiting or dead there.
        redacted: destinations that get the conversion, or have it as a dead letter, without the
            customer's data.
    """

    event_id: str
    order_id: str | None = None
    sent: Mapping[str, str | None] = attrs.field(factory=dict, hash=False)
    in_flight: tuple[str, ...] = ()
    discarded: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ForgottenCustomer:
    """The result of `AnyTrackClient.forget_customer`.

    Attributes:
        conversions: the customer's conversions that were stored, in the order of their acceptance.
        unreadable: event ids of stored conversions that cannot be read: their customer is unknown.
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
        """Erase a person's data from the outbox, and return the destinations that have them.

        Every stored conversion with one of the values loses all data that may identify its
        customer: conversions that wait, are retried or are dead letters, and delivered ones with
        content that is still stored. The outbox keeps type, amount, currency and order, so that a
        repeat is still recognised. Destinations are not asked to erase anything: do that there,
        with the ids in the report.

        Conversions that are remembered by their event id only have no customer any more, and cannot
        be found: look for the orders in your shop. Values in `custom_data` are erased with the
        conversion, but not searched.

        Reasons of failures that contain one of the values are emptied too, for every conversion:
        also those of attempts at conversions with content that is deleted. They are searched for
        the value in any case and writing, and for its SHA-256 and MD5; with a hash instead of the
        value, for the hash only.

        Args:
            email: compared in lower case, without whitespace and invisible characters.
            phone: with country code; its digits are compared.
            external_id: compared in lower case, without whitespace.
            undelivered: for conversions that a destination has not received: ``"discard"`` gives
                them up, with the outcome ``skipped`` or ``discarded``; ``"redact"`` sends them
                without the customer, and Meta refuses most of these.

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
        sent=_remote_ids(outcomes),
        in_flight=tuple(
            name
            for name in erased.in_flight
            if name in outcomes and outcomes[name].status is Status.WAITING
        ),
        discarded=open_at if discards else (),
        redacted=() if discards else open_at,
    )


def _remote_ids(outcomes: Mapping[str, Outcome]) -> dict[str, str | None]:
    """Return each destination that has the conversion → its own id for the conversion."""
    return {
        name: outcome.remote_id
        for name, outcome in outcomes.items()
        if outcome.status is Status.DELIVERED
    }
