"""What is remembered is what the plain way gives."""

from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from hashlib import sha256
from importlib import import_module

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anytrack_async.destinations.meta.hashing import (
    hashed,
    hashed_all,
    hashed_emails,
    hashed_names,
    hashed_phones,
    hashed_plain_ids,
    hashed_shared,
)
from anytrack_async.destinations.meta.user_data import user_data
from anytrack_async.models.customer import Customer

several = st.lists(st.text(), min_size=1, max_size=3).map(tuple)


@given(st.sampled_from(["ge", "ct", "st", "zp", "country"]), several)
def test_remembered_hashes_equal_new_ones(field, values):
    assert list(hashed_shared(field, values)) == hashed_all(field, values)


def test_remembered_hashes_cannot_be_changed_by_a_caller(conversion):
    sale = conversion(customer=Customer(first_name="Mary", city="Paris"))
    user_data(sale)["fn"].append("x")
    user_data(sale)["ct"].clear()

    assert user_data(sale)["fn"] == [hashed("fn", "Mary")]
    assert user_data(sale)["ct"] == [hashed("ct", "Paris")]


def test_birth_dates_are_not_remembered(conversion, monkeypatch):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    sale = conversion(customer=Customer(email="a@eg.com", birth_date=tomorrow))
    assert "db" not in user_data(sale)

    rules = import_module("anytrack_async.destinations.meta.normalise")
    monkeypatch.setattr(rules, "_today", lambda: tomorrow)

    assert user_data(sale)["db"] == [hashed("db", tomorrow)]


DIGEST = "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"
COLUMNS = {"em": hashed_emails, "ph": hashed_phones, "fn": hashed_names}
PLAIN = {"em": ("ann@eg.com",), "ph": ("+1 650 555 1212",), "fn": ("Ann",)}


class Shop(StrEnum):
    ADDRESS = " Shop@Example.com"
    PHONE = "+1 650 555 1212"


class Odd(str, Enum):  # noqa: UP042 - a StrEnum cannot be like this
    """An enum of texts with a different `value`; the value counts."""

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
    | st.builds(
        "{}joe@eg.com{}".format, ascii_texts, st.sampled_from(["", "\n", "\0", "\x1f", "."])
    )
    | st.from_regex(r"\s?[0-9+() .a-fA-F\u0660-\u0669\0-]{5,70}\s?", fullmatch=True)
    | st.sampled_from([DIGEST, DIGEST.upper(), DIGEST[:32], "1" * 32, *Shop, *Odd])
)
rows = st.lists(texts, max_size=3).map(tuple) | texts.map(lambda text: (text,))


def one_by_one(field, column):
    return [hashed_all(field, values) for values in column]


@pytest.mark.parametrize("field", COLUMNS)
@given(st.lists(rows, max_size=6))
@example([])
@example([(), ()])
def test_each_row_has_the_hashes_of_its_own_values(field, column):
    assert [*map(list, COLUMNS[field](column))] == one_by_one(field, column)


@pytest.mark.parametrize("field", COLUMNS)
@pytest.mark.parametrize(
    "values",
    [
        (),
        ("",),
        (" ",),
        ("\0",),
        ("a@eg.com\0b@eg.com",),
        ("\x1cjoe@eg.com\x1f",),
        ("joe@eg.com\n",),
        ("joe\n@eg.com",),
        ("a" * 40 + "@eg.com",),
        ('"a b"@eg.com',),
        ("joe@eg",),
        ("b@eg.com", "a@eg.com"),
        ("\u212aate@eg.com",),  # the Kelvin sign, which is ASCII in lower case
        ("\ud800joe@eg.com",),
        ("+0049 (151) 00000033",),
        ("123456",),
        ("1234567890123456",),
        ("1650555\n1212",),
        ("1650555\0" + "1212",),
        ("0" * 31 + "1234567",),
        ("\uff11\uff16\uff15\uff10\uff15\uff15\uff15",),
        (DIGEST,),
        (DIGEST[:32],),
        ("1" * 32,),
        (Odd.ADDRESS,),
        (Odd.PHONE,),
        (Shop.ADDRESS,),
    ],
)
def test_unusual_values_do_not_change_their_neighbours(field, values):
    column = [PLAIN[field], values, PLAIN[field]]
    before, result, after = COLUMNS[field](column)

    assert before == after == hashed_all(field, PLAIN[field])
    assert list(result) == hashed_all(field, values)


@given(st.lists(rows, max_size=6))
@example([("User-7",), (" user-7 ",), ("user 7",), (DIGEST[:32],), ("a", "b"), ("\u212a7",)])
def test_an_external_id_is_hashed_in_lower_case_or_left_out(column):
    for values, result in zip(column, hashed_plain_ids(column), strict=True):
        assert result in ([], (), [sha256("".join(values).lower().encode()).hexdigest()])


def test_only_plain_external_ids_are_hashed_together():
    column = [("User-7",), (" user-7 ",), ("user 7",), (DIGEST[:32],), ("a", "b"), ("é",), ()]

    first, *others = hashed_plain_ids(column)

    assert first == [sha256(b"user-7").hexdigest()]
    assert others == [()] * 6


def test_first_and_last_names_are_hashed_alike():
    column = [("Mary Ann",), ("O'Neil", "Zoë")]

    assert hashed_names(column) == one_by_one("fn", column) == one_by_one("ln", column)


@pytest.mark.parametrize("field", COLUMNS)
def test_rows_do_not_share_lists(field):
    first, second = COLUMNS[field]([PLAIN[field], PLAIN[field]])
    first.append("x")

    assert second == hashed_all(field, PLAIN[field])
    assert COLUMNS[field]([PLAIN[field]]) == [second]


def test_plain_values_are_not_hashed_one_at_a_time(monkeypatch):
    def never(field, values):
        raise AssertionError(f"{field} of {values}")

    monkeypatch.setattr("anytrack_async.destinations.meta.hashing.hashed_all", never)

    (first,), (second,) = hashed_emails([("\t ANN.Lee+x@Eg.co.UK\x1f",), ("ann.lee+x@eg.co.uk",)])
    assert first == second
    (first,), (second,) = hashed_phones([("+00 1 (650) 555-1212",), ("16505551212",)])
    assert first == second
    assert hashed_emails([(), ("ann@eg.com",)])[0] == hashed_phones([(), ("1234567",)])[0] == ()
