"""`Parcel`: a batch of conversions as inputs without repeats, and what became of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import attrs

from anytrack_async.destinations.hubspot.contact import to_contact
from anytrack_async.destinations.hubspot.deal import to_deal
from anytrack_async.destinations.hubspot.problem import Act, Problem
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.signals import to_outcome, to_signal
from anytrack_async.destinations.sink import BatchRejected, SinkSignal
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome

_log = logging.getLogger("anytrack_async.hubspot")


@attrs.define(kw_only=True)
class Parcel:
    """A batch on its way.

    Attributes:
        batch: the conversions.
        deals: event id → input.
        contacts: e-mail address → input.
        customers: event id → e-mail address.
        outcomes: event id → what became of it.
        pending: problems of those that the lane has to decide about.
    """

    batch: Sequence[Conversion]
    deals: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    contacts: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    customers: dict[str, str] = attrs.field(factory=dict)
    outcomes: dict[str, Outcome] = attrs.field(factory=dict)
    pending: list[Problem] = attrs.field(factory=list)

    def settle(self, event_id: str, problem: Problem) -> None:
        """Enter that a conversion met *problem*."""
        if problem.act in (Act.HOLD, Act.SPLIT, Act.WAIT, Act.DOWN):
            self.outcomes.pop(event_id, None)
            self.pending.append(problem)
        else:
            self.outcomes[event_id] = to_outcome(problem)

    def unlinked(self, event_id: str, problem: Problem) -> None:
        """Enter that a deal was written but has no link to its contact.

        Where that is for good, the deal counts all the same: a bad contact must not lose it.
        """
        if problem.act is Act.REJECT:
            _log.warning("hubspot: deal of conversion %s has no contact: %s", event_id, problem)
        else:
            message = f"the deal is there, its contact is not linked: {problem.message}"
            self.settle(event_id, attrs.evolve(problem, message=message))

    def signal(self, problem: Problem) -> SinkSignal:
        """Return the signal for *problem*, with the outcomes that stand.

        A batch that is to be halved goes again as a whole: repeating what was written is harmless.
        """
        outcomes = [self.outcomes.get(one.event_id) for one in self.batch]
        signal = to_signal(problem)
        if any(outcomes) and not isinstance(signal, BatchRejected):
            signal.outcomes = outcomes
        return signal

    def unpack(self) -> list[Outcome]:
        """Return one outcome per conversion, in the batch's order.

        Raises:
            SinkSignal: some are for the lane to decide about.
        """
        if self.pending:
            held = (one for one in self.pending if one.act is Act.HOLD)
            raise self.signal(next(held, self.pending[0]))
        return [self.outcomes[one.event_id] for one in self.batch]


def pack(batch: Sequence[Conversion], settings: HubSpotSettings) -> Parcel:
    """Return *batch* as inputs without repeats: HubSpot refuses a batch with two equal ids.

    Of equal event ids the first stands; what several conversions tell of one customer is joined.
    """
    parcel = Parcel(batch=batch)
    for conversion in batch:
        event_id = conversion.event_id
        if event_id in parcel.deals or event_id in parcel.outcomes:
            continue
        try:
            contact = to_contact(conversion, settings)
            parcel.deals[event_id] = to_deal(conversion, settings)
        except Exception as exc:
            parcel.outcomes[event_id] = mapping_failed(exc)
            continue
        if contact is not None:
            _join(parcel, event_id, contact)
    return parcel


def mapping_failed(exc: Exception) -> Outcome:
    """Return the outcome of a conversion that a function of the settings cannot deal with."""
    # The text of the exception may quote the conversion.
    why = f"a function of the settings failed ({type(exc).__name__})"
    return Outcome.rejected(why, code="MAPPING_FAILED")


def _join(parcel: Parcel, event_id: str, contact: dict[str, Any]) -> None:
    email = parcel.customers[event_id] = contact["id"]
    known = parcel.contacts.setdefault(email, contact)
    known["properties"] |= contact["properties"]
