"""Texts that are safe to show and to log."""

from __future__ import annotations

import pytest

from anytrack_async.descriptions import abbreviated, safe_description, shown, shown_address
from anytrack_async.errors import ConflictError
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.models.outcome import Outcome, Report, Status


def test_our_own_errors_are_described_by_their_message():
    contradiction = find_contradiction("sale:1", "sale 49.90 USD", "sale 59.90 USD")
    assert contradiction is not None
    error = ConflictError(contradiction)

    assert safe_description(error) == str(error)


def test_other_exceptions_are_described_without_their_message():
    def raise_with_data() -> None:
        raise KeyError("jane@example.com")

    with pytest.raises(KeyError) as caught:
        raise_with_data()

    line = raise_with_data.__code__.co_firstlineno + 1
    assert safe_description(caught.value) == f"KeyError in raise_with_data, line {line}"


def test_an_exception_that_was_not_raised_is_described_by_its_type():
    assert safe_description(KeyError("jane@example.com")) == "KeyError"


def test_ids_beyond_twenty_are_counted():
    ids = [str(number) for number in range(25)]

    assert abbreviated(ids[:20]) == ", ".join(ids[:20])
    assert abbreviated(ids) == ", ".join(ids[:20]) + " and 5 more"
    assert abbreviated(ids[:20], 50) == ", ".join(ids[:20]) + " and 30 more"
    assert abbreviated([]) == ""


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("EUR", "'EUR'"),
        ("x" * 300, "a value of type str"),
        (10**5_000, "a value of type int"),
        (Unprintable(), "a value of type Unprintable"),
    ],
    ids=["short", "long", "many digits", "unprintable"],
)
def test_a_value_is_shown_if_it_is_short_and_can_be_printed(value: object, text: str):
    assert shown(value) == text


@pytest.mark.parametrize("field", ["remote_id", "code", "error", "attempts", "retry_after"])
def test_a_report_with_an_integer_of_5000_digits_can_be_shown(field):
    outcome = Outcome(**{"status": Status.DELIVERED, field: 10**5_000})
    report = Report(event_id="sale:1", outcomes={"meta": outcome})

    assert f"{field}=<int>" in repr(report)
    assert f"{field}=<int>" in str(outcome)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgres://u:secret@db:5432/shop?sslmode=require", "postgresql://db:5432/shop"),
        ("postgresql://u:se@cret@[::1]:5432,db2/shop", "postgresql://[::1]:5432,db2/shop"),
        ("postgresql:///shop?host=/run&password=secret", "postgresql:///shop"),
        ("postgresql://u:12/secret@db/shop", "postgresql://…"),
        ("postgresql://u:12#secret@db/shop", "postgresql://…"),
        ("postgresql://u:12?secret@db/shop", "postgresql://…"),
        ("postgresql://u:secret@[::1/shop", "postgresql://…"),
        ("postgresql://u:secret@db\x1b[31m/shop", "postgresql://…"),
    ],
)
def test_an_address_is_shown_without_its_password(address, expected):
    assert shown_address(address) == expected
