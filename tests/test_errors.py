"""One tree of errors: what they say, what they carry, and that they travel between processes."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from anytrack_async import errors
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.errors import (
    AnyTrackError,
    ConfigurationError,
    ConflictError,
    DeadLetterError,
    DeliveryError,
    DeliveryTimeoutError,
    InvalidConversionError,
    NotFoundError,
    RateLimitedError,
    RejectedError,
    SchemaVersionError,
    ServiceError,
    UndeliveredError,
)
from anytrack_async.models.outcome import Outcome, Status

CLASSES = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)
]

OUTCOME = Outcome(status=Status.DEAD, destination="meta", error="no identity", code="2804050")
SERVICE = RateLimitedError(
    "slow down", service="meta", status=429, code="4", request_id="r1", retry_after=3.0
)
TIMEOUT = DeliveryTimeoutError(Delivery("e1", ("anytrack",)), "anytrack", 30.0)

EXAMPLES = [
    AnyTrackError("x"),
    ConfigurationError("x"),
    InvalidConversionError("revenue", "must not be negative"),
    errors.DecodeError("x"),
    ServiceError("x", service="anytrack"),
    errors.TransportError("x", service="anytrack"),
    RejectedError("x", service="anytrack", status=400),
    NotFoundError("x", service="anytrack", status=404),
    errors.CredentialsError("x", service="hubspot", status=401, code="EXPIRED"),
    SERVICE,
    errors.ServerError("x", service="hubspot", status=503),
    DeliveryError("x"),
    errors.QueueFullError("x"),
    ConflictError("e1"),
    TIMEOUT,
    DeadLetterError("e1", OUTCOME),
    UndeliveredError("x", {"meta": ["e1"]}),
    errors.ClosedError("x"),
    errors.OutboxError("x"),
    SchemaVersionError("x"),
]


def test_the_examples_are_all_there_are():
    assert {type(one) for one in EXAMPLES} == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_one_root_catches_all_and_the_tree_is_drawn(cls: type[Exception]):
    assert issubclass(cls, AnyTrackError)
    assert cls.__doc__
    if cls is not AnyTrackError:
        assert f"─ {cls.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_every_error_travels_between_processes(error: AnyTrackError, travel):
    again = travel(error)

    assert type(again) is type(error)
    assert str(again) == str(error)
    attributes = {name: value for name, value in vars(error).items() if name != "delivery"}
    assert vars(again) == attributes


def test_a_service_error_keeps_all_it_knows_when_it_travels():
    again = pickle.loads(pickle.dumps(SERVICE))

    assert (
        vars(again).items()
        >= {
            "service": "meta",
            "status": 429,
            "code": "4",
            "request_id": "r1",
            "retry_after": 3.0,
        }.items()
    )


def test_old_names_of_python_catch_ours():
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(InvalidConversionError, ValueError)
    assert issubclass(DeliveryTimeoutError, TimeoutError)


def test_a_service_error_tells_who_said_what():
    assert str(SERVICE) == "meta: slow down (status 429, code 4, request id r1)"
    assert str(ServiceError("no answer", service="anytrack")) == "anytrack: no answer"


def test_a_field_with_a_fault_is_named():
    error = InvalidConversionError("revenue", "must not be negative")

    assert (str(error), error.field, error.fault) == (
        "revenue must not be negative",
        "revenue",
        "must not be negative",
    )


def test_a_conflict_says_what_stands_and_what_to_do():
    error = ConflictError("sale:1")

    assert error.event_id == "sale:1"
    assert "'sale:1' was accepted before with other content, which stands" in str(error)
    assert "an event_id of its own" in str(error)


def test_a_dead_letter_says_who_refused_it_and_why():
    error = DeadLetterError("sale:1", OUTCOME)

    assert (error.event_id, error.outcome) == ("sale:1", OUTCOME)
    assert "'sale:1' was rejected by meta: no identity" in str(error)
    assert "dead letters" in str(error)


def test_a_time_out_says_that_the_conversion_is_safe():
    assert str(TIMEOUT) == (
        "conversion 'e1' is safely queued but anytrack has not confirmed it within 30 s; "
        "do not submit it again, await error.delivery"
    )
    assert (TIMEOUT.event_id, TIMEOUT.delivery.event_id) == ("e1", "e1")


def test_a_time_out_says_what_the_destination_answered_last():
    delivery = Delivery("e1", ("anytrack",))
    delivery.resolve(
        Outcome(status=Status.WAITING, destination="anytrack", error="Unauthorized (status 401)")
    )

    assert "within 0.5 s (last: Unauthorized (status 401)); do not" in str(
        DeliveryTimeoutError(delivery, "anytrack", 0.5)
    )
    assert "(last" not in str(DeliveryTimeoutError(delivery, "meta", 0.5))


def test_a_time_out_leaves_its_handle_at_home_when_it_travels():
    again = pickle.loads(pickle.dumps(TIMEOUT))

    assert again.event_id == "e1"
    assert not hasattr(again, "delivery")


def test_undelivered_ids_are_carried():
    again = pickle.loads(pickle.dumps(UndeliveredError("left", {"meta": ["e1"]})))

    assert (str(again), again.event_ids) == ("left", {"meta": ["e1"]})
