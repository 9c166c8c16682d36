from __future__ import annotations

from collections.abc import Iterable

import anyio
import anyio.lowlevel
import httpx
import pytest

from anytrack_async.settings.http import Retry
from anytrack_async.transport.message import LimitExceeded, Request, Response
from anytrack_async.transport.retry import LimitedEngine, RetryingEngine, is_retryable

pytestmark = pytest.mark.asyncio

GET = Request("anytrack", "GET", "https://api.test", {})

Step = Response | Exception | int


class Script:
    """An engine with a script of responses and errors."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.closed = 0

    async def exchange(self, request: Request) -> Response:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return request.build_response(step, {}, b"") if isinstance(step, int) else step

    async def aclose(self) -> None:
        self.closed += 1


def later(status: int, seconds: str) -> Response:
    return GET.build_response(status, {"retry-after": seconds}, b"")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replaces sleeping by a record of the seconds."""
    recorded: list[float] = []

    async def sleep(seconds: float) -> None:
        recorded.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return recorded


def retrying(steps: Iterable[Step], **retry: float) -> RetryingEngine:
    return RetryingEngine(Script(*steps), Retry(**{"attempts": 4, **retry}))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 521, 524])
async def test_a_retryable_status_is_retried(status: int, waits: list[float]):
    transport = retrying([status, status, 200])

    assert (await transport.exchange(GET)).status == 200
    assert len(waits) == 2


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 409, 422, 501, 505])
async def test_any_other_status_is_returned_at_once(status: int, waits: list[float]):
    transport = retrying([status])

    assert (await transport.exchange(GET)).status == status
    assert waits == []


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout(""),
        httpx.ReadTimeout(""),
        httpx.ReadError(""),
        httpx.RemoteProtocolError(""),
        ConnectionResetError(),
    ],
)
async def test_a_connection_error_is_retried(failure: Exception, waits: list[float]):
    transport = retrying([failure, failure, 200])

    assert (await transport.exchange(GET)).status == 200
    assert len(waits) == 2


@pytest.mark.parametrize(
    "failure",
    [
        httpx.LocalProtocolError("bad header"),
        httpx.UnsupportedProtocol("ftp"),
        LimitExceeded("max_body", 1),
    ],
)
async def test_a_request_that_would_fail_again_is_not_retried(
    failure: Exception, waits: list[float]
):
    with pytest.raises(type(failure)):
        await retrying([failure]).exchange(GET)
    assert waits == []


async def test_the_response_of_the_last_attempt_is_returned(waits: list[float]):
    transport = retrying([503, 503, 503, 500])

    assert (await transport.exchange(GET)).status == 500
    assert len(waits) == 3


async def test_the_error_of_the_last_attempt_is_raised(waits: list[float]):
    transport = retrying([503, httpx.ConnectError("refused")], attempts=2)

    with pytest.raises(httpx.ConnectError):
        await transport.exchange(GET)
    assert len(waits) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_request_that_is_not_idempotent_is_sent_once(method: str, waits: list[float]):
    response = await retrying([503]).exchange(GET._replace(method=method))

    assert response.status == 503
    assert waits == []


async def test_a_longer_retry_after_replaces_the_wait_up_to_its_cap(waits: list[float]):
    responses = [later(429, hint) for hint in ("7", "999")]

    await retrying([*responses, 200], hint_cap=60.0).exchange(GET)

    assert waits == [7.0, 60.0]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "hint", ["0", "-7", "0.0001", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "nan", "0, 0", ""]
)
async def test_waits_grow_despite_a_retry_after_that_asks_for_none(
    hint: str, status: int, monkeypatch: pytest.MonkeyPatch, waits: list[float]
):
    monkeypatch.setattr("backoff.full_jitter", lambda longest: longest)

    await retrying([later(status, hint)] * 3 + [200], base=0.5).exchange(GET)

    assert waits == [0.5, 1.0, 2.0]


async def test_waits_grow_without_retry_after(monkeypatch: pytest.MonkeyPatch, waits: list[float]):
    monkeypatch.setattr("backoff.full_jitter", lambda longest: longest)

    await retrying([500, 500, 500, 200], base=0.5).exchange(GET)

    assert waits == [0.5, 1.0, 2.0]


async def test_a_request_that_waits_for_its_retry_holds_no_slot():
    limit = LimitedEngine(Script(later(503, "30"), 200), slots=1)
    transport = RetryingEngine(limit, Retry())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.exchange, GET)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(1):
            assert (await limit.exchange(GET)).status == 200
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("status", "helps"), [(499, False), (500, True), (599, True)])
async def test_is_retryable_by_status(status: int, helps: bool):
    assert is_retryable(status) is helps


async def test_closing_a_retrying_engine_closes_the_inner_one():
    wire = Script()
    await RetryingEngine(wire, Retry()).aclose()

    assert wire.closed == 1


# LimitedEngine


class Counting:
    """An engine that holds requests until its gate opens, and counts them."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.now = self.peak = self.seen = self.closed = 0
        self.failure: Exception | None = None

    async def exchange(self, request: Request) -> Response:
        self.seen += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            if self.failure:
                raise self.failure
            await self.gate.wait()
        finally:
            self.now -= 1
        return request.build_response(200, {}, b"")

    async def aclose(self) -> None:
        self.closed += 1


async def test_no_more_requests_than_slots_are_on_the_wire():
    wire = Counting()
    limit = LimitedEngine(wire, slots=3)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(limit.exchange, GET)
        await anyio.wait_all_tasks_blocked()
        on_the_wire = wire.seen
        wire.gate.set()

    assert on_the_wire == wire.peak == 3
    assert wire.seen == 10


async def test_a_failure_frees_its_slot():
    wire = Counting()
    wire.failure = httpx.ConnectError("refused")
    limit = LimitedEngine(wire, slots=1)

    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await limit.exchange(GET)


async def test_a_cancelled_request_frees_its_slot():
    wire = Counting()
    limit = LimitedEngine(wire, slots=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.exchange, GET)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    wire.gate.set()

    with anyio.fail_after(5):
        assert (await limit.exchange(GET)).status == 200


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_slot():
    wire = Counting()
    limit = LimitedEngine(wire, slots=1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.exchange, GET)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(limit.exchange, GET)
            await anyio.wait_all_tasks_blocked()
            waiting.cancel_scope.cancel()
        wire.gate.set()
    with anyio.fail_after(5):
        await limit.exchange(GET)

    assert wire.seen == 2


async def test_waiting_for_a_slot_times_out():
    wire = Counting()
    limit = LimitedEngine(wire, slots=1, timeout=0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limit.exchange, GET)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(httpx.PoolTimeout):
            await limit.exchange(GET)
        wire.gate.set()


async def test_closing_a_limited_engine_closes_the_inner_one():
    wire = Counting()
    await LimitedEngine(wire, slots=1).aclose()

    assert wire.closed == 1
