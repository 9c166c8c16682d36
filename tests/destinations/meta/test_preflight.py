from itertools import combinations

import pytest

from anytrack_async.destinations.meta.preflight import find_fault, find_weakness

NOW = 1_800_000_000.0
DAY = 86_400


def event(**fields):
    plain = {
        "event_name": "Lead",
        "event_time": int(NOW),
        "action_source": "website",
        "user_data": {"em": ["…"], "client_user_agent": "Mozilla"},
        "event_source_url": "https://x.example",
    }
    return {**plain, **fields}


def code(**fields):
    fault = find_fault(event(**fields), NOW)
    return fault.code if fault else None


@pytest.mark.parametrize(
    ("source", "age", "wanted"),
    [
        ("website", 7 * DAY, None),
        ("website", 7 * DAY + 1, "2804003"),
        ("physical_store", 7 * DAY + 1, None),
        ("physical_store", 62 * DAY, None),
        ("physical_store", 62 * DAY + 1, "2804003"),
        ("app", 62 * DAY, "2804003"),
    ],
)
def test_event_is_taken_for_some_days(source, age, wanted):
    assert code(action_source=source, event_time=int(NOW - age)) == wanted


@pytest.mark.parametrize(
    ("custom", "wanted"),
    [
        ({"value": 0.0, "currency": "EUR"}, None),
        ({"currency": "EUR"}, "2804009"),
        ({"value": 1.0}, "2804010"),
        ({"value": 1.0, "currency": ""}, "2804010"),
    ],
)
def test_purchase_needs_value_and_currency(custom, wanted):
    assert code(event_name="Purchase", custom_data=custom) == wanted
    assert code(event_name="Subscribe", custom_data=custom) is None


def test_purchase_needs_custom_data():
    assert code(event_name="Purchase") == "2804009"


BROAD = [
    {"ct", "country", "st", "zp", "ge", "client_user_agent"},
    {"db", "client_user_agent"},
    {"fn", "ge"},
    {"ln", "ge"},
]
WEAK = {"ct", "country", "st", "zp", "ge", "client_user_agent", "db", "fn", "ln"}


@pytest.mark.parametrize("size", range(4))
def test_too_broad_is_exactly_a_subset_of_one_of_metas_combinations(size):
    for names in combinations(sorted(WEAK), size):
        broad = any(set(names) <= combination for combination in BROAD)

        assert code(user_data={name: ["…"] for name in names}) == ("2804050" if broad else None), (
            names
        )


@pytest.mark.parametrize(
    "name",
    [
        *("em", "ph", "external_id", "client_ip_address", "fbc", "fbp", "subscription_id"),
        *("fb_login_id", "lead_id", "anon_id", "page_id", "page_scoped_user_id", "ctwa_clid"),
        *("ig_account_id", "ig_sid", "madid"),
    ],
)
def test_one_real_identifier_is_enough(name):
    assert code(user_data={name: "…"}) is None


def test_reasons_tell_what_to_do():
    assert "7 days" in find_fault(event(event_time=0), NOW).reason
    assert "e-mail" in find_fault(event(user_data={}), NOW).reason


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, None),
        ({"user_data": {"em": ["…"]}}, "user_agent"),
        ({"event_source_url": None}, "page_url"),
        ({"action_source": "email", "user_data": {}}, None),
        ({"action_source": "app"}, "app_data"),
        ({"action_source": "app", "app_data": {"vendor_id": "1"}}, None),
    ],
)
def test_weaknesses_are_told_by_kind(fields, wanted):
    given = {name: value for name, value in event(**fields).items() if value is not None}
    found = find_weakness(given)

    assert (wanted is None and found is None) or wanted in found
