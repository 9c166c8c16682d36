"""The tree of errors: messages, attributes, pickling."""

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
    DamagedOutboxError,
    DeadLetterError,
    DeliveryError,
    DeliveryTimeoutError,
    InvalidArgumentError,
    InvalidConversionError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
    SchemaVersionError,
    ServiceError,
    UndeliveredError,
)
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.models.outcome import Outcome, Status

CLASSES = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)
]

OUTCOME = Outcome(status=Status.DEAD, destination="meta", error="no identity", code="2804050")
SERVICE = RateLimitedError(
    "slow down", service="meta", status=429, code="4", request_id="r1", retry_after=3.0
)
TIMEOUT = DeliveryTimeoutError("e1 is queued", "e1", Delivery("e1", ("anytrack",)))

CONTRADICTION = find_contradiction("sale:1", "sale 49.90 USD", "sale 59.90 USD")
assert CONTRADICTION is not None

EXAMPLES = [
    AnyTrackError("x"),
    ConfigurationError("x"),
    InvalidArgumentError("limit", "must be a whole number of at least 1"),
    InvalidConversionError("revenue", "must not be negative"),
    errors.UnsendableError("revenue", "must not be negative"),
    errors.DecodeError("x"),
    ServiceError("x", service="anytrack"),
    errors.TransportError("x", service="anytrack"),
    errors.ResponseLimitError("x", service="anytrack", setting="max_body"),
    RejectedError("x", service="anytrack", status=400),
    NotFoundError("x", service="anytrack", status=404),
    errors.CredentialsError("x", service="hubspot", status=401, code="EXPIRED"),
    errors.MissingKeyError("x", ["3fa9c2d1"]),
    SERVICE,
    errors.ServerError("x", service="hubspot", status=503),
    DeliveryError("x"),
    errors.QueueFullError("x"),
    ConflictError(CONTRADICTION),
    errors.InvalidDestinationError("x"),
    errors.UnknownFormatError("x", ("Order", "Sum")),
    TIMEOUT,
    DeadLetterError("e1", OUTCOME),
    UndeliveredError("x", {"meta": ["e1"]}),
    errors.ClosedError("x"),
    errors.WrongEventLoopError("x"),
    errors.OutboxError("x"),
    errors.FeedError("x"),
    SchemaVersionError("x"),
    DamagedOutboxError("x"),
    OutcomeUnknownError("x"),
]


def test_there_is_an_example_of_every_class():
    assert {type(error) for error in EXAMPLES} == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_is_an_anytrack_error_and_stands_in_the_drawn_tree(cls: type[Exception]):
    assert issubclass(cls, AnyTrackError)
    assert cls.__doc__
    if cls is not AnyTrackError:
        assert f"─ {cls.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_every_error_can_be_pickled_and_copied(error: AnyTrackError, duplicate):
    copied = duplicate(error)

    assert type(copied) is type(error)
    assert str(copied) == str(error)
    attributes = {name: value for name, value in vars(error).items() if name != "delivery"}
    assert vars(copied) == attributes


def test_a_pickled_service_error_keeps_its_attributes():
    copied = pickle.loads(pickle.dumps(SERVICE))

    assert (
        vars(copied).items()
        >= {
            "service": "meta",
            "status": 429,
            "code": "4",
            "request_id": "r1",
            "retry_after": 3.0,
        }.items()
    )


def test_builtin_classes_catch_ours():
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(InvalidArgumentError, ValueError)
    assert issubclass(DeliveryTimeoutError, TimeoutError)


def test_the_text_of_a_service_error_has_the_service_and_its_codes():
    assert str(SERVICE) == "meta: slow down (status 429, code 4, request id r1)"
    assert str(ServiceError("no answer", service="anytrack")) == "anytrack: no answer"


def test_an_invalid_field_is_named():
    error = InvalidConversionError("revenue", "must not be negative")

    assert (str(error), error.name, error.problem) == (
        "revenue must not be negative",
        "revenue",
        "must not be negative",
    )


def test_an_invalid_conversion_is_an_invalid_argument():
    assert issubclass(InvalidConversionError, InvalidArgumentError)


def test_a_conflict_names_both_amounts_and_what_to_do():
    error = ConflictError(CONTRADICTION)

    assert (error.event_id, error.contradiction) == ("sale:1", CONTRADICTION)
    assert str(error) == (
        "conversion 'sale:1' was accepted as sale 49.90 USD and came again as sale 59.90 USD: the "
        "first one is kept; if these are two conversions, submit the second with an event_id of "
        "its own"
    )
    assert not hasattr(pickle.loads(pickle.dumps(ConflictError(CONTRADICTION, []))), "deliveries")


def test_code_that_catches_type_errors_needs_no_other_for_a_wrong_destination():
    assert issubclass(errors.InvalidDestinationError, ConfigurationError | TypeError)
    assert issubclass(errors.InvalidDestinationError, TypeError)


def test_a_dead_letter_names_the_destination_and_the_reason():
    error = DeadLetterError("sale:1", OUTCOME)

    assert (error.event_id, error.outcome) == ("sale:1", OUTCOME)
    assert "'sale:1' was rejected by meta: no identity" in str(error)
    assert "kept in the dead letters: replay it when the cause is fixed" in str(error)


def test_a_timeout_carries_the_delivery_to_wait_for():
    assert (TIMEOUT.event_id, TIMEOUT.delivery.event_id) == ("e1", "e1")


def test_a_pickled_timeout_has_no_delivery():
    copied = pickle.loads(pickle.dumps(TIMEOUT))

    assert copied.event_id == "e1"
    assert not hasattr(copied, "delivery")


def test_undelivered_ids_are_carried():
    copied = pickle.loads(pickle.dumps(UndeliveredError("left", {"meta": ["e1"]})))

    assert (str(copied), copied.event_ids) == ("left", {"meta": ["e1"]})
