import logging

import orjson
import pytest

from anytrack_async.destinations.meta.replies import settle
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.models.outcome import DELIVERED, Status
from anytrack_async.transport.message import Response


def response(body, status=200, headers=None):
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(status=status, headers=headers or {}, content=content)


def failed(code, subcode=None, status=400, headers=None):
    error = {"message": "m", "code": code, "error_subcode": subcode, "fbtrace_id": "T"}
    return response({"error": error}, status, headers)


def test_all_received_is_delivered(caplog):
    assert settle(response({"events_received": 3, "messages": []}), 3) is DELIVERED
    assert settle(response({"events_received": 1}, 202), 1) is DELIVERED
    assert not caplog.records


def test_fewer_received_is_said_loudly_and_sent_again(caplog):
    outcome = settle(response({"events_received": 2, "fbtrace_id": "AbC"}), 3)

    assert outcome.status is Status.RETRY
    assert outcome.error == "Meta received 2 of 3 events (fbtrace_id AbC)"
    assert caplog.records[0].levelno == logging.ERROR


def test_messages_are_logged_without_customer_data(caplog):
    settle(response({"events_received": 1, "messages": ["see jane@example.com", {"a": 1}]}), 1)

    assert len(caplog.records) == 2
    assert "jane" not in caplog.text


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"[]", b"{}", b'{"events_received": "x"}', b'{"success": true}']
)
def test_success_that_does_not_say_what_was_received_is_none_of_metas(body):
    with pytest.raises(Unavailable):
        settle(response(body), 2)


def test_error_behind_a_200_counts_as_that_error():
    with pytest.raises(NeedsOperator):
        settle(failed(190, status=200), 2)


def test_bad_event_alone_is_rejected_in_metas_words():
    outcome = settle(failed(100, 2804003), 1)

    assert outcome.status is Status.REJECTED
    assert outcome.code == "2804003"
    assert outcome.error == (
        "Meta: m — event_time is too old (status 400, code 100, subcode 2804003, fbtrace_id T)"
    )


def test_bad_event_among_others_rejects_the_batch():
    with pytest.raises(BatchRejected) as caught:
        settle(failed(100, 2804050), 2)

    assert caught.value.code == "2804050"


@pytest.mark.parametrize(
    ("code", "signal"), [(190, NeedsOperator), (2, Unavailable), (4, Throttled)]
)
@pytest.mark.parametrize("sent", [1, 2])
def test_other_errors_concern_the_lane_however_few_were_sent(code, signal, sent):
    with pytest.raises(signal) as caught:
        settle(failed(code), sent)

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
        settle(failed(80004, headers=headers), 5)

    assert caught.value.after == after


@pytest.mark.parametrize(("throttled", "after"), [(0, 1), (1, 2), (5, 32), (6, 60), (9999, 60)])
def test_less_than_a_minute_to_regain_grows_from_a_second(throttled, after):
    headers = {"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":0}]}'}
    with pytest.raises(Throttled) as caught:
        settle(failed(4, headers=headers), 5, throttled=throttled)

    assert caught.value.after == after
