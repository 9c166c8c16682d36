import logging

import pytest

from anytrack_async.destinations.meta.responses import (
    outcome_of_request,
)
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.models.outcome import DELIVERED, Status
from anytrack_async.transport.message import Response
from tests.destinations.meta.answers import failed, response


def test_all_received_is_delivered(caplog):
    assert outcome_of_request(response({"events_received": 3, "messages": []}), 3) is DELIVERED
    assert outcome_of_request(response({"events_received": 1}, 202), 1) is DELIVERED
    assert not caplog.records


def test_fewer_received_is_logged_as_an_error_and_retried(caplog):
    outcome = outcome_of_request(response({"events_received": 2, "fbtrace_id": "AbC"}), 3)

    assert outcome.status is Status.RETRY
    assert outcome.error == "Meta received 2 of 3 events (fbtrace_id AbC)"
    assert caplog.records[0].levelno == logging.ERROR


def test_only_the_first_messages_are_logged(caplog):
    messages = ["x" * 100_000, *map(str, range(3_000))]

    assert outcome_of_request(response({"events_received": 1, "messages": messages}), 1)
    assert len(caplog.records) == 10


def test_messages_are_logged_without_customer_data(caplog):
    outcome_of_request(
        response({"events_received": 1, "messages": ["see jane@example.com", {"a": 1}]}), 1
    )

    assert len(caplog.records) == 2
    assert "jane" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"",
        b" ",
        b"[]",
        b"OK",
        b'{"events_rec',
        b'{"events_received": "x"}',
        b'{"events_received": null}',
        b'{"events_received": true}',
        b'{"events_received": -1}',
        b'{"success": false}',
        b'{"error": "no", "fbtrace_id": "T"}',
        b'{"status": "error"}',
        b'{"status": "ok", "uptime": 7312}',
    ],
)
def test_success_of_another_service_is_not_metas_response(body):
    with pytest.raises(Unavailable) as caught:
        outcome_of_request(response(body), 2, report_unusual=pytest.fail)

    assert type(caught.value) is Unavailable


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 204),
        (b"{}", 200),
        (b'"SUCCESS"', 200),
        (b'{"success": true}', 200),
        (b'{"fbtrace_id": "T", "messages": []}', 200),
    ],
)
def test_success_without_a_count_is_delivered_and_reported(body, status):
    reported = []

    assert (
        outcome_of_request(response(body, status), 2, report_unusual=reported.append) is DELIVERED
    )
    assert [answer.status for answer in reported] == [status]


def test_a_count_may_come_as_text():
    assert outcome_of_request(response({"events_received": "3"}), 3) is DELIVERED
    assert outcome_of_request(response({"events_received": "2"}), 3).status is Status.RETRY


def test_error_behind_a_200_counts_as_that_error():
    with pytest.raises(NeedsOperator):
        outcome_of_request(failed(190, status=200), 2)


def test_bad_event_alone_is_rejected_in_metas_words():
    outcome = outcome_of_request(failed(100, 2804003), 1)

    assert outcome.status is Status.REJECTED
    assert outcome.code == "2804003"
    assert outcome.error == (
        "Meta: m — event_time is too old (status 400, code 100, subcode 2804003, fbtrace_id T)"
    )


def test_bad_event_among_others_rejects_the_batch():
    with pytest.raises(BatchRejected) as caught:
        outcome_of_request(failed(100, 2804050), 2)

    assert caught.value.code == "2804050"


@pytest.mark.parametrize(
    ("code", "signal"), [(190, NeedsOperator), (2, Unavailable), (4, Throttled)]
)
@pytest.mark.parametrize("sent", [1, 2])
def test_other_errors_are_about_the_lane_even_for_one_event(code, signal, sent):
    with pytest.raises(signal) as caught:
        outcome_of_request(failed(code), sent)

    assert caught.value.code == str(code)
    assert "fbtrace_id T" in caught.value.reason


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({}, 60),
        ({"retry-after": "7"}, 7),
        (
            {
                "retry-after": "7",
                "x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":2}]}',
            },
            120,
        ),
    ],
)
def test_throttling_waits_as_long_as_the_headers_say(headers, after):
    with pytest.raises(Throttled) as caught:
        outcome_of_request(failed(80004, headers=headers), 5)

    assert caught.value.after == after


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("content", [b"", b"<html>Busy</html>"])
def test_a_gateway_may_ask_to_wait_too(status, content):
    response = Response(status=status, headers={"retry-after": "7"}, content=content)
    with pytest.raises(Throttled) as caught:
        outcome_of_request(response, 5)

    assert caught.value.after == 7


def test_a_redirect_names_the_setting():
    response = Response(status=308, headers={"location": "https://x.test"}, content=b"")
    with pytest.raises(Unavailable, match=r"not followed; check MetaSettings\.base_url"):
        outcome_of_request(response, 5)


@pytest.mark.parametrize(("throttled", "after"), [(0, 1), (1, 2), (5, 32), (6, 60), (9999, 60)])
def test_wait_of_less_than_a_minute_doubles_from_one_second(throttled, after):
    headers = {"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":0}]}'}
    with pytest.raises(Throttled) as caught:
        outcome_of_request(failed(4, headers=headers), 5, throttled=throttled)

    assert caught.value.after == after
