"""What is remembered or found by a short cut is what the plain way gives."""

from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from importlib import import_module

from hypothesis import example, given
from hypothesis import strategies as st

from anytrack_async.models import Customer
from anytrack_async.sinks.meta.hashing import (
    hashed,
    hashed_all,
    hashed_emails,
    hashed_names,
    hashed_phones,
    hashed_shared,
)
from anytrack_async.sinks.meta.user_data import user_data

DIGEST = "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"


class Shop(StrEnum):
    ADDRESS = " Shop@Example.com"
    PHONE = "+1 650 555 1212"


class Odd(str, Enum):  # noqa: UP042 - a StrEnum cannot be like this
    """Its text is another than its value, which is what counts."""

    ADDRESS = ("no@example.com", "shop@example.com")
    PHONE = ("16505550000", "16505551212")

    def __new__(cls, text, value):
        self = str.__new__(cls, text)
        self._value_ = value
        return self


ascii_texts = st.text(st.characters(max_codepoint=127))
texts = (
    st.text()
    | ascii_texts
    | st.emails()
    | ascii_texts.map("joe@{}.com".format)
    | st.from_regex(r"\s?[0-9+() .a-fA-F\u0660-\u0669-]{5,70}\s?", fullmatch=True)
    | st.sampled_from([DIGEST, DIGEST.upper(), DIGEST[:32], *Shop, *Odd])
)
several = st.lists(texts, min_size=1, max_size=3).map(tuple)


@given(several)
@example(("\u212aate@eg.com",))  # the Kelvin sign, which is ASCII in lower case
@example(("\ud800joe@eg.com",))
@example(("\x1cjoe@eg.com\x1f",))
@example(("a" * 40 + "@eg.com",))
@example((" ",))
@example((Odd.ADDRESS,))
def test_addresses_are_hashed_as_ever(values):
    assert hashed_emails(values) == hashed_all("em", values)


@given(several)
@example(("+0049 (151) 00000033",))
@example(("123456",))
@example((Odd.PHONE,))
@example(("1234567890123456",))
@example(("0" * 31 + "1234567",))
@example(("\uff11\uff16\uff15\uff10\uff15\uff15\uff15",))
def test_numbers_are_hashed_as_ever(values):
    assert hashed_phones(values) == hashed_all("ph", values)


@given(several)
def test_names_are_hashed_as_ever_and_first_ones_like_last_ones(values):
    assert list(hashed_names(values)) == hashed_all("fn", values) == hashed_all("ln", values)


@given(st.sampled_from(["ge", "ct", "st", "zp", "country"]), several)
def test_places_are_hashed_as_ever(field, values):
    assert list(hashed_shared(field, values)) == hashed_all(field, values)


def test_what_is_remembered_cannot_be_changed_by_who_gets_it(conversion):
    given = conversion(customer=Customer(first_name="Mary", city="Paris"))
    user_data(given)["fn"].append("x")
    user_data(given)["ct"].clear()

    assert user_data(given)["fn"] == [hashed("fn", "Mary")]
    assert user_data(given)["ct"] == [hashed("ct", "Paris")]


def test_birth_date_is_asked_for_anew(conversion, monkeypatch):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    given = conversion(customer=Customer(email="a@eg.com", birth_date=tomorrow))
    assert "db" not in user_data(given)

    rules = import_module("anytrack_async.sinks.meta.normalise")
    monkeypatch.setattr(rules, "_today", lambda: tomorrow)

    assert user_data(given)["db"] == [hashed("db", tomorrow)]
