import orjson
import pytest

from anytrack_async.destinations.meta.responses import Action, GraphError
from anytrack_async.transport.message import Response


def read(content, status=400):
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return GraphError.read(Response(status=status, headers={}, content=body))


def action(code, subcode=None, status=400, **more):
    error = {"message": "m", "code": code, "error_subcode": subcode, **more}
    return read({"error": error}, status).action


@pytest.mark.parametrize("status", [400, 403, 500])
@pytest.mark.parametrize("code", [4, 17, 32, 613, 80000, 80003, 80004, 80014])
def test_throttling_is_known_by_its_code_whatever_the_status(code, status):
    assert action(code, status=status) is Action.WAIT
    assert action(code, status=status, is_transient=True) is Action.WAIT


@pytest.mark.parametrize("code", [1, 2, 341, 368])
def test_metas_own_failures_are_tried_again(code):
    assert action(code) is Action.RETRY


@pytest.mark.parametrize("code", [100, 190, 5])
def test_what_meta_calls_transient_is_tried_again(code):
    assert action(code, is_transient=True) is Action.RETRY


@pytest.mark.parametrize("code", [190, 102, 10, 200, 294, 299, 3, 104, 803, 2500])
def test_token_permission_and_account_hold(code):
    assert action(code) is Action.HOLD
    assert action(code, status=401) is Action.HOLD


def test_unknown_or_forbidden_pixel_holds():
    assert action(100, 33, type="GraphMethodException") is Action.HOLD
    assert action(100, 33, type="OAuthException") is Action.HOLD


def test_wrong_proof_of_the_app_secret_holds():
    assert action(100, type="GraphMethodException") is Action.HOLD


@pytest.mark.parametrize("subcode", [2804003, 2804009, 2804010, 2804016, 2804050, 2804999])
@pytest.mark.parametrize("status", [400, 500])
def test_bad_events_are_rejected_by_their_subcode(subcode, status):
    assert action(100, subcode, status=status, type="GraphMethodException") is Action.REJECT


def test_other_faults_of_a_parameter_are_rejected():
    assert action(100) is Action.REJECT
    assert action(100, 1234567) is Action.REJECT


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (400, Action.REJECT),
        (413, Action.REJECT),
        (422, Action.REJECT),
        (401, Action.HOLD),
        (403, Action.HOLD),
        (404, Action.HOLD),
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


@pytest.mark.parametrize("status", [200, 400, 401, 429, 502])
def test_what_is_not_json_is_none_of_metas_answers(status):
    error = read(b"<html>", status)

    assert error.action is Action.RETRY
    assert "not JSON" in str(error)


@pytest.mark.parametrize("body", [[], "text", None, 3, {"error": "text"}, {"error": None}])
def test_any_json_can_be_read(body):
    assert read(body, 400).action is Action.REJECT
    assert "names no error" in str(read(body))


@pytest.mark.parametrize("code", ["190", 190, 190.0])
def test_codes_may_come_as_text(code):
    assert action(code) is Action.HOLD


@pytest.mark.parametrize("code", [None, "x", [], {}, "1e999"])
def test_codes_that_are_none_leave_it_to_the_status(code):
    assert action(code, status=500) is Action.RETRY


def test_text_tells_everything_support_asks_for():
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


def test_text_says_once_what_meta_says_twice():
    error = read({"error": {"message": "Same", "error_user_msg": "Same", "code": 1}}, 500)

    assert str(error) == "Same (status 500, code 1)"
    assert error.id == "1"


def test_text_without_words_is_text():
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
def test_trace_is_told_whole_or_not_at_all(trace, shown):
    assert shown in str(read({"error": {"message": "m", "code": 1, "fbtrace_id": trace}}))


@pytest.mark.parametrize("code", [b"1e999", b"1" + b"0" * 400, b"-1", b"0.5", b"true"])
def test_numbers_that_are_no_codes_do_no_harm(code):
    assert read(b'{"error":{"code":' + code + b"}}", 500).action is Action.RETRY
