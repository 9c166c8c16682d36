"""`POST /v1/conversions`: credentials, validation, repeats."""

from __future__ import annotations

import httpx
import pytest

from anytrack_async.sandbox import AnyTrackAccount

pytestmark = pytest.mark.asyncio

SALE = {
    "click_id": "c1",
    "conversion_type": "sale",
    "revenue": 9.9,
    "currency": "EUR",
    "timestamp": "2026-10-01T10:00:00+02:00",
    "order_id": "o1",
    "custom_data": {"product_id": "p1"},
}


def page(caller):
    return caller.app.ledger.as_dict(ids=True)["anytrack"]


async def test_a_conversion_gets_an_id(anytrack):
    response = await anytrack.post("/conversions", SALE)

    assert response.status_code == 201
    assert response.json()["status"] == "success"
    assert response.json()["conversion_id"]


async def test_every_reply_has_its_own_request_id(anytrack):
    responses = [
        await anytrack.post("/conversions", SALE),
        await anytrack.post("/conversions", {}),
        await anytrack.get("/nowhere"),
        await anytrack.get("/conversions"),
    ]

    assert len({response.headers["X-Request-ID"] for response in responses}) == 4
    assert responses[1].json()["request_id"] == responses[1].headers["X-Request-ID"]


async def test_an_unknown_key_is_401(anytrack):
    response = await anytrack.post("/conversions", SALE, Authorization="Bearer wrong")

    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert page(anytrack)["rejected"] == {"unauthorized": 1}


@pytest.mark.parametrize("header", ["", "Basic sandbox-api-key", "sandbox-api-key"])
async def test_only_a_bearer_token_is_a_key(anytrack, header):
    response = await anytrack.post("/conversions", SALE, Authorization=header)

    assert response.status_code == 401


async def test_another_account_is_403(anytrack):
    response = await anytrack.post("/conversions", SALE, X_Account_ID="somebody-else")

    assert response.status_code == 403
    assert response.json()["code"] == "forbidden"


async def test_only_the_type_is_required(anytrack):
    response = await anytrack.post("/conversions", {"conversion_type": "lead"})

    assert response.status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("conversion_type", None),
        ("conversion_type", "purchase"),
        ("conversion_type", ["sale"]),
        ("click_id", 5),
        ("revenue", -1),
        ("revenue", "a lot"),
        ("revenue", "NaN"),
        ("revenue", True),
        ("revenue", [1]),
        ("revenue", "1e30"),
        ("currency", "EURO"),
        ("currency", 978),
        ("timestamp", "yesterday"),
        ("timestamp", 1_790_942_400),
        ("timestamp", "0001-01-01"),
        ("order_id", 1),
        ("custom_data", "x"),
        ("sub_ids", []),
        ("source", {}),
    ],
)
async def test_a_bad_field_is_named(anytrack, field, value):
    response = await anytrack.post("/conversions", {**SALE, field: value})

    assert response.status_code == 422
    assert list(response.json()["fields"]) == [field]
    assert field in response.json()["message"]
    assert page(anytrack)["rejected"] == {"validation_error": 1}


async def test_an_implausible_time_is_invalid(anytrack):
    response = await anytrack.post("/conversions", {**SALE, "timestamp": "1969-12-31T00:00:00Z"})

    assert "in the years 1990 to 2199" in response.json()["message"]


@pytest.mark.parametrize("revenue", [0, 9.9, "9.90", "0.00", "1E+2", None])
async def test_revenue_is_a_number_or_its_text(anytrack, revenue):
    response = await anytrack.post("/conversions", {**SALE, "revenue": revenue})

    assert response.status_code == 201


async def test_invalid_json_is_400(anytrack):
    response = await anytrack.http.post("/conversions", content=b'{"revenue": NaN}')

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_json"


async def test_a_list_is_not_a_conversion(anytrack):
    assert (await anytrack.post("/conversions", [SALE])).status_code == 422


async def test_a_repeated_key_is_one_conversion(anytrack):
    first = await anytrack.post("/conversions", SALE, Idempotency_Key="e1")
    again = await anytrack.post("/conversions", {**SALE, "revenue": 1}, Idempotency_Key="e1")

    assert again.status_code == 200
    assert again.json() == first.json()
    assert (page(anytrack)["unique"], page(anytrack)["duplicates"]) == (1, 1)
    assert page(anytrack)["ids"] == {"e1": 2}


async def test_the_event_id_in_the_custom_data_is_a_key_too(anytrack):
    body = {**SALE, "custom_data": {"event_id": "e1"}}
    first = await anytrack.post("/conversions", body)
    again = await anytrack.post("/conversions", SALE, Idempotency_Key="e1")

    assert again.json() == first.json()


async def test_without_a_key_every_conversion_is_new(anytrack):
    ids = {(await anytrack.post("/conversions", SALE)).json()["conversion_id"] for _ in range(2)}

    assert len(ids) == 2
    assert page(anytrack)["unique"] == 2
    assert page(anytrack)["ids"] == {}


async def test_without_dedup_a_repeat_is_a_second_conversion(make, anytrack_of):
    anytrack = anytrack_of(make(anytrack=AnyTrackAccount(dedup=False)))
    for _ in range(2):
        assert (await anytrack.post("/conversions", SALE, Idempotency_Key="e1")).status_code == 201

    assert (page(anytrack)["unique"], page(anytrack)["duplicates"]) == (2, 0)
    assert page(anytrack)["ids"] == {"e1": 2}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405(anytrack, method):
    response: httpx.Response = await anytrack.http.request(method, "/conversions/cv_00000001")

    assert response.status_code == 405
