from datetime import UTC, date, datetime
from hashlib import sha256

import pytest

from anytrack_async.destinations.meta.event import to_event
from anytrack_async.destinations.meta.user_data import match_keys, user_data
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
    given = ["b@x.example", "a@x.example", "B@x.example"]
    there = data_of(conversion, email=given, external_id=["2", "1", "2"])

    assert there == data_of(conversion, email=given[::-1], external_id=["1", "2"])
    assert sorted(there["em"]) == sorted({digest("a@x.example"), digest("b@x.example")})
    assert sorted(there["external_id"]) == sorted([digest("1"), digest("2")])


def test_external_ids_that_differ_in_case_alone_are_one(conversion):
    assert data_of(conversion, external_id=["User-7", "user-7 "]) == {
        "external_id": [digest("user-7")]
    }


def test_unusable_values_are_left_out(conversion):
    there = data_of(conversion, email="no address", phone=["12", "+1 555 010 9999"], gender="?")

    assert there == {"ph": [digest("15550109999")]}


def test_nothing_is_hashed_twice(conversion):
    once = data_of(conversion, email="jane@example.com", external_id="user-7")

    assert data_of(conversion, email=once["em"], external_id=once["external_id"]) == once
    upper = [value.upper() for value in once["external_id"]]
    assert data_of(conversion, external_id=upper) == {"external_id": once["external_id"]}


def test_external_id_may_go_out_as_given(conversion, settings):
    given = conversion(customer=Customer(external_id="User-7"))
    event = to_event(given, settings(hash_external_id=False))

    assert event["user_data"]["external_id"] == ["User-7"]


@pytest.mark.parametrize("address", ["203.0.113.9", " 203.0.113.9 ", "2001:db8::1", "::1"])
def test_ip_address_goes_out_unhashed(conversion, address):
    assert user_data(conversion(ip_address=address))["client_ip_address"] == address.strip()


@pytest.mark.parametrize(
    "address", ["203.0.113", "203.0.113.999", "unknown", "1.2.3.4, 5.6.7.8", "fe80::1%eth0", "a\0b"]
)
def test_what_is_no_ip_address_is_left_out(conversion, address):
    assert "client_ip_address" not in user_data(conversion(ip_address=address))


def test_click_and_browser_ids_go_out_as_given(conversion):
    there = data_of(conversion, fbc="fb.1.1554763741205.AbC", fbp="fb.1.1596403881668.1116446470")

    assert there == {"fbc": "fb.1.1554763741205.AbC", "fbp": "fb.1.1596403881668.1116446470"}


def test_fbc_is_built_from_the_click_id(conversion):
    at = datetime(2026, 9, 1, 12, 0, 0, 123_000, UTC)
    customer = Customer(fbc="garbage", fbp="garbage", fbclid="IwAR_x")

    there = user_data(conversion(timestamp=at, customer=customer, user_agent=None))

    assert there == {"fbc": f"fb.1.{int(at.timestamp() * 1000)}.IwAR_x"}


def test_given_fbc_wins_over_the_click_id(conversion):
    there = data_of(conversion, fbc="fb.1.1554763741205.AbC", fbclid="other")

    assert there == {"fbc": "fb.1.1554763741205.AbC"}


def test_fbc_is_built_from_the_pages_address_and_its_referrer(conversion):
    at = datetime(2026, 9, 1, 12, tzinfo=UTC)
    landing = conversion(timestamp=at, customer=None, page_url="https://x.example/?fbclid=AbC")
    later = conversion(
        timestamp=at, meta=MetaFields(referrer_url="https://l.facebook.example/?fbclid=ReF")
    )

    assert user_data(landing)["fbc"] == f"fb.1.{int(at.timestamp() * 1000)}.AbC"
    assert user_data(later)["fbc"].endswith(".ReF")


def test_click_of_a_conversion_from_the_future_is_dated_now(conversion, settings):
    given = conversion(timestamp=datetime(2030, 1, 1, tzinfo=UTC), customer=Customer(fbclid="AbC"))

    event = to_event(given, settings(), now=1_800_000_000.0)

    assert event["user_data"]["fbc"] == "fb.1.1800000000000.AbC"


def test_unusable_click_id_is_left_out(conversion):
    assert data_of(conversion, fbclid="a.b") == {}


def test_identifiers_only_meta_has_are_never_hashed(conversion):
    given = {
        name: f"{name} 1"
        for name in (
            *("subscription_id", "fb_login_id", "lead_id", "anon_id", "madid", "page_id"),
            *("page_scoped_user_id", "ctwa_clid", "ig_account_id", "ig_sid"),
        )
    }
    fields = MetaFields(user_data=MetaUserData(**given, extra={"new_id": "n"}))
    there = user_data(conversion(customer=None, user_agent=None, meta=fields))

    assert there == {**given, "new_id": "n"}


def test_match_keys_name_what_will_be_sent(conversion, settings):
    given = conversion(
        customer=Customer(email="jane@example.com", phone="?", external_id="7", fbclid="A"),
        ip_address="::1",
    )

    assert set(match_keys(given)) == {
        *("em", "external_id", "client_ip_address", "client_user_agent", "fbc")
    }
    assert set(match_keys(given, settings())) == set(to_event(given, settings())["user_data"])


def test_nobody_matches_nobody(conversion):
    assert match_keys(conversion(customer=None, user_agent=None)) == ()
