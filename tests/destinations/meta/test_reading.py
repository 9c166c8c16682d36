"""Phone numbers and countries, read by libraries where the settings ask for it."""

from __future__ import annotations

import sys

import pytest

from anytrack_async import ConfigurationError, Conversion, Customer, MetaSettings, MetaSink
from anytrack_async.destinations.meta.event import to_event
from anytrack_async.destinations.meta.hashing import hashed


def settings(**changes):
    return MetaSettings(pixel_id="1", access_token="token", **changes)


def user_data(customer: Customer, **changes):
    conversion = Conversion.sale(revenue=1, customer=customer)
    return to_event(conversion, settings(**changes))["user_data"]


@pytest.mark.parametrize("written", ["020 7946 0958", "+44 (0)20 7946 0958", "+44 20 7946 0958"])
def test_national_number_gets_its_country_code(written):
    there = user_data(Customer(phone=written), phone_region="GB")

    assert there["ph"] == [hashed("ph", "442079460958")]


def test_number_that_the_library_cannot_read_follows_the_plain_rules():
    there = user_data(Customer(phone="x12345678901"), phone_region="GB")

    assert there["ph"] == [hashed("ph", "12345678901")]


def test_digest_stays_a_digest():
    digest = hashed("ph", "442079460958")

    assert user_data(Customer(phone=digest), phone_region="GB")["ph"] == [digest]


def test_official_country_name_is_read():
    customer = Customer(country="Federal Republic of Germany", email="a@example.com")

    assert user_data(customer, country_names=True)["country"] == [hashed("country", "de")]
    assert user_data(customer).get("country") != [hashed("country", "de")]


def test_plain_rules_need_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.setitem(sys.modules, "pycountry", None)

    there = user_data(Customer(phone="+44 20 7946 0958", country="GB"))

    assert there["ph"] == [hashed("ph", "442079460958")]
    MetaSink(settings())


@pytest.mark.parametrize(
    ("wanted", "module"),
    [({"phone_region": "GB"}, "phonenumbers"), ({"country_names": True}, "pycountry")],
)
def test_missing_library_is_told_when_the_sink_is_made(monkeypatch, wanted, module):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigurationError, match=r"anytrack_async\[normalise\]"):
        MetaSink(settings(**wanted))


@pytest.mark.parametrize("region", ["GBR", "", "4G", 44])
def test_region_is_two_letters(region):
    with pytest.raises(ConfigurationError, match="phone_region"):
        settings(phone_region=region)
