"""Reading stored conversions."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytestmark = pytest.mark.asyncio

MODELS = ("last_click", "first_click", "linear", "time_decay")


async def track(anytrack, **fields):
    body = {"conversion_type": "sale", "currency": "USD", "click_id": "c1", **fields}
    return (await anytrack.post("/conversions", body)).json()["conversion_id"]


async def read(anytrack, path, **params):
    response = await anytrack.get(path, **params)
    assert response.status_code == 200
    return response.json()


async def test_a_conversion_is_read_in_the_format_of_anytrack(anytrack):
    id_ = await track(
        anytrack,
        revenue=9.9,
        currency="eur",
        timestamp="2026-10-01T10:00:00+02:00",
        source="google",
        campaign_id="k1",
        ad_id="a1",
        sub_ids={"sub1": "x"},
        ip_address="1.2.3.4",
        user_agent="ua",
    )

    assert await read(anytrack, f"/conversions/{id_}") == {
        "data": {
            "id": id_,
            "click_id": "c1",
            "conversion_type": "sale",
            "revenue": "9.90",
            "currency": "EUR",
            "source": "google",
            "campaign_id": "k1",
            "timestamp": "2026-10-01T08:00:00",
            "status": "approved",
            "ad_id": "a1",
            "sub_ids": {"sub1": "x"},
            "ip_address": "1.2.3.4",
            "user_agent": "ua",
        }
    }


async def test_absent_fields_are_made_up_or_omitted(anytrack):
    id_ = await track(anytrack, click_id=None, currency=None)

    data = (await read(anytrack, f"/conversions/{id_}"))["data"]

    assert data["revenue"] == "0.00"
    assert data["currency"] == "USD"
    assert data["timestamp"] == "2026-10-02T12:00:00"
    assert (data["source"], data["campaign_id"]) == ("direct", "none")
    assert "ad_id" not in data


@pytest.mark.parametrize(
    ("sent", "got"), [(5, "5.00"), ("5.5", "5.50"), ("0.005", "0.005"), ("1E+2", "100.00")]
)
async def test_money_is_text_with_two_decimals_or_more(anytrack, sent, got):
    id_ = await track(anytrack, revenue=sent)

    assert (await read(anytrack, f"/conversions/{id_}"))["data"]["revenue"] == got


@pytest.mark.parametrize("id_", ["cv_00000009", "cv_zz", "42"])
@pytest.mark.parametrize("view", ["", "/touchpoints", "/attribution"])
async def test_an_unknown_conversion_is_404(anytrack, id_, view):
    response = await anytrack.get(f"/conversions/{id_}{view}")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_conversions_come_newest_first(anytrack):
    ids = [await track(anytrack) for _ in range(3)]

    listed = [item["id"] for item in (await read(anytrack, "/conversions"))["data"]]

    assert listed == ids[::-1]


async def test_conversions_are_filtered(anytrack):
    wanted = await track(anytrack, source="google", campaign_id="k1")
    await track(anytrack, source="google", campaign_id="k2")
    await track(anytrack, source="bing", campaign_id="k1")

    reply = await read(anytrack, "/conversions", source="google", campaign_id="k1")

    assert [item["id"] for item in reply["data"]] == [wanted]


async def test_without_dates_the_last_30_days_are_read(anytrack):
    recent = await track(anytrack, timestamp="2026-09-03T12:00:00Z")
    await track(anytrack, timestamp="2026-09-01T12:00:00Z")

    reply = await read(anytrack, "/conversions")

    assert [item["id"] for item in reply["data"]] == [recent]


async def test_a_date_range_includes_its_first_and_last_day(anytrack):
    await track(anytrack, timestamp="2026-08-31T23:59:59Z")
    first = await track(anytrack, timestamp="2026-09-01T00:00:00Z")
    last = await track(anytrack, timestamp="2026-09-02T23:59:59.999Z")
    await track(anytrack, timestamp="2026-09-03T00:00:00Z")

    reply = await read(anytrack, "/conversions", date_from="2026-09-01", date_to="2026-09-02")

    assert {item["id"] for item in reply["data"]} == {first, last}


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/conversions", {"date_from": "soon"}, "date_from"),
        ("/conversions", {"date_to": "9999-12-31"}, "date_to"),
        ("/affiliates/performance", {}, "affiliate_id"),
        ("/affiliates/top", {"sort_by": "luck"}, "sort_by"),
        ("/affiliates/top", {"limit": "0"}, "limit"),
        ("/affiliates/top", {"limit": "many"}, "limit"),
        ("/reports/daily", {}, "date"),
        ("/reports/daily", {"date": "2026-13-01"}, "date"),
        ("/conversions/cv_00000001/attribution", {"model": "magic"}, "model"),
    ],
)
async def test_a_bad_parameter_is_named(anytrack, path, params, field):
    response = await anytrack.get(path, **params)

    assert response.status_code == 422
    assert list(response.json()["fields"]) == [field]


async def test_the_journey_of_a_click_is_always_the_same(anytrack):
    ids = [await track(anytrack, timestamp="2026-10-01T00:00:00Z") for _ in range(2)]

    journeys = [await read(anytrack, f"/conversions/{id_}/touchpoints") for id_ in ids]

    assert journeys[0] == journeys[1]


async def test_touchpoints_come_newest_first_and_before_the_conversion(anytrack):
    for number in range(20):
        id_ = await track(anytrack, click_id=f"c{number}", timestamp="2026-10-01T00:00:00Z")
        journey = (await read(anytrack, f"/conversions/{id_}/touchpoints"))["data"]
        times = [touch["timestamp"] for touch in journey]

        assert times == sorted(times, reverse=True)
        assert 1 <= len(times) <= 5
        assert times[0] < "2026-10-01T00:00:00"
        assert all(touch["type"] in ("click", "view") for touch in journey)


async def test_without_a_click_there_is_no_journey(anytrack):
    id_ = await track(anytrack, click_id=None)

    assert await read(anytrack, f"/conversions/{id_}/touchpoints") == {"data": []}
    assert (await read(anytrack, f"/conversions/{id_}/attribution"))["weights"] == {}


@pytest.mark.parametrize("model", MODELS)
async def test_weights_add_up_to_one(anytrack, model):
    for number in range(20):
        id_ = await track(anytrack, click_id=f"c{number}")
        reply = await read(anytrack, f"/conversions/{id_}/attribution", model=model)

        assert reply["model"] == model
        assert sum(reply["weights"].values()) == pytest.approx(1, abs=1e-5)


async def test_last_click_is_the_default_model(anytrack):
    id_ = await track(anytrack)

    assert (await read(anytrack, f"/conversions/{id_}/attribution"))["model"] == "last_click"


async def test_later_touchpoints_weigh_more_as_time_decays(anytrack):
    for number in range(10):
        id_ = await track(anytrack, click_id=f"c{number}")
        reply = await read(anytrack, f"/conversions/{id_}/attribution", model="time_decay")
        weights = list(reply["weights"].values())

        assert weights == sorted(weights)


async def test_conversions_count_for_the_affiliate_in_their_sub_ids(anytrack):
    await track(anytrack, revenue=10, sub_ids={"affiliate_id": "ann"})
    await track(anytrack, revenue="5.50", sub_ids={"sub1": "ann"})
    await track(anytrack, revenue=1, source="google")

    data = (await read(anytrack, "/affiliates/performance", affiliate_id="ann"))["data"]

    assert data["conversions"] == 2
    assert data["revenue"] == "15.50"
    assert data["clicks"] >= 2
    assert float(data["epc"]) == pytest.approx(15.5 / data["clicks"], abs=1e-4)
    assert data["conversion_rate"] == pytest.approx(2 / data["clicks"], abs=1e-6)
    assert "affiliate_id" not in data


async def test_an_affiliate_without_conversions_has_zeros(anytrack):
    for number in range(20):
        data = (await read(anytrack, "/affiliates/performance", affiliate_id=f"x{number}"))["data"]

        assert (data["conversions"], data["revenue"]) == (0, "0.00")


@pytest.mark.parametrize("metric", ["revenue", "conversions", "epc", "conversion_rate"])
async def test_top_affiliates_are_sorted_by_the_metric(anytrack, metric):
    for number in range(12):
        for _ in range(number % 3 + 1):
            await track(anytrack, revenue=number * 7 % 5, source=f"s{number}")

    rows = (await read(anytrack, "/affiliates/top", sort_by=metric, limit=5))["data"]

    values = [Decimal(str(row[metric])) for row in rows]
    assert values == sorted(values, reverse=True)
    assert len({row["affiliate_id"] for row in rows}) == 5


async def test_the_daily_report_adds_up_its_day(anytrack):
    await track(anytrack, revenue=10, source="google", campaign_id="k1", timestamp="2026-10-01")
    await track(anytrack, revenue=5, source="bing", campaign_id="k1", timestamp="2026-10-01")
    await track(anytrack, revenue=99, timestamp="2026-10-02")

    assert await read(anytrack, "/reports/daily", date="2026-10-01") == {
        "total_revenue": "15.00",
        "total_conversions": 2,
        "avg_order_value": "7.50",
        "by_source": {"bing": "5.00", "google": "10.00"},
        "by_campaign": {"k1": "15.00"},
    }


async def test_an_empty_day_has_no_groups(anytrack):
    assert await read(anytrack, "/reports/daily", date="2026-10-01") == {
        "total_revenue": "0.00",
        "total_conversions": 0,
        "avg_order_value": "0.00",
    }


async def test_only_the_newest_conversions_are_kept(make, anytrack_of):
    anytrack = anytrack_of(make(keep=2))
    ids = [await track(anytrack) for _ in range(3)]

    assert (await anytrack.get(f"/conversions/{ids[0]}")).status_code == 404
    listed = [item["id"] for item in (await read(anytrack, "/conversions"))["data"]]
    assert listed == [ids[2], ids[1]]
    assert anytrack.app.ledger.as_dict()["anytrack"]["accepted"] == 3
