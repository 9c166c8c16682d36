"""What an error of Meta means: about an event, about the batch, or for the operator."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.meta.responses import (
    Action,
    GraphError,
    outcome_of_request,
)
from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    SinkSignal,
)
from anytrack_async.transport.message import Response
from tests.destinations.meta.answers import ERROR_FIELDS, failed, json_values, response


def read(content, status=400):
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return GraphError.from_response(Response(status=status, headers={}, content=body))


def action(code, subcode=None, status=400, **more):
    error = {"message": "m", "code": code, "error_subcode": subcode, **more}
    return read({"error": error}, status).action


@pytest.mark.parametrize("status", [400, 403, 500])
@pytest.mark.parametrize("code", [4, 17, 32, 613, 80000, 80003, 80004, 80014])
def test_throttling_is_known_by_its_code_whatever_the_status(code, status):
    assert action(code, status=status) is Action.WAIT
    assert action(code, status=status, is_transient=True) is Action.WAIT


@pytest.mark.parametrize("code", [1, 2, 341, 368, 21009])
def test_metas_own_failures_are_retried(code):
    assert action(code) is Action.RETRY


@pytest.mark.parametrize("code", [100, 190, 5])
def test_transient_errors_are_retried(code):
    assert action(code, is_transient=True) is Action.RETRY


@pytest.mark.parametrize("code", [190, 102, 10, 200, 294, 299, 3, 104, 803, 2500])
def test_token_permission_and_account_errors_need_an_operator(code):
    assert action(code) is Action.NEEDS_OPERATOR
    assert action(code, status=401) is Action.NEEDS_OPERATOR


def test_unknown_or_forbidden_pixel_needs_an_operator():
    assert action(100, 33, type="GraphMethodException") is Action.NEEDS_OPERATOR
    assert action(100, 33, type="OAuthException") is Action.NEEDS_OPERATOR


def test_wrong_proof_of_the_app_secret_needs_an_operator():
    assert action(100, type="GraphMethodException") is Action.NEEDS_OPERATOR


@pytest.mark.parametrize("subcode", [2804003, 2804009, 2804010, 2804016, 2804050, 2804999])
@pytest.mark.parametrize("status", [400, 500])
def test_bad_events_are_rejected_by_their_subcode(subcode, status):
    assert action(100, subcode, status=status, type="GraphMethodException") is Action.REJECT


def test_bad_events_are_rejected_by_their_number_in_place_of_the_code():
    assert action(2804030) is Action.REJECT


@pytest.mark.parametrize(("code", "subcode"), [(100, None), (100, 1234567), (5555, None)])
def test_an_error_that_names_no_event_rejects_none_before_a_split(code, subcode):
    assert action(code, subcode) is Action.SPLIT
    with pytest.raises(BatchRejected):
        outcome_of_request(failed(code, subcode), 2)
    with pytest.raises(Inconclusive) as caught:
        outcome_of_request(failed(code, subcode), 1)

    assert caught.value.code == str(subcode or code)


@pytest.mark.parametrize("code", [100, 9999, 0])
@pytest.mark.parametrize(
    "message",
    [
        "Missing Permission",
        "The user is not authenticated",
        "Object with ID '1' does not exist, cannot be loaded due to missing permissions",
        "Unsupported post request.",
        "Invalid OAuth access token.",
        "The app is not authorized",
    ],
)
def test_permission_is_known_by_its_words_too(code, message):
    error = {"error": {"message": message, "code": code}}

    for sent in (1, 2):
        with pytest.raises(NeedsOperator) as caught:
            outcome_of_request(response(error, 400), sent)
        assert caught.value.cause == "credentials"


def test_a_bad_event_is_known_by_its_subcode_whatever_the_words():
    assert (
        read({"error": {"message": "no permission", "code": 100, "error_subcode": 2804050}}).action
        is Action.REJECT
    )


@pytest.mark.parametrize("message", ["Please try again later", "A temporary failure", "timed out"])
def test_a_temporary_failure_is_known_by_its_words_too(message):
    assert read({"error": {"message": message, "code": 9999}}).action is Action.RETRY


@pytest.mark.parametrize(
    ("code", "status", "cause"),
    [
        (190, 400, "credentials"),
        (200, 404, "credentials"),
        (803, 400, "configuration"),
        (2500, 400, "configuration"),
        (0, 404, "configuration"),
        (0, 405, "configuration"),
        (0, 403, "credentials"),
    ],
)
def test_the_cause_is_the_address_or_the_token(code, status, cause):
    with pytest.raises(NeedsOperator) as caught:
        outcome_of_request(failed(code, status=status), 2)

    assert caught.value.cause == cause


@given(
    status=st.integers(400, 599),
    body=st.one_of(
        st.binary(),
        json_values.map(orjson.dumps),
        st.fixed_dictionaries(
            {"error": st.fixed_dictionaries({}, optional=dict.fromkeys(ERROR_FIELDS, json_values))}
        ).map(orjson.dumps),
    ),
    sent=st.integers(1, 3),
)
def test_no_response_but_an_events_error_rejects_an_event(status, body, sent):
    with pytest.raises(SinkSignal) as caught:
        outcome_of_request(response(body, status), sent)

    assert sent > 1 or not isinstance(caught.value, BatchRejected)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (400, Action.SPLIT),
        (413, Action.SPLIT),
        (422, Action.SPLIT),
        (405, Action.NEEDS_OPERATOR),
        (401, Action.NEEDS_OPERATOR),
        (403, Action.NEEDS_OPERATOR),
        (404, Action.NEEDS_OPERATOR),
        (408, Action.RETRY),
        (425, Action.RETRY),
        (429, Action.WAIT),
        (301, Action.RETRY),
        (500, Action.RETRY),
        (503, Action.RETRY),
    ],
)
def test_status_decides_where_the_code_does_not(status, wanted):
    assert read({}, status).action is wanted
    assert action(5555, status=status) is wanted


def test_a_page_that_says_too_large_lets_the_batch_be_split():
    """A proxy takes 1 MB, nginx by default: the same request again would never pass."""
    with pytest.raises(BatchRejected):
        outcome_of_request(response(b"<html>413 Request Entity Too Large</html>", 413), 1_000)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 502])
def test_response_that_is_not_json_is_not_metas(status):
    error = read(b"<html>", status)

    assert error.action is Action.RETRY
    assert "not JSON" in str(error)


@pytest.mark.parametrize("body", [[], "text", None, 3, {"error": "text"}, {"error": None}])
def test_any_json_can_be_read(body):
    assert read(body, 400).action is Action.SPLIT
    assert "names no error" in str(read(body))


@pytest.mark.parametrize("code", ["190", 190, 190.0])
def test_codes_may_come_as_text(code):
    assert action(code) is Action.NEEDS_OPERATOR


@pytest.mark.parametrize("code", [None, "x", [], {}, "1e999"])
def test_without_a_usable_code_the_status_decides(code):
    assert action(code, status=500) is Action.RETRY


def test_text_has_everything_that_metas_support_needs():
    error = read(
        {
            "error": {
                "message": "Invalid parameter",
                "code": 100,
                "error_subcode": 2804003,
                "error_user_msg": "For gammelt",
                "fbtrace_id": "AbC",
            }
        }
    )

    assert str(error) == (
        "Invalid parameter — event_time is too old — For gammelt "
        "(status 400, code 100, subcode 2804003, fbtrace_id AbC)"
    )
    assert error.id == "2804003"


def test_repeated_text_is_shown_once():
    error = read({"error": {"message": "Same", "error_user_msg": "Same", "code": 1}}, 500)

    assert str(error) == "Same (status 500, code 1)"
    assert error.id == "1"


def test_error_without_a_message_still_has_a_text():
    error = read({"error": {"code": 0}}, 500)

    assert str(error) == "no reason given (status 500)"
    assert error.id is None


def test_customer_data_is_masked():
    error = read(
        {"error": {"message": "bad jane@example.com", "error_user_msg": "+1 555 010 9999"}}
    )

    assert "jane" not in str(error)
    assert "555" not in str(error)
    assert "jane" not in repr(error)


@pytest.mark.parametrize(
    ("trace", "shown"),
    [
        ("AQ8nHwJm9zP2yXbLkq0T_1R-9", "fbtrace_id AQ8nHwJm9zP2yXbLkq0T_1R-9"),
        ("jane@example.com", "status 400, code 1)"),
        (12345678, "status 400, code 1)"),
        ("x" * 65, "status 400, code 1)"),
    ],
)
def test_trace_id_is_shown_whole_or_not_at_all(trace, shown):
    assert shown in str(read({"error": {"message": "m", "code": 1, "fbtrace_id": trace}}))


@pytest.mark.parametrize("code", [b"1e999", b"1" + b"0" * 400, b"-1", b"0.5", b"true"])
def test_codes_that_are_not_numbers_are_ignored(code):
    assert read(b'{"error":{"code":' + code + b"}}", 500).action is Action.RETRY
