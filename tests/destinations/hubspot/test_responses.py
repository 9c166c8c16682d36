from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import orjson
import pytest

from anytrack_async.destinations.hubspot.problem import ProblemKind
from anytrack_async.destinations.hubspot.responses import (
    read_item_error,
    read_problem,
    seconds_until_midnight,
)
from anytrack_async.transport.errors import redact

NOW = datetime(2026, 3, 4, 22, 30, tzinfo=UTC)


def read(status, *, headers=None, zone=None, content=None, **body):
    raw = orjson.dumps(body) if content is None else content
    return read_problem(status, headers or {}, raw, zone=zone, now=NOW)


@pytest.mark.parametrize(
    ("status", "category", "kind"),
    [
        (400, "VALIDATION_ERROR", ProblemKind.REJECTED),
        (400, "MISSING_REQUIRED_PROPERTY", ProblemKind.REJECTED),
        (400, "MISSING_CONDITIONAL_REQUIRED_PROPERTY", ProblemKind.REJECTED),
        (400, "MISSING_SCOPES", ProblemKind.NEEDS_OPERATOR),
        (401, "INVALID_AUTHENTICATION", ProblemKind.NEEDS_OPERATOR),
        (402, "", ProblemKind.NEEDS_OPERATOR),
        (403, "MISSING_SCOPES", ProblemKind.NEEDS_OPERATOR),
        (404, "OBJECT_NOT_FOUND", ProblemKind.NEEDS_OPERATOR),
        (404, "", ProblemKind.NEEDS_OPERATOR),
        (405, "", ProblemKind.NEEDS_OPERATOR),
        (408, "", ProblemKind.UNAVAILABLE),
        (409, "CONFLICT", ProblemKind.EXISTS),
        (409, "", ProblemKind.EXISTS),
        (409, "MIGRATION", ProblemKind.UNAVAILABLE),
        (413, "", ProblemKind.BATCH_REJECTED),
        (400, "", ProblemKind.INCONCLUSIVE),
        (400, "SOMETHING_NEW", ProblemKind.INCONCLUSIVE),
        (422, "", ProblemKind.INCONCLUSIVE),
        (418, "", ProblemKind.INCONCLUSIVE),
        (423, "LOCKED", ProblemKind.RETRY_LATER),
        (429, "RATE_LIMITS", ProblemKind.THROTTLED),
        (477, "MIGRATION_IN_PROGRESS", ProblemKind.THROTTLED),
        *(
            (status, "", ProblemKind.UNAVAILABLE)
            for status in (302, 500, 502, 503, 504, 521, 523, 524, 599)
        ),
    ],
)
def test_status_and_category_decide_the_kind(status, category, kind):
    assert read(status, category=category).kind is kind


@pytest.mark.parametrize(
    "content",
    [
        b'{"detail":"Not authenticated"}',
        b'{"error":{"code":"conflict","message":"host exists twice"}}',
        b'{"errors":[{"detail":"amount is no number"}]}',
        b'{"title":"Conflict","status":409}',
        b'[{"message":"record exists"}]',
        b"null",
    ],
)
def test_a_conflict_in_the_words_of_another_service_is_no_record(content: bytes):
    assert read(409, content=content).kind is ProblemKind.UNAVAILABLE


@pytest.mark.parametrize(
    "message",
    ["version conflict, retry", "Conflict: a merge is in progress", "concurrent update of deals"],
)
def test_a_conflict_with_another_request_wrote_nothing(message: str):
    assert read(409, category="CONFLICT", message=message).kind is ProblemKind.UNAVAILABLE
    assert read(400, category="CONFLICT", message=message).kind is ProblemKind.UNAVAILABLE
    item = {"category": "CONFLICT", "message": message}
    assert read_item_error(item).kind is ProblemKind.RETRY_LATER
    assert read_item_error({**item, "message": f"{message}. Existing ID: 7"}).record_id == "7"


@pytest.mark.parametrize(
    "message", ["Unable to infer object type from: deals", "Invalid input JSON on line 1, column 2"]
)
def test_a_validation_of_the_whole_request_names_no_input(message: str):
    problem = read(400, category="VALIDATION_ERROR", message=message)

    assert problem.kind is ProblemKind.INCONCLUSIVE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProblemKind.UNAVAILABLE),
        (404, ProblemKind.UNAVAILABLE),
        (409, ProblemKind.UNAVAILABLE),
        (502, ProblemKind.UNAVAILABLE),
        (401, ProblemKind.NEEDS_OPERATOR),
        (403, ProblemKind.NEEDS_OPERATOR),
        (413, ProblemKind.BATCH_REJECTED),
        (429, ProblemKind.THROTTLED),
        (423, ProblemKind.RETRY_LATER),
        (477, ProblemKind.THROTTLED),
    ],
)
def test_an_html_response_of_a_proxy_rejects_nothing(status, kind):
    assert read(status, content=b"<html>nope</html>").kind is kind


@pytest.mark.parametrize(("status", "page"), [(401, b"<html>"), (402, b""), (403, b"<html>")])
def test_a_page_that_refuses_access_asks_for_the_base_url(status, page):
    problem = read(status, content=page)

    assert (problem.kind, problem.cause) == (ProblemKind.NEEDS_OPERATOR, "configuration")
    assert "base_url" in problem.advice


def test_a_401_needs_no_words():
    problem = read(401, content=b" ")

    assert (problem.kind, problem.cause) == (ProblemKind.NEEDS_OPERATOR, "credentials")


def test_a_wrong_path_names_the_settings():
    assert str(read(404, message="resource not found", correlationId="c-1")) == (
        "resource not found; check HubSpotSettings(api_version=…, base_url=…) (correlation id c-1)"
    )


def test_json_that_is_no_object_counts_as_hubspots():
    problem = read(400, content=b"[]")

    assert (problem.kind, problem.message) == (ProblemKind.INCONCLUSIVE, "answered 400 Bad Request")


@pytest.mark.parametrize(
    "message", ["This app lacks a scope", "You have no permission", "Forbidden", "Unauthorized"]
)
def test_access_is_known_by_its_words_too(message):
    assert read(400, message=message).kind is ProblemKind.NEEDS_OPERATOR
    assert read(400, message=message, category="VALIDATION_ERROR").kind is ProblemKind.REJECTED


def test_an_unknown_status_is_shown_by_its_number():
    assert read(599, content=b"").message == "answered 599"
    assert "redirects are not followed" in read(308, content=b"").message


def test_hubspots_words_and_correlation_id_are_kept():
    problem = read(
        400,
        message="Property values were not valid",
        category="VALIDATION_ERROR",
        correlationId="abc-1",
        errors=[
            {"message": "2x is not a number", "code": "INVALID_NUMBER"},
            {"message": "Property values were not valid", "code": "VALIDATION"},
            "noise",
        ],
    )

    assert problem.message == (
        "Property values were not valid 2x is not a number [INVALID_NUMBER] [VALIDATION]"
    )
    assert (problem.code, problem.request_id) == ("VALIDATION_ERROR", "abc-1")
    assert (problem.status, problem.property_fault) == (400, "INVALID_NUMBER")


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"context": {"requiredGranularScopes": ["crm.objects.deals.write"]}}]},
        {"context": {"missingScopes": "crm.objects.deals.write"}},
        {"errors": [{"context": "{missingScopes=[crm.objects.deals.write]}"}]},
    ],
)
def test_the_missing_scope_is_named(body):
    problem = read(403, category="MISSING_SCOPES", message="not granted", **body)

    assert problem.message == "not granted scopes: crm.objects.deals.write"


def test_a_context_in_text_that_is_not_about_scopes_is_ignored():
    assert read(403, message="no", errors=[{"context": "{a=[b]}"}]).message == "no"


@pytest.mark.parametrize(
    ("message", "context", "id_"),
    [
        ("Contact already exists. Existing ID: 12345", {}, "12345"),
        ("conflict, existing object id 77", {}, "77"),
        ("conflict", {"existingObjectId": ["88"]}, "88"),
        ("conflict", {"existingId": 99}, "99"),
        ("conflict", {"id": ["12"]}, None),
    ],
)
def test_the_existing_id_is_read(message, context, id_):
    assert read(409, message=message, context=context).record_id == id_


# 429


@pytest.mark.parametrize("policy", ["TEN_SECONDLY_ROLLING", "SECONDLY", "ten_secondly_rolling"])
@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 10.0),
        ({"retry-after": "-1"}, 10.0),
        ({"retry-after": "0", "x-hubspot-ratelimit-interval-milliseconds": "7000"}, 7.0),
        ({"retry-after": "3", "x-hubspot-ratelimit-interval-milliseconds": "7000"}, 3.0),
        ({"x-hubspot-ratelimit-interval-milliseconds": "7000"}, 7.0),
        ({"x-hubspot-ratelimit-interval-milliseconds": "soon"}, 10.0),
        ({}, 10.0),
    ],
)
def test_a_short_limit_waits_as_requested_or_for_one_interval(policy, headers, after):
    problem = read(429, headers=headers, policyName=policy)

    assert (problem.kind, problem.retry_after, problem.code) == (
        ProblemKind.THROTTLED,
        after,
        policy.upper(),
    )


def test_a_daily_limit_waits_for_midnight_of_the_portal():
    assert read(429, policyName="DAILY", zone=UTC).retry_after == 90 * 60 + 1
    east = timezone(timedelta(hours=2))
    assert read(429, policyName="DAILY", zone=east).retry_after == 23.5 * 3600 + 1


def test_a_daily_limit_of_an_unknown_zone_waits_an_hour():
    assert read(429, policyName="DAILY").retry_after == 3600


def test_a_requested_wait_beyond_midnight_is_kept():
    problem = read(429, policyName="DAILY", zone=UTC, headers={"retry-after": "7200"})

    assert problem.retry_after == 7200


def test_without_a_policy_the_header_shows_a_used_up_day():
    headers = {"x-hubspot-ratelimit-daily-remaining": "0"}

    assert read(429, headers=headers, category="RATE_LIMITS").retry_after == 3600
    assert read(429, headers=headers, policyName="SECONDLY").retry_after == 10


def test_midnight_survives_the_change_of_clocks():
    now = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)  # 0:00 in Berlin, on a day of 23 hours

    assert seconds_until_midnight(now, ZoneInfo("Europe/Berlin")) == 23 * 3600 + 1


# 423, 477


def test_a_locked_record_waits_at_least_two_seconds():
    assert read(423).retry_after == 2.0
    assert read(423, headers={"retry-after": "1"}).retry_after == 2.0
    assert read(423, headers={"retry-after": "9"}).retry_after == 9.0


def test_a_portal_that_is_being_moved_is_waited_for_up_to_a_day():
    assert read(477, headers={"retry-after": "600"}).retry_after == 600
    assert read(477, headers={"retry-after": "999999"}).retry_after == 86_400
    assert read(477).retry_after == 3600


# Properties that setup creates


@pytest.mark.parametrize(
    "body",
    [
        {
            "message": "Property values were not valid",
            "errors": [
                {
                    "message": 'Property "anytrack_source" does not exist',
                    "code": "PROPERTY_DOESNT_EXIST",
                    "context": {"propertyName": ["anytrack_source"]},
                }
            ],
        },
        {
            "message": 'Property values were not valid: [{"isValid":false,"message":"…",'
            '"error":"PROPERTY_DOESNT_EXIST","name":"anytrack_source"}]'
        },
        {"message": "Property 'anytrack_source' is not a unique identifier of deals"},
    ],
)
def test_a_portal_without_our_properties_needs_an_operator(body):
    for problem in (read(400, **body), read_item_error(body)):
        assert problem.kind is ProblemKind.NEEDS_OPERATOR
        assert problem.cause == "configuration"
        assert str(problem).endswith(
            "create the deal property anytrack_source with `anytrack setup hubspot`"
        )


def test_another_missing_property_is_rejected():
    body = {
        "errors": [{"code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["plan"]}}],
    }

    assert read(400, **body).kind is ProblemKind.REJECTED


def test_another_fault_of_our_property_is_rejected():
    body = {"errors": [{"code": "INVALID_VALUE", "context": {"propertyName": ["anytrack_source"]}}]}

    assert read(400, **body).kind is ProblemKind.REJECTED


# Items of a 207


@pytest.mark.parametrize(
    ("category", "kind", "after"),
    [
        ("VALIDATION_ERROR", ProblemKind.REJECTED, None),
        (None, ProblemKind.REJECTED, None),
        ("SOMETHING_NEW", ProblemKind.REJECTED, None),
        ("CONFLICT", ProblemKind.EXISTS, None),
        ("MISSING_SCOPES", ProblemKind.NEEDS_OPERATOR, None),
        ("RATE_LIMITS", ProblemKind.RETRY_LATER, 2.0),
        ("INTERNAL_ERROR", ProblemKind.RETRY_LATER, 2.0),
        ("LOCKED", ProblemKind.RETRY_LATER, 2.0),
    ],
)
def test_an_item_errors_category_decides_the_kind(category, kind, after):
    problem = read_item_error({"category": category, "message": "m"})

    assert (problem.kind, problem.retry_after) == (kind, after)


def test_an_item_error_without_a_message_says_so():
    assert read_item_error({}).message == "refused without a reason"


# Privacy


def test_personal_data_is_masked():
    problem = read(400, message="Email address jane@example.com is invalid, call +49 228 123456")

    assert problem.message == "Email address *** is invalid, call ***"


def test_sent_values_are_masked_before_general_patterns_cut_them_in_two():
    problem = read(400, message="Jane 12345678 Doe is wrong " + "x " * 185 + "secret-word")

    assert problem.masked(["Jane 12345678 Doe", "secret-word"]).message == (
        "*** is wrong " + "x " * 185 + "***"
    )
    assert "secret" not in problem.masked(["secret-word"]).message


def test_faults_quoted_as_json_in_a_message_are_parsed():
    quoted = (
        'Property values were not valid: [{"isValid":false,"message":"XYZ was not one of [USD]",'
        '"error":"INVALID_OPTION","name":"deal_currency_code"},7]'
    )
    problem = read(400, message=quoted)

    assert problem.message == (
        "Property values were not valid deal_currency_code: XYZ was not one of [USD] "
        "[INVALID_OPTION]"
    )
    assert (problem.property_name, problem.property_fault) == (
        "deal_currency_code",
        "INVALID_OPTION",
    )


def test_a_message_with_broken_json_is_kept():
    assert read(400, message="wrong: [{x").message == "wrong: [{x"


@pytest.mark.parametrize("value", ["with spaces", "x" * 65, "", 7])
def test_an_invalid_correlation_id_is_left_out(value):
    assert read(400, correlationId=value).request_id is None


def test_values_are_hidden_as_whole_words_in_any_case():
    assert redact("Jane is not JANE, Janet is", ["jane", " "]) == "*** is not ***, Janet is"
    assert redact("nothing to hide", []) == "nothing to hide"


def test_the_longer_value_is_hidden_first():
    assert redact("Jane Doe-Smith", ["Doe", "Doe-Smith"]) == "Jane ***"
