"""The records of one object type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson

from anytrack_async.sandbox.hubspot.schema import Schema
from anytrack_async.sandbox.hubspot.values import normalised
from anytrack_async.sandbox.request import Clock

_DEFAULTS = {
    "deals": ("amount", "closedate", "dealname", "dealstage", "pipeline"),
    "contacts": ("email", "firstname", "lastname"),
}
_MODIFIED = {"deals": "hs_lastmodifieddate", "contacts": "lastmodifieddate"}


@attrs.frozen(kw_only=True)
class Record:
    """One deal or contact.

    Attributes:
        number: its id.
        values: its property values, without those HubSpot keeps itself.
        created: when, in seconds since 1970.
        updated: when, in seconds since 1970.
        kind: the object type.
    """

    number: int
    values: dict[str, str]
    created: float
    updated: float
    kind: str

    def wire(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the record as HubSpot sends it: all values, or those of *names*."""
        created, updated = iso(self.created), iso(self.updated)
        values: dict[str, str | None] = {
            "createdate": created,
            "hs_object_id": str(self.number),
            _MODIFIED[self.kind]: updated,
        }
        if names is None:
            values.update(self.values)
        else:
            values.update({n: self.values.get(n) for n in names if n not in values})
        return {
            "id": str(self.number),
            "properties": values,
            "createdAt": created,
            "updatedAt": updated,
            "archived": False,
        }


def iso(at: float) -> str:
    """Return *at* as HubSpot writes times."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Table:
    """All records of one object type; the newest *keep* of them in full.

    Attributes:
        kind: the object type, plural.
        schema: its properties.
    """

    def __init__(self, kind: str, schema: Schema, *, keep: int, first: int, clock: Clock) -> None:
        self.kind = kind
        self.schema = schema
        self.defaults = _DEFAULTS[kind]
        self._keep = keep
        self._clock = clock
        self._first = self._next = first
        self._rows: dict[int, bytes] = {}
        self._unique: dict[str, dict[str, int]] = {}

    def find(self, id_: str, id_property: str | None) -> int | None:
        """Return the number of the record *id_* names by *id_property*, or by its id."""
        if not id_property or id_property == "hs_object_id":
            number = int(id_) if id_.isdecimal() else 0
            return number if self._first <= number < self._next else None
        return self._unique.get(id_property, {}).get(normalised(id_property, id_))

    def get(self, number: int) -> Record | None:
        """Return the record *number*; none if it was never there or is too old."""
        row = self._rows.get(number)
        return None if row is None else Record(number=number, kind=self.kind, **orjson.loads(row))

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records, oldest first."""
        return (r for number in list(self._rows) if (r := self.get(number)))

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
        # Copied, because orjson hands out its whole buffer: ten times what a row needs.
        self._rows[number] = memoryview(orjson.dumps(row)).tobytes()
        return record

    def _index(self, record: Record, old: Record | None) -> None:
        for name in self.schema.unique:
            index = self._unique.setdefault(name, {})
            before, after = old and old.values.get(name), record.values.get(name)
            if before and before != after:
                index.pop(before, None)
            if after:
                index[after] = record.number
