from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async import errors
from anytrack_async.errors import ServiceError
from anytrack_async.transport.answer import Answer
from anytrack_async.transport.errors import Fault, read_fault, service_error


def answer(body: Any, status: int = 400, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        service="anytrack", status=status, headers=httpx.Headers(headers), content=content
    )


REFUSED = {
    "status": "error",
    "code": "invalid_click",
    "message": "click_id is unknown",
    "request_id": "req_1",
}


def test_anytracks_own_form_is_read():
    assert read_fault(answer(REFUSED)) == Fault(
        message="click_id is unknown", code="invalid_click", request_id="req_1"
    )


def test_the_header_names_the_request_first():
    fault = read_fault(answer(REFUSED, **{"X-Request-ID": "req_2"}))

    assert fault.request_id == "req_2"


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "no such field", "code": 100}}, "no such field", "100"),
        ({"error": "no such field"}, "no such field", None),
        ({"error": {"message": "inner"}, "message": "outer", "code": "x"}, "inner", "x"),
        ({"error": {}, "message": "outer"}, "outer", None),
        ({"message": ["not", "text"]}, "Bad Request", None),
        ({"message": ""}, "Bad Request", None),
        ([], "Bad Request", None),
        (b"<html>", "Bad Request", None),
        (b"", "Bad Request", None),
        ({"code": True}, "Bad Request", "True"),
        ({"code": {"a": 1}}, "Bad Request", None),
        ({"code": "ada@example.com"}, "Bad Request", None),
        ({"code": "two words"}, "Bad Request", None),
        ({"code": "x" * 129}, "Bad Request", None),
    ],
)
def test_other_forms_give_what_they_have(body: Any, message: str, code: str | None):
    assert read_fault(answer(body)) == Fault(message=message, code=code)


def test_personal_data_in_the_message_is_masked():
    fault = read_fault(answer({"message": "ada@example.com is no lead"}))

    assert fault.message == "*** is no lead"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.RejectedError),
        (400, errors.RejectedError),
        (401, errors.CredentialsError),
        (403, errors.CredentialsError),
        (404, errors.NotFoundError),
        (408, errors.ServerError),
        (410, errors.NotFoundError),
        (422, errors.RejectedError),
        (425, errors.ServerError),
        (429, errors.RateLimitedError),
        (500, errors.ServerError),
        (503, errors.ServerError),
        (599, errors.ServerError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[ServiceError]):
    assert type(service_error(answer(REFUSED, status))) is kind


def test_the_error_carries_all_that_is_known():
    error = service_error(answer(REFUSED, 429, **{"Retry-After": "7"}))

    assert (error.service, error.status, error.retry_after) == ("anytrack", 429, 7.0)
    assert (error.code, error.request_id) == ("invalid_click", "req_1")
    assert str(error).startswith("anytrack: click_id is unknown (status 429")


@pytest.mark.parametrize(
    ("status", "words"), [(302, "check base_url"), (599, "unknown failure"), (502, "Bad Gateway")]
)
def test_a_status_without_words_gets_some(status: int, words: str):
    assert words in read_fault(answer(b"", status)).message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "request_id", "x"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    ),
    st.integers(300, 599),
)
def test_no_body_makes_it_raise(body: Any, status: int):
    fault = read_fault(answer(body, status))

    assert fault.message
