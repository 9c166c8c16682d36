"""`submit` is safe in a web request: it raises nothing but four kinds of errors."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings

from anytrack_async import (
    ClosedError,
    Conversion,
    ConversionType,
    InvalidDestinationError,
    MemoryOutbox,
    OutboxError,
    QueueFullError,
    RecordedConversion,
    SinkLimits,
    SQLiteOutbox,
    UnsendableError,
)
from anytrack_async.models.outcome import Outcome
from tests.client.service import QUICK, Service
from tests.examples import examples
from tests.models.strategies import conversions

ALLOWED = (ClosedError, QueueFullError, OutboxError, TypeError)

SALE = Conversion.sale(revenue="49.90", order_id="1")


class Shelf:
    """A sink that accepts everything, so that only `submit` is tested."""

    name = "shelf"
    limits = SinkLimits(batch=100)

    async def deliver(self, batch: Any) -> list[Outcome]:
        return [Outcome.delivered()] * len(batch)

    async def aclose(self) -> None: ...


class Submitter:
    """A client in a thread of its own, for tests that are not async."""

    def __init__(self, outbox: Any) -> None:
        self.outbox = outbox

    def __enter__(self) -> Submitter:
        self._running = start_blocking_portal()
        self._portal = self._running.__enter__()
        client = Service().client(sinks=[Shelf()], outbox=self.outbox, delivery=QUICK)
        self._context = self._portal.wrap_async_context_manager(client)
        self._client = self._context.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.__exit__(None, None, None)
        self._running.__exit__(None, None, None)

    def submit(self, conversion: Any, to: Any = ("shelf",)) -> Any:
        return self._portal.call(lambda: self._client.submit(conversion, to=to))


@pytest.fixture(params=["memory", "sqlite"])
def submitter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Submitter]:
    outbox = SQLiteOutbox(tmp_path / "a.db") if request.param == "sqlite" else MemoryOutbox()
    with Submitter(outbox) as running:
        yield running


@given(conversion=conversions)
@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_conversion_is_accepted_and_accepted_again(
    submitter: Submitter, conversion: Conversion
):
    delivery = submitter.submit(conversion)
    again = submitter.submit(conversion)

    assert delivery.event_id == again.event_id == conversion.event_id
    assert again.contradicts == delivery.contradicts


class Odd(str):
    """Text as an ORM or a framework may have it."""

    __slots__ = ()

    def __str__(self) -> str:
        raise ValueError("jane@example.com")

    __repr__ = __str__


class Plan(StrEnum):
    PRO = "pro"


class OwnConversion(Conversion):
    """A subclass that overrides nothing."""


def with_custom_data(**changes: Any) -> Conversion:
    """A conversion whose mapping was changed after it was checked."""
    conversion = Conversion.sale(revenue=1, custom_data={"a": 1})
    data: Any = conversion.custom_data
    data.update(changes)
    return conversion


def nested() -> dict[str, Any]:
    data: dict[str, Any] = {}
    data["again"] = data
    return data


ODD: dict[str, Any] = {
    "text of a subclass": Conversion.sale(revenue=1, event_id=Odd("e"), order_id=Odd("o")),
    "an enum as id": Conversion.sale(revenue=1, event_id=Plan.PRO, source=Plan.PRO),
    "a subclass": OwnConversion(conversion_type=ConversionType.LEAD, event_id="own"),
    "not a conversion": {"revenue": 1},
    "a class": Conversion,
    "nothing": None,
    "without fields": Conversion.__new__(Conversion),
    "a huge integer": with_custom_data(a=2**70),
    "half a surrogate pair": with_custom_data(a="\ud800"),
    "an object": with_custom_data(a=object()),
    "a mapping in itself": with_custom_data(a=nested()),
    "recorded, and valid": RecordedConversion(conversion_type=ConversionType.LEAD),
    "recorded, and not valid": RecordedConversion(
        conversion_type=ConversionType.SALE, revenue=-1, currency="USDT", event_id="r"
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_argument_raises_nothing_else(submitter: Submitter, case: str):
    with suppress(*ALLOWED):
        submitter.submit(ODD[case])
    assert submitter.submit(SALE).event_id == "sale:1"  # nobody else is affected


def test_a_recorded_conversion_that_is_not_valid_is_named_as_before(submitter: Submitter):
    with pytest.raises(UnsendableError, match="revenue must not be negative; currency must be"):
        submitter.submit(ODD["recorded, and not valid"])


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("jane@example.com")

    def __eq__(self, other: object) -> bool:
        raise ValueError("jane@example.com")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "to", ["shelf", ["nowhere"], [], 5, [5], [None], [Unprintable()], [["shelf"]], object(), b"x"]
)
def test_a_wrong_destination_is_a_type_error_and_a_configuration_error(
    submitter: Submitter, to: Any
):
    with pytest.raises(InvalidDestinationError) as caught:
        submitter.submit(SALE, to=to)

    assert isinstance(caught.value, TypeError)
    assert "jane" not in str(caught.value)


# What fails around it


class Broken(MemoryOutbox):
    """An engine of somebody else that fails in its own words."""

    append_error: Exception | None = None
    reports_error: Exception | None = None

    async def append(self, conversions: Any, destinations: Any = None) -> Any:
        if self.append_error is not None:
            raise self.append_error
        return await super().append(conversions, destinations)

    async def reports(self, event_ids: Any) -> Any:
        if self.reports_error is not None:
            raise self.reports_error
        return await super().reports(event_ids)


ERRORS = [
    KeyError("jane@example.com"),
    ValueError("jane@example.com"),
    RecursionError("jane@example.com"),
    sqlite3.OperationalError("jane@example.com"),
    UnicodeEncodeError("utf-8", "jane@example.com", 0, 1, "no"),
    OSError(28, "No space left on device", "jane@example.com"),
    OverflowError("jane@example.com"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_exception_of_an_outbox_becomes_an_outbox_error(service: Service, error: Any):
    outbox = Broken()
    async with service.client(outbox=outbox) as client:
        outbox.append_error = error
        with pytest.raises(OutboxError, match="the outbox failed") as appending:
            await client.submit(SALE)
        outbox.append_error, outbox.reports_error = None, error
        await client.submit(SALE)
        with pytest.raises(OutboxError, match="submitting again is safe") as reading:
            await client.submit(SALE)
        outbox.reports_error = None
        assert (await (await client.submit(SALE))).delivered

    for caught in (appending, reading):
        assert "jane" not in str(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.asyncio
async def test_an_observer_that_raises_stops_nothing(service: Service):
    class Failing:
        def notify(self, event: object) -> None:
            raise ValueError("jane@example.com")

    async with service.client(observers=[Failing()]) as client:
        await client.submit(SALE)
        again = await client.submit(attrs.evolve(SALE, revenue=1))

        assert (await again).delivered
    assert again.contradicts is not None


@pytest.mark.asyncio
async def test_a_log_handler_that_raises_stops_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("jane@example.com")

    handler = Failing()
    logger = logging.getLogger("anytrack_async")
    logger.addHandler(handler)
    try:
        async with service.client() as client:
            await client.submit(SALE)
            assert (await client.submit(attrs.evolve(SALE, revenue=1))).contradicts
    finally:
        logger.removeHandler(handler)


@pytest.mark.asyncio
async def test_a_closed_client_and_a_full_outbox_say_so(service: Service):
    client = service.client(
        outbox=MemoryOutbox(capacity=1), delivery=attrs.evolve(QUICK, on_full="raise")
    )
    with pytest.raises(ClosedError):
        await client.submit(SALE)
    service.gate = anyio.Event()
    async with client:
        await client.submit(SALE)
        with pytest.raises(QueueFullError):
            await client.submit(Conversion.lead())
        service.gate.set()


@pytest.mark.asyncio
async def test_what_json_cannot_hold_is_told_with_the_conversion(service: Service, tmp_path: Path):
    conversion = with_custom_data(a=object())
    async with service.client(outbox=tmp_path / "outbox.db") as client:
        with pytest.raises(TypeError, match=f"{conversion.event_id}' was not accepted: its custom"):
            await client.submit(conversion)
