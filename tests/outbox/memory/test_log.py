"""The log in memory: the ids it remembers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.outbox.memory.remembered import RememberedId, RememberedIds


def summary_of(event_id):
    return f"sale {ord(event_id[-1])} USD"


def add(remembered, *event_ids, now=0.0, seq=1):
    seqs = range(seq, seq + len(event_ids))
    summaries = [summary_of(event_id) for event_id in event_ids]
    return remembered.add(event_ids, summaries, seqs, [None] * len(event_ids), now)


def test_a_remembered_id_is_found_by_its_number():
    remembered = RememberedIds(10)
    (first,) = add(remembered, "a", now=1.0, seq=7)
    (second,) = remembered.add(["b"], ["lead 0 USD"], [9], [frozenset({"meta"})], 2.0)

    assert remembered.get(first) == RememberedId(seq=7, recipients=None, dropped_at=1.0)
    assert remembered.get(second) == RememberedId(
        seq=9, recipients=frozenset({"meta"}), dropped_at=2.0
    )
    assert remembered.summary(first) == summary_of("a")
    assert remembered.summary(second) == "lead 0 USD"


def test_no_id_is_forgotten_below_the_limit():
    remembered = RememberedIds(10)
    add(remembered, *"abcdefg")

    assert remembered.forget_excess() == []


def test_ids_dropped_up_to_a_moment_are_forgotten():
    remembered = RememberedIds(10)
    add(remembered, "a", "b", now=1.0)
    (last,) = add(remembered, "c", now=2.0, seq=3)

    assert remembered.forget_until(0.5) == []
    assert remembered.forget_until(1.0) == ["a", "b"]
    assert remembered.get(last).seq == 3
    assert remembered.forget_until(9.0) == ["c"]


@pytest.mark.parametrize("limit", [0, 1, 2, 7, 100])
@given(steps=st.lists(st.integers(0, 30), max_size=12))
def test_the_newest_ids_are_remembered_and_each_other_is_returned_once(limit, steps):
    remembered, added, forgotten, numbers = RememberedIds(limit), [], [], {}
    for step in steps:
        event_ids = [str(len(added) + index) for index in range(step)]
        new_numbers = add(remembered, *event_ids, seq=len(added))
        numbers.update(zip(event_ids, new_numbers, strict=True))
        added += event_ids
        forgotten += remembered.forget_excess()

    newest = added[-limit:] if limit else []
    assert forgotten + newest == added
    assert [remembered.get(numbers[name]).seq for name in newest] == [int(name) for name in newest]
    assert [remembered.summary(numbers[name]) for name in newest] == list(map(summary_of, newest))
