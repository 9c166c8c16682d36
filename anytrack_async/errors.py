"""Everything this library raises, in one tree.

    AnyTrackError                      catch this to catch all
    ├── ConfigurationError             a setting is missing or wrong (also ValueError)
    ├── InvalidConversionError         a model's field has a fault (also ValueError)
    ├── DecodeError                    an answer or a stored record cannot be read
    ├── ServiceError                   talking to a service failed
    │   ├── TransportError             no answer: connection, time-out, cut body
    │   ├── RejectedError              the service refuses what was asked
    │   │   └── NotFoundError          it has no such record
    │   ├── CredentialsError           token, permission or account is not accepted
    │   ├── RateLimitedError           too many requests, after the last retry
    │   └── ServerError                the service itself failed (5xx)
    ├── DeliveryError                  a conversion is not where it should be
    │   ├── QueueFullError             the outbox is full and `on_full="raise"`
    │   ├── ConflictError              the event id was accepted before with other content
    │   ├── DeliveryTimeoutError       not delivered in time; safely queued (also TimeoutError)
    │   ├── DeadLetterError            a destination will never take it
    │   ├── UndeliveredError           closing left conversions undelivered
    │   └── ClosedError                the client is not open
    └── OutboxError                    the outbox cannot do its work
        └── SchemaVersionError         the file was written by a later release

Messages and attributes never hold a token or a customer's data.

What a sink raises to its lane (`Throttled`, `BatchRejected`, `NeedsOperator`, `Unfinished`,
`Unavailable`) is not part of the tree: lanes act on it, callers never see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from anytrack_async.delivery.delivery import Delivery
    from anytrack_async.models.outcome import Outcome


class AnyTrackError(Exception):
    """Root of all errors of this library."""


class ConfigurationError(AnyTrackError, ValueError):
    """A setting is missing or wrong; the message names it."""


class InvalidConversionError(AnyTrackError, ValueError):
    """A model's field has a fault; the message names the field, never a customer's data.

    Attributes:
        field: the field's name, e.g. ``"revenue"``.
    """

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field} {fault}")
        self.field = field
        self.fault = fault

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.field, self.fault)


class DecodeError(AnyTrackError):
    """An answer or a stored record cannot be read; the message names the path of each fault."""


class ServiceError(AnyTrackError):
    """Talking to a service failed.

    Attributes:
        service: which one: ``"anytrack"``, ``"meta"``, ``"hubspot"``, …
        status: HTTP status, or None without an answer.
        code: the service's own error code, if it gave one.
        request_id: what to quote to the service's support, if it gave one.
        retry_after: seconds the service asked to wait, if it did.
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
        return type(self)._again, (self.args[0],), self.__dict__

    @classmethod
    def _again(cls, message: str) -> Self:
        return cls(message, service="")

    def __str__(self) -> str:
        known = {"status": self.status, "code": self.code, "request id": self.request_id}
        details = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
        return f"{self.service}: {self.args[0]}" + (f" ({details})" if details else "")


class TransportError(ServiceError):
    """No answer: the connection failed, timed out or broke off."""


class RejectedError(ServiceError):
    """The service refuses what was asked; asking again will not help."""


class NotFoundError(RejectedError):
    """The service has no such record."""


class CredentialsError(ServiceError):
    """The service does not accept the token, its permissions or the account."""


class RateLimitedError(ServiceError):
    """Too many requests; `retry_after` says how many seconds to wait, if the service did."""


class ServerError(ServiceError):
    """The service itself failed; asking again later may help."""


class DeliveryError(AnyTrackError):
    """A conversion is not where it should be."""


class QueueFullError(DeliveryError):
    """The outbox holds as many conversions as it may; nothing of this call was accepted.

    Where waiting for room took too long, the message says so, and what to do.
    """


class ConflictError(DeliveryError):
    """The event id was accepted before with other content; the first one stands.

    Attributes:
        event_id: the id that two different conversions share.
    """

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"conversion {event_id!r} was accepted before with other content, which stands; "
            "give the corrected conversion an event_id of its own"
        )
        self.event_id = event_id

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.event_id,)


class DeliveryTimeoutError(DeliveryError, TimeoutError):
    """Not delivered in time, but safely queued: it will be delivered without being sent again.

    Attributes:
        event_id: which conversion.
        delivery: the handle to go on waiting with. It stays in its process: an error that was
            pickled has none.
    """

    delivery: Delivery

    def __init__(self, delivery: Delivery, destination: str, timeout: float) -> None:
        outcome = delivery.report.outcomes.get(destination)
        last = f" (last: {outcome.error})" if outcome and outcome.error else ""
        super().__init__(
            f"conversion {delivery.event_id!r} is safely queued but {destination} has not "
            f"confirmed it within {timeout:g} s{last}; do not submit it again, await error.delivery"
        )
        self.event_id = delivery.event_id
        self.delivery = delivery

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_elsewhere, (type(self), str(self), self.event_id)


def _from_elsewhere(cls: type[DeliveryTimeoutError], message: str, event_id: str) -> Exception:
    error = cls.__new__(cls)
    TimeoutError.__init__(error, message)
    error.event_id = event_id
    return error


class DeadLetterError(DeliveryError):
    """A destination will never take this conversion; it lies in the dead letters.

    Attributes:
        event_id: which conversion.
        outcome: the destination's answer.
    """

    def __init__(self, event_id: str, outcome: Outcome) -> None:
        super().__init__(
            f"conversion {event_id!r} was rejected by {outcome.destination}: {outcome.error}; "
            "it is kept in the dead letters until replayed"
        )
        self.event_id = event_id
        self.outcome = outcome

    def __reduce__(self) -> tuple[type, tuple[str, Outcome]]:
        return type(self), (self.event_id, self.outcome)


class UndeliveredError(DeliveryError):
    """Closing left conversions undelivered.

    Attributes:
        event_ids: destination → ids of the conversions it did not get.
    """

    def __init__(self, message: str, event_ids: Mapping[str, Sequence[str]]) -> None:
        super().__init__(message)
        self.event_ids = event_ids

    def __reduce__(self) -> tuple[type, tuple[str, Mapping[str, Sequence[str]]]]:
        return type(self), (str(self), self.event_ids)


class ClosedError(DeliveryError):
    """The client is not open: use it inside its ``async with`` block."""


class OutboxError(AnyTrackError):
    """The outbox cannot do its work: disk full, file damaged, database locked for too long."""


class SchemaVersionError(OutboxError):
    """The outbox was written by a later release; upgrade before opening it."""


def safe_description(exc: BaseException) -> str:
    """Describe an exception without its message, which may contain customer data or a token.

    Errors of this library are described by their message, which never does; others by their type
    and by the function and line that raised them.
    """
    if isinstance(exc, AnyTrackError):
        return str(exc)
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return type(exc).__name__
    function, line = traceback.tb_frame.f_code.co_name, traceback.tb_lineno
    return f"{type(exc).__name__} in {function}, line {line}"
