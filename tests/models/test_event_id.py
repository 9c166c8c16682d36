"""UUIDv7s: valid, unique and in the order they were made."""

from __future__ import annotations

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.models import identifiers
from anytrack_async.models.identifiers import new_event_id, order_event_id
from tests.models.strategies import names


def at(millis: int, monkeypatch: pytest.MonkeyPatch) -> uuid.UUID:
    monkeypatch.setattr(identifiers.time, "time_ns", lambda: millis * 1_000_000 + 999_999)
    return uuid.UUID(new_event_id())


def test_an_event_id_is_a_version_7_uuid_of_rfc_9562():
    for _ in range(500):
        text = new_event_id()
        built = uuid.UUID(text)
        assert str(built) == text
        assert built.version == 7
        assert built.variant == uuid.RFC_4122


def test_the_first_48_bits_are_the_unix_time_in_milliseconds():
    before = time.time_ns() // 1_000_000
    millis = uuid.UUID(new_event_id()).int >> 80
    assert before <= millis <= time.time_ns() // 1_000_000


@given(st.lists(st.integers(0, 2**47), min_size=2, max_size=8, unique=True))
def test_ids_sort_by_the_time_they_were_made(moments: list[int]):
    with pytest.MonkeyPatch.context() as patch:
        built = [str(at(moment, patch)) for moment in sorted(moments)]
    assert built == sorted(built)


def test_ids_of_one_moment_differ(monkeypatch: pytest.MonkeyPatch):
    assert len({at(1_700_000_000_000, monkeypatch) for _ in range(1000)}) == 1000


@given(names, names, names, names)
def test_different_order_events_have_different_ids(
    name: str, order: str, other_name: str, other_order: str
):
    item = order_event_id("custom", name, order)
    other = order_event_id("custom", other_name, other_order)

    assert (item == other) == ((name, order) == (other_name, other_order))
