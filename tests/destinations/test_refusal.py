"""Every sink says with which HTTP status its service answered, whatever it makes of the answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from anytrack_async.destinations.sink import SinkSignal
from anytrack_async.models.outcome import Status
from tests.destinations.answers import REFUSALS, accept, response_of
from tests.destinations.hubspot import virtual_time
from tests.destinations.test_fault import SINKS, sale

ANSWERS = [
    (429, {"message": "slow down"}),
    (500, "<html>oops</html>"),
    (503, {"message": "busy"}),
    (302, ""),
    (410, {}),
    *(answer for answer in REFUSALS.values() if answer[0] >= 300),
]


async def refusals(sink: Any, count: int) -> list[tuple[int | None, str | None]]:
    """Send *count* conversions; return HTTP status and reason of the signal, or of each outcome."""
    try:
        outcomes = await sink.deliver([sale(number) for number in range(count)])
    except SinkSignal as signal:
        return [(signal.http_status, signal.reason)]
    return [
        (outcome.http_status, outcome.error)
        for outcome in outcomes
        if outcome.status is not Status.DELIVERED
    ]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("name", SINKS)
def test_a_refusal_has_the_status_of_the_response(name: str, answer: tuple[int, object]) -> None:
    async def scenario() -> list[tuple[int | None, str | None]]:
        sink = SINKS[name](httpx.MockTransport(lambda _: response_of(*answer)))
        return [*await refusals(sink, 1), *await refusals(sink, 2)]

    seen = virtual_time.run(scenario())  # after a 429, HubSpot gets nothing for ten seconds
    assert {status for status, _ in seen} == {answer[0]}, seen


@pytest.mark.asyncio
@pytest.mark.parametrize("name", SINKS)
async def test_without_a_response_there_is_no_status(name: str) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    ((status, _),) = await refusals(SINKS[name](httpx.MockTransport(refuse)), 1)
    assert status is None


@pytest.mark.asyncio
async def test_a_delivered_conversion_has_no_refusal() -> None:
    assert await refusals(SINKS["anytrack"](httpx.MockTransport(accept)), 1) == []
