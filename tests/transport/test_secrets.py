from __future__ import annotations

import json
import re
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.transport.message import Response
from anytrack_async.transport.secrets import MASK, Secrets
from tests.quotings import DISGUISES, QUOTINGS, leaks

STRIPE = "sk_live_4fQ9zX2b"
HUBSPOT = "pat-na1-6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
META = "EAABsbCS1iHgBAKZCq7vJ0ZAbZBZCw4k8mZBZAZD1PqRs"
OAUTH = "1c2b3a4d-5e6f/7081+92a3=="
SECRETS = [STRIPE, HUBSPOT, META, OAUTH, "aB3$x.y~Z9!k", "0123456789ABCDEF"]


def hiding(*secrets: str) -> Secrets:
    hidden = Secrets()
    hidden.add(*secrets)
    return hidden


def response(content: bytes, status: int = 400, **headers: str) -> Response:
    return Response(status, httpx.Headers(headers), content, "anytrack")


# Text


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("quoting", QUOTINGS | DISGUISES)
def test_a_secret_is_hidden_however_it_is_quoted(secret: str, quoting: str):
    quoted = (QUOTINGS | DISGUISES)[quoting](secret)

    masked = hiding(*SECRETS).mask(f"The key {quoted} is not valid")

    assert MASK in masked
    assert not leaks(masked, secret)
    assert masked.startswith("The key ")
    assert masked.endswith(" is not valid")


SYMBOLS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
texts = st.text(st.characters(codec="utf-8", exclude_characters="\\%&=\r\n"), max_size=30)


@given(st.text(SYMBOLS, min_size=12, max_size=60), st.data())
def test_any_secret_is_hidden_in_any_text(secret: str, data: st.DataObject):
    first, second = data.draw(st.lists(st.sampled_from(sorted(QUOTINGS)), min_size=2, max_size=2))
    before, between, after = (data.draw(texts) for _ in range(3))
    quoted = (before, QUOTINGS[first](secret), between, QUOTINGS[second](secret), after)

    assert not leaks(hiding(secret).mask("".join(quoted)), secret) or leaks(before + after, secret)


@given(st.text(SYMBOLS, min_size=10, max_size=60), st.data())
def test_any_part_of_eight_characters_is_hidden(secret: str, data: st.DataObject):
    start = data.draw(st.integers(0, len(secret) - 8))
    end = data.draw(st.integers(start + 8, len(secret)))

    assert MASK in hiding(secret).mask(f"key{secret[start:end]}s")


@given(st.text())
def test_a_text_without_a_secret_is_unchanged(text: str):
    assert hiding("Zq7_vB5-xK2.wN8~jT4").mask(text) == text


ORDINARY = [
    "The API key is not valid: create a live key in the settings",
    "Invalid OAuth access token - Cannot parse access token",
    "This access_token expired on Friday, 03-Jul-26 05:00:00 PDT",
    "Property values were not valid: [{'error': 'INVALID_LONG'}]",
    "testing the latest contest: attested",
    "see https://developers.hubspot.com/docs/guides/api 100% & more",
    "C:\\users\\live ... and so on",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_words_stay(text: str):
    assert hiding(*SECRETS, "test", "token", "secret", "access", "api key").mask(text) == text


@pytest.mark.parametrize(
    ("secret", "hidden"),
    [("test", False), ("secret", False), ("s3cret", True), ("hush-hush", True)],
)
def test_a_short_secret_is_hidden_unless_it_may_be_a_word(secret: str, hidden: bool):
    assert (secret not in hiding(secret).mask(f"it is {secret}")) is hidden


def test_the_text_around_a_secret_stays():
    assert hiding(STRIPE).mask(f"key=%73{STRIPE[1:10]} is wrong") == "key=*** is wrong"
    assert hiding(STRIPE).mask("ends with …zX2b, begins with sk_li...") == (
        "ends with …***, begins with ***..."
    )


def test_old_secrets_stay_hidden_until_there_are_twelve_later_ones():
    secrets = Secrets()
    tokens = [f"token-{number:02}-{'xyzuvw' * number}" for number in range(10, 23)]
    for token in tokens:
        secrets.add(token)

    assert all(MASK in secrets.mask(token) for token in tokens[1:])
    # `permanent` is added again with each token, and stays.
    permanent = "cl1ent-s3cret-of-the-app"
    for token in tokens:
        secrets.add(permanent, token)
    assert secrets.mask(permanent) == MASK


@pytest.mark.parametrize("text", ["\\", "%25", "&#", "sk_liv", "&amp;", "\\u", "ab" * 10, "....."])
def test_the_time_is_linear_in_the_length(text: str):
    secrets = hiding(STRIPE, META)
    secrets.mask(text * 10)

    def seconds(length: int) -> float:
        long = (text * length)[:length]
        start = time.process_time()
        secrets.mask(long)
        return time.process_time() - start

    short = min(seconds(4_000) for _ in range(3))
    assert min(seconds(64_000) for _ in range(3)) < 64 * short  # 16 times as long


# Responses


def test_a_failure_stays_json():
    body = {
        "message": f"bad key {STRIPE}",
        "code": 12,
        "errors": [{STRIPE: [None, True, 1.5, "ok"]}],
    }

    masked = hiding(STRIPE).mask_response(response(json.dumps(body).encode()))

    assert json.loads(masked.content) == {
        "message": "bad key ***",
        "code": 12,
        "errors": [{"***": [None, True, 1.5, "ok"]}],
    }


def test_a_number_that_quotes_a_secret_becomes_text():
    masked = hiding("key-1234567890").mask_response(response(b'{"code": 1234567890, "n": 42}'))

    assert json.loads(masked.content) == {"code": "***", "n": 42}


def test_headers_of_a_failure_are_masked():
    masked = hiding(STRIPE).mask_response(response(b"", **{"X-Request-ID": f"r-{STRIPE}"}))

    assert masked.headers["x-request-id"] == "r-***"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"message": "no"}', b"<html>\xff", b"[" * 2000])
def test_a_failure_without_secrets_is_unchanged(content: bytes):
    assert hiding(STRIPE).mask_response(response(content)).content == content


@pytest.mark.parametrize("levels", [100, 900, 5_000])
def test_a_failure_that_is_nested_deeply_stays_json(levels: int):
    deep = "[" * levels + f'"{STRIPE}"' + "]" * levels
    content = f'{{"message": "no {STRIPE}", "deep": {deep}, "n": {"9" * 5_000}}}'.encode()

    masked = hiding(STRIPE).mask_response(response(content))

    assert json.loads(masked.content)["message"] == "no ***"
    assert not leaks(masked.content.decode(), STRIPE)


def test_a_failure_of_too_many_values_is_masked_as_text():
    content = ("[" * 50_000 + f'"{STRIPE}"').encode()

    assert not leaks(hiding(STRIPE).mask_response(response(content)).content.decode(), STRIPE)


def test_a_page_is_masked():
    content = f"<p>no such key {STRIPE}</p>".encode()

    masked = hiding(STRIPE).mask_response(response(content))

    assert masked.content == b"<p>no such key ***</p>"


def test_of_a_long_failure_the_beginning_is_kept():
    body = {"message": "no", "trace": "x" * 100_000, "code": STRIPE}

    masked = json.loads(hiding(STRIPE).mask_response(response(json.dumps(body).encode())).content)

    assert masked["message"] == "no"
    assert len(masked["trace"]) < 9_000
    assert masked["code"] == MASK


@pytest.mark.parametrize(
    ("content", "masked"),
    [
        (f'{{"id": "{STRIPE}"}}', '{"id": "***"}'),
        (f'{{"id": "x{STRIPE.upper()}y"}}', '{"id": "x***y"}'),
        (f'{{"id": "\\u0073{STRIPE[1:]}"}}', '{"id": "***"}'),
        (f'{{"id": "{STRIPE[:8]}..."}}', '{"id": "***..."}'),
        (f'{{"id": "{STRIPE[2:-2]}"}}', '{"id": "***"}'),
        ('{"id": "sk_test_other"}', '{"id": "sk_test_other"}'),
    ],
)
def test_a_success_is_masked(content: str, masked: str):
    assert hiding(STRIPE).mask_success(response(content.encode(), 200)).content == masked.encode()


def test_a_long_success_loses_nothing():
    content = json.dumps({"data": ["x" * 50_000, STRIPE, "errors"]}).encode()

    masked = hiding(STRIPE).mask_success(response(content, 200))

    assert masked.content == re.sub(STRIPE.encode(), b"***", content)


def test_a_success_that_would_block_the_event_loop_is_not_searched():
    content = json.dumps({"data": ["x" * 200_000, STRIPE]}).encode()

    assert hiding(STRIPE).mask_success(response(content, 200)).content == content


def test_a_failure_of_an_exception_is_recognised_in_its_causes():
    secrets = hiding(STRIPE)
    error = httpx.RemoteProtocolError("broken")
    error.__cause__ = ValueError(f"illegal status line: b'{STRIPE}'")

    assert secrets.quoted_by(error)
    assert not secrets.quoted_by(httpx.ReadError("broken"))
