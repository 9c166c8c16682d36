"""What a memory outbox remembers of conversions that are gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.outbox.memory.remembered import Gone, Past


def add(past, *names, now=0.0, seq=1):
    places = range(seq, seq + len(names))
    return past.add(names, map(hash, names), places, [None] * len(names), now)


def test_what_is_remembered_is_found_by_its_number():
    past = Past(10)
    (first,) = add(past, "a", now=1.0, seq=7)
    (second,) = past.add(["b"], [42], [9], [frozenset({"meta"})], 2.0)

    assert past.gone(first) == Gone(seq=7, mask=None, at=1.0)
    assert past.gone(second) == Gone(seq=9, mask=frozenset({"meta"}), at=2.0)
    assert (past.mark(first), past.mark(second)) == (hash("a"), 42)


def test_nothing_is_forgotten_while_there_is_room():
    past = Past(10)
    add(past, *"abcdefg")

    assert past.forget_excess() == []


def test_what_went_up_to_a_moment_is_forgotten():
    past = Past(10)
    add(past, "a", "b", now=1.0)
    (last,) = add(past, "c", now=2.0, seq=3)

    assert past.forget_until(0.5) == []
    assert past.forget_until(1.0) == ["a", "b"]
    assert past.gone(last).seq == 3
    assert past.forget_until(9.0) == ["c"]


def test_marks_that_cannot_be_made_leave_nothing():
    past = Past(10)
    with pytest.raises(ZeroDivisionError):
        past.add("ab", (1 // at for at in (1, 0)), [1, 2], [None, None], 1.0)

    (number,) = add(past, "c", now=2.0, seq=3)
    assert (past.mark(number), past.gone(number).seq) == (hash("c"), 3)
    assert past.forget_until(9.0) == ["c"]


@pytest.mark.parametrize("most", [0, 1, 2, 7, 100])
@given(steps=st.lists(st.integers(0, 30), max_size=12))
def test_the_newest_are_remembered_and_the_others_named_once(most, steps):
    past, added, forgotten, numbers = Past(most), [], [], {}
    for step in steps:
        names = [str(len(added) + at) for at in range(step)]
        numbers.update(zip(names, add(past, *names, seq=len(added)), strict=True))
        added += names
        forgotten += past.forget_excess()

    left = added[-most:] if most else []
    assert forgotten + left == added
    assert [past.gone(numbers[name]).seq for name in left] == [int(name) for name in left]
    assert [past.mark(numbers[name]) for name in left] == [hash(name) for name in left]
