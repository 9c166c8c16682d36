"""`Entries`: the entries of a claim as columns."""

from __future__ import annotations

from anytrack_async.outbox.base import Entries, Entry
from tests.delivery.doubles import sales

ENTRIES = [
    Entry(seq=seq, conversion=conversion, attempts=seq % 2, accepted_at=float(seq))
    for seq, conversion in enumerate(sales(4), 7)
]


def test_columns_return_the_same_entries():
    columns = Entries.of(ENTRIES)

    assert list(columns) == ENTRIES
    assert [columns[index] for index in range(len(columns))] == ENTRIES
    assert columns[-1] == ENTRIES[-1]


def test_a_slice_of_entries_is_entries():
    part = Entries.of(ENTRIES)[1:3]

    assert isinstance(part, Entries)
    assert list(part) == ENTRIES[1:3]
    assert part.event_ids == [entry.conversion.event_id for entry in ENTRIES[1:3]]


def test_entries_without_rows_are_false_and_empty():
    assert not Entries()
    assert list(Entries.of([])) == []
    assert Entries.of(iter(())).event_ids == []
