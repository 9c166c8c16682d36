"""Everything that a portal stores: deals, contacts, their associations and custom events."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson

from anytrack_async.sandbox.hubspot.messages import HubSpotError, invalid
from anytrack_async.sandbox.hubspot.schema import Schema, contact_schema, deal_schema
from anytrack_async.sandbox.hubspot.validation import normalise
from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.request import Clock
from anytrack_async.sandbox.settings import SandboxSettings

ASSOCIATION_TYPE_IDS = {("deals", "contacts"): 3, ("contacts", "deals"): 4}
OBJECT_TYPE_IDS = {"contacts": "0-1", "deals": "0-3"}
OTHER_KIND = {"deals": "contacts", "contacts": "deals"}
SINGULAR = {"deals": "DEAL", "contacts": "CONTACT"}

# HubSpot accepts plural, singular and object type id in a path.
_KINDS = {
    "deals": "deals",
    "deal": "deals",
    "0-3": "deals",
    "contacts": "contacts",
    "contact": "contacts",
    "0-1": "contacts",
}
_DEFAULT_PROPERTIES = {
    "deals": ("amount", "closedate", "dealname", "dealstage", "pipeline"),
    "contacts": ("email", "firstname", "lastname"),
}
_MODIFIED = {"deals": "hs_lastmodifieddate", "contacts": "lastmodifieddate"}


class Portal:
    """One portal.

    Attributes:
        settings: the set-up of the stand-in.
        ledger: its page of the ledger.
        tables: deals and contacts.
        associations: of deals with contacts.
        chance: the random numbers that decide the order of results.
        event_uuids: of the custom events accepted.
    """

    def __init__(self, settings: SandboxSettings, ledger: LedgerPage, clock: Clock) -> None:
        self.settings = settings.hubspot
        self.ledger = ledger
        self.chance = random.Random(settings.seed)
        self.associations = Associations()
        self.event_uuids: set[str] = set()
        deals, contacts = deal_schema(self.settings), contact_schema()
        self.tables = {
            "deals": Table("deals", deals, keep=settings.keep, first=40_001, clock=clock),
            "contacts": Table("contacts", contacts, keep=settings.keep, first=101, clock=clock),
        }
        self._clock = clock
        self._replies = itertools.count(1)
        ledger.extra.update(contacts=0, associations=0, events=0)

    def table(self, object_type: str) -> Table:
        """Return the table of *object_type*, which may be singular, plural or an id.

        Raises:
            HubSpotError: there is no such type.
        """
        if object_type not in _KINDS:
            raise invalid(f"Unable to infer object type from: {object_type}", reason="OBJECT_TYPE")
        return self.tables[_KINDS[object_type]]

    def now(self) -> str:
        """Return the time as HubSpot writes it."""
        return to_iso(self._clock())

    def correlation_id(self) -> str:
        """Return a new correlation id."""
        return f"0190d5b2-7c1f-7000-8000-{next(self._replies):012x}"

    def shuffle(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return *results* in random order, because HubSpot does not promise any."""
        return self.chance.sample(results, len(results))

    def echoes_trace_ids(self) -> bool:
        """Return at random whether a reply repeats the trace ids: HubSpot promises neither."""
        return self.chance.random() < 0.5

    def count_rejection(self, error: HubSpotError) -> None:
        """Count a rejected request or input."""
        self.ledger.reject(error.reason or error.category)

    def associate(self, kind: str, number: int, other: int) -> None:
        """Associate the record *number* of *kind* with the record *other* of the other kind."""
        self.associations.add(kind, number, other)
        self.ledger.extra["associations"] = self.associations.count


@attrs.frozen(kw_only=True)
class Record:
    """One deal or contact.

    Attributes:
        number: its id.
        values: its property values, without those that HubSpot sets itself.
        created: in seconds since 1970.
        updated: in seconds since 1970.
        kind: `deals` or `contacts`.
    """

    number: int
    values: dict[str, str]
    created: float
    updated: float
    kind: str

    def as_json(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the record as HubSpot sends it: with all values, or with those of *names*."""
        created, updated = to_iso(self.created), to_iso(self.updated)
        values: dict[str, str | None] = {
            "createdate": created,
            "hs_object_id": str(self.number),
            _MODIFIED[self.kind]: updated,
        }
        if names is None:
            values.update(self.values)
        else:
            values.update({name: self.values.get(name) for name in names if name not in values})
        return {
            "id": str(self.number),
            "properties": values,
            "createdAt": created,
            "updatedAt": updated,
            "archived": False,
        }


def to_iso(seconds: float) -> str:
    """Return *seconds* since 1970 as HubSpot writes times."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Table:
    """All records of one object type; the values of the newest *keep* of them.

    Attributes:
        kind: `deals` or `contacts`.
        schema: its properties.
        default_properties: returned when a request names no properties.
    """

    def __init__(self, kind: str, schema: Schema, *, keep: int, first: int, clock: Clock) -> None:
        self.kind = kind
        self.schema = schema
        self.default_properties = _DEFAULT_PROPERTIES[kind]
        self._keep = keep
        self._clock = clock
        self._first = self._next = first
        self._rows: dict[int, bytes] = {}
        self._by_value: dict[str, dict[str, int]] = {}

    def find(self, id_: str, id_property: str | None) -> int | None:
        """Return the number of the record with *id_* in *id_property*; None stands for its id."""
        if not id_property or id_property == "hs_object_id":
            number = int(id_) if id_.isdecimal() else 0
            return number if self._first <= number < self._next else None
        return self._by_value.get(id_property, {}).get(normalise(id_property, id_))

    def get(self, number: int) -> Record | None:
        """Return the record *number*; None if it never existed or is too old to be kept."""
        row = self._rows.get(number)
        return None if row is None else Record(number=number, kind=self.kind, **orjson.loads(row))

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records, oldest first."""
        return (record for number in list(self._rows) if (record := self.get(number)))

    def __len__(self) -> int:
        return self._next - self._first

    def put(self, number: int | None, values: dict[str, str]) -> Record:
        """Create a record with *values*, or change the record *number*, and return it."""
        now = self._clock()
        old = None if number is None else self.get(number)
        if number is None:
            number = self._next
            self._next += 1
            self._rows.pop(number - self._keep, None)
        # An empty value clears a property; an absent one leaves it as it is.
        merged = {**(old.values if old else {}), **values}
        record = Record(
            number=number,
            values={name: value for name, value in merged.items() if value},
            created=old.created if old else now,
            updated=now,
            kind=self.kind,
        )
        self._index(record, old)
        row = {"values": record.values, "created": record.created, "updated": now}
        # A copy, because orjson returns its whole buffer: ten times the memory of a row.
        self._rows[number] = memoryview(orjson.dumps(row)).tobytes()
        return record

    def _index(self, record: Record, old: Record | None) -> None:
        for name in self.schema.unique:
            index = self._by_value.setdefault(name, {})
            # A changed e-mail address frees the old one for another contact.
            before, after = old and old.values.get(name), record.values.get(name)
            if before and before != after:
                index.pop(before, None)
            if after:
                index[after] = record.number


class Associations:
    """The contacts of each deal; both directions of a pair are one association.

    Attributes:
        count: number of associations.
    """

    def __init__(self) -> None:
        self._contacts: dict[int, tuple[int, ...]] = {}
        self.count = 0

    def add(self, kind: str, number: int, other: int) -> None:
        """Associate the record *number* of *kind* with the record *other* of the other kind."""
        deal, contact = (number, other) if kind == "deals" else (other, number)
        contacts = self._contacts.get(deal, ())
        if contact not in contacts:
            self._contacts[deal] = (*contacts, contact)
            self.count += 1

    def get(self, kind: str, number: int) -> tuple[int, ...]:
        """Return the records associated with the record *number* of *kind*."""
        if kind == "deals":
            return self._contacts.get(number, ())
        # Only tests read a contact's deals: an index for it would slow down every new deal.
        return tuple(deal for deal, contacts in self._contacts.items() if number in contacts)
