"""What an answer of the collect endpoint means."""

from __future__ import annotations

import pytest

from anytrack_async.destinations.anytrack.causes import NotAnyTrack
from anytrack_async.destinations.collect.responses import read_outcome
from anytrack_async.destinations.sink import NeedsOperator, Throttled
from anytrack_async.models.outcome import Status
from tests.destinations.collect.doubles import answer


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, '{"status":"ok"}'),
        (200, ""),
        (200, "OK"),
        (200, "{}"),
        (204, ""),
        (200, '{"clickId":"x"}'),
        (200, "GIF89a\x01"),
        (200, '{"message":"Duplicate"}'),
        (409, '{"error":"Duplicate transaction"}'),
        (200, '{"success":false,"error":"duplicate"}'),
        (409, '{"conversion_id":"c7"}'),
        (201, '[{"status":"success","conversion_id":"c7"}]'),
        (200, "[1]"),
        (200, '["accepted"]'),
        (200, '{"message":"Recorded, no errors"}'),
        (200, '{"title":"Duplicate is not accepted"}'),
    ],
)
def test_a_success_or_a_duplicate_is_delivered(status, content):
    assert read_outcome(answer(status, content)).status is Status.DELIVERED


def test_an_unusual_success_is_reported_and_an_id_is_kept():
    reported = []

    read_outcome(answer(200, "GIF89a\x01"), reported.append)
    outcome = read_outcome(answer(200, '{"eventId": 12}'), reported.append)

    assert len(reported) == 1
    assert outcome.remote_id == "12"


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [
        (400, '{"error":"Missing click_id, ref_id and email"}', "identity"),
        (200, "Missing click_id, ref_id and email", "identity"),
        (200, '{"message":"No match found"}', "no_match"),
        (404, "No match found", "no_match"),
        (200, '{"status":"error","message":"bad currency"}', "200"),
        (422, '{"message":"bad value"}', "422"),
        (200, "Error: bad currency", "200"),
        (200, '{"errors":["bad value"]}', "200"),
        (400, '{"errors":[{"detail":"value must be a number"}]}', "400"),
        (400, "bad currency", "400"),
    ],
)
def test_a_refusal_is_rejected_with_its_reason(status, content, code):
    outcome = read_outcome(answer(status, content))

    assert (outcome.status, outcome.code) == (Status.REJECTED, code)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, "<!DOCTYPE html><title>Sign in</title>"),
        (200, "  <html>"),
        (200, "<?xml version='1.0'?><!DOCTYPE html><html>"),
        (200, "\ufeff<!-- saved --><script>location='/login'</script>"),
        (403, "<html>blocked</html>"),
        (302, ""),
        (404, '{"error":"not found"}'),
        (405, ""),
        (410, "gone"),
        *((status, "") for status in (400, 406, 409, 411, 413, 415, 421, 423, 426, 431, 451, 499)),
        (415, '{"message":"unsupported media type"}'),
        *(
            (400, words)
            for words in (
                '{"error":"cu',
                "no " * 999,
                "Bad Request",
                "400 Bad Request\n",
                "[]",
                "null",
                '"no"',
            )
        ),
        (400, '{"status":400,"error":"Bad Request","path":"/collect"}'),
        (400, '{"detail":"Not authenticated"}'),
        (400, '{"detail":"There was an error parsing the body"}'),
        (413, '{"error":"Payload Too Large"}'),
        (422, '{"detail":[{"loc":["body"],"msg":"field required"}]}'),
    ],
)
def test_an_answer_that_is_not_anytracks_asks_for_the_url(status, content):
    with pytest.raises(NeedsOperator, match=r"is the collect URL .* right\?") as caught:
        read_outcome(answer(status, content))

    assert caught.value.cause == "configuration"
    assert isinstance(caught.value, NotAnyTrack) == (status not in (404, 405, 410))


@pytest.mark.parametrize("message", ["this path was not found", "requests are not accepted"])
def test_a_200_whose_only_message_is_a_failure_delivers_nothing(message):
    with pytest.raises(NotAnyTrack):
        read_outcome(answer(200, f'{{"message":"{message}"}}'))
    assert read_outcome(answer(200, f'{{"title":"{message}"}}')).status is Status.RETRY


@pytest.mark.parametrize("status", [401, 402, 403])
def test_no_access_needs_an_operator(status):
    with pytest.raises(NeedsOperator, match="plan"):
        read_outcome(answer(status, '{"message":"upgrade your plan"}'))


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, ""),
        (503, "<html>"),
        (200, '{"status":"o'),
        (200, "[1, "),
        (200, "false"),
        (200, "0"),
        (200, '"failed"'),
        (201, "error\n"),
    ],
)
def test_a_failure_is_retried(status, content):
    assert read_outcome(answer(status, content)).status is Status.RETRY


@pytest.mark.parametrize(
    "content",
    [
        '{"success":false}',
        '{"success":"false"}',
        '{"result":0}',
        '[{"success":false}]',
        '{"ok":false}',
        '{"status":"fail"}',
        '{"status":"maintenance"}',
        '{"result":"error"}',
        '{"status":"error","code":500}',
        '{"error":"internal server error"}',
        '{"status":"error","message":"down for maintenance"}',
        '{"error":"please try again later"}',
    ],
)
@pytest.mark.parametrize("status", [200, 400, 422])
def test_an_error_that_names_no_conversion_is_retried(status, content):
    assert read_outcome(answer(status, content)).status is Status.RETRY


@pytest.mark.parametrize("status", [200, 400])
def test_an_error_about_the_account_or_its_quota_rejects_no_conversion(status):
    with pytest.raises(NeedsOperator):
        read_outcome(answer(status, '{"error":"Integration is disabled"}'))
    with pytest.raises(Throttled):
        read_outcome(answer(status, '{"error":{"code":"rate_limited","message":"slow"}}'))


def test_too_many_requests_throttle():
    with pytest.raises(Throttled) as caught:
        read_outcome(answer(429, "", **{"retry-after": "7"}))

    assert caught.value.after == 7
