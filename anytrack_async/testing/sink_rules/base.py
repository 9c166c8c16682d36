"""Parts that the rules of the sink contract share: a subclass's hooks, an open sink, an attempt."""

# ruff: noqa: S101

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import anyio
import attrs
import pytest

from anytrack_async.destinations.sink import Sink, SinkSignal, Unavailable
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.testing.stand_in import ServiceAnswer, ServiceRequest, ServiceStandIn

EMAIL = "jane.doe@example.com"
PHONE = "+447700900123"
LIMIT = 30.0
"""Seconds after which a call counts as hanging; no rule depends on how fast it is."""

Answer = Callable[[ServiceRequest], ServiceAnswer]


@attrs.frozen
class Attempt:
    """The result of one call of `Sink.deliver`.

    Attributes:
        outcomes: one for each conversion, None where the call had none.
        signal: the exception of the call; any other than a signal counts as `Unavailable`, as in a
            lane.
        said: the texts of the result: reasons, codes and ids of all outcomes, and the exception
            with its causes.
    """

    outcomes: Sequence[Outcome | None]
    signal: SinkSignal | None
    said: str

    @property
    def statuses(self) -> list[Status | None]:
        """The status of each outcome."""
        return [outcome.status if outcome else None for outcome in self.outcomes]


async def attempt(sink: Sink, batch: Sequence[Conversion]) -> Attempt:
    """Call `Sink.deliver`, and check the rules for every call."""
    signal: SinkSignal | None = None
    error: Exception | None = None
    outcomes: list[Outcome | None] = []
    with anyio.fail_after(LIMIT):
        try:
            outcomes += await sink.deliver(batch)
        except SinkSignal as exc:
            signal, error = exc, exc
            outcomes += exc.outcomes or [None] * len(batch)
        except Exception as exc:
            signal, error = Unavailable(type(exc).__name__), exc
            outcomes += [None] * len(batch)
    assert len(outcomes) == len(batch), "there must be one outcome for each conversion"
    _check_result(outcomes, signal)
    texts = [f"{outcome!r}" for outcome in outcomes]
    texts += traceback.format_exception(error) if error else []
    return Attempt(outcomes, signal, "\n".join(texts))


def _check_result(outcomes: Sequence[Outcome | None], signal: SinkSignal | None) -> None:
    if signal is not None:
        assert signal.reason, "a signal needs a reason"
        assert None in outcomes, "a signal is about conversions without an outcome"
    for outcome in filter(None, outcomes):
        assert outcome.status in SINK_STATUSES, f"a sink cannot return {outcome.status!r}"
        assert outcome.status is Status.DELIVERED or outcome.error, "a failure needs a reason"


SINK_STATUSES = (Status.DELIVERED, Status.RETRY, Status.REJECTED, Status.SKIPPED)


class SinkHooks:
    """The hooks by which a subclass describes its sink and its service.

    Attributes:
        secret: the token that `make` gives the sink; the token must be shown nowhere.
        reads_answers: whether the sink reads from an answer's body which conversions the service
            has accepted. False for a service that confirms with the status alone.
    """

    pytestmark: ClassVar = pytest.mark.asyncio
    secret: ClassVar[str] = "s3cr3t-t0k3n-0f-th3-s1nk"  # noqa: S105 - no token of any service
    reads_answers: ClassVar[bool] = True

    def make(self, url: str, timeout: float) -> Sink:
        """Return a sink that sends to *url* with `secret`.

        Args:
            url: address of the service, e.g. ``http://127.0.0.1:40001``.
            timeout: seconds after which the sink gives up a request.
        """
        raise NotImplementedError

    def confirm(self, request: ServiceRequest) -> ServiceAnswer:
        """Return the service's answer that accepts everything in *request*."""
        raise NotImplementedError

    def refuse(self, request: ServiceRequest, key: str) -> ServiceAnswer | None:
        """Return the answer to a request with a conversion that the service will never accept.

        Called only for requests that contain *key*. None, the default, if the service refuses no
        single conversion: then the rules about that are skipped.
        """
        return None

    def throttle(self, request: ServiceRequest) -> ServiceAnswer:
        """Return the answer that asks to wait; by default a 429 with ``Retry-After``."""
        return ServiceAnswer(status=429, headers={"retry-after": "3"})

    def deny(self, request: ServiceRequest) -> ServiceAnswer:
        """Return the answer that only an operator can do something about; by default a 401."""
        return ServiceAnswer(status=401, body={"error": "invalid token"})

    def conversion(self, number: int) -> Conversion:
        """Return a conversion that the service accepts; the same for the same *number*."""
        return Conversion.sale(
            revenue="49.90",
            currency="USD",
            order_id=f"order-{number:05}",
            click_id=f"click-{number:05}",
            timestamp=self.now - timedelta(seconds=number),
            ip_address="203.0.113.5",
            user_agent="Mozilla/5.0",
            page_url="https://shop.example/thanks",
            customer=Customer(email=EMAIL, phone=PHONE),
        )

    def key(self, conversion: Conversion) -> str:
        """Return the text by which a request shows that it has *conversion*."""
        return conversion.event_id

    now: ClassVar[datetime] = datetime.now(UTC).replace(microsecond=0)

    # Helpers

    def batch(self, size: int, first: int = 0) -> list[Conversion]:
        """Return *size* conversions with numbers from *first* on."""
        return [self.conversion(first + number) for number in range(size)]

    def refusing(self, refused: Conversion) -> Answer:
        """Return a function that refuses requests with *refused*, and confirms all others."""
        key = self.key(refused)

        def answer(request: ServiceRequest) -> ServiceAnswer:
            refusal = self.refuse(request, key) if key in request.text else None
            return refusal or self.confirm(request)

        return answer

    def skip_unless_refusing(self) -> None:
        """Skip a rule about refused conversions if the service refuses none."""
        if type(self).refuse is SinkHooks.refuse:
            pytest.skip("`refuse` is not implemented: the service refuses no single conversion")

    @asynccontextmanager
    async def opened(
        self, answer: Answer | None = None, *, timeout: float = 10.0
    ) -> AsyncIterator[tuple[Sink, ServiceStandIn]]:
        """Return a sink, and the service that it sends to; both are closed after the block."""
        service = ServiceStandIn(answer or self.confirm)
        async with service.serving():
            sink = self.make(service.url, timeout)
            try:
                yield sink, service
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(LIMIT):
                    await close(sink)


async def close(sink: Sink) -> None:
    """Close *sink*, if it can be closed."""
    if (aclose := getattr(sink, "aclose", None)) is not None:
        await aclose()
