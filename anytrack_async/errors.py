"""All errors of this library, in one tree.

    AnyTrackError                      base class of all errors
    ├── ConfigurationError             a setting is missing or wrong (also ValueError)
    │   ├── InvalidDestinationError    an argument names no destination (also TypeError)
    │   └── UnknownFormatError         no preset fits the columns of a file
    ├── InvalidArgumentError           an argument of a call is not valid (also ValueError)
    │   └── InvalidConversionError     a field of a conversion or another model is not valid
    │       └── UnsendableError        a conversion cannot be sent (also TypeError)
    ├── DecodeError                    a response or a stored record cannot be read
    ├── ServiceError                   a request to a service failed
    │   ├── TransportError             no response: connection failed, timed out or broke off
    │   │   └── ResponseLimitError     the response is over a limit of `ResponseLimits`
    │   ├── RejectedError              the service rejected the request
    │   │   └── NotFoundError          the service has no such record
    │   ├── CredentialsError           the token, a permission or the account is not accepted
    │   ├── RateLimitedError           too many requests, after the last retry
    │   └── ServerError                the service itself failed (5xx)
    ├── DeliveryError                  a conversion was not accepted or not delivered
    │   ├── QueueFullError             the outbox is full; the call accepted nothing
    │   ├── ConflictError              a conversion contradicts the first one with its event id
    │   ├── DeliveryTimeoutError       not delivered in time, but safely queued (also TimeoutError)
    │   ├── DeadLetterError            a destination rejected the conversion for good
    │   ├── UndeliveredError           the client closed before everything was delivered
    │   └── ClosedError                the client is not open
    │       └── WrongEventLoopError    it is open in another event loop or process
    ├── FeedError                      a stream of conversions cannot be read or written
    └── OutboxError                    the outbox cannot read or write
        ├── OutcomeUnknownError        the outbox may have done it or not; do it again
        ├── DamagedOutboxError         the outbox file is damaged
        ├── MissingKeyError            the outbox file needs a key that the program does not have
        └── SchemaVersionError         the outbox was written by a later release

Messages and attributes never contain a token or a customer's data. Every error can be pickled.

The signals that a sink raises to its lane, such as `Throttled`, are not part of this tree: lanes
handle them, callers never see them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anytrack_async.delivery.delivery import Delivery
    from anytrack_async.models.contradiction import Contradiction
    from anytrack_async.models.outcome import Outcome

__all__ = [
    "AnyTrackError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "CredentialsError",
    "DamagedOutboxError",
    "DeadLetterError",
    "DecodeError",
    "DeliveryError",
    "DeliveryTimeoutError",
    "FeedError",
    "InvalidArgumentError",
    "InvalidConversionError",
    "InvalidDestinationError",
    "MissingKeyError",
    "NotFoundError",
    "OutboxError",
    "OutcomeUnknownError",
    "QueueFullError",
    "RateLimitedError",
    "RejectedError",
    "ResponseLimitError",
    "SchemaVersionError",
    "ServerError",
    "ServiceError",
    "TransportError",
    "UndeliveredError",
    "UnknownFormatError",
    "UnsendableError",
    "WrongEventLoopError",
]


class AnyTrackError(Exception):
    """Base class of all errors of this library."""


class ConfigurationError(AnyTrackError, ValueError):
    """A setting is missing or wrong; the message names it."""


class InvalidDestinationError(ConfigurationError, TypeError):
    """An argument such as `to` is not a list of destinations that the client has.

    It is a `TypeError` too, because only the calling code can be wrong, never a visitor's data.
    """


class UnknownFormatError(ConfigurationError):
    """No preset of a back-fill fits the columns of a file; the message says what to do.

    Attributes:
        columns: the file's header.
    """

    def __init__(self, message: str, columns: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class InvalidArgumentError(AnyTrackError, ValueError):
    """An argument of a call is not valid; the message names the argument.

    Attributes:
        name: the argument, e.g. ``"limit"``.
        problem: the rule that it breaks, e.g. ``"must be a whole number of at least 1"``.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}")
        self.name = name
        self.problem = problem

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Unpickling calls the class with these arguments; by default, with the message alone.
        return type(self), (self.name, self.problem)


class InvalidConversionError(InvalidArgumentError):
    """A field of a conversion, or of a model inside one, is not valid.

    The message names the field and never contains its value, which may be a customer's data.

    Attributes:
        name: the field, with the path to it, e.g. ``"revenue"`` or ``"custom_data.plan"``.
        problem: the rule that it breaks, e.g. ``"must not be negative"``.
    """


class UnsendableError(InvalidConversionError, TypeError):
    """A conversion was not accepted, because it cannot be sent; the message names its fields.

    It was read back from AnyTrack and is not valid, or is larger than 1 MiB, or those of one call
    are larger than 256 MiB. It is a `TypeError` too: only the calling code can be wrong.
    """


class DecodeError(AnyTrackError):
    """A response or a stored record cannot be read; the message names each invalid field."""


class ServiceError(AnyTrackError):
    """A request to a service failed.

    Attributes:
        service: name of the service: ``"anytrack"``, ``"meta"``, ``"hubspot"``, …
        status: HTTP status; None without a response.
        code: the service's own error code, if any.
        request_id: the service's id of the request, to quote to its support, if any.
        retry_after: seconds the service asked to wait, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        service: str,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.service = service
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling passes no keyword arguments; the third item restores them as attributes.
        return partial(type(self), service=""), self.args, self.__dict__

    def __str__(self) -> str:
        labels = {"status": self.status, "code": self.code, "request id": self.request_id}
        details = ", ".join(f"{key} {value}" for key, value in labels.items() if value is not None)
        return f"{self.service}: {self.args[0]}" + (f" ({details})" if details else "")


class TransportError(ServiceError):
    """No response: the connection failed, timed out or broke off."""


class ResponseLimitError(TransportError):
    """The response is over a limit of `ResponseLimits`; it was cut off and its connection closed.

    Also raised for a body within `max_body` that has too many values to read. The message names the
    limit and the setting. A read that fails so is not repeated.

    Attributes:
        setting: field of `ResponseLimits`, e.g. ``"max_body"``.
    """

    def __init__(self, message: str, *, service: str, setting: str = "") -> None:
        super().__init__(message, service=service)
        self.setting = setting


class RejectedError(ServiceError):
    """The service rejected the request; repeating it will not help."""


class NotFoundError(RejectedError):
    """The service has no such record."""


class CredentialsError(ServiceError):
    """The service does not accept the token, its permissions or the account."""


class RateLimitedError(ServiceError):
    """Too many requests; `retry_after` has the seconds to wait, if the service gave them."""


class ServerError(ServiceError):
    """The service itself failed (5xx); a later request may succeed."""


class DeliveryError(AnyTrackError):
    """A conversion was not accepted or not delivered."""


class QueueFullError(DeliveryError):
    """A destination has no room for a call's conversions; none of them was accepted.

    Raised at once with ``on_full="raise"``, after `DeliverySettings.accept_within` seconds with
    ``"wait"``, and with ``"shed"`` if no destination has room. The message names the destinations
    and says what to do.

    Attributes:
        waiting: destination without room → how many conversions wait for it.
        waiting_bytes: destination → how many bytes these take, where it is bytes that there is no
            room for.
        too_large: whether the call has more than fits into an empty outbox, so that it must be
            divided.
    """

    def __init__(
        self,
        message: str,
        waiting: Mapping[str, int] | None = None,
        waiting_bytes: Mapping[str, int] | None = None,
        too_large: bool = False,
    ) -> None:
        super().__init__(message)
        self.waiting = dict(waiting or {})
        self.waiting_bytes = dict(waiting_bytes or {})
        self.too_large = too_large


class ConflictError(DeliveryError):
    """A conversion has another type, amount or currency than the first one with its event id.

    Raised only with ``DeliverySettings(on_conflict="raise")``. The first one is kept.

    Attributes:
        event_id: the id shared by two different conversions.
        contradiction: the type, amount and currency of both.
        deliveries: one for each conversion of the call, in its order: all others are accepted. An
            error that was pickled does not have this attribute.
    """

    deliveries: Sequence[Delivery]

    def __init__(
        self, contradiction: Contradiction, deliveries: Sequence[Delivery] | None = None
    ) -> None:
        super().__init__(
            f"{contradiction}: the first one is kept; if these are two conversions, submit the "
            "second with an event_id of its own"
        )
        self.event_id = contradiction.event_id
        self.contradiction = contradiction
        if deliveries is not None:
            self.deliveries = deliveries

    # Without the deliveries, which only this process's client can resolve.
    def __reduce__(self) -> tuple[type, tuple[Contradiction]]:
        return type(self), (self.contradiction,)


class DeliveryTimeoutError(DeliveryError, TimeoutError):
    """Not delivered in time, but safely queued: do not submit the conversion again.

    Attributes:
        event_id: id of the conversion.
        delivery: the handle to continue waiting with. An error that was pickled does not have this
            attribute, because a handle cannot leave its process.
    """

    delivery: Delivery

    def __init__(self, message: str, event_id: str, delivery: Delivery | None = None) -> None:
        super().__init__(message)
        self.event_id = event_id
        if delivery is not None:
            self.delivery = delivery

    # Without the delivery, which only this process's client can resolve.
    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (str(self), self.event_id)


class DeadLetterError(DeliveryError):
    """A destination rejected this conversion for good; it is kept in the dead letters.

    Attributes:
        event_id: id of the conversion.
        outcome: the destination's last outcome, with its reason.
    """

    def __init__(self, event_id: str, outcome: Outcome) -> None:
        super().__init__(
            f"conversion {event_id!r} was rejected by {outcome.destination}: {outcome.error}; "
            "it is kept in the dead letters: replay it when the cause is fixed, or correct it with "
            "client.edit"
        )
        self.event_id = event_id
        self.outcome = outcome

    def __reduce__(self) -> tuple[type, tuple[str, Outcome]]:
        return type(self), (self.event_id, self.outcome)


class UndeliveredError(DeliveryError):
    """The client closed before every conversion was delivered.

    Attributes:
        event_ids: destination → ids of the conversions not delivered to it.
    """

    def __init__(self, message: str, event_ids: Mapping[str, Sequence[str]]) -> None:
        super().__init__(message)
        self.event_ids = event_ids

    def __reduce__(self) -> tuple[type, tuple[str, Mapping[str, Sequence[str]]]]:
        return type(self), (str(self), self.event_ids)


class ClosedError(DeliveryError):
    """The client is not open: use it in its ``async with`` block, or after ``start``."""


class WrongEventLoopError(ClosedError, RuntimeError):
    """The client is not open here, but in another event loop, or in the process that was forked.

    Also raised by opening a client without asyncio, e.g. in trio. It is a `RuntimeError` too, as
    asyncio's own errors about event loops are.
    """


class FeedError(AnyTrackError):
    """A stream of conversions, such as NATS JetStream, cannot be read or written.

    Messages that were not confirmed come again; publishing a conversion again is safe.
    """


class OutboxError(AnyTrackError):
    """The outbox cannot read or write: disk full, file damaged, database locked for too long."""


class OutcomeUnknownError(OutboxError):
    """The connection to the outbox was lost while conversions were being accepted.

    They may have been accepted or not. Appending or submitting them again is safe: a conversion
    that had been accepted is then a repeat.
    """


class DamagedOutboxError(OutboxError):
    """The outbox file is damaged; ``anytrack outbox verify`` says where."""


class MissingKeyError(OutboxError):
    """The outbox file is encrypted with a key that the program does not have; nothing is lost.

    Attributes:
        key_ids: ids of the missing keys, which `anytrack outbox new-key` puts in front of them.
    """

    def __init__(self, message: str, key_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.key_ids = tuple(key_ids)


class SchemaVersionError(OutboxError):
    """The outbox was written by a later release; upgrade before opening it."""
