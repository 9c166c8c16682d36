"""Words of a refusal that concern every conversion: none becomes a dead letter for them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from anytrack_async.destinations.anytrack.causes import Unexplained
from anytrack_async.destinations.anytrack.payload import read_outcome
from anytrack_async.destinations.sink import NeedsOperator, Throttled
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.transport.message import Response


def read(status: int, body: Any) -> Outcome:
    response = httpx.Response(status, content=json.dumps(body))
    return read_outcome(
        Response(
            service="anytrack",
            status=status,
            headers=dict(response.headers),
            content=response.content,
        )
    )


def refusal(code: str, message: str = "no") -> dict[str, str]:
    return {"status": "error", "code": code, "message": message}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("rate_limited", "no"),
        ("too_many_requests", "no"),
        ("quota_exceeded", "no"),
        ("x", "Rate limit of your API key exceeded"),
        ("x", "monthly limit reached"),
        ("events_limit", "no"),
        ("x", "You have used all events of your plan"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 422])
def test_words_about_a_limit_throttle(status: int, code: str, message: str):
    with pytest.raises(Throttled):
        read(status, refusal(code, message))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("maintenance", "no"),
        ("internal_error", "no"),
        ("timeout", "no"),
        ("x", "Service unavailable"),
        ("x", "Please try again in a minute"),
        ("conflict", "conflict, please retry"),
        ("x", "a request with this key is in progress"),
    ],
)
@pytest.mark.parametrize("status", [400, 409, 422])
def test_words_about_the_moment_retry(status: int, code: str, message: str):
    assert read(status, refusal(code, message)).status is Status.RETRY


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("subscription_expired", "no"),
        ("integration_disabled", "no"),
        ("x", "Your plan is not active"),
        ("x", "Upgrade your plan"),
        ("x", "Account is locked"),
        ("x", "access denied"),
        ("x", "Unauthenticated."),
        ("x", "User is not authenticated"),
        ("x", "You are not logged in"),
        ("property_not_found", "no"),
        ("invalid_account_id", "no"),
        ("x", "X-Account-ID header is required"),
        ("x", "Content-Type must be application/json"),
        ("x", "This API version is no longer supported"),
        ("x", "SSL is required"),
        ("invalid_json", "Unexpected token"),
        ("x", "IP not in allow list"),
        ("x", "the endpoint was removed"),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_words_about_the_account_need_an_operator(status: int, code: str, message: str):
    with pytest.raises(NeedsOperator):
        read(status, refusal(code, message))


@pytest.mark.parametrize("status", [406, 411, 415, 421, 426, 431, 451])
def test_a_status_about_every_request_rejects_no_conversion(status: int):
    with pytest.raises(NeedsOperator, match="base_url"):
        read(status, refusal("unsupported", "not like this"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("invalid_revenue", "revenue must be a number"),
        ("invalid_conversion", "no"),
        ("unknown_currency", "currency is not supported"),
        ("click_not_found", "Click not found"),
        ("x", "timestamp is too old"),
        ("x", "property 'revenue' is required"),
        ("missing_property", "must not have additional properties"),
        ("x", "unknown conversion type"),
        ("x", "custom_data is not valid"),
        ("x", "order_id is longer than the limit of 100 characters"),
    ],
)
def test_words_about_the_conversion_reject_it(code: str, message: str):
    assert read(400, refusal(code, message)).status is Status.REJECTED


@pytest.mark.parametrize("words", ["no", "refused", "resource failed", "in order to go on"])
@pytest.mark.parametrize("status", [400, 409])
def test_words_that_name_no_field_reject_nothing(status: int, words: str):
    with pytest.raises(Unexplained):
        read(status, refusal("x", words))
    assert read(422, refusal("x", words)).status is Status.REJECTED


@pytest.mark.parametrize("key", ["errors", "fields", "details"])
def test_a_field_beside_the_message_is_read_too(key: str):
    message = {"message": "The given data was invalid."}

    assert read(422, {**message, key: {"click_id": ["no"]}}).status is Status.REJECTED
    with pytest.raises(NeedsOperator) as caught:
        read(422, {**message, key: [{"detail": "the account_id is unknown"}]})
    assert caught.value.cause == "credentials"


@pytest.mark.parametrize(
    ("body", "remote_id"),
    [
        ({"conversionId": "c1"}, "c1"),
        ({"conversion": {"id": 7}}, "7"),
        ({"status": "pending"}, None),
        ({"status": "stored", "data": {"conversionId": "c2"}}, "c2"),
        ({"message": "Conversion recorded successfully"}, None),
        ([{"status": "success", "conversion_id": "c3"}], "c3"),
        ([{"status": "queued", "id": 8}], "8"),
        ({"data": [{"id": "c4"}]}, "c4"),
        (True, None),
        ({"message": "Your conversion was received.", "request_id": "r"}, None),
    ],
)
def test_other_words_confirm(body: Any, remote_id: str | None):
    outcome = read(200, body)

    assert (outcome.status, outcome.remote_id) == (Status.DELIVERED, remote_id)


@pytest.mark.parametrize(
    "message",
    [
        "Conversion not recorded",
        "created, but an error occurred",
        "unsuccessful",
        "The request was received without a click id",
        "Welcome",
    ],
)
def test_a_sentence_that_denies_it_confirms_nothing(message: str):
    assert read(200, {"message": message}).status is Status.RETRY
