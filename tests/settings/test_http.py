"""`Retry` computes waits; `HttpSettings` and `DeliverySettings` validate their fields."""

from __future__ import annotations

import random
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings, ResponseLimits, Retry

seconds = st.floats(0.001, 1e6)
attempts = st.integers(1, 200)
retries = st.builds(
    Retry,
    attempts=st.integers(1, 100),
    base=seconds,
    cap=seconds,
    hint_cap=st.floats(0, 1e6),
)


# Retry


@given(retries, attempts)
def test_a_wait_lies_between_zero_and_its_growing_limit(retry: Retry, attempt: int):
    bound = min(retry.base * 2.0 ** (attempt - 1), retry.cap)

    assert 0 <= retry.wait_after(attempt) <= bound


@given(retries, attempts, st.integers())
def test_waits_are_spread_over_their_whole_range(retry: Retry, attempt: int, seed: int):
    random.seed(seed)
    bound = min(retry.base * 2.0 ** (attempt - 1), retry.cap)

    waits = [retry.wait_after(attempt) for _ in range(60)]

    assert min(waits) < bound / 2 < max(waits)


@given(retries, attempts, st.floats(allow_nan=False), st.integers())
def test_the_longer_of_backoff_and_hint_counts(retry: Retry, attempt: int, hint: float, seed: int):
    random.seed(seed)
    wait = retry.wait_after(attempt)
    random.seed(seed)

    assert retry.wait_after(attempt, hint) == max(wait, min(hint, retry.hint_cap))


@pytest.mark.parametrize("hint", [0.0, -5.0, 1e-9, nan, -inf])
def test_a_hint_of_no_wait_leaves_the_backoff_as_it_is(
    hint: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("backoff.full_jitter", lambda longest: longest)

    waits = [Retry(base=1.0, cap=8.0).wait_after(attempt, hint) for attempt in range(1, 6)]

    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


@given(retries, attempts, st.none() | seconds)
def test_after_the_last_attempt_it_gives_up(retry: Retry, attempt: int, hint: float | None):
    assert (retry.next_wait(attempt, hint) is None) == (attempt >= retry.attempts)


@pytest.mark.parametrize("attempt", [0, -5])
def test_an_attempt_below_1_waits_like_the_first(attempt: int):
    assert 0 <= Retry(base=1.0).wait_after(attempt) <= 1.0


def test_with_one_attempt_nothing_is_retried():
    assert Retry(attempts=1).next_wait(1) is None


def test_retry_does_not_sleep(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("slept"))
    assert Retry(base=1000, cap=1000).next_wait(1) is not None


# Validation

NUMBERS_ABOVE_0 = [
    (Retry, "base"),
    (Retry, "cap"),
    (HttpSettings, "timeout"),
    (DeliverySettings, "max_age"),
    (DeliverySettings, "lease"),
    (DeliverySettings, "poll"),
    (DeliverySettings, "hold_probe"),
    (DeliverySettings, "accept_within"),
    (DeliverySettings, "prune_every"),
]
NUMBERS_FROM_0 = [
    (Retry, "hint_cap"),
    (DeliverySettings, "drain"),
    (DeliverySettings, "linger"),
    (DeliverySettings, "remember"),
]
LIMITS = ("max_body", "max_reply", "max_head", "max_headers", "max_informational")
WHOLE = [
    (DeliverySettings, "in_flight_bytes"),
    (Retry, "attempts"),
    (HttpSettings, "connections"),
    *((ResponseLimits, name) for name in LIMITS),
]
OPTIONAL = [(ResponseLimits, "max_seconds"), (DeliverySettings, "keep_dead_letters")]
FLAGS = [(DeliverySettings, "deliver")]
OBJECTS = [(HttpSettings, "limits")]
RETRIES = [(HttpSettings, "retry"), (DeliverySettings, "retry"), (DeliverySettings, "probe")]
WORDS = [
    (HttpSettings, "engine"),
    (DeliverySettings, "on_full"),
    (DeliverySettings, "on_conflict"),
]


def message_for(cls: Any, field: str, value: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        cls(**{field: value})
    return str(caught.value)


@pytest.mark.parametrize(("cls", "field"), NUMBERS_ABOVE_0)
@pytest.mark.parametrize("value", [0, -1, nan, "30", None, True])
def test_numbers_must_be_greater_than_zero(cls: Any, field: str, value: Any):
    assert message_for(cls, field, value) == (
        f"{field} must be a number greater than 0, got {value!r}"
    )


@pytest.mark.parametrize(("cls", "field"), NUMBERS_FROM_0)
@pytest.mark.parametrize("value", [-0.1, nan, "30", None, False])
def test_numbers_must_not_be_negative(cls: Any, field: str, value: Any):
    assert message_for(cls, field, value) == (
        f"{field} must be a number of at least 0, got {value!r}"
    )


@pytest.mark.parametrize(("cls", "field"), [*NUMBERS_ABOVE_0, *NUMBERS_FROM_0])
def test_infinity_is_a_valid_number(cls: Any, field: str):
    assert getattr(cls(**{field: inf}), field) == inf


@pytest.mark.parametrize(("cls", "field"), WHOLE)
@pytest.mark.parametrize("value", [0, -1, 1.5, "4", None, True, inf])
def test_numbers_must_be_whole(cls: Any, field: str, value: Any):
    assert message_for(cls, field, value).startswith(
        f"{field} must be a whole number of at least 1"
    )


@pytest.mark.parametrize(("cls", "field"), RETRIES)
@pytest.mark.parametrize("value", [3, None, {"attempts": 3}])
def test_a_retry_must_be_a_retry_object(cls: Any, field: str, value: Any):
    assert message_for(cls, field, value).startswith(f"{field} must be a Retry(…), got ")


@pytest.mark.parametrize(("cls", "field"), WORDS)
@pytest.mark.parametrize("value", ["", "other", None, 1])
def test_a_word_must_be_one_of_the_choices(cls: Any, field: str, value: Any):
    assert message_for(cls, field, value).startswith(f"{field} must be one of ")


def test_the_error_for_an_unknown_engine_lists_the_engines():
    assert message_for(HttpSettings, "engine", "httpx") == (
        "engine must be one of 'plain', 'aiohttp', got 'httpx'"
    )


@pytest.mark.parametrize("value", [0, -1, nan, "30", True])
@pytest.mark.parametrize(("cls", "field"), OPTIONAL)
def test_optional_seconds_must_be_greater_than_zero(cls: Any, field: str, value: Any):
    assert message_for(cls, field, value).startswith(f"{field} must be a number greater than 0")


@pytest.mark.parametrize("value", [None, 5, Retry()])
def test_limits_must_be_response_limits(value: Any):
    assert message_for(HttpSettings, "limits", value).startswith("limits must be a ResponseLimits")


@pytest.mark.parametrize(
    ("timeout", "most", "seconds"), [(30, None, 120), (5, None, 20), (30, 7, 7), (inf, None, inf)]
)
def test_an_exchange_may_take_four_timeouts_unless_limited(
    timeout: float, most: float | None, seconds: float
):
    http = HttpSettings(timeout=timeout, limits=ResponseLimits(max_seconds=most))

    assert http.exchange_seconds == seconds


@pytest.mark.parametrize("value", [None, 1, "no"])
@pytest.mark.parametrize(("cls", "field"), FLAGS)
def test_a_flag_must_be_true_or_false(cls: Any, field: str, value: Any):
    assert message_for(cls, field, value).startswith(f"{field} must be True or False, got ")


def test_every_setting_is_validated():
    checked = {
        *NUMBERS_ABOVE_0,
        *NUMBERS_FROM_0,
        *WHOLE,
        *RETRIES,
        *WORDS,
        *OPTIONAL,
        *OBJECTS,
        *FLAGS,
    }

    for cls in (Retry, HttpSettings, ResponseLimits, DeliverySettings):
        assert {name for of, name in checked if of is cls} == set(cls.__annotations__), cls


def test_defaults_are_as_documented():
    assert HttpSettings().timeout == 30.0
    assert HttpSettings().engine == "plain"
    assert DeliverySettings().retry.attempts == 8
    assert DeliverySettings().on_full == "wait"
    assert DeliverySettings().on_conflict == "tell"


# Time


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(0.1, None), (30, None), (30.1, 90.3), (inf, inf)]
)
def test_only_a_timeout_above_the_default_requires_time(timeout: float, seconds: float | None):
    assert HttpSettings(timeout=timeout).required_seconds(3) == (seconds and pytest.approx(seconds))


def test_a_batch_gets_four_fifths_of_the_lease():
    assert DeliverySettings().batch_timeout == 96
    assert DeliverySettings(lease=10).batch_timeout == 8
