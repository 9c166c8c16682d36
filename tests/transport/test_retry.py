from __future__ import annotations

from collections.abc import Iterable

import anyio
import httpx
import pytest

from anytrack_async.settings import Retry
from anytrack_async.transport import LimitTransport, RetryTransport
from anytrack_async.transport.retry import may_help

pytestmark = pytest.mark.asyncio

GET = httpx.Request("GET", "https://api.test")


class Script(httpx.AsyncBaseTransport):
    """Answers one after the other; what is left over is the test's fault."""

    def __init__(self, *steps: httpx.Response | Exception | int) -> None:
        self.steps = list(steps)
        self.calls = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step) if isinstance(step, int) else step


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, none of which is waited for."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return found


def retrying(steps: Iterable[httpx.Response | Exception | int], **retry: float) -> RetryTransport:
    return RetryTransport(Script(*steps), Retry(**{"attempts": 4, **retry}))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 521, 524])
async def test_a_passing_failure_is_asked_again(status: int, waits: list[float]):
    transport = retrying([status, status, 200])

    assert (await transport.handle_async_request(GET)).status_code == 200
    assert len(waits) == 2


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 409, 422, 501, 505])
async def test_a_lasting_answer_stands(status: int, waits: list[float]):
    transport = retrying([status])

    assert (await transport.handle_async_request(GET)).status_code == status
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
async def test_no_answer_is_asked_again(failure: Exception, waits: list[float]):
    transport = retrying([failure, failure, 200])

    assert (await transport.handle_async_request(GET)).status_code == 200
    assert len(waits) == 2


@pytest.mark.parametrize(
    "failure", [httpx.LocalProtocolError("bad header"), httpx.UnsupportedProtocol("ftp")]
)
async def test_a_request_that_cannot_be_sent_is_not_tried_again(
    failure: Exception, waits: list[float]
):
    with pytest.raises(type(failure)):
        await retrying([failure]).handle_async_request(GET)
    assert waits == []


async def test_the_last_answer_stands(waits: list[float]):
    transport = retrying([503, 503, 503, 500])

    assert (await transport.handle_async_request(GET)).status_code == 500
    assert len(waits) == 3


async def test_the_last_failure_stands(waits: list[float]):
    transport = retrying([503, httpx.ConnectError("refused")], attempts=2)

    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(GET)
    assert len(waits) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_is_not_idempotent_is_sent_once(method: str, waits: list[float]):
    transport = retrying([503])
    response = await transport.handle_async_request(httpx.Request(method, "https://api.test"))

    assert response.status_code == 503
    assert waits == []


async def test_retry_after_wins_up_to_its_cap(waits: list[float]):
    answers = [httpx.Response(429, headers={"Retry-After": hint}) for hint in ("7", "999", "0")]

    await retrying([*answers, 200], hint_cap=60.0).handle_async_request(GET)

    assert waits == [7.0, 60.0, 0.0]


async def test_waits_grow_without_a_hint(monkeypatch: pytest.MonkeyPatch, waits: list[float]):
    monkeypatch.setattr("backoff.full_jitter", lambda longest: longest)

    await retrying([500, 500, 500, 200], base=0.5).handle_async_request(GET)

    assert waits == [0.5, 1.0, 2.0]


async def test_a_request_that_waits_holds_no_slot():
    wire = Script(httpx.Response(503, headers={"Retry-After": "30"}), 200)
    limit = LimitTransport(wire, slots=1)
    transport = RetryTransport(limit, Retry())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.handle_async_request, GET)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(1):
            assert (await limit.handle_async_request(GET)).status_code == 200
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("status", "helps"), [(499, False), (500, True), (599, True)])
async def test_may_help(status: int, helps: bool):
    assert may_help(status) is helps
