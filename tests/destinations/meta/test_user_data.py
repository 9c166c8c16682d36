"""Phone numbers and countries, read by libraries where the settings ask for it."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from hashlib import sha256

import pytest

from anytrack_async import ConfigurationError, Conversion, MetaSettings, MetaSink
from anytrack_async.destinations.meta.event import to_event
from anytrack_async.destinations.meta.hashing import hashed
from anytrack_async.destinations.meta.user_data import (
    all_user_data,
    match_keys,
    user_data,
)
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import MetaFields, MetaUserData


def digest(text):
    return sha256(text.encode()).hexdigest()


def data_of(conversion, **customer):
    return user_data(conversion(user_agent=None, customer=Customer(**customer)))


@pytest.mark.parametrize(
    ("field", "raw", "name", "normal"),
    [
        ("email", " Jane@Example.COM ", "em", "jane@example.com"),
        ("phone", "+1 (555) 010-9999", "ph", "15550109999"),
        ("first_name", "Mary", "fn", "mary"),
        ("last_name", "O'Neil", "ln", "oneil"),
        ("gender", "Female", "ge", "f"),
        ("birth_date", date(1990, 2, 3), "db", "19900203"),
        ("city", "New York", "ct", "newyork"),
        ("state", "California", "st", "ca"),
        ("postal_code", "94035-1234", "zp", "94035"),
        ("country", "US", "country", "us"),
        ("external_id", " User-7 ", "external_id", "user-7"),
    ],
)
def test_customer_data_is_normalised_and_hashed(conversion, field, raw, name, normal):
    assert data_of(conversion, **{field: raw}) == {name: [digest(normal)]}


def test_several_values_are_sent_once_each_in_a_stable_order(conversion):
    emails = ["b@x.example", "a@x.example", "B@x.example"]
    result = data_of(conversion, email=emails, external_id=["2", "1", "2"])

    assert result == data_of(conversion, email=emails[::-1], external_id=["1", "2"])
    assert sorted(result["em"]) == sorted({digest("a@x.example"), digest("b@x.example")})
    assert sorted(result["external_id"]) == sorted([digest("1"), digest("2")])


def test_external_ids_that_differ_in_case_alone_are_one(conversion):
    assert data_of(conversion, external_id=["User-7", "user-7 "]) == {
        "external_id": [digest("user-7")]
    }


def test_unusable_values_are_left_out(conversion):
    result = data_of(conversion, email="no address", phone=["12", "+1 555 010 9999"], gender="?")

    assert result == {"ph": [digest("15550109999")]}


def test_nothing_is_hashed_twice(conversion):
    once = data_of(conversion, email="jane@example.com", external_id="user-7")

    assert data_of(conversion, email=once["em"], external_id=once["external_id"]) == once
    upper = [value.upper() for value in once["external_id"]]
    assert data_of(conversion, external_id=upper) == {"external_id": once["external_id"]}


@pytest.mark.parametrize("odd", [" Us\ter-7 ", "a\0b", "\0", "\u212a7", "é", "a" * 64, ("b", "a")])
def test_an_unusual_external_id_changes_no_other(conversion, odd):
    sales = [
        conversion(customer=Customer(external_id=ids), user_agent=None, ip_address=None)
        for ids in ("User-7", odd, "", "user-8")
    ]

    first, result, absent, last = all_user_data(sales, None, [sale.timestamp for sale in sales])

    assert first == {"external_id": [digest("user-7")]}
    assert result == user_data(sales[1])
    assert absent == {}
    assert last == {"external_id": [digest("user-8")]}


def test_external_id_may_go_out_as_given(conversion, settings):
    sale = conversion(customer=Customer(external_id="User-7"))
    event = to_event(sale, settings(hash_external_id=False))

    assert event["user_data"]["external_id"] == ["User-7"]


@pytest.mark.parametrize("address", ["203.0.113.9", " 203.0.113.9 ", "2001:db8::1"])
def test_ip_address_goes_out_unhashed(conversion, address):
    assert user_data(conversion(ip_address=address))["client_ip_address"] == address.strip()


@pytest.mark.parametrize(
    "address",
    ["203.0.113", "203.0.113.999", "unknown", "10.0.0.1, ::1", "fe80::1%eth0", "a\0b", "127.0.0.1"],
)
def test_invalid_ip_address_is_left_out(conversion, address):
    assert "client_ip_address" not in user_data(conversion(ip_address=address))


def test_click_and_browser_ids_go_out_as_given(conversion):
    result = data_of(conversion, fbc="fb.1.1554763741205.AbC", fbp="fb.1.1596403881668.1116446470")

    assert result == {"fbc": "fb.1.1554763741205.AbC", "fbp": "fb.1.1596403881668.1116446470"}


def test_fbc_is_built_from_the_click_id(conversion):
    clicked_at = datetime(2026, 9, 1, 12, 0, 0, 123_000, UTC)
    customer = Customer(fbc="garbage", fbp="garbage", fbclid="IwAR_x")

    result = user_data(conversion(timestamp=clicked_at, customer=customer, user_agent=None))

    assert result == {"fbc": f"fb.1.{int(clicked_at.timestamp() * 1000)}.IwAR_x"}


def test_fbc_takes_precedence_over_the_click_id(conversion):
    result = data_of(conversion, fbc="fb.1.1554763741205.AbC", fbclid="other")

    assert result == {"fbc": "fb.1.1554763741205.AbC"}


def test_fbc_is_built_from_the_pages_address_and_its_referrer(conversion):
    clicked_at = datetime(2026, 9, 1, 12, tzinfo=UTC)
    landing = conversion(
        timestamp=clicked_at, customer=None, page_url="https://x.example/?fbclid=AbC"
    )
    later = conversion(
        timestamp=clicked_at, meta=MetaFields(referrer_url="https://l.facebook.example/?fbclid=ReF")
    )

    assert user_data(landing)["fbc"] == f"fb.1.{int(clicked_at.timestamp() * 1000)}.AbC"
    assert user_data(later)["fbc"].endswith(".ReF")


def test_click_of_a_conversion_from_the_future_is_dated_now(conversion, settings):
    sale = conversion(timestamp=datetime(2030, 1, 1, tzinfo=UTC), customer=Customer(fbclid="AbC"))

    event = to_event(sale, settings(), now=1_800_000_000.0)

    assert event["user_data"]["fbc"] == "fb.1.1800000000000.AbC"


def test_unusable_click_id_is_left_out(conversion):
    assert data_of(conversion, fbclid="a.b") == {}


def test_identifiers_only_meta_has_are_never_hashed(conversion):
    ids = {
        name: f"{name} 1"
        for name in (
            *("subscription_id", "fb_login_id", "lead_id", "anon_id", "madid", "page_id"),
            *("page_scoped_user_id", "ctwa_clid", "ig_account_id", "ig_sid"),
        )
    }
    fields = MetaFields(user_data=MetaUserData(**ids, extra={"new_id": "n"}))
    result = user_data(conversion(customer=None, user_agent=None, meta=fields))

    assert result == {**ids, "new_id": "n"}


def test_match_keys_name_the_identifiers_that_are_sent(conversion, settings):
    sale = conversion(
        customer=Customer(email="jane@example.com", phone="?", external_id="7", fbclid="A"),
        ip_address="2001:db8::1",
    )

    assert set(match_keys(sale)) == {
        *("em", "external_id", "client_ip_address", "client_user_agent", "fbc")
    }
    assert set(match_keys(sale, settings())) == set(to_event(sale, settings())["user_data"])


def test_unknown_visitor_has_no_match_keys(conversion):
    assert match_keys(conversion(customer=None, user_agent=None)) == ()


def make_settings(**changes):
    return MetaSettings(pixel_id="1", access_token="token", **changes)


def read_user_data(customer: Customer, **changes):
    conversion = Conversion.sale(revenue=1, customer=customer)
    return to_event(conversion, make_settings(**changes))["user_data"]


@pytest.mark.parametrize("written", ["020 7946 0958", "+44 (0)20 7946 0958", "+44 20 7946 0958"])
def test_national_number_gets_its_country_code(written):
    result = read_user_data(Customer(phone=written), phone_region="GB")

    assert result["ph"] == [hashed("ph", "442079460958")]


def test_number_that_the_library_cannot_read_follows_the_plain_rules():
    result = read_user_data(Customer(phone="x12345678901"), phone_region="GB")

    assert result["ph"] == [hashed("ph", "12345678901")]


def test_digest_stays_a_digest():
    digest = hashed("ph", "442079460958")

    assert read_user_data(Customer(phone=digest), phone_region="GB")["ph"] == [digest]


def test_official_country_name_is_read():
    customer = Customer(country="Federal Republic of Germany", email="a@example.com")

    assert read_user_data(customer, country_names=True)["country"] == [hashed("country", "de")]
    assert read_user_data(customer).get("country") != [hashed("country", "de")]


def test_plain_rules_need_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.setitem(sys.modules, "pycountry", None)

    result = read_user_data(Customer(phone="+44 20 7946 0958", country="GB"))

    assert result["ph"] == [hashed("ph", "442079460958")]
    MetaSink(make_settings())


@pytest.mark.parametrize(
    ("wanted", "module"),
    [({"phone_region": "GB"}, "phonenumbers"), ({"country_names": True}, "pycountry")],
)
def test_missing_library_is_reported_when_the_sink_is_made(monkeypatch, wanted, module):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigurationError, match=r"anytrack_async\[normalise\]"):
        MetaSink(make_settings(**wanted))


@pytest.mark.parametrize("region", ["GBR", "", "4G", 44])
def test_region_is_two_letters(region):
    with pytest.raises(ConfigurationError, match="phone_region"):
        make_settings(phone_region=region)


def kinds_of(conversion, settings=None, **customer):
    """Kinds of the values that Meta cannot use, or matches less well."""
    found = []
    sale = conversion(customer=Customer(**customer))
    (user,) = all_user_data((sale,), settings, (sale.timestamp,), found)
    assert all(row is user for row, _ in found)
    return [kind for _, kind in found]


NATIONAL = "phone numbers without country code"


@pytest.mark.parametrize(
    ("phone", "kinds"),
    [
        *((phone, [NATIONAL]) for phone in ("0170 1234567", "(020) 7946 0958", "020/79460958")),
        *((phone, [NATIONAL]) for phone in ("(650) 555-1212", "650-555-1212", " 650.555.1212 ")),
        *((phone, []) for phone in ("+49 170 1234567", "0049 170 1234567", "4917012345678")),
        *((phone, []) for phone in ("+1 (650) 555-1212", "1 650 555 1212", "(+49) 170 1234567")),
        (["0170 1234567", "+49 170 1234567"], []),
        (["0170 1234567", "0171 1234567"], [NATIONAL]),
        ("0" + "a1" * 31 + "b", []),
        ("12", ["unusable phone numbers"]),
        ("call me", ["unusable phone numbers"]),
        (None, []),
    ],
)
def test_phone_numbers_that_certainly_lack_a_country_code_are_weak(conversion, phone, kinds):
    assert kinds_of(conversion, phone=phone) == kinds


def test_with_a_region_a_national_number_is_not_weak(conversion, settings):
    assert kinds_of(conversion, settings(phone_region="DE"), phone="0170 1234567") == []
    assert kinds_of(conversion, settings(phone_region="US"), phone="650-555-1212") == []


@pytest.mark.parametrize(
    ("customer", "kinds"),
    [
        ({"email": "jane"}, ["unusable e-mail addresses"]),
        ({"email": ["jane", "jane@x.example"]}, []),
        ({"birth_date": "1990-02-31"}, ["unusable birth dates"]),
        ({"birth_date": ["3.2.90", "1990-02-03"]}, []),
        ({"first_name": "?", "last_name": "!"}, ["unusable names"] * 2),
        ({"gender": "x", "country": "Atlantis"}, ["unusable genders", "unusable countries"]),
        ({"city": "42", "state": "7", "postal_code": "1"}, [
            "unusable cities", "unusable states", "unusable postal codes"
        ]),
        ({"fbc": "garbage"}, ["unusable fbc, fbp or fbclid"]),
        ({"fbp": "garbage", "fbc": "garbage"}, ["unusable fbc, fbp or fbclid"]),
        ({"fbclid": "a.b"}, ["unusable fbc, fbp or fbclid"]),
        ({"fbc": "garbage", "fbclid": "AbC"}, []),
        ({"fbc": "fb.1.1554763741205.AbC", "fbp": "fb.1.1596403881668.1"}, []),
        ({}, []),
    ],
    ids=str,
)  # fmt: skip
def test_unusable_values_are_weak(conversion, customer, kinds):
    assert kinds_of(conversion, **customer) == kinds
