"""What is remembered is what the plain way gives."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.meta.hashing import hashed, hashed_all, hashed_shared
from anytrack_async.destinations.meta.user_data import user_data
from anytrack_async.models.customer import Customer

several = st.lists(st.text(), min_size=1, max_size=3).map(tuple)


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

    rules = import_module("anytrack_async.destinations.meta.normalise")
    monkeypatch.setattr(rules, "_today", lambda: tomorrow)

    assert user_data(given)["db"] == [hashed("db", tomorrow)]
