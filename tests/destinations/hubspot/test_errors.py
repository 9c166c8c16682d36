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
from anytrack_async.transport.errors import hide

NOW = datetime(2026, 3, 4, 22, 30, tzinfo=UTC)


def problem(status, *, headers=None, zone=None, content=None, **body):
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
        (413, "", ProblemKind.BATCH_REJECTED),
        (422, "", ProblemKind.REJECTED),
        (423, "LOCKED", ProblemKind.RETRY_LATER),
        (429, "RATE_LIMITS", ProblemKind.THROTTLED),
        (477, "MIGRATION_IN_PROGRESS", ProblemKind.THROTTLED),
        *(
            (status, "", ProblemKind.UNAVAILABLE)
            for status in (302, 500, 502, 503, 504, 521, 523, 524, 599)
        ),
    ],
)
def test_status_and_category_decide(status, category, kind):
    assert problem(status, category=category).kind is kind


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
def test_a_proxy_that_speaks_html_rejects_nothing(status, kind):
    assert problem(status, content=b"<html>nope</html>").kind is kind


def test_a_path_that_is_not_there_names_the_settings():
    assert str(problem(404, message="resource not found", correlationId="c-1")) == (
        "resource not found; check HubSpotSettings(api_version=…, base_url=…); "
        "then client.resume('hubspot') (correlation id c-1)"
    )


def test_json_that_is_no_object_is_hubspot_all_the_same():
    found = problem(400, content=b"[]")

    assert (found.kind, found.message) == (ProblemKind.REJECTED, "answered 400 Bad Request")


def test_an_unknown_status_is_told_by_number():
    assert problem(599, content=b"").message == "answered 599"


def test_hubspots_words_and_correlation_id_are_kept():
    found = problem(
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

    assert found.message == (
        "Property values were not valid 2x is not a number [INVALID_NUMBER] [VALIDATION]"
    )
    assert (found.code, found.request_id) == ("VALIDATION_ERROR", "abc-1")
    assert (found.status, found.property_fault) == (400, "INVALID_NUMBER")


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"context": {"requiredGranularScopes": ["crm.objects.deals.write"]}}]},
        {"context": {"missingScopes": "crm.objects.deals.write"}},
        {"errors": [{"context": "{missingScopes=[crm.objects.deals.write]}"}]},
    ],
)
def test_the_missing_scope_is_named(body):
    found = problem(403, category="MISSING_SCOPES", message="not granted", **body)

    assert found.message == "not granted scopes: crm.objects.deals.write"


def test_a_context_in_text_that_is_not_about_scopes_is_passed_over():
    assert problem(403, message="no", errors=[{"context": "{a=[b]}"}]).message == "no"


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
    assert problem(409, message=message, context=context).record_id == id_


# 429


@pytest.mark.parametrize("policy", ["TEN_SECONDLY_ROLLING", "SECONDLY", "ten_secondly_rolling"])
@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "3", "x-hubspot-ratelimit-interval-milliseconds": "7000"}, 3.0),
        ({"x-hubspot-ratelimit-interval-milliseconds": "7000"}, 7.0),
        ({"x-hubspot-ratelimit-interval-milliseconds": "soon"}, 10.0),
        ({}, 10.0),
    ],
)
def test_a_short_limit_waits_as_told_or_for_the_window(policy, headers, after):
    found = problem(429, headers=headers, policyName=policy)

    assert (found.kind, found.retry_after, found.code) == (
        ProblemKind.THROTTLED,
        after,
        policy.upper(),
    )


def test_a_daily_limit_waits_for_midnight_of_the_portal():
    assert problem(429, policyName="DAILY", zone=UTC).retry_after == 90 * 60 + 1
    east = timezone(timedelta(hours=2))
    assert problem(429, policyName="DAILY", zone=east).retry_after == 23.5 * 3600 + 1


def test_a_daily_limit_of_an_unknown_zone_looks_again_in_an_hour():
    assert problem(429, policyName="DAILY").retry_after == 3600


def test_a_longer_wait_that_is_asked_for_wins_over_midnight():
    found = problem(429, policyName="DAILY", zone=UTC, headers={"retry-after": "7200"})

    assert found.retry_after == 7200


def test_without_policy_the_header_tells_that_the_day_is_used_up():
    headers = {"x-hubspot-ratelimit-daily-remaining": "0"}

    assert problem(429, headers=headers, category="RATE_LIMITS").retry_after == 3600
    assert problem(429, headers=headers, policyName="SECONDLY").retry_after == 10


def test_midnight_survives_the_change_of_clocks():
    now = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)  # 0:00 in Berlin, on a day of 23 hours

    assert seconds_until_midnight(now, ZoneInfo("Europe/Berlin")) == 23 * 3600 + 1


# 423, 477


def test_a_locked_record_waits_two_seconds_at_least():
    assert problem(423).retry_after == 2.0
    assert problem(423, headers={"retry-after": "1"}).retry_after == 2.0
    assert problem(423, headers={"retry-after": "9"}).retry_after == 9.0


def test_a_portal_that_moves_is_waited_for_up_to_a_day():
    assert problem(477, headers={"retry-after": "600"}).retry_after == 600
    assert problem(477, headers={"retry-after": "999999"}).retry_after == 86_400
    assert problem(477).retry_after == 3600


# What set-up creates


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
def test_a_portal_without_our_properties_holds_and_names_the_remedy(body):
    for found in (problem(400, **body), read_item_error(body)):
        assert found.kind is ProblemKind.NEEDS_OPERATOR
        assert found.cause == "configuration"
        assert str(found).endswith(
            "create the deal property anytrack_source with `anytrack setup hubspot`; "
            "then client.resume('hubspot')"
        )


def test_another_missing_property_is_rejected():
    body = {
        "errors": [{"code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["plan"]}}],
    }

    assert problem(400, **body).kind is ProblemKind.REJECTED


def test_another_fault_of_our_property_is_rejected():
    body = {"errors": [{"code": "INVALID_VALUE", "context": {"propertyName": ["anytrack_source"]}}]}

    assert problem(400, **body).kind is ProblemKind.REJECTED


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
def test_an_items_category_decides(category, kind, after):
    found = read_item_error({"category": category, "message": "m"})

    assert (found.kind, found.retry_after) == (kind, after)


def test_an_item_without_words_says_so():
    assert read_item_error({}).message == "refused without a reason"


# Privacy


def test_personal_data_is_masked():
    found = problem(400, message="Email address jane@example.com is invalid, call +49 228 123456")

    assert found.message == "Email address *** is invalid, call ***"


def test_what_was_sent_is_masked_before_anything_cuts_it_in_two():
    found = problem(400, message="Jane 12345678 Doe is wrong " + "x " * 185 + "secret-word")

    assert found.masked(["Jane 12345678 Doe", "secret-word"]).message == (
        "*** is wrong " + "x " * 185 + "***"
    )
    assert "secret" not in found.masked(["secret-word"]).message


def test_faults_in_a_message_are_taken_apart():
    quoted = (
        'Property values were not valid: [{"isValid":false,"message":"XYZ was not one of [USD]",'
        '"error":"INVALID_OPTION","name":"deal_currency_code"},7]'
    )
    found = problem(400, message=quoted)

    assert found.message == (
        "Property values were not valid deal_currency_code: XYZ was not one of [USD] "
        "[INVALID_OPTION]"
    )
    assert (found.property_name, found.property_fault) == ("deal_currency_code", "INVALID_OPTION")


def test_a_message_that_only_looks_like_json_stays_as_it_is():
    assert problem(400, message="wrong: [{x").message == "wrong: [{x"


@pytest.mark.parametrize("given", ["with blanks", "x" * 65, "", 7])
def test_a_strange_correlation_id_is_left_out(given):
    assert problem(400, correlationId=given).request_id is None


def test_values_are_hidden_as_whole_words_in_any_case():
    assert hide("Jane is not JANE, Janet is", ["jane", " "]) == "*** is not ***, Janet is"
    assert hide("nothing to hide", []) == "nothing to hide"


def test_the_longer_value_is_hidden_first():
    assert hide("Jane Doe-Smith", ["Doe", "Doe-Smith"]) == "Jane ***"
