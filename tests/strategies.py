"""Hypothesis strategies that tests of several packages share: conversions as shops have them.

`conversions` of the models' tests are any that can be built, most of them about nobody and from
another century. Here they also have customers that can be found, and happened lately.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from hypothesis import strategies as st

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from tests.models.strategies import conversions as any_conversions
from tests.models.strategies import customers, meta_fields, several

DAY = timedelta(days=1)

_names = st.sampled_from(["Jane", " MARY-ANN ", "O'Neil", "Zoë", "王", "Mary Ann", "d’Arc"])
_values = {
    "email": st.emails()
    | st.sampled_from([" Jane@Example.com", "joe@eg.com", "a@eg.com, b@eg.com"]),
    "phone": st.sampled_from(["+1 (555) 010-9999", "0049 170 1234567", "call me", "12"]),
    "first_name": _names,
    "last_name": _names,
    "gender": st.sampled_from(["f", "Male", "x"]),
    "birth_date": st.dates() | st.sampled_from(["19900203", "02/03/1990", "soon"]),
    "city": st.sampled_from(["New York", "Köln", "St. John's", "42"]),
    "state": st.sampled_from(["CA", "new york", "Bayern"]),
    "postal_code": st.sampled_from(["94035-1234", "SW1A 1AA", "10115"]) | st.integers(0, 99_999),
    "country": st.sampled_from(["us", "DE", "Germany", "zz"]),
    "external_id": st.sampled_from(["C1", " c1 ", "a" * 64]) | st.integers(0),
}
_cookies = {
    "fbc": st.sampled_from(["fb.1.1554763741205.AbC", "fb.1.x", "AbC"]),
    "fbp": st.sampled_from(["fb.1.1596403881668.1116446470", "1116446470"]),
    "fbclid": st.sampled_from(["IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB", "a.b", "é"]),
}


def _one_or_many(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | values | st.lists(values, max_size=3) | several


_fields = {name: _one_or_many(values) for name, values in _values.items()} | _cookies
_emails = _fields.pop("email")

known_customers = st.one_of(
    st.fixed_dictionaries({}, optional=_fields),
    st.fixed_dictionaries({"email": _emails}, optional=_fields),
).map(lambda given: Customer(**given))
"""Customers that can be found by some of what is known of them, among values that help nobody."""

_addresses = st.ip_addresses().map(str) | st.just("unknown")
_pages = st.sampled_from(["https://shop.example/?fbclid=AbC-1", "http://[x", "/thanks"])
_ages = st.timedeltas(timedelta(0), 6 * DAY) | st.timedeltas(-DAY, 70 * DAY)


@st.composite
def _lately(draw: st.DrawFn) -> Conversion:
    return attrs.evolve(
        draw(any_conversions),
        timestamp=datetime.now(UTC) - draw(_ages),
        customer=draw(known_customers | known_customers | st.none()),
        ip_address=draw(st.none() | _addresses),
        page_url=draw(st.none() | _pages),
    )


# Deferred, because Hypothesis prints a strategy with all its parts.
conversions = st.deferred(lambda: any_conversions)
"""Any conversion that can be built."""

recent_conversions = _lately()
"""Any conversion from seventy days ago to tomorrow, most of the last week."""

__all__ = ["conversions", "customers", "known_customers", "meta_fields", "recent_conversions"]
